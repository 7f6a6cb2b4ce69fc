"""The supervisor: starts processes in stages, restarts what dies, and stops all of them.

A start is all or nothing: if one process cannot get ready, the others are stopped and the error is the
process's own. Later a death costs a back-off that doubles while the process keeps dying. Death means
that the process has ended; one that hangs is for its peers to notice.

It knows nothing of what the processes do: what each one is told comes from `ProcessSpec.configure`.
"""

from __future__ import annotations

import asyncio
import dataclasses
import json
import sys
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from netgpt.core.clock import Clock
from netgpt.core.errors import NetgptError
from netgpt.core.scheduling import TaskGroup, first_error
from netgpt.core.storage import DiskStorage
from netgpt.core.units import format_duration
from netgpt.telemetry.log import Log
from netgpt.world.child import Child
from netgpt.world.logs import log_file
from netgpt.world.runstate import ProcessState, run_folder

FIRST_BACKOFF_S, LONGEST_BACKOFF_S, HEALTHY_S = 0.1, 5.0, 10.0
READY_DEADLINE_S = 120.0
STOP_GRACE_S = 5.0

Ports = Mapping[str, Mapping[str, int]]  # what each process said when it was ready, by process name


@dataclass(frozen=True, kw_only=True)
class ProcessSpec:
    """One process to keep alive.

    `configure` makes what it is told at its next start from all ports known so far; at a restart its own
    are among them, so that it comes back at the address that its peers know.
    """

    name: str
    node: str | None
    tier: str | None
    role: str
    model: str | None
    port: int | None  # if it is known beforehand
    configure: Callable[[Ports], Mapping[str, object]]
    environment: Mapping[str, str] = field(default_factory=dict)
    host: str = "127.0.0.1"
    inside: Callable[[Ports], Sequence[str]] = lambda known: ()  # a command that runs the process's own, as `nice` does


def next_backoff_s(last_s: float, healthy_s: float) -> float:
    """How long to wait before a restart: `last_s` was the wait before (0: none), `healthy_s` the life since."""
    if last_s == 0 or healthy_s >= HEALTHY_S:
        return FIRST_BACKOFF_S
    return min(2 * last_s, LONGEST_BACKOFF_S)


def process_command(spec: ProcessSpec, config_file: Path) -> list[str]:
    return [sys.executable, "-m", "netgpt.world.process", spec.role, str(config_file)]


