"""What of a scenario a world can run: the rest is refused before anything starts, or told where it changes little.

The emulated world has a process or two for every node.
"""

from __future__ import annotations

from collections.abc import Iterable

from netgpt.network.scenario import TIERS, LinkSpec, NodeSpec, Scenario
from netgpt.network.scenario_key import refusal

MOST_EMULATED_NODES = 16  # two processes each, beside the controller's


def check_simulated(scenario: Scenario) -> list[str]:
    """What the simulated world leaves out of this scenario, one line each.

    Raises:
        ScenarioInvalid: something of it would change the results; named with file and line.
    """
    for node in scenario.nodes:
        if node.asks_upstream:
            hint = "start it with netgpt up, or record the upstream and replay it: netgpt record"
            raise refusal(node.place, "upstream", f"node {node.id!r} asks an upstream, which no virtual clock can wait for", hint)
    _check_joined(scenario)
    return [text for links, text in _left_out(scenario) if links]


def _left_out(scenario: Scenario) -> list[tuple[list[str], str]]:
    def named(links: Iterable[LinkSpec]) -> list[str]:
        return list(dict.fromkeys("-".join(link.group) if all(link.group) else link.id for link in links))

    def having(*keys: str) -> list[str]:
        return named(link for link in scenario.links if any(getattr(link, key) for key in keys))

    in_cells = {attach.node for attach in scenario.attachments}
    unused = named(link for link in scenario.links if in_cells.intersection(link.between))
    loss = having("loss_up", "loss_down")
    return [
        (loss, f"nothing is sent as a datagram yet, so nothing is lost: {', '.join(loss)}"),
        (unused, f"devices in cells are reached over the air alone, so these carry nothing: {', '.join(unused)}"),
    ]


def controller_site(scenario: Scenario) -> NodeSpec:
    """The node beside which the controller stands: the first of the highest tier."""
    return next(node for tier in reversed(TIERS) for node in scenario.nodes if node.tier == tier)


def _check_joined(scenario: Scenario) -> None:
    """Every node has a path to the controller, from each cell that it comes to, or it could never join."""
    site = controller_site(scenario)
    reached, frontier = {site.id}, [site.id]
    links_of: dict[str, list[LinkSpec]] = {}
    for link in scenario.links:
        for end in link.between:
            links_of.setdefault(end, []).append(link)
    while frontier:
        for link in links_of.get(frontier.pop(), ()):
            fresh = set(link.between) - reached
            reached |= fresh
            frontier += fresh
    for cell in scenario.cells:
        if cell.at not in reached:
            hint = f'add a [[link]], such as between = ["{cell.at}", "{site.id}"]'
            raise refusal(cell.place, "at", f"cell {cell.id!r} has no path from {cell.at!r} to {site.id!r}, where the controller stands", hint)
    reached |= {attach.node for attach in scenario.attachments}
    for node in scenario.nodes:
        if node.id not in reached:
            hint = f'add a [[link]], such as between = ["{node.id}", "{site.id}"]'
            raise refusal(node.place, "id", f"node {node.id!r} has no path to {site.id!r}, where the controller stands", hint)


def check_emulated(scenario: Scenario) -> None:
    """Raises:
    ScenarioInvalid: this machine cannot run it in real time; named with file and line.
    """
    if scenario.simulation_only:
        raise refusal(scenario.place, "simulation_only", _too_large(scenario, "and is for the simulated world only"), _simulate(scenario))
    if len(scenario.nodes) > MOST_EMULATED_NODES:
        counts: dict[str, int] = {}
        for node in scenario.nodes:
            counts[node.group] = counts.get(node.group, 0) + 1
        largest = max(scenario.nodes, key=lambda node: counts[node.group])
        message = _too_large(scenario, f"and netgpt up starts two processes for each: it takes at most {MOST_EMULATED_NODES}")
        raise refusal(largest.place, "count", message, f"{_simulate(scenario)}, or lower the count")


def _too_large(scenario: Scenario, more: str) -> str:
    return f"{scenario.name!r} has {len(scenario.nodes):,} nodes {more}"


def _simulate(scenario: Scenario) -> str:
    return f"run it under the virtual clock: netgpt simulate {scenario.place.file.removesuffix('.toml') or scenario.name}"
