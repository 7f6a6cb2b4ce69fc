"""A link of constant rate and delay with a drop-tail queue: the plainest `network.medium.Medium`.

Both directions are apart. What is set anew holds for what still waits; what is already on its way keeps its time,
so that nothing overtakes.
"""

from __future__ import annotations

import math
from collections import deque
from dataclasses import dataclass

import numpy as np

from netgpt.network.medium import Backlog, Delivery, Direction, Packet

DEFAULT_QUEUE_S = 0.1
UNLIMITED = math.inf


@dataclass(frozen=True, kw_only=True)
class LinkSettings:
    """What a link is set to; "up" is from its first end to its second."""

    up_bps: float = UNLIMITED
    down_bps: float = UNLIMITED
    delay_s: float = 0.0  # one way
    loss: float = 0.0  # share of datagrams that get lost; never of what is reliable
    queue_s: float = DEFAULT_QUEUE_S  # how long a packet may wait before the transmitter, each way

    def rate_bps(self, direction: Direction) -> float:
        return self.up_bps if direction == "up" else self.down_bps


class _Lane:
    """One direction: waiting packets, the one that is being sent, and those under way."""

    def __init__(self) -> None:
        self.rate_bps, self.delay_s, self.queue_s = UNLIMITED, 0.0, DEFAULT_QUEUE_S
        self.waiting: deque[Packet] = deque()
        self.waiting_bytes = 0
        self.sending: Packet | None = None
        self.sent_s = 0.0  # when `sending` has left
        self.flying: deque[tuple[float, Packet]] = deque()

    def set(self, now_s: float, rate_bps: float, delay_s: float, queue_s: float) -> None:
        self.serve(now_s)
        if self.sending is not None:
            self.sent_s = now_s + max(0.0, self.sent_s - now_s) * self.rate_bps / rate_bps
        self.rate_bps, self.delay_s, self.queue_s = rate_bps, delay_s, queue_s

    def offer(self, now_s: float, packet: Packet) -> bool:
        self.serve(now_s)
        if self.sending is None:
            self._send(now_s, packet)
            return True
        if 8 * (self.waiting_bytes + packet.size_bytes) > self.queue_s * self.rate_bps and self.waiting:
            return False
        self.waiting.append(packet)
        self.waiting_bytes += packet.size_bytes
        return True

    def _send(self, now_s: float, packet: Packet) -> None:
        self.sending, self.sent_s = packet, now_s + 8 * packet.size_bytes / self.rate_bps
        if self.sent_s <= now_s:
            self._launch()

    def _launch(self) -> None:
        assert self.sending is not None
        before_s = self.flying[-1][0] if self.flying else 0.0
        self.flying.append((max(before_s, self.sent_s + self.delay_s), self.sending))
        self.sending = None

    def serve(self, now_s: float) -> None:
        """Send until `now_s`."""
        while self.sending is not None and self.sent_s <= now_s:
            self._launch()
            if self.waiting:
                packet = self.waiting.popleft()
                self.waiting_bytes -= packet.size_bytes
                self._send(self.sent_s, packet)

    def next_s(self) -> float:
        if self.flying:
            return self.flying[0][0]
        return math.inf if self.sending is None else self.sent_s + self.delay_s

    def arrived(self, now_s: float) -> list[tuple[float, Packet]]:
        self.serve(now_s)
        done = []
        while self.flying and self.flying[0][0] <= now_s:
            done.append(self.flying.popleft())
        return done

    def backlog(self, now_s: float) -> Backlog:
        if self.sending is None:
            return Backlog()
        wait_s = max(0.0, self.sent_s - now_s) + 8 * self.waiting_bytes / self.rate_bps
        left = min(self.sending.size_bytes, math.ceil(max(0.0, self.sent_s - now_s) * self.rate_bps / 8)) if self.rate_bps < math.inf else 0
        return Backlog(bytes=self.waiting_bytes + left, packets=len(self.waiting) + 1, delay_s=wait_s)


class ConstantLink:
    """A `Medium` for one station: the link's first end."""

    def __init__(self, station: str, settings: LinkSettings, chance: np.random.Generator) -> None:
        self._station = station
        self._chance = chance
        self._lanes: dict[Direction, _Lane] = {"up": _Lane(), "down": _Lane()}
        self._now_s = 0.0
        self.adjust(0.0, settings)

    def adjust(self, now_s: float, settings: LinkSettings) -> None:
        """Follow new settings from now on."""
        self._now_s = max(self._now_s, now_s)
        self.settings = settings
        for direction, lane in self._lanes.items():
            lane.set(self._now_s, settings.rate_bps(direction), settings.delay_s, settings.queue_s)

    def _lane(self, station: str, direction: Direction) -> _Lane:
        if station != self._station:
            raise KeyError(station)
        return self._lanes[direction]

    def offer(self, now_s: float, station: str, direction: Direction, packet: Packet) -> bool:
        self._now_s = max(self._now_s, now_s)
        return self._lane(station, direction).offer(now_s, packet)

    def next_s(self) -> float:
        return min(self._lanes["up"].next_s(), self._lanes["down"].next_s())

    def advance(self, now_s: float) -> list[Delivery]:
        self._now_s = max(self._now_s, now_s)
        both: list[tuple[float, Direction, Packet]] = []
        for direction, lane in self._lanes.items():
            both.extend((at_s, direction, packet) for at_s, packet in lane.arrived(now_s))
        if len(both) > 1:
            both.sort(key=lambda one: one[0])
        return [Delivery(at_s=at_s, station=self._station, direction=way, packet=packet, lost=self._is_lost(packet)) for at_s, way, packet in both]

    def _is_lost(self, packet: Packet) -> bool:
        return not packet.reliable and self.settings.loss > 0 and bool(self._chance.random() < self.settings.loss)

    def backlog(self, station: str, direction: Direction) -> Backlog:
        return self._lane(station, direction).backlog(self._now_s)
