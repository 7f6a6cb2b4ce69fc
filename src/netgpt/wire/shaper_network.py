"""Links that are shaped, and the ways across them: a packet goes in at one node and comes out at another.

Pure like the media that it drives: told the time, it never asks for it. Along a route a packet is stored and
forwarded. Counts what each link carries. Knows nothing of sockets, nor of what a packet holds.
"""

from __future__ import annotations

import math
from collections import deque
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal, NamedTuple, Protocol

from netgpt.core.errors import UsageError
from netgpt.core.spelling import did_you_mean
from netgpt.network.medium import Backlog, Delivery, Direction, Medium, Packet
from netgpt.network.paths import Edge, least_delay_hops
from netgpt.wire.shaper_medium import UNLIMITED, LinkSettings

SHORTEST_RETRY_S, LONGEST_RETRY_S = 0.0002, 0.005  # of what found a full queue
DIRECTIONS: tuple[Direction, ...] = ("up", "down")


class Adjustable(Medium, Protocol):
    """A medium whose settings can be changed while it carries."""

    def adjust(self, now_s: float, settings: LinkSettings) -> None: ...


@dataclass(kw_only=True, eq=False)
class ShapedLink:
    """One link between two nodes. Several may share a medium, as the user equipments of a cell do."""

    ends: tuple[str, str]
    medium: Medium
    settings: LinkSettings  # of a medium that is not adjustable: nominal ones, for buffers and listings
    settings_down: LinkSettings | None = None  # where queue and loss differ that way, of a medium that is not adjustable
    adjustable: Adjustable | None = None  # the medium, if its settings can be changed
    carried: dict[Direction, Carried] = field(default_factory=lambda: {"up": Carried(), "down": Carried()})

    @property
    def id(self) -> str:
        return "-".join(self.ends)

    @property
    def station(self) -> str:
        return self.ends[0]

    def settings_of(self, direction: Direction) -> LinkSettings:
        return self.settings_down if direction == "down" and self.settings_down else self.settings


@dataclass(kw_only=True)
class Carried:
    """What one direction of a link was given and did with it, since the start."""

    charged_bytes: int = 0  # taken into the queue, headers included
    delivered_bytes: int = 0
    dropped: int = 0  # packets that found the queue full
    lost: int = 0
    second: int = 0  # the second that `this_bytes` belong to, by the caller's clock
    this_bytes: int = 0
    last_bytes: int = 0  # of the second before

    def deliver(self, at_s: float, size_bytes: int) -> None:
        self.roll(at_s)
        self.delivered_bytes += size_bytes
        self.this_bytes += size_bytes

    def roll(self, at_s: float) -> None:
        second = int(at_s)
        if second > self.second:
            self.last_bytes = self.this_bytes if second == self.second + 1 else 0
            self.second, self.this_bytes = second, 0


class Crossing(NamedTuple):
    """One link of a route, in the direction in which it is crossed."""

    link: ShapedLink
    direction: Direction


Route = tuple[Crossing, ...]


class Arrival(NamedTuple):
    """A packet at its target."""

    at_s: float
    size_bytes: int
    content: Any


class _Travel:
    """Where a packet is; the content of what the media see."""

    __slots__ = ("content", "hop", "route")

    def __init__(self, route: Route, content: object) -> None:
        self.route, self.hop, self.content = route, 0, content


