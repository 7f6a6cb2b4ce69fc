"""The ways of the link shaper's packets: those of least delay at the start, and those of devices by the cell that serves them now."""

from __future__ import annotations

from collections.abc import Collection, Sequence

from netgpt.network.paths import Edge, least_delay_hops
from netgpt.network.radio import Radio
from netgpt.wire.shaper_link import Crossing, RadioHop, Route, ShapedLink


class Routes:
    """Ways between all nodes that links join.

    Args:
        free: pairs (source, target) that reach each other over no link.
    """

    def __init__(self, links: Sequence[ShapedLink], free: Collection[tuple[str, str]] = ()) -> None:
        self._links = [(link, link.delay_s("up"), link.delay_s("down")) for link in links]
        self._radios: list[Radio] = list({id(link.medium): link.medium for link in links if isinstance(link, RadioHop)}.values())
        self._free: dict[tuple[str, str], Route | None] = dict.fromkeys(free, ())
        self._handovers = 0
        self._found: dict[tuple[str, str], Route | None] = {}
        self._learn()

    def find(self, source: str, target: str) -> Route | None:
        """The way from one node to another as it is now; None if no links join them."""
        if self._radios and sum([radio.handovers for radio in self._radios]) != self._handovers:
            self._learn()
        return self._found.get((source, target))

    def pairs(self) -> list[tuple[str, str]]:
        """All pairs of different nodes that links join, in their order."""
        return [(source, target) for (source, target), route in self._found.items() if source != target and (source, target) not in self._free]

    def _learn(self) -> None:
        edges: dict[str, list[Edge[Crossing]]] = {}
        for link, up_s, down_s in self._links:
            first, second = link.ends
            edges.setdefault(first, []).append(Edge(second, up_s, Crossing(link, "up")))
            edges.setdefault(second, []).append(Edge(first, down_s, Crossing(link, "down")))
        self._handovers = sum([radio.handovers for radio in self._radios])
        ways = {source: least_delay_hops(source, edges) for source in edges}
        self._found = {(source, target): ways[source][target] for source in edges for target in edges if target in ways[source]} | self._free
