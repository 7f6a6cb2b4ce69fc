"""Links between two nodes, and the ways through a network of links and cells.

A way is found hop by hop: where a device enters the wired part of the network is where its cell stands, and a
handover changes that while things are on their way. Wired routes are of least delay and fixed, cut links included:
they do not heal themselves. Nothing here knows what is sent, nor by whom.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import NamedTuple

from netgpt.network.medium import Direction, Medium
from netgpt.network.paths import Edge, least_delay_hops
from netgpt.network.radio import Radio
from netgpt.network.wired import OneWay, PointToPoint


class Link:
    """A link between two nodes. "up" is from the first end to the second."""

    def __init__(self, ends: tuple[str, str], *, up: OneWay, down: OneWay, seed: int = 0) -> None:
        self.ends = ends
        self.medium = PointToPoint(ends[0], up=up, down=down, seed=seed)
        self.oneway: dict[Direction, OneWay] = {"up": up, "down": down}  # as it is described
        self.cut_at_s: float | None = None  # None while the link is whole

    @property
    def id(self) -> str:
        return "-".join(self.ends)


class Hop(NamedTuple):
    """One link, or one cell between a device and its site, in the direction in which it is crossed."""

    name: str  # of the link or the cell
    medium: Medium
    station: str
    direction: Direction
    target: str  # where it leads to, as of now
    link: Link | None = None  # None: a cell


class Ways:
    """All links of a network, and its cells, if it has any. A device in a cell is reached over the air alone, whatever links it has."""

    def __init__(self, links: Iterable[Link], radio: Radio | None = None) -> None:
        self.links = {link.id: link for link in links}
        self.radio = radio
        self._edges: dict[str, list[Edge[Hop]]] = {}
        self._wired: dict[str, dict[str, tuple[Hop, ...]]] = {}  # from each node, the hops to all others
        on_air = radio.stations if radio is not None else ()
        for link in self.links.values():
            if link.ends[0] in on_air or link.ends[1] in on_air:
                continue
            for direction, (here, there) in zip(("up", "down"), (link.ends, link.ends[::-1]), strict=True):
                hop = Hop(link.id, link.medium, link.ends[0], direction, there, link)
                self._edges.setdefault(here, []).append(Edge(there, link.oneway[direction].delay_s, hop))

    def next_hop(self, here: str, target: str) -> Hop | None:
        """The first hop of the way from one node to another node, as the ways are now; None if there is none."""
        radio = self.radio
        if radio is not None:
            if here in radio.stations:
                return self._over_the_air(radio, here, "up", radio.site(here))
            if target in radio.stations:
                site = radio.site(target)
                if here == site:
                    return self._over_the_air(radio, target, "down", target)
                target = site
        edges = self._edges.get(here, ())
        if len(edges) == 1 and target != here:  # thousands of devices that hang on one site each are not searched from
            return edges[0].hop if target in self._reached(edges[0].target) else None
        hops = self._reached(here).get(target)
        return hops[0] if hops else None

    def _reached(self, here: str) -> dict[str, tuple[Hop, ...]]:
        """The hops over wires from a node to every other."""
        if here not in self._wired:
            self._wired[here] = least_delay_hops(here, self._edges)
        return self._wired[here]

    def _over_the_air(self, radio: Radio, device: str, direction: Direction, target: str) -> Hop:
        return Hop(radio.cell_of(device), radio, device, direction, target)

    def path(self, source: str, target: str) -> tuple[Hop, ...] | None:
        """The whole way as it is now: () if `source` is `target`, None if nothing joins them."""
        hops: list[Hop] = []
        while source != target:
            hop = self.next_hop(source, target)
            if hop is None:
                return None
            hops.append(hop)
            source = hop.target
        return tuple(hops)
