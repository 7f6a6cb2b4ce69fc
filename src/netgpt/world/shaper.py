"""The link shaper's process: the scenario's links in one of two modes, and an API that shows and sets them.

Its API is HTTP on loopback behind the home's keys, as every server's. The links are the scenario's at each start:
what was set lives as long as the process.
"""

from __future__ import annotations

import asyncio
import math
import socket
from collections.abc import Callable
from contextlib import ExitStack
from dataclasses import replace

from netgpt.core.chance import SystemChance
from netgpt.core.clock import ElapsedClock, WallClock
from netgpt.core.errors import NotRunning
from netgpt.network.scenario import Scenario
from netgpt.network.scenario_file import load_scenario
from netgpt.telemetry.metrics import Metrics
from netgpt.wire.namespaces import Namespaces
from netgpt.wire.shaper_datagram import DatagramShaper
from netgpt.wire.shaper_network import LinkNetwork
from netgpt.wire.shaper_packet import PacketShaper
from netgpt.wire.shaper_pump import Pump
from netgpt.wire.shaper_stream import StreamShaper, Way, listening_socket
from netgpt.world.config import LOOPBACK, ShaperConfig
from netgpt.world.runstate import CONTROLLER
from netgpt.world.serve import Ready, make_guard
from netgpt.world.shaping import make_links, network_key, network_names, reachable

TICK_S = 0.005
OUTSIDE = "this machine"  # where users of doors are, in mode `packet`
# What a cell can tell apart is what packet filters can (TS 23.501 clause 5.7.1): a connection is one flow, whatever calls share it.
CONNECTION_FLOW = "token"  # all that doors say to engines over gRPC
DATAGRAM_FLOW = "draft"  # 5QI 83, in unacknowledged mode


async def serve_shaper(config: ShaperConfig, ready: Ready, stop: asyncio.Event) -> None:
    """Shape until `stop`.

    Raises:
        UsageError: mode `packet` is not permitted.
        NotRunning: mode `packet` begins again: the namespaces that the other processes are in went with its first life.
    """
    from netgpt.api.links import create_links_app
    from netgpt.api.server import serve_http

    if config.mode == "packet" and not config.first_life:
        raise NotRunning("the link shaper died, and the nodes' networks with it", hint="start the network again: netgpt up")
    clock, metrics = WallClock(), Metrics()
    guard = make_guard(config, clock, metrics)
    with ExitStack() as stack:
        scenario = load_scenario(config.scenario)
        network = make_network(config, scenario)
        loaded = any(cell.background_up or cell.background_down for cell in scenario.cells)
        pump = Pump(network, ElapsedClock(clock), tick_s=TICK_S if loaded else math.inf)  # traces and handovers begin now
        pump.run()
        stack.callback(pump.close)
        ports, own_bytes = (_stream if config.mode == "stream" else _packet)(config, scenario, pump, stack)
        app = create_links_app(pump, mode=config.mode, own_bytes=own_bytes, guard=guard)
        await serve_http(app, host=LOOPBACK, port=config.http_port, ready=lambda port: ready({"port": port, **ports}), stop=stop)


def make_network(config: ShaperConfig, scenario: Scenario) -> LinkNetwork:
    """The links and the ways across them; in mode `packet` also those that cost nothing: to the controller, and from users to doors."""
    links = make_links(scenario, SystemChance())
    if config.mode == "stream":
        return LinkNetwork(links, full="hold")
    pairs = [(name, other) for name in network_names(scenario) for other in (CONTROLLER, OUTSIDE)]
    return LinkNetwork(links, full="drop", free=[*pairs, *((other, name) for name, other in pairs)])


def _stream(config: ShaperConfig, scenario: Scenario, pump: Pump, stack: ExitStack) -> tuple[dict[str, int], Callable[[], int]]:
    """A port for each way to another node's engine, for connections and for datagrams."""
    shaper, datagrams = StreamShaper(pump), DatagramShaper(pump)
    stack.callback(shaper.close)
    stack.callback(datagrams.close)
    ports = {}
    for source, target in reachable(list(pump.network.links.values())):
        address = (LOOPBACK, config.engines[target])
        way = Way(source=source, target=target, address=address, port=config.listen.get(f"{source}>{target}", 0), flow=CONNECTION_FLOW)
        ports[way.name] = shaper.listen(way)
        datagrams.listen(replace(way, port=ports[way.name], flow=DATAGRAM_FLOW))
    return ports, lambda: shaper.own_bytes


def _packet(config: ShaperConfig, scenario: Scenario, pump: Pump, stack: ExitStack) -> tuple[dict[str, int], Callable[[], int]]:
    """A namespace for each node and the controller, and a way in from this machine to what they serve to users."""
    networks = stack.enter_context(Namespaces())
    for name in network_names(scenario):
        networks.add(name)
    packets = PacketShaper(pump, networks.tuns, networks.addresses, flow=CONNECTION_FLOW, datagram_flow=DATAGRAM_FLOW)
    stack.callback(packets.close)

    def open_inside(way: Way) -> socket.socket:
        return networks.socket(way.target)

    doors = StreamShaper(pump, open_socket=open_inside)
    stack.callback(doors.close)
    for name, port in config.doors.items():
        way = Way(source=OUTSIDE, target=name, address=(LOOPBACK, port), host=config.door_host, port=port)
        doors.serve(way, listening_socket(way))
    known = networks.networks()
    keeper = next(pid for pid, _ in known.values())
    return {"keeper": keeper, **{network_key(name): handle for name, (_, handle) in known.items()}}, lambda: doors.own_bytes
