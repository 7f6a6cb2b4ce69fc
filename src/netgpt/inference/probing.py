"""Keeps what a door knows of the ways to nodes fresh while it has choices to make: small calls, and only where nothing else tells.

A probe is two calls for an engine's load, one of them padded: the round trip, the rate, and the load. A node is probed when neither an
answer nor a probe has told of the way for `STALE_S`, only among nodes that requests of late could have gone to, and no longer than
`ACTIVE_S` after the last of these: an idle door sends nothing. Nodes that may not see a request's content are never among them.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence

from netgpt.core.clock import Clock
from netgpt.core.errors import DeadlineExceeded, NetgptError
from netgpt.core.scheduling import TaskGroup
from netgpt.inference.estimates import Estimates
from netgpt.network.member import Member
from netgpt.node.handle import NodeHandle
from netgpt.telemetry.metrics import Metrics

TICK_S = 0.05
STALE_S = 0.4
BUSY_STALE_S = 0.1  # where the next request may have to wait,
MOST_PROBES_PER_S = 50  # though all doors together ask a node no more often
ACTIVE_S = 5.0
DEADLINE_S = 2.0  # of each call
TOO_LONG_S = 4.0  # as this long counts one that has not ended by then: what is late is as late again, on average
PADDING = bytes(1200)  # one packet
PROBE = "probe"  # stands for itself among the calls of which nothing has been heard
MOST_NODES = 8  # watched at once, the best candidates first


class Prober:
    """The probes of one door."""

    def __init__(
        self, estimates: Estimates, handle: Callable[[Member], NodeHandle], clock: Clock, metrics: Metrics, doors: Callable[[], int]
    ) -> None:
        self._estimates = estimates
        self._handle = handle
        self._clock = clock
        self._metrics = metrics
        self._doors = doors
        self._watched: Sequence[Member] = ()
        self._wanted_s = -ACTIVE_S
        self._wake = asyncio.Event()
        self._under_way: set[str] = set()

    def watch(self, nodes: Sequence[Member]) -> None:
        """Requests of now have the choice among these."""
        self._watched = nodes[:MOST_NODES]
        self._wanted_s = self._clock.now_s()
        self._wake.set()

    async def live(self, own: Callable[[str], int]) -> None:
        """Probe until cancelled.

        Args:
            own: how many requests of this door are at a node.
        """
        async with TaskGroup() as tasks:
            while True:
                self._wake.clear()
                await self._wake.wait()
                while self._clock.now_s() - self._wanted_s < ACTIVE_S:
                    for member in self._watched:
                        if self._is_due(member):
                            self._under_way.add(member.id)
                            tasks.create_task(self._probe(member, own), name=f"probe-{member.id}")
                    await self._clock.sleep(TICK_S)

    def _is_due(self, member: Member) -> bool:
        """Whether nobody has told of the way for long, or the node of its slots though it matters."""
        if member.id in self._under_way:
            return False
        now_s = self._clock.now_s()
        if self._estimates.stale(member, now_s) >= STALE_S:
            return True
        return self._estimates.is_busy(member) and self._estimates.load_age_s(member, now_s) >= max(BUSY_STALE_S, self._doors() / MOST_PROBES_PER_S)

    async def _probe(self, member: Member, own: Callable[[str], int]) -> None:
        estimates, clock = self._estimates, self._clock
        self._metrics.probes.labels(member.id).inc()
        estimates.ask(member.id, PROBE, clock.now_s(), 2 * estimates.of(member).rtt.value)
        try:
            small_s = await self._call(member, b"", own)
            unusual = estimates.wants_rate(member, small_s, clock.now_s())
            estimates.probed(member, small_s, clock.now_s())
            if unusual:
                await self._probe_rate(member, small_s, own)
            estimates.hear(member.id, PROBE, clock.now_s())
        except NetgptError:
            estimates.probed(member, TOO_LONG_S, clock.now_s())
        finally:
            estimates.forget(member.id, PROBE)
            self._under_way.discard(member.id)

    async def _probe_rate(self, member: Member, small_s: float, own: Callable[[str], int]) -> None:
        """How much longer a call with padding takes; one that does not end in time counts as too long."""
        try:
            large_s = await self._call(member, PADDING, own)
        except DeadlineExceeded:
            large_s = TOO_LONG_S
        self._estimates.probed_rate(member, large_s - small_s, len(PADDING), self._clock.now_s())

    async def _call(self, member: Member, padding: bytes, own: Callable[[str], int]) -> float:
        """Seconds that one call took; its answer is noted."""
        began_s, mine = self._clock.now_s(), own(member.id)
        load = await self._handle(member).probe(padding, deadline_s=DEADLINE_S)
        now_s = self._clock.now_s()
        self._estimates.report(member, load, now_s, own=mine, asked_s=began_s)
        return now_s - began_s
