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

Direction = Literal["up", "down"]


@dataclass(frozen=True, kw_only=True)
class LinkProfile:
    """One direction of a link as it is described."""

    rate_bps: float
    delay_s: float  # one way, after the last bit was sent


def transfer_time_s(payload_bytes: int, rate_bps: float, delay_s: float) -> float:
    """From the first bit sent to the last bit received, over a link that is free."""
    return 8 * payload_bytes / rate_bps + delay_s


class Lane:
    """One direction of a link: a FIFO queue in front of a transmitter."""

    def __init__(self, profile: LinkProfile) -> None:
        self.profile = profile  # replace it to follow a rate trace; what was admitted keeps its time
        self.free_at_s = 0.0

    def admit(self, now_s: float, payload_bytes: int) -> float:
        """Queue a payload at `now_s`; returns the time at which it has arrived at the other end."""
        start_s = max(now_s, self.free_at_s)
        self.free_at_s = start_s + transfer_time_s(payload_bytes, self.profile.rate_bps, 0.0)
        return self.free_at_s + self.profile.delay_s


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
            lane.free_at_s = 0.0

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


def shortest_path(links: Iterable[SharedLink], source: str, target: str) -> Path | None:
    """The path of least total delay, cut links included: routes here are fixed, they do not heal themselves.

    Returns:
        The hops in order, () if `source` is `target`, None if nothing joins them. Equal delays are
        decided by fewer hops, then by the order of `links`.
    """
    hops_from: dict[str, list[tuple[str, Hop]]] = {}
    for link in links:
        first, second = link.ends
        hops_from.setdefault(first, []).append((second, Hop(link, "up")))
        hops_from.setdefault(second, []).append((first, Hop(link, "down")))
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
        for there, hop in hops_from.get(here, ()):
            order += 1
            heapq.heappush(frontier, (delay_s + hop.lane.profile.delay_s, hop_count + 1, order, there, (*path, hop)))
    return None
