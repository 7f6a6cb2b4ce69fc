"""How an emulated network's links are shaped: the plan, and the shaper's work without the processes around it."""

from __future__ import annotations

import asyncio
import json
import socket
import urllib.request
from collections.abc import Awaitable, Callable
from contextlib import suppress
from dataclasses import replace
from pathlib import Path

import pytest

from netgpt.core.chance import SeededChance
from netgpt.core.errors import NotRunning, ScenarioInvalid, UsageError
from netgpt.network.medium import Packet
from netgpt.network.scenario_file import parse_scenario
from netgpt.wire.namespaces import check_namespaces
from netgpt.wire.shaper_control import link_rows
from netgpt.wire.shaper_network import LinkNetwork, find_routes
from netgpt.world.config import ShaperConfig
from netgpt.world.request import UpRequest
from netgpt.world.shaper import make_network, serve_shaper
from netgpt.world.shaping import PacketLinks, StreamLinks, check_packets, check_shaped, make_links

SCENARIO = """
name = "three"
default_node = "device1"
[[node]]
id = "cloud1"
tier = "cloud"
model = "netgpt-cloud"
profile = "cloud-server"
[[node]]
id = "edge1"
tier = "edge"
model = "netgpt-edge"
profile = "edge-server"
[[node]]
id = "device1"
tier = "device"
model = "netgpt-device"
profile = "phone"
[[link]]
between = ["device1", "edge1"]
up = "50Mbps"
down = "100Mbps"
delay = "5ms"
[[link]]
between = ["edge1", "cloud1"]
up = "1Gbps"
down = "1Gbps"
delay = "10ms"
"""
ISLAND = """
[[node]]
id = "edge2"
tier = "edge"
model = "netgpt-edge"
profile = "edge-server"
"""
KNOWN = {"shaper": {"port": 9, "keeper": 4711, "network device1": 5, "network cloud1": 6, "device1>cloud1": 7001, "device1>edge1": 7002}}


def test_in_mode_stream_each_door_finds_other_engines_at_ports_of_its_own() -> None:
    request = UpRequest(home="/home/n", scenario="three")
    links = StreamLinks(parse_scenario(SCENARIO + ISLAND, where="test"), request, {"cloud1": 1, "edge1": 2, "device1": 3, "edge2": 4})
    assert links.ways("device1", KNOWN) == {"127.0.0.1:1": "127.0.0.1:7001", "127.0.0.1:2": "127.0.0.1:7002", "127.0.0.1:4": ""}
    assert [links.engine_port(node) for node in ("cloud1", "device1")] == [1, 3]
    (stage,) = links.stages()
    first, again = stage[0].configure({}), stage[0].configure(KNOWN)
    assert ShaperConfig(**first).first_life  # type: ignore[arg-type]
    assert again["http_port"] == 9
    assert again["listen"]["device1>cloud1"] == 7001, "after a restart doors find it where it was"  # type: ignore[index]


def test_in_mode_packet_each_node_has_a_network_and_an_address() -> None:
    scenario = parse_scenario(SCENARIO, where="test")
    links = PacketLinks(scenario, UpRequest(home="/home/n", scenario="three"), {"device1": 8080})
    assert [links.host(name) for name in ("cloud1", "edge1", "device1", "controller")] == ["10.77.0.1", "10.77.0.2", "10.77.0.3", "10.77.0.4"]
    assert list(links.inside("cloud1", KNOWN))[-2:] == ["4711", "6"]
    assert links.ways("device1", KNOWN) == {}
    config = ShaperConfig(**links.stages()[0][0].configure({}))  # type: ignore[arg-type]
    network = make_network(config, scenario)
    assert network.route("controller", "cloud1") == (), "what the controller says crosses no link"
    assert [crossing.link.id for crossing in network.route("cloud1", "device1") or ()] == ["edge1-cloud1", "device1-edge1"]


def test_a_node_that_asks_a_server_outside_is_refused_in_mode_packet() -> None:
    asking = ISLAND.replace('profile = "edge-server"', 'profile = "edge-server"\nengine = "openai"\nupstream = "http://127.0.0.1:8000/v1"')
    with pytest.raises(UsageError, match="node 'edge2' asks http") as refused:
        check_packets(parse_scenario(SCENARIO + asking, where="test"))
    assert "--links stream" in refused.value.hint


def test_links_of_a_scenario_become_media_and_those_with_a_trace_cannot_be_set(tmp_path: Path) -> None:
    trace = tmp_path / "a.csv"
    trace.write_text("# unit: Mbps\n# period_s: 30\ntime_s,value\n0,20\n10,0\n20,40\n", encoding="utf-8")
    text = SCENARIO.replace('up = "50Mbps"', f'up_trace = "{trace}"').replace('delay = "10ms"', 'delay = "10ms"\nloss_up = "1%"\nloss_down = "1%"')
    traced, constant = make_links(parse_scenario(text, where="test"), SeededChance(1))
    assert (traced.settings.up_bps, traced.settings.down_bps, traced.adjustable) == (pytest.approx(20e6), 100e6, None)
    assert (constant.settings.loss, constant.settings.up_bps) == (0.01, 1e9)
    assert constant.adjustable is constant.medium
    assert traced.medium.offer(9.9999, "device1", "up", Packet(size_bytes=1000))
    assert traced.medium.next_s() > 20.005, "the outage is waited out, then the delay"


