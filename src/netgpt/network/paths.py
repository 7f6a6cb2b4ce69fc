"""Ways of least delay through a network of nodes. Pure; knows nothing of what joins two nodes but its delay."""

from __future__ import annotations

import heapq
from collections.abc import Mapping, Sequence
from typing import Generic, NamedTuple, TypeVar

Hop = TypeVar("Hop")


class Edge(NamedTuple, Generic[Hop]):
    """From a node to another."""

    target: str
    delay_s: float
    hop: Hop  # the caller's own


def least_delay_hops(source: str, edges: Mapping[str, Sequence[Edge[Hop]]]) -> dict[str, tuple[Hop, ...]]:
    """The hops to every node that can be reached, () to `source` itself; equal delays are decided by fewer hops, then by the order of edges.

    Args:
        edges: by the node that they start at.
    """
    frontier: list[tuple[float, int, int, str, tuple[Hop, ...]]] = [(0.0, 0, 0, source, ())]
    reached: dict[str, tuple[Hop, ...]] = {}
    order = 0  # breaks ties, so that hops are never compared
    while frontier:
        delay_s, count, _, here, hops = heapq.heappop(frontier)
        if here in reached:
            continue
        reached[here] = hops
        for edge in edges.get(here, ()):
            order += 1
            heapq.heappush(frontier, (delay_s + edge.delay_s, count + 1, order, edge.target, (*hops, edge.hop)))
    return reached
