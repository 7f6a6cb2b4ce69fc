"""Keeps processes up from one home until a signal stops them, or another process ends: the part that all real worlds share.

All or nothing: whatever is wrong is found before the first process starts, or stops those that did. When
this returns or raises, no process and no run file is left. The only writer of `run/state.json`. What the
processes are is a `Standing`, which the emulated world and the deployed world make each in its own way.
"""

from __future__ import annotations

import asyncio
import dataclasses
import http.client
import os
import signal
import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import urlsplit

from netgpt.core.clock import Clock, WallClock
from netgpt.core.errors import CertificateRevoked, DeadlineExceeded, NetgptError, NotRunning, UsageError
from netgpt.core.storage import DiskStorage
from netgpt.telemetry.events import EventLog
from netgpt.telemetry.log import Log
from netgpt.world.logs import join_library_logs, log_file, rotate_logs
from netgpt.world.pids import open_handle, pid_of
from netgpt.world.runlock import run_lock
from netgpt.world.runstate import ENGINE, SUPERVISOR, ProcessState, RunState, write_state
from netgpt.world.supervisor import ProcessSpec, Supervisor
from netgpt.world.teardown import clear_leftovers

DOORS_READY_DEADLINE_S = 30.0
UPSTREAM_PATIENCE_S = 2.0  # beyond a door's own first look
SPREAD_S = 0.5  # until doors have heard of each other's models: a heartbeat to the controller, one from it, and as long again
FATAL = (CertificateRevoked, NotRunning)  # no restart helps against these

Say = Callable[[str], None]
WhenReady = Callable[[RunState], None]


@dataclass(frozen=True, kw_only=True)
class Standing:
    """What is to be kept up: nothing that can be known beforehand is wrong with it."""

    home: Path
    name: str  # for the log
    stages: Sequence[Sequence[ProcessSpec]]
    first_state: RunState


def keep_up(home: Path, plan: Callable[[], Standing], *, say: Say, when_ready: WhenReady, own_log: bool = False, until_pid: int = 0) -> None:
    """Start what `plan` returns, call `when_ready` with its state, and keep it up until SIGTERM, SIGHUP or SIGINT.

    Args:
        plan: called with the home locked and clean; raises what keeps it from starting.
        own_log: whether this process's stderr becomes the supervisor's log once it has one.
        until_pid: the process whose end is as good as SIGTERM; 0: none.

    Raises:
        AlreadyRunning: another network holds the home.
        UsageError: there is no process `until_pid`.
        NetgptError: what `plan` raises, or what a process died of that no restart helps against.
        KeyboardInterrupt: SIGINT stopped it; everything is stopped.
    """
    with _leash(until_pid) as leash, run_lock(home):
        if left := clear_leftovers(home):
            say(f"stopped {left} processes that a killed supervisor had left")
        standing = plan()
        rotate_logs(home)
        with log_file(home, SUPERVISOR).open("a", encoding="utf-8") as stream:
            join_library_logs(stream)
            log = Log(stream, WallClock(), source=SUPERVISOR)
            if own_log:
                os.dup2(stream.fileno(), sys.stderr.fileno())
            try:
                asyncio.run(_run(standing, log, say, when_ready, leash))
            except NetgptError as error:
                log.error(error.message, code=error.code, hint=error.hint)
                raise
            finally:
                clear_leftovers(home)
                join_library_logs(sys.stderr)


@contextmanager
def _leash(pid: int) -> Iterator[int | None]:
    """A handle that is readable once that process has ended; None for 0."""
    if not pid:
        yield None
        return
    process = pid_of(pid)
    handle = open_handle(process) if process else None
    if handle is None:
        raise UsageError(f"no process has the id {pid}", hint="give that of one that runs, or leave it out", param="until_pid")
    try:
        yield handle
    finally:
        os.close(handle)


async def _run(standing: Standing, log: Log, say: Say, when_ready: WhenReady, leash: int | None) -> None:
    clock, stop = WallClock(), asyncio.Event()
    why = _stop_on(stop, leash)
    state = standing.first_state

    def publish(processes: Sequence[ProcessState], *, supervisor: str = "") -> None:
        nonlocal state
        myself = dataclasses.replace(state.supervisor, state="stopping" if stop.is_set() else supervisor or state.supervisor.state)
        state = dataclasses.replace(state, supervisor=myself, processes=tuple(processes))
        write_state(standing.home, state)

    async def when_started() -> None:
        await _doors_ready(state, clock, say)
        publish(state.processes, supervisor="ready")
        log.info(f"network {standing.name!r} is up", processes=len(state.processes))
        when_ready(state)

    publish(())
    events = EventLog(clock, DiskStorage(standing.home / "events"), "supervisor.jsonl")
    events.recover()
    supervisor = Supervisor(standing.stages, home=standing.home, clock=clock, publish=publish, record=events.record, log=log, say=say, fatal=FATAL)
    await supervisor.run(stop, when_started=when_started)
    log.info(f"network {standing.name!r} is down", why=why[0])
    if why[0] == signal.SIGINT.name:
        raise KeyboardInterrupt


def this_process() -> ProcessState:
    """The supervisor as the first state shows it."""
    return ProcessState(name=SUPERVISOR, node=None, tier=None, role=SUPERVISOR, model=None, port=None, state="starting", pid=pid_of(os.getpid()))


def _stop_on(stop: asyncio.Event, leash: int | None) -> list[str]:
    """Let signals and the end of the leash set `stop`; the returned list fills with what came."""
    loop, came = asyncio.get_running_loop(), list[str]()

    def on(what: str) -> None:
        came.append(what)
        stop.set()

    for number in (signal.SIGTERM, signal.SIGHUP, signal.SIGINT):
        loop.add_signal_handler(number, on, number.name)
    if leash is not None:

        def on_end() -> None:
            loop.remove_reader(leash)
            on("the end of the process that it was to end with")

        loop.add_reader(leash, on_end)
    return came


async def _doors_ready(state: RunState, clock: Clock, say: Say) -> None:
    """Wait until every door can answer. Where no model but others' servers could, those may come later: it is said, and not waited for.

    Raises:
        DeadlineExceeded: one cannot, after 30 s.
    """
    ours = any(process.role == ENGINE for process in state.processes)
    deadline_s = clock.now_s() + (DOORS_READY_DEADLINE_S if ours else UPSTREAM_PATIENCE_S)
    for node, url in state.doors().items():
        while not await asyncio.to_thread(_is_ready, url):
            if clock.now_s() <= deadline_s:
                await clock.sleep(0.05)
            elif ours:
                message = f"the door of {node!r} cannot answer after {DOORS_READY_DEADLINE_S:g} s"
                raise DeadlineExceeded(message, hint=f"read its log: netgpt log {node}")
            else:
                say(f"the upstream of {node} does not answer: its door refuses requests until it does (netgpt log {node})")
                break
    if len(state.doors()) > 1:
        await clock.sleep(SPREAD_S)


def _is_ready(url: str) -> bool:
    connection = http.client.HTTPConnection(urlsplit(url).netloc, timeout=5)
    try:
        connection.request("GET", "/ready")
        return connection.getresponse().status == 200
    except (OSError, http.client.HTTPException):
        return False
    finally:
        connection.close()
