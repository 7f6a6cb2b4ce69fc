"""How the nodes of an emulated network reach each other: directly, or through the link shaper in one of its modes.

The plan asks here where things listen and where others find them. Directly, all is loopback. In mode `stream` each
node finds the other nodes' engines at ports of the shaper. In mode `packet` each node's processes run in a network
namespace, at an address of its own. What the controller is asked and says crosses no link: it stands at no node. Devices in
cells reach the site of the cell that serves them over the air, all of them by one medium, so that they compete.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Mapping, Sequence
from functools import cache
from typing import Literal, Protocol

from netgpt.core.chance import Chance
from netgpt.core.errors import UsageError
from netgpt.network.medium import Direction
from netgpt.network.radio import Radio
from netgpt.network.scenario import AttachSpec, LinkSpec, Scenario
from netgpt.network.scenario_key import refusal
from netgpt.network.trace import Trace
from netgpt.network.trace_file import load_trace
from netgpt.wire.namespaces import check_namespaces, enter_command, node_address
from netgpt.wire.routed_transport import NO_WAY
from netgpt.wire.shaper_link import DEFAULT_QUEUE_S, RadioHop, ShapedLink, Wire, plain_wires
from netgpt.wire.shaper_routes import Routes
from netgpt.world.config import LOOPBACK, ShaperConfig
from netgpt.world.described import one_ways, seed_of
from netgpt.world.request import UpRequest
from netgpt.world.runstate import CONTROLLER, SHAPER
from netgpt.world.supervisor import Ports, ProcessSpec


class Links(Protocol):
    """Where processes listen and find each other."""

    def stages(self) -> list[list[ProcessSpec]]:
        """What must run before all others."""
        ...

    def host(self, node: str) -> str:
        """The address at which a node's engine, or the controller, listens for gRPC."""
        ...

    def engine_port(self, node: str) -> int:
        """The port at which it listens first; 0: any free one."""
        ...

    def ways(self, node: str, known: Ports) -> dict[str, str]:
        """For a node's door: other engines' addresses, and where to call instead."""
        ...

    def inside(self, node: str, known: Ports) -> Sequence[str]:
        """What goes before a command of the node."""
        ...


class DirectLinks:
    """No shaper: all processes meet on loopback."""

    def stages(self) -> list[list[ProcessSpec]]:
        return []

    def host(self, node: str) -> str:
        return LOOPBACK

    def engine_port(self, node: str) -> int:
        return 0

    def ways(self, node: str, known: Ports) -> dict[str, str]:
        return {}

    def inside(self, node: str, known: Ports) -> Sequence[str]:
        return ()


class StreamLinks(DirectLinks):
    """Through a proxy on loopback. Engines' ports are chosen beforehand, since the shaper starts first."""

    def __init__(self, scenario: Scenario, request: UpRequest, engine_ports: Mapping[str, int]) -> None:
        self._scenario = scenario
        self._request = request
        self._engine_ports = engine_ports

    def stages(self) -> list[list[ProcessSpec]]:
        def configure(known: Ports) -> dict[str, object]:
            before = known.get(SHAPER, {})
            ways = {name: port for name, port in before.items() if name != "port"}
            return _told(self._request, "stream", known, engines=self._engine_ports, listen=ways)

        return [[_process(configure)]]

    def engine_port(self, node: str) -> int:
        return self._engine_ports[node]

    def ways(self, node: str, known: Ports) -> dict[str, str]:
        found = known[SHAPER]
        return {
            f"{LOOPBACK}:{port}": f"{LOOPBACK}:{found[way]}" if (way := way_name(node, other)) in found else NO_WAY
            for other, port in self._engine_ports.items()
            if other != node
        }


class PacketLinks(DirectLinks):
    """Each node in a network namespace; the shaper owns them, and lets this machine's users in to the doors."""

    def __init__(self, scenario: Scenario, request: UpRequest, http_ports: Mapping[str, int]) -> None:
        """Args:
        http_ports: of the doors by node, and of the controller.
        """
        self._request = request
        self._http_ports = http_ports
        self._addresses = {name: node_address(number) for number, name in enumerate(network_names(scenario))}

    def stages(self) -> list[list[ProcessSpec]]:
        def configure(known: Ports) -> dict[str, object]:
            return _told(self._request, "packet", known, doors=self._http_ports, door_host=self._request.host)

        return [[_process(configure)]]

    def host(self, node: str) -> str:
        return self._addresses[node]

    def inside(self, node: str, known: Ports) -> Sequence[str]:
        return enter_command(known[SHAPER]["keeper"], known[SHAPER][network_key(node)])


