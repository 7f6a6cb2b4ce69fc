"""Brings an emulated network up in this process, and keeps it up until a signal stops it.

All or nothing: whatever is wrong is found before the first process starts, or stops those that did. When
this returns or raises, no process and no run file is left. The only writer of `run/state.json`.
"""

from __future__ import annotations

import asyncio
import dataclasses
import http.client
import os
import signal
import sys
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

from netgpt.api.hosts import check_bind, reached_at
from netgpt.api.key_file import KeyStore
from netgpt.core.clock import Clock, WallClock
from netgpt.core.errors import DeadlineExceeded, NetgptError
from netgpt.core.storage import DiskStorage
from netgpt.models.store import search_path
from netgpt.network.scenario import Scenario
from netgpt.telemetry.events import EventLog
from netgpt.telemetry.log import Log
from netgpt.wire.identity import JoinAuthority
from netgpt.world.emulated import Build, PortPlan, check_ports, check_replays, find_models, free_port_plan, network_stages, plan_ports
from netgpt.world.logs import join_library_logs, log_file, rotate_logs
from netgpt.world.networkkey import ensure_network_key, network_key_file
from netgpt.world.pids import pid_of
from netgpt.world.request import UpRequest, requested_scenario
from netgpt.world.runlock import run_lock
from netgpt.world.runstate import SUPERVISOR, ProcessState, RunState, write_state
from netgpt.world.supervisor import ProcessSpec, Supervisor
from netgpt.world.teardown import clear_leftovers
from netgpt.world.upstream import check_upstreams

JOIN_TOKEN_TTL_S = 300.0
DOORS_READY_DEADLINE_S = 30.0
MOST_DEFAULT_THREADS = 4

Say = Callable[[str], None]
WhenReady = Callable[[RunState], None]


@dataclass(frozen=True, kw_only=True)
class _Plan:
    """A network that can be started: nothing that can be known beforehand is wrong with it."""

    request: UpRequest
    scenario: Scenario
    ports: PortPlan
    stages: list[list[ProcessSpec]]

    @property
    def home(self) -> Path:
        return Path(self.request.home)


def run_network(request: UpRequest, *, say: Say, when_ready: WhenReady, own_log: bool = False) -> None:
    """Start the network, call `when_ready` with its state, and keep it up until SIGTERM, SIGHUP or SIGINT.

    Args:
        own_log: whether this process's stderr becomes the supervisor's log once it has one.

    Raises:
        AlreadyRunning, PortInUse, ScenarioInvalid, ModelNotFound, ...: it could not start.
        KeyboardInterrupt: SIGINT stopped it; everything is stopped.
    """
    scenario = requested_scenario(request)
    home = Path(request.home)
    with run_lock(home):
        if left := clear_leftovers(home):
            say(f"stopped {left} processes that a killed supervisor had left")
        plan = _plan(request, scenario)
        rotate_logs(home)
        with log_file(home, SUPERVISOR).open("a", encoding="utf-8") as stream:
            join_library_logs(stream)
            log = Log(stream, WallClock(), source=SUPERVISOR)
            if own_log:
                os.dup2(stream.fileno(), sys.stderr.fileno())
            try:
                asyncio.run(_run(plan, log, say, when_ready))
            except NetgptError as error:
                log.error(error.message, code=error.code, hint=error.hint)
                raise
            finally:
                clear_leftovers(home)
                join_library_logs(sys.stderr)


