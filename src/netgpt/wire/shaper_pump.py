"""Drives a `LinkNetwork` by the machine's clock: what both modes of the link shaper share."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Protocol

from netgpt.core.clock import Clock
from netgpt.network.medium import Packet
from netgpt.wire.shaper_alarm import Alarm
from netgpt.wire.shaper_medium import LinkSettings
from netgpt.wire.shaper_network import LinkNetwork, ShapedLink


class Content(Protocol):
    """What packets carry for whoever sent them."""

    def arrive(self) -> None:
        """The packet is at its target. May offer others."""
        ...


class Pump:
    """Lets the network's time pass. Must be made inside a running event loop."""

    def __init__(self, network: LinkNetwork, clock: Clock) -> None:
        self.network = network
        self.clock = clock
        self.afterwards: list[Callable[[], None]] = []  # called after each round of arrivals; may offer
        self._alarm = Alarm(self.run)
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
        for arrival in self.network.advance(now_s):
            arrival.content.arrive()
        for each in self.afterwards:
            each()
        next_s = min(self.network.next_s(), self._wake_s)
        if next_s <= now_s:
            return False
        self._alarm.set(next_s, now_s)
        return True

    def adjust(self, link: ShapedLink, settings: LinkSettings) -> None:
        """Set a link anew. Raises UsageError: it cannot be set."""
        self.network.adjust(self.clock.now_s(), link, settings)
        self.run()

    def close(self) -> None:
        self._alarm.close()
