"""Links as shared queues: when does a payload arrive?

A link serialises one payload after the other in each direction, so its users compete; then the payload
travels for the link's delay. Along a path it is stored and forwarded, link by link. A link knows bytes
and times only: not what is sent, nor by whom, nor who waits for it.
"""

from __future__ import annotations

import heapq
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Literal

from netgpt.network.service import Cursor, Service

Direction = Literal["up", "down"]


@dataclass(frozen=True, kw_only=True)
class LinkProfile:
    """One direction of a link as it is described."""

    rate_bps: float
    delay_s: float  # one way, after the last bit was sent
    service: Service | None = None  # what it sends over time, in place of `rate_bps`


def transfer_time_s(payload_bytes: int, rate_bps: float, delay_s: float) -> float:
    """From the first bit sent to the last bit received, over a link that is free."""
    return 8 * payload_bytes / rate_bps + delay_s


class Lane:
    """One direction of a link: a FIFO queue in front of a transmitter."""

    def __init__(self, profile: LinkProfile) -> None:
        self.profile = profile
        self._cursor = Cursor()

    def admit(self, now_s: float, payload_bytes: int) -> float:
        """Queue a payload at `now_s`; returns the time at which it has arrived at the other end."""
        profile = self.profile
        if profile.service is not None:
            self._cursor = profile.service.serve(self._cursor, now_s, payload_bytes)
        else:
            self._cursor = Cursor(max(now_s, self._cursor.time_s) + transfer_time_s(payload_bytes, profile.rate_bps, 0.0))
        return self._cursor.time_s + profile.delay_s

    def clear(self) -> None:
        """Forget what is queued."""
        self._cursor = Cursor()


class SharedLink:
    """A link between two nodes. "up" is from the first end to the second."""

    def __init__(self, ends: tuple[str, str], *, up: LinkProfile, down: LinkProfile) -> None:
        self.ends = ends
        self.lanes: dict[Direction, Lane] = {"up": Lane(up), "down": Lane(down)}
        self.cut_at_s: float | None = None  # None while the link is whole

    @property
    def id(self) -> str:
        return "-".join(self.ends)

    def cut(self, now_s: float) -> None:
        """Lose what is queued, and carry nothing until `heal`."""
        if self.cut_at_s is None:
            self.cut_at_s = now_s
        for lane in self.lanes.values():
            lane.clear()

    def heal(self) -> None:
        self.cut_at_s = None


@dataclass(frozen=True)
class Hop:
    """One link, in the direction in which a payload crosses it."""

    link: SharedLink
    direction: Direction

    @property
    def lane(self) -> Lane:
        return self.link.lanes[self.direction]


Path = tuple[Hop, ...]


class Routes:
    """The paths of least total delay over some links, cut links included: routes here are fixed, they do not heal themselves.

    Equal delays are decided by fewer hops, then by the order of `links`. A path is searched for once. The search passes over nodes
    that have a single link, since no path leads through them: thousands of devices cost no more than the sites they hang on.
    """

    def __init__(self, links: Iterable[SharedLink]) -> None:
        self._hops: dict[str, list[tuple[str, Hop]]] = {}
        for link in links:
            first, second = link.ends
            self._hops.setdefault(first, []).append((second, Hop(link, "up")))
            self._hops.setdefault(second, []).append((first, Hop(link, "down")))
        self._inner = {node: [(there, hop) for there, hop in hops if not self._is_leaf(there)] for node, hops in self._hops.items()}
        self._found: dict[tuple[str, str], Path | None] = {}

    def _is_leaf(self, node: str) -> bool:
        return len(self._hops[node]) == 1

    def __call__(self, source: str, target: str) -> Path | None:
        """The hops in order, () if `source` is `target`, None if nothing joins them."""
        key = (source, target)
        if key not in self._found:
            self._found[key] = self._path(source, target)
        return self._found[key]

    def _path(self, source: str, target: str) -> Path | None:
        if source == target:
            return ()
        if source not in self._hops or target not in self._hops:
            return None
        if not self._is_leaf(target):
            return self._search(source, target)
        ((site, back),) = self._hops[target]
        if site == source:
            return (_reversed(back),)
        before = None if self._is_leaf(site) else self(source, site)
        return None if before is None else (*before, _reversed(back))

    def _search(self, source: str, target: str) -> Path | None:
        frontier: list[tuple[float, int, int, str, Path]] = [(0.0, 0, 0, source, ())]
        reached: set[str] = set()
        order = 0  # breaks ties, so that paths are never compared
        while frontier:
            delay_s, hop_count, _, here, path = heapq.heappop(frontier)
            if here == target:
                return path
            if here in reached:
                continue
            reached.add(here)
            for there, hop in self._inner[here]:
                order += 1
                heapq.heappush(frontier, (delay_s + hop.lane.profile.delay_s, hop_count + 1, order, there, (*path, hop)))
        return None


def _reversed(hop: Hop) -> Hop:
    return Hop(hop.link, "down" if hop.direction == "up" else "up")


def shortest_path(links: Iterable[SharedLink], source: str, target: str) -> Path | None:
    """One path of `Routes`."""
    return Routes(links)(source, target)