def test_each_direction_loses_its_own_share() -> None:
    text = SCENARIO.replace('delay = "5ms"', 'delay = "5ms"\nloss_up = "20%"\nloss_burst = 4\nqueue_up = "10s"\nqueue_down = "10s"')
    links = make_links(parse_scenario(text, where="test"), SeededChance(1))
    rows = link_rows(LinkNetwork(links, find_routes(links), full="hold"), 0.0)
    assert [(row["loss"], row["queue_limit_s"], row["adjustable"]) for row in rows[:2]] == [(0.2, 10.0, False), (0.0, 10.0, False)]
    medium = links[0].medium
    lost = {"up": 0, "down": 0}
    for number in range(20_000):
        for way in ("up", "down"):
            assert medium.offer(number * 0.01, "device1", way, Packet(size_bytes=100, reliable=False))
    for delivery in medium.advance(1e6):
        lost[delivery.direction] += delivery.lost
    assert lost["up"] == pytest.approx(4000, rel=0.15)
    assert lost["down"] == 0


def test_a_scenario_with_a_cell_is_refused_by_the_shaper() -> None:
    cell = '[[cell]]\nid = "c"\nat = "edge1"\nbandwidth = "100MHz"\n'
    with pytest.raises(ScenarioInvalid, match=r"^mine\.toml:\d+: cell 'c': the link shaper has no cells yet"):
        check_shaped(parse_scenario(SCENARIO + cell, where="mine.toml"))


# ---- the process's work


def shape(config: ShaperConfig, work: Callable[[dict[str, int]], Awaitable[None]]) -> None:
    """Run a shaper and, once it is ready, `work` with its ports."""

    async def main() -> None:
        ready: asyncio.Future[dict[str, int]] = asyncio.get_running_loop().create_future()
        stop = asyncio.Event()
        shaper = asyncio.ensure_future(serve_shaper(config, ready.set_result, stop))
        done, _ = await asyncio.wait([shaper, ready], return_when=asyncio.FIRST_COMPLETED)
        if shaper in done:
            shaper.result()
        await work(ready.result())
        stop.set()
        await shaper

    asyncio.run(main())


def config_in(folder: Path) -> ShaperConfig:
    (folder / "three.toml").write_text(SCENARIO)
    return ShaperConfig(home=str(folder / "home"), mode="stream", scenario=str(folder / "three.toml"), http_port=0)


async def echo(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    with suppress(ConnectionError):
        while data := await reader.read(1000):
            writer.write(data)
    writer.close()


async def say(reader: asyncio.StreamReader, writer: asyncio.StreamWriter, text: bytes = b"hello") -> None:
    writer.write(text)
    assert await reader.readexactly(len(text)) == text
    writer.close()


async def links_at(port: int) -> dict[tuple[str, str], int]:
    """Bytes charged, by (from, to)."""

    def read() -> bytes:
        with urllib.request.urlopen(f"http://127.0.0.1:{port}/api/v1/links", timeout=60) as reply:
            return reply.read()

    told = json.loads(await asyncio.to_thread(read))
    return {(row["from"], row["to"]): row["charged_bytes"] for row in told["links"]}


def test_in_mode_stream_ways_lead_to_engines_and_to_no_other_node(tmp_path: Path) -> None:
    with socket.socket() as reserved:
        reserved.bind(("127.0.0.1", 0))
        cloud = reserved.getsockname()[1]
    config = replace(config_in(tmp_path), engines={"cloud1": cloud, "edge1": 1, "device1": 1})

    async def work(ports: dict[str, int]) -> None:
        assert set(ports) - {"port"} == {f"{a}>{b}" for a in config.engines for b in config.engines if a != b}
        server = await asyncio.start_server(echo, "127.0.0.1", cloud)
        await say(*await asyncio.open_connection("127.0.0.1", ports["device1>cloud1"]))
        charged = await links_at(ports["port"])
        assert min(charged[way] for way in (("device1", "edge1"), ("edge1", "cloud1"), ("cloud1", "edge1"), ("edge1", "device1"))) > 100
        await say(*await asyncio.open_connection("127.0.0.1", ports["edge1>cloud1"]))
        assert (await links_at(ports["port"]))["device1", "edge1"] < 2 * charged["device1", "edge1"], "the edge's calls start at the edge"
        server.close()

    shape(config, work)


def test_a_shaper_of_mode_stream_comes_back_at_its_ports(tmp_path: Path) -> None:
    config = replace(config_in(tmp_path), engines={"cloud1": 1, "edge1": 1, "device1": 1})
    lives: list[dict[str, int]] = []

    async def work(ports: dict[str, int]) -> None:
        lives.append(ports)

    shape(config, work)
    ways = {name: port for name, port in lives[0].items() if name != "port"}
    shape(replace(config, first_life=False, listen=ways, http_port=lives[0]["port"]), work)
    assert lives[0] == lives[1]


def test_in_mode_packet_users_of_this_machine_reach_doors_inside(tmp_path: Path) -> None:
    try:
        check_namespaces()
    except UsageError as error:
        pytest.skip(error.message)
    with socket.socket() as reserved:
        reserved.bind(("127.0.0.1", 0))
        door = reserved.getsockname()[1]
    config = replace(config_in(tmp_path), mode="packet", doors={"device1": door})

    async def work(ports: dict[str, int]) -> None:
        assert {"keeper", "network device1", "network cloud1", "network edge1", "network controller"} < set(ports)
        reader, writer = await asyncio.open_connection("127.0.0.1", door)
        with pytest.raises(ConnectionResetError):  # inside nothing listens
            await reader.read()
        writer.close()
        assert set((await links_at(ports["port"])).values()) == {0}, "users cross no link"

    shape(config, work)


def test_mode_packet_does_not_begin_again(tmp_path: Path) -> None:
    """A shaper that is restarted would make other networks than the nodes' processes are in."""
    with pytest.raises(NotRunning, match="the link shaper died, and the nodes' networks with it"):
        shape(replace(config_in(tmp_path), mode="packet", first_life=False), lambda ports: asyncio.sleep(0))
