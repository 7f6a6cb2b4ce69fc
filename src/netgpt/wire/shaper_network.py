"""Links that are shaped, and the ways across them: a packet goes in at one node and comes out at another.

Pure like the media that it drives: told the time, it never asks for it. A packet is stored and forwarded from node to
node, by its target: where a device is handed over to another site, what is on its way follows it. So packets may overtake each
other then, as in any network whose routes change. Counts what each link carries. Knows nothing of sockets, nor of what a
packet holds.
"""

from __future__ import annotations

import math
from collections import deque
from collections.abc import Collection, Sequence
from typing import Any, Literal, NamedTuple

from netgpt.core.errors import UsageError
from netgpt.core.spelling import did_you_mean
from netgpt.network.medium import Backlog, Delivery, Direction, Medium, Packet
from netgpt.wire.shaper_link import Crossing, RadioHop, Route, ShapedLink, Wires
from netgpt.wire.shaper_routes import Routes

SHORTEST_RETRY_S, LONGEST_RETRY_S = 0.0002, 0.005  # of what found a full queue


class Arrival(NamedTuple):
    """A packet at its target."""

    at_s: float
    size_bytes: int
    content: Any


class _Travel(NamedTuple):
    """Where a packet goes; the content of what the media see."""

    target: str
    content: Any


