"""A scenario as a tree that people can read: sites, their cells, devices counted, links with rate and delay.

The highest tier is the root; every node hangs where the fewest links lead up. A link that the tree does not need is told
apart. Pure: a scenario in, a tree or text out.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace

from netgpt.core.units import format_count, format_duration, format_frequency, format_rate
from netgpt.network.scenario import TIERS, AttachSpec, CellSpec, LinkSpec, NodeSpec, Scenario


@dataclass(frozen=True, kw_only=True)
class Branch:
    """A node, several equal nodes, or a cell, and what hangs below it."""

    name: str
    kind: str  # a tier, or "cell"
    count: int = 1
    facts: tuple[str, ...] = ()
    link: tuple[str, ...] = ()  # to what it hangs on: the rates, the delay
    below: tuple[Branch, ...] = ()


def topology(scenario: Scenario) -> tuple[tuple[Branch, ...], tuple[str, ...]]:
    """The trees of a scenario, and the links that they leave out, one line each."""
    groups = {node.id: node.group or node.id for node in scenario.nodes}
    nodes = {groups[node.id]: node for node in reversed(scenario.nodes)}  # the first of each group
    links = list({tuple(groups[end] for end in link.between): link for link in scenario.links}.items())
    cellular = {groups[attach.node] for attach in scenario.attachments}
    roots, parents = _parents([node for node in reversed(nodes.values()) if groups[node.id] not in cellular], links, groups)
    counts = Counter(groups.values())
    below: dict[str, list[Branch]] = {}
    for group in reversed([*parents]):
        above, link, upwards = parents[group]
        branch = _node(nodes[group], group, counts[group], link=_link(link, upwards=upwards))
        below.setdefault(above, []).insert(0, replace(branch, below=(*_cells(scenario, group, groups, nodes), *below.get(group, ()))))
    trees = tuple(
        replace(_node(nodes[root], root, counts[root]), below=(*_cells(scenario, root, groups, nodes), *below.get(root, ()))) for root in roots
    )
    used = [link for _, link, _ in parents.values()]
    return trees, tuple(f"{' - '.join(ends)}: {', '.join(_link(link))}" for ends, link in links if link not in used)


def _parents(
    nodes: Sequence[NodeSpec], links: Sequence[tuple[tuple[str, ...], LinkSpec]], groups: dict[str, str]
) -> tuple[list[str], dict[str, tuple[str, LinkSpec, bool]]]:
    """The roots, and for every other group what it hangs on, by which link, and whether the link's `up` leads there."""
    roots: list[str] = []
    parents: dict[str, tuple[str, LinkSpec, bool]] = {}
    waiting = {groups[node.id] for node in nodes}
    for root in sorted(nodes, key=lambda node: -TIERS.index(node.tier)):
        frontier = [groups[root.id]] if groups[root.id] in waiting else []
        roots += frontier
        waiting -= {*frontier}
        while frontier:
            here = frontier.pop(0)
            for ends, link in links:
                there = ends[1] if ends[0] == here else ends[0] if ends[1] == here else ""
                if there in waiting:
                    parents[there] = (here, link, ends[1] == here)
                    frontier.append(there)
                    waiting.discard(there)
    return roots, parents


def _node(node: NodeSpec, group: str, count: int, link: tuple[str, ...] = ()) -> Branch:
    size = f" as of {format_count(node.parameters)}" if node.parameters else ""
    slots = f"{node.slots} slot{'' if node.slots == 1 else 's'}"
    return Branch(name=group, kind=node.tier, count=count, facts=(node.profile, f"{node.model}{size}", slots), link=link)


