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
from netgpt.wire.shaper_link import RadioHop
from netgpt.wire.shaper_network import LinkNetwork
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


def test_links_of_a_scenario_become_media_and_follow_its_traces(tmp_path: Path) -> None:
    trace = tmp_path / "a.csv"
    trace.write_text("# unit: Mbps\n# period_s: 30\ntime_s,value\n0,20\n10,0\n20,40\n", encoding="utf-8")
    text = SCENARIO.replace('up = "50Mbps"', f'up_trace = "{trace}"').replace('delay = "10ms"', 'delay = "10ms"\nloss_up = "1%"\njitter_down = "2ms"')
    traced, constant = make_links(parse_scenario(text, where="test"), SeededChance(1))
    assert (traced.rate_bps("up"), traced.rate_bps("down")) == (pytest.approx(20e6), 100e6)
    up, down = (constant.facts(way) for way in ("up", "down"))
    assert (up["loss"], down["loss"], up["jitter_s"], down["jitter_s"], constant.rate_bps("up")) == (0.01, 0.0, 0.0, 0.002, 1e9)
    assert traced.medium.offer(9.9999, "device1", "up", Packet(size_bytes=1000))
    assert traced.medium.next_s() > 20.005, "the outage is waited out, then the delay"


def test_each_direction_loses_its_own_share() -> None:
    text = SCENARIO.replace('delay = "5ms"', 'delay = "5ms"\nloss_up = "20%"\nloss_burst = 4\nqueue_up = "10s"\nqueue_down = "10s"')
    links = make_links(parse_scenario(text, where="test"), SeededChance(1))
    rows = link_rows(LinkNetwork(links, full="hold"), 0.0)
    assert [(pytest.approx(row["loss"]), row["queue_limit_s"], row["adjustable"]) for row in rows[:2]] == [(0.2, 10.0, True), (0.0, 10.0, True)]
    medium = links[0].medium
    lost = {"up": 0, "down": 0}
    for number in range(20_000):
        for way in ("up", "down"):
            assert medium.offer(number * 0.01, "device1", way, Packet(size_bytes=100, reliable=False))
    for delivery in medium.advance(1e6):
        lost[delivery.direction] += delivery.lost
    assert lost["up"] == pytest.approx(4000, rel=0.15)
    assert lost["down"] == 0


CELLS = """
[[node]]
id = "edge2"
tier = "edge"
model = "netgpt-edge"
profile = "edge-server"
[[node]]
id = "car"
tier = "device"
count = 2
model = "netgpt-device"
profile = "phone"
[[cell]]
id = "west"
at = "edge1"
bandwidth = "20MHz"
tdd = "DDDSU"
[[cell]]
id = "east"
at = "edge2"
bandwidth = "20MHz"
tdd = "DDDSU"
[[attach]]
node = "car"
cell = "west"
efficiency_up = 2.0
efficiency_down = 4.0
handover = [{ at = "2s", to = "east" }]
"""
RING = """
[[link]]
between = ["edge1", "edge2"]
up = "1Gbps"
down = "1Gbps"
delay = "1ms"
"""


def test_a_device_may_change_to_cells_whose_sites_links_join_alone() -> None:
    check_shaped(parse_scenario(SCENARIO + CELLS + RING, where="mine.toml"))
    said = r"^mine\.toml:\d+: 'car1' is handed over from 'edge1' to 'edge2', which no links join"
    with pytest.raises(ScenarioInvalid, match=said) as refused:
        check_shaped(parse_scenario(SCENARIO + CELLS, where="mine.toml"))
    assert 'between = ["edge1", "edge2"]' in refused.value.hint


def test_devices_in_cells_share_one_medium_and_cannot_be_set() -> None:
    links = make_links(parse_scenario(SCENARIO + CELLS + RING, where="mine.toml"), SeededChance(1))
    first, second = (link for link in links if isinstance(link, RadioHop))
    assert (first.id, first.ends, first.medium is second.medium) == ("car1-radio", ("car1", "edge1"), True)
    network = LinkNetwork(links, full="hold")
    row = next(row for row in link_rows(network, 0.0) if row["link"] == "car1-radio")
    assert (row["kind"], row["cell"], row["from"], row["to"], row["rlc"]) == ("radio", "west", "car1", "edge1", "am, datagrams um")
    assert row["rate_bps"] == pytest.approx(first.medium.rate_bps("car1", "up"))
    with pytest.raises(UsageError, match="'car1-radio' cannot be set: its rate is what cell 'west' gives 'car1'") as refused:
        network.find("edge1-car1").wires()
    assert "start again" in refused.value.hint


def test_a_handover_moves_a_devices_way_and_what_is_on_it_follows() -> None:
    """Told in virtual time; the end of the first device's uplink and of its downlink are in order, none is missing."""
    links = make_links(parse_scenario(SCENARIO + CELLS + RING, where="mine.toml"), SeededChance(1))
    network = LinkNetwork(links, full="hold")
    ways = (("car1", "device1"), ("device1", "car1"))
    arrived: dict[str, list[int]] = {source: [] for source, _ in ways}
    sent, now_s = 0, 1.9
    assert [crossing.link.id for crossing in network.route("car1", "device1") or ()] == ["car1-radio", "device1-edge1"]
    while min(map(len, arrived.values())) < 300:
        if now_s < 2.2 and now_s - 1.9 >= sent * 1e-3 - 1e-9:
            for source, target in ways:
                network.offer(now_s, source, target, Packet(size_bytes=1500, flow="token", content=(source, sent)))
            sent += 1
        for arrival in network.advance(now_s):
            source, number = arrival.content
            arrived[source].append(number)
        now_s = min(max(network.next_s(), now_s), 1.9 + sent * 1e-3) if sent < 300 else network.next_s()
    assert [crossing.link.id for crossing in network.route("car1", "device1") or ()] == ["car1-radio", "edge1-edge2", "device1-edge1"]
    assert [sorted(numbers) for numbers in arrived.values()] == [list(range(300))] * 2
    assert network.unrouted == 0


def test_a_neighbours_upload_lowers_a_users_rate() -> None:
    def carried(*senders: str) -> int:
        links = make_links(parse_scenario(SCENARIO + CELLS + RING, where="mine.toml"), SeededChance(1))
        network, now_s = LinkNetwork(links, full="hold"), 0.0
        while now_s < 1.0:
            for sender in senders:
                while network.backlog(network.find(f"{sender}-radio"), "up").bytes < 60_000:
                    network.offer(now_s, sender, "edge1", Packet(size_bytes=1500, flow="token"))
            network.advance(now_s)
            now_s += 0.005
        return network.find("car1-radio").carried["up"].delivered_bytes

    assert carried("car1", "car2") == pytest.approx(carried("car1") / 2, rel=0.05)


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