class Supervisor:
    """Keeps the processes of some stages alive until it is told to stop."""

    def __init__(
        self,
        stages: Sequence[Sequence[ProcessSpec]],
        *,
        home: Path,
        clock: Clock,
        publish: Callable[[Sequence[ProcessState]], None],
        record: Callable[..., object],
        log: Log,
        say: Callable[[str], None],
        command: Callable[[ProcessSpec, Path], Sequence[str]] = process_command,
        fatal: tuple[type[NetgptError], ...] = (),
    ) -> None:
        """Args:
        stages: the processes of a stage start together, after those of all stages before are ready.
        publish: takes the state of all processes whenever one changes.
        record: takes an event's kind, node and data (`EventLog.record`).
        say: takes a line of progress for people.
        command: what to execute for a process whose configuration is in a file.
        fatal: errors of a process against which no restart helps: everything is stopped.
        """
        self._stages = stages
        self._home = home
        self._clock = clock
        self._publish = publish
        self._record = record
        self._log = log
        self._say = say
        self._command = command
        self._fatal = fatal
        self._files = DiskStorage(run_folder(home))
        self._ports: dict[str, Mapping[str, int]] = {}
        self._children: dict[str, Child] = {}
        self._states = {
            spec.name: ProcessState(
                name=spec.name, node=spec.node, tier=spec.tier, role=spec.role, model=spec.model, port=spec.port, state="waiting", host=spec.host
            )
            for spec in self._specs()
        }

    def _specs(self) -> list[ProcessSpec]:
        return [spec for stage in self._stages for spec in stage]

    async def run(self, stop: asyncio.Event, *, when_started: Callable[[], Awaitable[None]]) -> None:
        """Start everything, await `when_started()`, keep everything alive until `stop` is set, stop everything.

        Raises:
            NetgptError: something could not start, or died of an error in `fatal`; everything is stopped.
        """
        try:
            async with TaskGroup() as group:
                group.create_task(self._start_and_keep(when_started), name="supervise")
                await stop.wait()
                group.cancel()
        except BaseExceptionGroup as errors:
            raise first_error(errors) from None
        finally:
            await self._stop()

    async def _start_and_keep(self, when_started: Callable[[], Awaitable[None]]) -> None:
        for stage in self._stages:
            await _together(self._first_start(spec) for spec in stage)
        await when_started()
        await _together(self._keep(spec) for spec in self._specs())

    async def _first_start(self, spec: ProcessSpec) -> None:
        begin_s = self._clock.now_s()
        await self._start(spec)
        self._say(f"starting {spec.role} {spec.node or ''}".rstrip() + f" ... ready in {format_duration(self._clock.now_s() - begin_s)}")

    async def _start(self, spec: ProcessSpec) -> None:
        config = f"{spec.name}.json"
        self._files.replace(config, json.dumps(spec.configure(self._ports)).encode())
        try:
            command = [*spec.inside(self._ports), *self._command(spec, self._files.root / config)]
            child = await Child.spawn(spec.name, command, environment=spec.environment, log=log_file(self._home, spec.name))
            self._children[spec.name] = child
            self._update(spec, state="starting", pid=child.pid)
            self._ports[spec.name] = await child.ready(deadline_s=READY_DEADLINE_S)
        finally:
            self._files.remove(config)  # it may hold a join token
        self._update(spec, state="ready", port=spec.port or self._ports[spec.name].get("port"))

    async def _keep(self, spec: ProcessSpec) -> None:
        """Restart the process whenever it dies."""
        backoff_s, ready_s = 0.0, self._clock.now_s()
        while True:
            how = await self._children[spec.name].wait()
            backoff_s = next_backoff_s(backoff_s, self._clock.now_s() - ready_s)
            restarts = self._states[spec.name].restarts + 1
            self._update(spec, state="restarting", pid=None, restarts=restarts, last_exit=how)
            self._record("process.died", spec.node or spec.name, process=spec.name, exit=how, restarts=restarts)
            self._log.warning(f"{spec.name} died with {how}: restart {restarts} in {format_duration(backoff_s)}")
            await self._clock.sleep(backoff_s)
            try:
                await self._start(spec)
            except self._fatal:
                raise
            except NetgptError as error:
                self._log.error(f"{spec.name} cannot restart: {error.message}", hint=error.hint)
                await self._children[spec.name].end(grace_s=0.0)
                ready_s = self._clock.now_s()
                continue
            ready_s = self._clock.now_s()
            self._record("process.restarted", spec.node or spec.name, process=spec.name, restarts=restarts)
            self._log.info(f"{spec.name} runs again")

    def _update(self, spec: ProcessSpec, **changes: Any) -> None:
        self._states[spec.name] = dataclasses.replace(self._states[spec.name], **changes)
        self._publish(list(self._states.values()))

    async def _stop(self) -> None:
        """The last stage first: doors finish what they have open while their engines still run."""
        for stage in reversed(self._stages):
            running = [spec for spec in stage if spec.name in self._children]
            for spec in running:
                self._update(spec, state="stopping")
            await _together(self._children[spec.name].end(grace_s=STOP_GRACE_S) for spec in running)


async def _together(works: Any) -> None:
    """Await all; the first failure cancels the others and is raised as it is."""
    try:
        async with TaskGroup() as group:
            for work in works:
                group.create_task(work)
    except BaseExceptionGroup as errors:
        raise first_error(errors) from None
