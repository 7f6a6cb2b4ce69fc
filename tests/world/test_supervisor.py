"""The supervisor, with real child processes that do as they are told."""

from __future__ import annotations

import asyncio
import io
import json
import os
import signal
import subprocess
import sys
from collections.abc import Awaitable, Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import pytest

from netgpt.core.clock import WallClock
from netgpt.core.errors import CertificateRevoked, ModelInvalid, NodeUnreachable
from netgpt.core.scheduling import TaskGroup
from netgpt.telemetry.log import Log
from netgpt.world.child import Child
from netgpt.world.pids import Pid, end_processes, is_alive, pid_of, wait_for_end
from netgpt.world.runstate import ProcessState
from netgpt.world.supervisor import FIRST_BACKOFF_S, LONGEST_BACKOFF_S, ProcessSpec, Supervisor, next_backoff_s

DEADLINE_S = 20.0

# A process of our own kind: real pipes, real signals; what it does is in its configuration.
CHILD = """
import json, sys
from netgpt.core.errors import CertificateRevoked, ModelInvalid
from netgpt.world.process import run_process

config = json.load(open(sys.argv[1]))

async def work(ready, stop):
    if config["does"] == "refuse":
        raise ModelInvalid("the weights are torn", hint="train them again")
    if config["does"] == "serve once" and config["port"]:
        raise CertificateRevoked("it is no member")
    if config["does"] == "crash":
        raise ZeroDivisionError("division by a test")
    print("a stray print")
    ready({"port": config["port"] or 4711})
    await stop.wait()

sys.exit(run_process(work, source="child"))
"""


class Bench:
    """A supervisor over `CHILD` processes, and what it told the world."""

    def __init__(self, home: Path, stages: Sequence[Sequence[ProcessSpec]]) -> None:
        (home / "log").mkdir()
        script = home / "child.py"
        script.write_text(CHILD)
        self.home = home
        self.states: dict[str, ProcessState] = {}
        self.events: list[tuple[str, str, dict[str, Any]]] = []
        self.said: list[str] = []
        self.stop = asyncio.Event()
        self.supervisor = Supervisor(
            stages,
            home=home,
            clock=WallClock(),
            publish=lambda states: self.states.update({state.name: state for state in states}),
            record=lambda kind, node, **data: self.events.append((kind, node, data)),
            log=Log(io.StringIO(), WallClock(), source="supervisor"),
            say=self.said.append,
            command=lambda spec, config: [sys.executable, str(script), str(config)],
            fatal=(CertificateRevoked,),
        )

    async def run(self, while_up: Callable[[], Awaitable[None]]) -> None:
        """Start, run `while_up`, stop."""
        async with asyncio.timeout(DEADLINE_S), TaskGroup() as tasks:
            started = asyncio.Event()

            async def when_started() -> None:
                started.set()

            tasks.create_task(self.supervisor.run(self.stop, when_started=when_started))
            await started.wait()
            await while_up()
            self.stop.set()

    async def until(self, is_so: Callable[[], bool]) -> None:
        while not is_so():
            await asyncio.sleep(0.01)  # its deadline is that of `run`


def make_spec(name: str, does: str = "serve", told: list[Mapping[str, Any]] | None = None) -> ProcessSpec:
    def configure(known: Mapping[str, Mapping[str, int]]) -> dict[str, object]:
        config = {"does": does, "port": known.get(name, {}).get("port", 0), "knows": sorted(known)}
        if told is not None:
            told.append(config)
        return config

    return ProcessSpec(name=name, node=name, tier="edge", role="engine", model=None, port=None, configure=configure)


async def nothing() -> None:
    return


def living(states: Mapping[str, ProcessState]) -> list[str]:
    return [state.name for state in states.values() if state.pid is not None and is_alive(state.pid)]


def test_a_stage_starts_when_the_one_before_is_ready_and_all_are_gone_after_the_stop(tmp_path: Path) -> None:
    told: list[Mapping[str, Any]] = []

    async def scene() -> None:
        bench = Bench(tmp_path, [[make_spec("a", told=told), make_spec("b", told=told)], [make_spec("c", told=told)]])

        async def while_up() -> None:
            assert [state.state for state in bench.states.values()] == ["ready"] * 3
            assert living(bench.states) == ["a", "b", "c"]

        await bench.run(while_up)
        assert living(bench.states) == []
        assert [config["knows"] for config in told] == [[], [], ["a", "b"]]
        assert [line.split(" ...")[0] for line in bench.said[2:]] == ["starting engine c"]

    asyncio.run(scene())
    assert not list((tmp_path / "run").iterdir()), "configurations may hold tokens"
    assert "a stray print" in (tmp_path / "log" / "a.log").read_text()


