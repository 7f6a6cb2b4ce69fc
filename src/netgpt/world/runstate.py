"""What runs from a home, as a file says it: `home/run/state.json`, written by the supervisor alone.

Every other command reads the network from here. The file is replaced atomically, and what it says of a
process is believed only while a process with that pid and start time lives.
"""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

from netgpt.api.hosts import reached_at
from netgpt.core.errors import NotRunning, StorageFailed, UsageError
from netgpt.core.spelling import did_you_mean
from netgpt.core.storage import DiskStorage
from netgpt.world.pids import Pid, is_alive

STATE = "state.json"
SUPERVISOR, CONTROLLER, ENGINE, DOOR, SHAPER = "supervisor", "controller", "engine", "door", "shaper"


@dataclass(frozen=True, kw_only=True)
class ProcessState:
    """One process of the network. `pid` is None while it is down between two lives."""

    name: str
    node: str | None  # None: it belongs to no node
    tier: str | None
    role: str
    model: str | None
    port: int | None  # HTTP of doors and the controller, gRPC of engines
    state: str  # starting, ready, restarting, stopping
    pid: Pid | None = None
    restarts: int = 0
    last_exit: str = ""  # how its last life ended, if it did
    host: str = "127.0.0.1"  # where `port` listens


@dataclass(frozen=True, kw_only=True)
class RunState:
    """A network that runs, starts or stops."""

    scenario: str
    default_node: str
    engine: str
    dtype: str
    timing: str
    supervisor: ProcessState
    processes: tuple[ProcessState, ...]
    declared: dict[str, str] = field(default_factory=dict)  # what a node's times are those of, where it is not itself
    links: str = "off"  # how links are shaped: off, stream, packet

    def all_processes(self) -> Iterator[ProcessState]:
        yield self.supervisor
        yield from self.processes

    def doors(self) -> dict[str, str]:
        """The URL of every node's door, in the scenario's order."""
        return {
            process.node: f"http://{reached_at(process.host)}:{process.port}" for process in self.processes if process.role == DOOR and process.node
        }

    @property
    def supervised(self) -> bool:
        """Whether the supervisor lives; if not, the network is gone or about to be."""
        return self.supervisor.pid is not None and is_alive(self.supervisor.pid)


def run_folder(home: Path) -> Path:
    return home / "run"


def write_state(home: Path, state: RunState) -> None:
    text = json.dumps(dataclasses.asdict(state), indent=1)
    DiskStorage(run_folder(home)).replace(STATE, text.encode())


def read_state(home: Path) -> RunState | None:
    """What the newest state file says; None if nothing was started from this home, or it was stopped.

    Raises:
        StorageFailed: the file is not what this version of NetGPT writes.
    """
    path = run_folder(home) / STATE
    try:
        text = path.read_bytes()
    except (FileNotFoundError, NotADirectoryError):
        return None
    try:
        record = json.loads(text)
        record["supervisor"] = _process(record["supervisor"])
        record["processes"] = tuple(_process(process) for process in record["processes"])
        return RunState(**record)
    except (ValueError, TypeError, KeyError) as error:
        hint = "stop what an older NetGPT left: netgpt down"
        raise StorageFailed(f"state file {str(path)!r} cannot be understood: {error}", hint=hint) from error


def _process(record: dict[str, object]) -> ProcessState:
    pid = record.pop("pid")
    return ProcessState(pid=Pid(**pid) if isinstance(pid, dict) else None, **record)  # type: ignore[arg-type]


def running_state(home: Path) -> RunState:
    """The network that runs from this home.

    Raises:
        NotRunning: nothing was started, or its supervisor has died.
    """
    state = read_state(home)
    if state is None:
        raise NotRunning(f"no network runs from {str(home)!r}", hint="start one: netgpt up")
    if not state.supervised:
        raise NotRunning(f"the supervisor of the network in {str(home)!r} has died", hint="clean up and start again: netgpt down, then netgpt up")
    return state


def door_url(home: Path, node: str | None) -> str:
    """The URL of a node's door, such as `http://127.0.0.1:8080`.

    Args:
        node: None means the scenario's default node.

    Raises:
        NotRunning: no network runs from this home.
        UsageError: it has no such node.
    """
    state = running_state(home)
    doors = state.doors()
    node = node or state.default_node
    if node not in doors:
        raise UsageError(f"no node {node!r} in the running network", hint=did_you_mean(node, doors), param="node")
    return doors[node]
