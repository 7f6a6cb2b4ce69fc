"""Lets a medium run under the loop's clock: one timer, and what a full queue refused waits here at its senders.

What is reliable is never lost. Of several senders who wait for one queue, those with nothing else under way go first, as
the link shaper's mode `stream` has it: ahead of a new message there is what the queue holds. The others take turns.
"""

from __future__ import annotations

import asyncio
import math
from collections import deque
from collections.abc import Callable, Iterator
from typing import Generic, Protocol, TypeVar

from netgpt.network.medium import Delivery, Direction, Medium, Packet

SHORTEST_RETRY_S, LONGEST_RETRY_S = 0.0002, 0.05


class Sender(Protocol):
    """Whose packets leave in order."""

    is_open: bool  # once False, what waits is dropped

    @property
    def under_way(self) -> int:
        """Packets that it has sent and that have not come to their end, the newest included."""
        ...


S = TypeVar("S", bound=Sender)
Place = tuple[str, Direction, str]  # station, direction, flow: a queue


class Drive(Generic[S]):
    """One medium at work."""

    def __init__(self, medium: Medium, arrived: Callable[[Delivery], None]) -> None:
        self._medium = medium
        self._arrived = arrived
        self._loop = asyncio.get_running_loop()
        self._timer: asyncio.TimerHandle | None = None
        self._rings_s = math.inf
        self._retry_s = math.inf
        self._waiting: dict[Place, _Waiting[S]] = {}

    def offer(self, station: str, direction: Direction, packet: Packet, sender: S) -> None:
        """Carry a packet, now or when the queue has room."""
        now_s = self._loop.time()
        fresh = sender.under_way <= 1
        place = (station, direction, packet.flow)
        waiting = self._waiting.get(place) if self._waiting else None
        if (waiting is None or fresh) and self._medium.offer(now_s, station, direction, packet):
            self._arm(self._medium.next_s())
            return
        if waiting is None:
            waiting = self._waiting[place] = _Waiting()
            self._retry_in(now_s, station, direction)
            self._arm(self._retry_s)
        waiting.add(sender, packet, fresh=fresh)

    def clear(self, station: str = "") -> list[Packet]:
        """Forget what waits, of one station or of all; returns it."""
        places = [place for place in self._waiting if station in ("", place[0])]
        return [packet for place in places for packet in self._waiting.pop(place).packets()]

    def _arm(self, at_s: float) -> None:
        """Ring at that time at the latest. To ring too early does no harm, so a timer is not set anew for later times."""
        if at_s >= self._rings_s:
            return
        if self._timer is not None:
            self._timer.cancel()
        self._rings_s = at_s
        self._timer = self._loop.call_at(at_s, self._ring)

    def _ring(self) -> None:
        now_s = max(self._loop.time(), self._rings_s)  # a loop rings up to its resolution too early
        self._timer, self._rings_s = None, math.inf
        for delivery in self._medium.advance(now_s):
            self._arrived(delivery)
        if self._retry_s <= now_s:
            self._retry(now_s)
        next_s = self._medium.next_s()
        self._arm(next_s if next_s < self._retry_s else self._retry_s)

    def _retry(self, now_s: float) -> None:
        """Let in what waits, as far as there is room."""
        self._retry_s = math.inf
        for place, waiting in list(self._waiting.items()):
            station, direction, _ = place
            while (packet := waiting.head()) is not None and self._medium.offer(now_s, station, direction, packet):
                waiting.pop()
            if packet is None:
                del self._waiting[place]
            else:
                self._retry_in(now_s, station, direction)

    def _retry_in(self, now_s: float, station: str, direction: Direction) -> None:
        """When a full queue is likely to have some room, and before it is empty."""
        wait_s = self._medium.backlog(station, direction).delay_s
        self._retry_s = min(self._retry_s, now_s + min(max(wait_s / 4, SHORTEST_RETRY_S), LONGEST_RETRY_S))


class _Waiting(Generic[S]):
    """What waits for one queue."""

    def __init__(self) -> None:
        self._fresh: deque[tuple[S, Packet]] = deque()
        self._turns: dict[S, deque[Packet]] = {}

    def add(self, sender: S, packet: Packet, *, fresh: bool) -> None:
        if fresh:
            self._fresh.append((sender, packet))
        else:
            self._turns.setdefault(sender, deque()).append(packet)

    def head(self) -> Packet | None:
        """What goes next; None if nothing waits."""
        while self._fresh and not self._fresh[0][0].is_open:
            self._fresh.popleft()
        if self._fresh:
            return self._fresh[0][1]
        while self._turns and not (sender := next(iter(self._turns))).is_open:
            del self._turns[sender]
        return next(iter(self._turns.values()))[0] if self._turns else None

    def pop(self) -> None:
        """Take out the head; if it was one of several of its sender, the next turn is another's."""
        if self._fresh:
            self._fresh.popleft()
            return
        sender = next(iter(self._turns))
        packets = self._turns.pop(sender)
        packets.popleft()
        if packets:
            self._turns[sender] = packets

    def packets(self) -> Iterator[Packet]:
        for _, packet in self._fresh:
            yield packet
        for packets in self._turns.values():
            yield from packets
