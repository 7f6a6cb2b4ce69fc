"""Drives a `LinkNetwork` by the machine's clock: what both modes of the link shaper share."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Protocol

from netgpt.core.clock import Clock
from netgpt.network.medium import Packet
from netgpt.wire.shaper_alarm import Alarm
from netgpt.wire.shaper_link import ShapedLink, Wires
from netgpt.wire.shaper_network import Arrival, LinkNetwork


class Content(Protocol):
    """What packets carry for whoever sent them."""

    def arrive(self) -> None:
        """The packet is at its target. May offer others."""
        ...


class Pump:
    """Lets the network's time pass. Must be made inside a running event loop."""

    def __init__(self, network: LinkNetwork, clock: Clock, *, tick_s: float = math.inf) -> None:
        """Args:
        tick_s: how often media live through time also while nothing is under way: a cell with background load would otherwise
            have it all to do when the next packet comes, and hold that up.
        """
        self.network = network
        self.clock = clock
        self.afterwards: list[Callable[[], None]] = []  # called after each round of arrivals; may offer
        self._alarm = Alarm(self.run)
        self._tick_s = tick_s
        self._ticks_s = clock.now_s() + tick_s
        self._wake_s = math.inf  # earlier than the network asks for
        self._running = False

    def offer(self, source: str, target: str, size_bytes: int, content: Content, *, flow: str, reliable: bool = True) -> bool:
        """Send a packet now; `run` must follow. False if it could not enter."""
        packet = Packet(size_bytes=size_bytes, flow=flow, reliable=reliable, content=content)
        return self.network.offer(self.clock.now_s(), source, target, packet)

    def wake(self, at_s: float) -> None:
        """Run at that time at the latest."""
        self._wake_s = min(self._wake_s, at_s)

    def run(self) -> None:
        """Deliver what has arrived, and set the alarm for what comes next."""
        if self._running:  # something that arrived sends: the round goes on below
            return
        self._running = True
        try:
            while not self._round():
                pass
        finally:
            self._running = False

    def _round(self) -> bool:
        """One round; whether all is done until the alarm."""
        now_s = self.clock.now_s()
        if self._wake_s <= now_s:
            self._wake_s = math.inf
        for arrival in self._arrivals(now_s):
            arrival.content.arrive()
        for each in self.afterwards:
            each()
        next_s = min(self.network.next_s(), self._wake_s, self._ticks_s)
        if next_s <= now_s:
            return False
        self._alarm.set(next_s, self.clock.now_s)
        return True

    def _arrivals(self, now_s: float) -> list[Arrival]:
        if now_s < self._ticks_s:
            return self.network.advance(now_s)
        self._ticks_s = now_s + self._tick_s
        return self.network.keep_up(now_s)

    def change(self, link: ShapedLink, wires: Wires) -> None:
        """Set a link anew. Raises UsageError: it cannot be set."""
        self.network.change(self.clock.now_s(), link, wires)
        self.run()

    def close(self) -> None:
        self._alarm.close()
