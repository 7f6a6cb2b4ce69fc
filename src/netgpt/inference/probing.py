"""Keeps what a door knows of the ways to nodes fresh while it has choices to make: small calls, and only where nothing else tells.

A probe is two calls for an engine's load, one of them padded: the round trip, the rate, and the load. A node is probed when neither an
answer nor a probe has told of the way for `STALE_S`, only among nodes that requests of late could have gone to, and no longer than
`ACTIVE_S` after the last of these: an idle door sends nothing. Nodes that may not see a request's content are never among them.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence

from netgpt.core.clock import Clock
from netgpt.core.errors import NetgptError
from netgpt.core.scheduling import TaskGroup
from netgpt.inference.estimates import Estimates
from netgpt.network.member import Member
from netgpt.node.handle import NodeHandle
from netgpt.telemetry.metrics import Metrics

TICK_S = 0.2
STALE_S = 0.4
ACTIVE_S = 5.0
DEADLINE_S = 2.0  # of each call; a way that takes longer counts as this long
PADDING = bytes(1200)  # one packet
PROBE = "probe"  # stands for itself among the calls of which nothing has been heard
MOST_NODES = 8  # watched at once, the best candidates first


class Prober:
    """The probes of one door."""

    def __init__(self, estimates: Estimates, handle: Callable[[Member], NodeHandle], clock: Clock, metrics: Metrics) -> None:
        self._estimates = estimates
        self._handle = handle
        self._clock = clock
        self._metrics = metrics
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
                        if member.id not in self._under_way and self._estimates.stale(member, self._clock.now_s()) >= STALE_S:
                            self._under_way.add(member.id)
                            tasks.create_task(self._probe(member, own), name=f"probe-{member.id}")
                    await self._clock.sleep(TICK_S)

    async def _probe(self, member: Member, own: Callable[[str], int]) -> None:
        self._metrics.probes.labels(member.id).inc()
        self._estimates.ask(member.id, PROBE, self._clock.now_s(), 2 * self._estimates.of(member).rtt.value)
        try:
            small_s = await self._call(member, b"", own)
            large_s = await self._call(member, PADDING, own)
            self._estimates.probed(member, small_s, large_s, len(PADDING), self._clock.now_s())
            self._estimates.hear(member.id, PROBE)
        except NetgptError:
            self._estimates.probed(member, DEADLINE_S, DEADLINE_S, len(PADDING), self._clock.now_s())
        finally:
            self._estimates.hear(member.id, PROBE, answered=False)
            self._under_way.discard(member.id)

    async def _call(self, member: Member, padding: bytes, own: Callable[[str], int]) -> float:
        """Seconds that one call took; its answer is noted."""
        began_s, mine = self._clock.now_s(), own(member.id)
        load = await self._handle(member).probe(padding, deadline_s=DEADLINE_S)
        now_s = self._clock.now_s()
        self._estimates.report(member, load.running, load.waiting, now_s, own=mine)
        return now_s - began_s
