"""Stopping a network from outside, and cleaning up after one whose supervisor was killed."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from netgpt.core.errors import StorageFailed
from netgpt.world.pids import end_processes, is_alive
from netgpt.world.runlock import run_lock
from netgpt.world.runstate import RunState, read_state, run_folder

SUPERVISOR_GRACE_S = 25.0  # it gives each of four stages 5 s
ORPHAN_GRACE_S = 3.0  # orphans stop by themselves in less


@dataclass(frozen=True, kw_only=True)
class Downed:
    """What `bring_down` found."""

    processes: int  # that lived, and were stopped
    killed_supervisor: bool  # whether the supervisor had died without cleaning up


def bring_down(home: Path) -> Downed:
    """Stop the network that runs from `home`, or what a killed supervisor left of it.

    No process of it lives afterwards, and no run file is left.
    """
    state = _readable_state(home)
    living, supervised = 0, False
    if state is not None:
        supervised = state.supervised
        living = sum(process.pid is not None and is_alive(process.pid) for process in state.all_processes())
        if state.supervisor.pid is not None:
            end_processes([state.supervisor.pid], grace_s=SUPERVISOR_GRACE_S)
    if run_folder(home).exists():
        with run_lock(home):
            clear_leftovers(home)
    return Downed(processes=living, killed_supervisor=state is not None and not supervised)


def clear_leftovers(home: Path) -> int:
    """End the processes that a killed supervisor left, and remove its files. Only for who holds the run lock.

    Returns:
        How many processes it had left.
    """
    state = _readable_state(home)
    ended = []
    if state is not None:
        ended = end_processes([process.pid for process in state.processes if process.pid is not None], grace_s=ORPHAN_GRACE_S)
    for path in run_folder(home).iterdir():
        if path.name != "lock":
            path.unlink(missing_ok=True)
    return len(ended)


def _readable_state(home: Path) -> RunState | None:
    try:
        return read_state(home)
    except StorageFailed:
        return None  # of an older version; its processes stop by themselves when their supervisor does