def _cells(scenario: Scenario, site: str, groups: dict[str, str], nodes: dict[str, NodeSpec]) -> Iterator[Branch]:
    for cell in scenario.cells:
        if groups.get(cell.at) == site:
            attached: dict[str, list[AttachSpec]] = {}
            for attach in scenario.attachments:
                if attach.cell == cell.id:
                    attached.setdefault(groups[attach.node], []).append(attach)
            devices = (_node(nodes[group], group, len(those), link=_radio(those[0])) for group, those in attached.items())
            yield Branch(name=cell.id, kind="cell", facts=_cell(cell), below=tuple(devices))


def _cell(cell: CellSpec) -> tuple[str, ...]:
    width = f"{format_frequency(cell.bandwidth_hz)}{'' if cell.tdd else ' each way'}, {format_frequency(cell.subcarrier_spacing_hz)}"
    busy = f"others take {cell.background_up:.0%} up, {cell.background_down:.0%} down" if cell.background_up or cell.background_down else ""
    return tuple(fact for fact in (width, cell.tdd or "FDD", cell.scheduler, busy) if fact)


def _radio(attach: AttachSpec) -> tuple[str, ...]:
    up = _file_name(attach.up_trace) or f"{attach.efficiency_up:g} bit/s/Hz"
    down = _file_name(attach.down_trace) or f"{attach.efficiency_down:g} bit/s/Hz"
    heard = (f"↑ {up}", f"↓ {down}") if attach.up_trace or attach.down_trace else (f"↑ {attach.efficiency_up:g} ↓ {down}",)
    moves = f"{attach.speed_m_per_s * 3.6:.3g} km/h" if attach.speed_m_per_s else ""
    handovers = [f"{change.to} at {format_duration(change.at_s)}" for change in attach.handovers]
    return tuple(fact for fact in (*heard, moves, *handovers) if fact)


def _file_name(trace: str) -> str:
    """Of a trace that is a file, without its folder."""
    return trace.rpartition("/")[2]


def _link(link: LinkSpec, *, upwards: bool = True) -> tuple[str, ...]:
    """Its rates as seen from the lower end, and its delay."""
    there = _file_name(link.up_trace) or format_rate(link.up_bps)
    back = _file_name(link.down_trace) or format_rate(link.down_bps)
    up, down = (there, back) if upwards else (back, there)
    loss = max(link.loss_up, link.loss_down)
    return (f"↑ {up} ↓ {down}", format_duration(link.delay_s), *([f"loss {100 * loss:.3g} %"] if loss else []))


def topology_text(scenario: Scenario) -> str:
    """The trees, with lines between them, for a terminal."""
    trees, left_out = topology(scenario)
    lines = [f"{scenario.name}: {scenario.description}", ""]
    for tree in trees:
        lines += [_line(tree), *_lines_below(tree, "")]
    if left_out:
        lines += ["", "also", *(f"  {line}" for line in left_out)]
    return "\n".join([*lines, "", _summary(scenario)])


def _lines_below(branch: Branch, indent: str) -> Iterator[str]:
    for number, each in enumerate(branch.below, start=1):
        last = number == len(branch.below)
        yield f"{indent}{'└── ' if last else '├── '}{_line(each)}"
        yield from _lines_below(each, indent + ("    " if last else "│   "))


def _line(branch: Branch) -> str:
    name = branch.name if branch.count == 1 else f"{branch.name} × {branch.count:,}"
    link = f"  [{', '.join(branch.link)}]" if branch.link else ""
    return f"{name}  {branch.kind}: {', '.join(branch.facts)}{link}"


def _summary(scenario: Scenario) -> str:
    poisson_per_s = sum(user.requests_per_s for user in scenario.users)
    traces = sorted({user.trace for user in scenario.users if user.trace})
    asked = [f"{len(scenario.users):,} users"] + ([f"{poisson_per_s:.3g} requests a second together"] if poisson_per_s else [])
    faults = f"; {len(scenario.faults)} faults" if scenario.faults else ""
    world = "; simulated world only" if scenario.simulation_only else ""
    return f"{len(scenario.nodes):,} nodes, {len(scenario.cells)} cells; {', '.join([*asked, *traces])}{faults}{world}"