class LinkNetwork:
    """All shaped links of a scenario.

    Args:
        full: what happens to a packet that finds a queue full on its way. "drop": it is gone, as IP packets are;
            "hold": it waits before that link, as a reliable stream's bytes must.
        free: pairs (source, target) that reach each other at once, over no link.
    """

    def __init__(self, links: Sequence[ShapedLink], *, full: Literal["drop", "hold"], free: Collection[tuple[str, str]] = ()) -> None:
        self.links = {link.id: link for link in links}
        self.unrouted = 0  # packets between nodes that no links join
        self._media = list({id(link.medium): link.medium for link in links}.values())
        self._due: dict[int, float] = {}  # when each medium has something to do; missing where that may have changed
        self._by_station = {(id(link.medium), link.ends[0]): link for link in links}
        self._routes = Routes(links, free)
        self._rates: dict[tuple[str, str], float] = {}
        self._round_trips: dict[tuple[str, str], float] = {}
        self._holds = full == "hold"
        self._held: dict[tuple[str, Direction], deque[Packet]] = {}
        self._retry_s = math.inf
        self._instant: deque[Arrival] = deque()

    def route(self, source: str, target: str) -> Route | None:
        """The way from one node to another; None if no links join them."""
        return self._routes.find(source, target)

    def offer(self, now_s: float, source: str, target: str, packet: Packet) -> bool:
        """Send a packet; False if it cannot enter: the first queue is full, or there is no way."""
        route = self._routes.find(source, target)
        if route is None:
            self.unrouted += 1
            return False
        if not route:
            self._instant.append(Arrival(now_s, packet.size_bytes, packet.content))
            return True
        travel = Packet(size_bytes=packet.size_bytes, flow=packet.flow, reliable=packet.reliable, content=_Travel(target, packet.content))
        first = route[0]
        if (self._held and self._held.get((first.link.id, first.direction))) or not self._enter(now_s, first, travel):
            if not (self._holds and packet.reliable):
                first.link.carried[first.direction].dropped += 1
            return False
        return True

    def _enter(self, now_s: float, crossing: Crossing, packet: Packet) -> bool:
        link, direction = crossing
        taken = link.medium.offer(now_s, link.ends[0], direction, packet)
        self._due.pop(id(link.medium), None)
        if taken:
            link.carried[direction].charged_bytes += packet.size_bytes
        return taken

    def next_s(self) -> float:
        """When `advance` has something to do if nothing else is offered."""
        if self._instant:
            return self._instant[0].at_s
        return min(self._retry_s, *(self._due_s(medium) for medium in self._media))

    def _due_s(self, medium: Medium) -> float:
        due_s = self._due.get(id(medium))
        if due_s is None:
            due_s = self._due[id(medium)] = medium.next_s()
        return due_s

    def advance(self, now_s: float) -> list[Arrival]:
        """Let time pass; what has reached its target by then, in order of time."""
        arrived = list(self._instant)
        self._instant.clear()
        while True:
            medium, at_s = None, now_s
            for each in self._media:
                if (due_s := self._due_s(each)) <= at_s:
                    medium, at_s = each, due_s
            if medium is None:
                break
            self._pass_to(medium, at_s, arrived)
        if self._held and self._retry_s <= now_s:
            self._retry(now_s)
        return arrived

    def keep_up(self, now_s: float) -> list[Arrival]:
        """`advance`, and let also those media live until now for whom time that passes is work, rather than with the next packet."""
        arrived = self.advance(now_s)
        for medium in self._media:
            self._pass_to(medium, now_s, arrived)
        return arrived

    def _pass_to(self, medium: Medium, at_s: float, arrived: list[Arrival]) -> None:
        self._due.pop(id(medium), None)
        for delivery in medium.advance(at_s):
            self._forward(medium, delivery, arrived)

    def _forward(self, medium: Medium, delivery: Delivery, arrived: list[Arrival]) -> None:
        """Take a packet from the end of one link to the next, or out."""
        packet = delivery.packet
        travel = packet.content
        assert isinstance(travel, _Travel)
        link = self._by_station[id(medium), delivery.station]
        carried = link.carried[delivery.direction]
        if delivery.lost:
            carried.lost += 1
            if self._holds and packet.reliable:
                self._onward(delivery.at_s, Crossing(link, delivery.direction), packet)
            return
        carried.deliver(delivery.at_s, packet.size_bytes)
        here = link.ends[1 if delivery.direction == "up" else 0]
        if here == travel.target:
            arrived.append(Arrival(delivery.at_s, packet.size_bytes, travel.content))
        elif route := self._routes.find(here, travel.target):
            self._onward(delivery.at_s, route[0], packet)
        else:
            self.unrouted += 1

    def _onward(self, now_s: float, crossing: Crossing, packet: Packet) -> None:
        key = (crossing.link.id, crossing.direction)
        queue = self._held.get(key)
        if not queue and self._enter(now_s, crossing, packet):
            return
        if not (self._holds and packet.reliable):
            crossing.link.carried[crossing.direction].dropped += 1
            return
        if queue is None:
            self._held[key] = queue = deque()
            self._retry_s = min(self._retry_s, now_s + self.retry_after_s(crossing))
        queue.append(packet)

    def _retry(self, now_s: float) -> None:
        """Let in what waits before links."""
        self._retry_s = math.inf
        for key, queue in list(self._held.items()):
            crossing = Crossing(self.links[key[0]], key[1])
            while queue and self._enter(now_s, crossing, queue[0]):
                queue.popleft()
            if queue:
                self._retry_s = min(self._retry_s, now_s + self.retry_after_s(crossing))
            else:
                del self._held[key]

    def retry_after_s(self, crossing: Crossing) -> float:
        """When a full queue is likely to have some room again."""
        wait_s = crossing.link.medium.backlog(crossing.link.ends[0], crossing.direction).delay_s
        return min(max(wait_s / 4, SHORTEST_RETRY_S), LONGEST_RETRY_S)

    def held_bytes(self, link: ShapedLink, direction: Direction) -> int:
        """What waits before the link since its queue is full."""
        return sum(packet.size_bytes for packet in self._held.get((link.id, direction), ()))

    def backlog(self, link: ShapedLink, direction: Direction) -> Backlog:
        return link.medium.backlog(link.ends[0], direction)

    def rate_bps(self, source: str, target: str) -> float:
        """The slowest nominal rate on the way."""
        rate_bps = self._rates.get((source, target))
        if rate_bps is None:
            route = self._routes.find(source, target) or ()
            rate_bps = min((link.rate_bps(direction) for link, direction in route), default=math.inf)
            if not any(isinstance(link, RadioHop) for link, _ in route):
                self._rates[source, target] = rate_bps  # asked for with every read: until a link is set
        return rate_bps

    def round_trip_s(self, source: str, target: str) -> float:
        """Nominal propagation there and back."""
        delay_s = self._round_trips.get((source, target))
        if delay_s is None:
            route = self._routes.find(source, target) or ()
            delay_s = sum(link.delay_s("up") + link.delay_s("down") for link, _ in route)
            if not any(isinstance(link, RadioHop) for link, _ in route):
                self._round_trips[source, target] = delay_s
        return delay_s

    def find(self, link_id: str) -> ShapedLink:
        """A link by its id, or by its ends in either order.

        Raises:
            UsageError: there is none.
        """
        link = self.links.get(link_id)
        if link is None:
            link = next((each for each in self.links.values() if link_id in ("-".join(each.ends), "-".join(reversed(each.ends)))), None)
        if link is None:
            raise UsageError(f"unknown link {link_id!r}", hint=did_you_mean(link_id, self.links), param="link")
        return link

    def change(self, now_s: float, link: ShapedLink, wires: Wires) -> None:
        """Set a link anew, from now on. Routes stay: they are those of least delay at the start.

        Raises:
            UsageError: it cannot be set: a cell's rates are what its users get.
        """
        link.change(now_s, wires)
        self._rates.clear()
        self._round_trips.clear()
        self._due.pop(id(link.medium), None)