def _plan(request: UpRequest, scenario: Scenario) -> _Plan:
    """Find everything that can be wrong without starting a process."""
    home = Path(request.home)
    clock = WallClock()
    keys = KeyStore(home, clock)
    check_bind(request.host, has_key=keys.ring().any_valid(clock.date_s()))
    check_replays(scenario)
    check_upstreams(scenario, os.environ)
    models = find_models(scenario, search_path(home, request.models)) if request.engine == "torch" else {}
    ports = plan_ports(scenario, request.port) if request.port else free_port_plan(scenario)
    check_ports(ports.all(), request.host)
    build = Build(
        home=home,
        network_key_file=network_key_file(home),
        engine=request.engine,
        dtype=request.dtype,
        timing=request.timing,
        threads=request.threads or min(len(os.sched_getaffinity(0)), MOST_DEFAULT_THREADS),
        model_folders=models,
        host=request.host,
        allowed_hosts=request.allowed_hosts,
    )
    keys.renew_local()
    authority = JoinAuthority(ensure_network_key(home), WallClock().date_s)
    stages = network_stages(scenario, ports, build, join_token=lambda node: authority.issue(node, JOIN_TOKEN_TTL_S))
    return _Plan(request=request, scenario=scenario, ports=ports, stages=stages)


async def _run(plan: _Plan, log: Log, say: Say, when_ready: WhenReady) -> None:
    clock, stop = WallClock(), asyncio.Event()
    signals = _stop_on_signals(stop)
    state = _first_state(plan)

    def publish(processes: Sequence[ProcessState], *, supervisor: str = "") -> None:
        nonlocal state
        myself = dataclasses.replace(state.supervisor, state="stopping" if stop.is_set() else supervisor or state.supervisor.state)
        state = dataclasses.replace(state, supervisor=myself, processes=tuple(processes))
        write_state(plan.home, state)

    async def when_started() -> None:
        await _doors_ready(plan.ports, plan.request.host, clock)
        publish(state.processes, supervisor="ready")
        log.info(f"network {plan.scenario.name!r} is up", processes=len(state.processes))
        when_ready(state)

    publish(())
    events = EventLog(clock, DiskStorage(plan.home / "events"), "supervisor.jsonl")
    events.recover()
    supervisor = Supervisor(plan.stages, home=plan.home, clock=clock, publish=publish, record=events.record, log=log, say=say)
    await supervisor.run(stop, when_started=when_started)
    log.info(f"network {plan.scenario.name!r} is down", signal=signals[0].name)
    if signals[0] == signal.SIGINT:
        raise KeyboardInterrupt


def _first_state(plan: _Plan) -> RunState:
    myself = ProcessState(name=SUPERVISOR, node=None, tier=None, role=SUPERVISOR, model=None, port=None, state="starting", pid=pid_of(os.getpid()))
    return RunState(
        scenario=plan.scenario.name,
        default_node=plan.scenario.default_node,
        engine=plan.request.engine,
        dtype=plan.request.dtype,
        timing=plan.request.timing,
        host=plan.request.host,
        supervisor=myself,
        processes=(),
    )


def _stop_on_signals(stop: asyncio.Event) -> list[signal.Signals]:
    """Let signals set `stop`; the returned list fills with those that came."""
    came: list[signal.Signals] = []

    def on_signal(number: signal.Signals) -> None:
        came.append(number)
        stop.set()

    for number in (signal.SIGTERM, signal.SIGHUP, signal.SIGINT):
        asyncio.get_running_loop().add_signal_handler(number, on_signal, number)
    return came


async def _doors_ready(ports: PortPlan, host: str, clock: Clock) -> None:
    """Wait until every door can answer.

    Raises:
        DeadlineExceeded: one cannot, after 30 s.
    """
    deadline_s = clock.now_s() + DOORS_READY_DEADLINE_S
    for node, port in ports.doors.items():
        while not await asyncio.to_thread(_is_ready, host, port):
            if clock.now_s() > deadline_s:
                message = f"the door of {node!r} cannot answer after {DOORS_READY_DEADLINE_S:g} s"
                raise DeadlineExceeded(message, hint=f"read its log: netgpt log {node}")
            await clock.sleep(0.05)


def _is_ready(host: str, port: int) -> bool:
    connection = http.client.HTTPConnection(f"{reached_at(host)}:{port}", timeout=5)
    try:
        connection.request("GET", "/ready")
        return connection.getresponse().status == 200
    except (OSError, http.client.HTTPException):
        return False
    finally:
        connection.close()