def test_what_dies_is_restarted_at_its_old_port_and_reported(tmp_path: Path) -> None:
    told: list[Mapping[str, Any]] = []

    async def scene() -> None:
        bench = Bench(tmp_path, [[make_spec("a", told=told)]])

        async def while_up() -> None:
            first = bench.states["a"].pid
            assert first is not None
            os.kill(first.number, signal.SIGKILL)
            await bench.until(lambda: bench.states["a"].restarts == 1 and bench.states["a"].state == "ready")
            second = bench.states["a"].pid
            assert second is not None
            assert second != first
            await bench.until(lambda: len(bench.events) == 2)

        await bench.run(while_up)
        died, restarted = bench.events
        assert died == ("process.died", "a", {"process": "a", "exit": "signal SIGKILL", "restarts": 1})
        assert restarted == ("process.restarted", "a", {"process": "a", "restarts": 1})
        assert [config["port"] for config in told] == [0, 4711]

    asyncio.run(scene())


@pytest.mark.parametrize(
    ("does", "error", "words"),
    [
        ("refuse", ModelInvalid, "bad: the weights are torn"),
        ("crash", NodeUnreachable, "'bad' ended with exit status 1 before it was ready: ZeroDivisionError: division by a test"),
    ],
)
def test_a_process_that_cannot_start_stops_the_others_and_says_why(tmp_path: Path, does: str, error: type[Exception], words: str) -> None:
    async def scene() -> None:
        bench = Bench(tmp_path, [[make_spec("good")], [make_spec("bad", does)]])
        with pytest.raises(error, match=words):
            await bench.supervisor.run(bench.stop, when_started=nothing)
        assert bench.states["good"].pid is not None
        assert living(bench.states) == []

    asyncio.run(scene())


def test_an_error_against_which_no_restart_helps_stops_everything_and_is_the_answer(tmp_path: Path) -> None:
    async def scene() -> None:
        bench = Bench(tmp_path, [[make_spec("good"), make_spec("bad", "serve once")]])

        async def kill() -> None:
            pid = bench.states["bad"].pid
            assert pid is not None
            os.kill(pid.number, signal.SIGKILL)

        with pytest.raises(CertificateRevoked, match="bad: it is no member"):
            await bench.supervisor.run(bench.stop, when_started=kill)
        assert living(bench.states) == []

    asyncio.run(scene())


def test_a_stop_during_the_start_leaves_nothing(tmp_path: Path) -> None:
    async def scene() -> None:
        bench = Bench(tmp_path, [[make_spec("a")]])
        async with asyncio.timeout(DEADLINE_S), TaskGroup() as tasks:
            tasks.create_task(bench.supervisor.run(bench.stop, when_started=nothing))
            await bench.until(lambda: bool(bench.states) and bench.states["a"].state == "starting")
            bench.stop.set()
        assert living(bench.states) == []

    asyncio.run(scene())


def test_a_child_that_ignores_the_request_to_stop_is_killed(tmp_path: Path) -> None:
    stubborn = "import signal, sys, time; signal.signal(signal.SIGTERM, signal.SIG_IGN); print('{\"ready\": {}}', flush=True); time.sleep(60)"

    async def scene() -> str:
        child = await Child.spawn("stubborn", [sys.executable, "-c", stubborn], environment={}, log=tmp_path / "log")
        await child.ready(deadline_s=DEADLINE_S)
        await child.end(grace_s=0.05)
        return await child.wait()

    assert asyncio.run(scene()) == "signal SIGKILL"


def test_the_back_off_doubles_up_to_a_bound_and_begins_anew_after_health() -> None:
    waits = [FIRST_BACKOFF_S]
    while waits[-1] < LONGEST_BACKOFF_S:
        waits.append(next_backoff_s(waits[-1], healthy_s=0.5))
    assert waits == [0.1, 0.2, 0.4, 0.8, 1.6, 3.2, 5.0]
    assert next_backoff_s(LONGEST_BACKOFF_S, healthy_s=10.0) == FIRST_BACKOFF_S
    assert next_backoff_s(0.0, healthy_s=0.0) == FIRST_BACKOFF_S


def test_a_process_that_has_a_recycled_pid_is_never_ended() -> None:
    with subprocess.Popen(["sleep", "60"]) as other:
        ours = pid_of(other.pid)
        assert ours is not None
        recycled = Pid(number=ours.number, started_ticks=ours.started_ticks - 1)
        assert not is_alive(recycled)
        assert end_processes([recycled], grace_s=0.0) == []
        assert wait_for_end(recycled, timeout_s=0.0)
        assert is_alive(ours)
        assert end_processes([ours], grace_s=DEADLINE_S) == [ours]
        assert other.wait() == -signal.SIGTERM
    assert json.dumps(pid_of(ours.number)) == "null"