class LinkNetwork:
    """All shaped links of a scenario.

    Args:
        routes: by (source, target); nodes without one cannot reach each other.
        full: what happens to a packet that finds a queue full on its way. "drop": it is gone, as IP packets are;
            "hold": it waits before that link, as a reliable stream's bytes must.
    """

    def __init__(self, links: Sequence[ShapedLink], routes: Mapping[tuple[str, str], Route], *, full: Literal["drop", "hold"]) -> None:
        self.links = {link.id: link for link in links}
        self.unrouted = 0  # packets between nodes that no links join
        self._media = list({id(link.medium): link.medium for link in links}.values())
        self._by_station = {(id(link.medium), link.station): link for link in links}
        self._routes = routes
        self._holds = full == "hold"
        self._held: dict[tuple[str, Direction], deque[Packet]] = {}
        self._retry_s = math.inf
        self._instant: deque[Arrival] = deque()

    def route(self, source: str, target: str) -> Route | None:
        """The way from one node to another; None if no links join them."""
        return self._routes.get((source, target))

    def offer(self, now_s: float, source: str, target: str, packet: Packet) -> bool:
        """Send a packet; False if it cannot enter: the first queue is full, or there is no way."""
        route = self._routes.get((source, target))
        if route is None:
            self.unrouted += 1
            return False
        if not route:
            self._instant.append(Arrival(now_s, packet.size_bytes, packet.content))
            return True
        travel = Packet(size_bytes=packet.size_bytes, flow=packet.flow, reliable=packet.reliable, content=_Travel(route, packet.content))
        first = route[0]
        if (self._held and self._held.get((first.link.id, first.direction))) or not self._enter(now_s, first, travel):
            if not (self._holds and packet.reliable):
                first.link.carried[first.direction].dropped += 1
            return False
        return True

    def _enter(self, now_s: float, crossing: Crossing, packet: Packet) -> bool:
        link, direction = crossing
        taken = link.medium.offer(now_s, link.ends[0], direction, packet)
        if taken:
            link.carried[direction].charged_bytes += packet.size_bytes
        return taken

    def next_s(self) -> float:
        """When `advance` has something to do if nothing else is offered."""
        if self._instant:
            return self._instant[0].at_s
        return min((medium.next_s() for medium in self._media), default=math.inf) if not self._held else min(self._retry_s, self._media_next_s())

    def _media_next_s(self) -> float:
        return min((medium.next_s() for medium in self._media), default=math.inf)

    def advance(self, now_s: float) -> list[Arrival]:
        """Let time pass; what has reached its target by then, in order of time."""
        arrived = list(self._instant)
        self._instant.clear()
        while True:
            medium, at_s = None, now_s
            for each in self._media:
                if (next_s := each.next_s()) <= at_s:
                    medium, at_s = each, next_s
            if medium is None:
                break
            for delivery in medium.advance(at_s):
                self._forward(medium, delivery, arrived)
        if self._held and self._retry_s <= now_s:
            self._retry(now_s)
        return arrived

    def _forward(self, medium: Medium, delivery: Delivery, arrived: list[Arrival]) -> None:
        """Take a packet from the end of one link to the next, or out."""
        packet = delivery.packet
        travel = packet.content
        assert isinstance(travel, _Travel)
        crossing = travel.route[travel.hop]
        carried = crossing.link.carried[crossing.direction]
        if delivery.lost:
            carried.lost += 1
            if self._holds and packet.reliable:
                self._onward(delivery.at_s, crossing, packet)
            return
        carried.deliver(delivery.at_s, packet.size_bytes)
        travel.hop += 1
        if travel.hop == len(travel.route):
            arrived.append(Arrival(delivery.at_s, packet.size_bytes, travel.content))
        else:
            self._onward(delivery.at_s, travel.route[travel.hop], packet)

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
        wait_s = crossing.link.medium.backlog(crossing.link.station, crossing.direction).delay_s
        return min(max(wait_s / 4, SHORTEST_RETRY_S), LONGEST_RETRY_S)

    def held_bytes(self, link: ShapedLink, direction: Direction) -> int:
        """What waits before the link since its queue is full."""
        return sum(packet.size_bytes for packet in self._held.get((link.id, direction), ()))

    def backlog(self, link: ShapedLink, direction: Direction) -> Backlog:
        return link.medium.backlog(link.station, direction)

    def rate_bps(self, source: str, target: str) -> float:
        """The slowest nominal rate on the way."""
        route = self._routes.get((source, target)) or ()
        return min((link.settings.rate_bps(direction) for link, direction in route), default=UNLIMITED)

    def round_trip_s(self, source: str, target: str) -> float:
        """Nominal propagation there and back."""
        return 2 * sum(link.settings.delay_s for link, _ in self._routes.get((source, target)) or ())

    def find(self, link_id: str) -> ShapedLink:
        """A link by its id, or by its ends the other way round.

        Raises:
            UsageError: there is none.
        """
        link = self.links.get(link_id)
        if link is None:
            link = next((each for each in self.links.values() if "-".join(reversed(each.ends)) == link_id), None)
        if link is None:
            raise UsageError(f"unknown link {link_id!r}", hint=did_you_mean(link_id, self.links), param="link")
        return link

    def adjust(self, now_s: float, link: ShapedLink, settings: LinkSettings) -> None:
        """Set a link anew, from now on.

        Raises:
            UsageError: its medium has no settings: a cell's rates are what its users get.
        """
        if link.adjustable is None:
            raise UsageError(f"link {link.id!r} cannot be set: its rate is an outcome", hint="change the scenario", param="link")
        link.adjustable.adjust(now_s, settings)
        link.settings = settings


def find_routes(links: Sequence[ShapedLink]) -> dict[tuple[str, str], Route]:
    """The way of least delay between all nodes that links join."""
    edges: dict[str, list[Edge[Crossing]]] = {}
    for link in links:
        for direction, (here, there) in zip(DIRECTIONS, (link.ends, link.ends[::-1]), strict=True):
            edges.setdefault(here, []).append(Edge(there, link.settings.delay_s, Crossing(link, direction)))
    nodes = list(dict.fromkeys(end for link in links for end in link.ends))
    return {(source, target): hops for source in nodes for target, hops in least_delay_hops(source, edges).items()}