def way_name(source: str, target: str) -> str:
    return f"{source}>{target}"


def network_key(name: str) -> str:
    """Under which the shaper says how a network is entered."""
    return f"network {name}"


def network_names(scenario: Scenario) -> list[str]:
    """What has a network of its own in mode `packet`."""
    return [*(node.id for node in scenario.nodes), CONTROLLER]


def make_links(scenario: Scenario, chance: Chance) -> list[ShapedLink]:
    """The scenario's links and its devices' hops to their cells as media, idle.

    Raises:
        UsageError: a trace that cannot be read, or has no rates.
        ScenarioInvalid: a cell with a bandwidth that its numerology does not have.
    """
    load = cache(load_trace)
    links: list[ShapedLink] = [_wire(spec, load, seed_of(chance, f"link.{spec.id}")) for spec in scenario.links]
    if scenario.attachments:
        radio = Radio(scenario, seed=seed_of(chance, "radio"))
        links += [RadioHop(device, radio) for device in radio.stations]
    return links


def _wire(spec: LinkSpec, load: Callable[[str], Trace], seed: int) -> Wire:
    names: dict[Direction, str] = {"up": spec.up_trace, "down": spec.down_trace}
    means_bps: dict[Direction, float] = {way: _mean_bps(load(name)) for way, name in names.items() if name}
    return Wire(spec.between, one_ways(spec, load, default_queue_s=DEFAULT_QUEUE_S), seed=seed, mean_bps=means_bps)


def _mean_bps(trace: Trace) -> float:
    return float(trace.binned(trace.period_s).of().values[0])


def check_shaped(scenario: Scenario) -> None:
    """Refuse what no mode of the shaper has.

    Raises:
        ScenarioInvalid: names file and line.
    """
    sites = {cell.id: cell.at for cell in scenario.cells}
    joined = {frozenset(pair) for pair in reachable(_still(scenario))}
    for attach in scenario.attachments:
        _check_handovers(attach, sites, joined)


def _check_handovers(attach: AttachSpec, sites: Mapping[str, str], joined: set[frozenset[str]]) -> None:
    """What is on its way when a device changes its cell has to follow it."""
    here = sites[attach.cell]
    for change in attach.handovers:
        there = sites[change.to]
        if here != there and frozenset((here, there)) not in joined:
            message = f"{attach.node!r} is handed over from {here!r} to {there!r}, which no links join: what is on its way would be lost"
            raise refusal(attach.place, "handover", message, f'add a [[link]] with between = ["{here}", "{there}"]')
        here = there


def _still(scenario: Scenario) -> list[ShapedLink]:
    """The wires alone, without their traces: who is joined does not depend on rates."""
    return [Wire(spec.between, plain_wires(delay_s=spec.delay_s)) for spec in scenario.links]


def reachable(links: Sequence[ShapedLink]) -> list[tuple[str, str]]:
    """All pairs of different nodes that links join."""
    return Routes(links).pairs()


def check_packets(scenario: Scenario) -> None:
    """Refuse mode `packet` where it cannot work.

    Raises:
        UsageError: a node asks a server outside its namespace, or namespaces are not permitted.
    """
    for node in scenario.nodes:
        if node.asks_upstream:
            hint = "shape with a proxy: netgpt up --links stream"
            raise UsageError(f"node {node.id!r} asks {node.upstream}, which its network namespace does not reach", hint=hint, param="links")
    check_namespaces()


def _told(request: UpRequest, mode: Literal["stream", "packet"], known: Ports, **more: object) -> dict[str, object]:
    port, first = known.get(SHAPER, {}).get("port", 0), SHAPER not in known
    config = ShaperConfig(home=request.home, mode=mode, scenario=request.scenario, http_port=port, first_life=first)
    return dataclasses.asdict(config) | {name: dict(value) if isinstance(value, Mapping) else value for name, value in more.items()}


def _process(configure: Callable[[Ports], Mapping[str, object]]) -> ProcessSpec:
    return ProcessSpec(name=SHAPER, node=None, tier=None, role=SHAPER, model=None, port=None, configure=configure)
