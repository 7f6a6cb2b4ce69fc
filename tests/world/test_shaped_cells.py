"""Cells in real time, in both modes of the link shaper: users compete, handovers lose nothing, datagrams may get lost."""

from __future__ import annotations

import asyncio
import hashlib
import socket
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Coroutine
from contextlib import asynccontextmanager, suppress
from typing import Any

import pytest
import uvloop

from netgpt.core.chance import SeededChance
from netgpt.core.clock import ElapsedClock, WallClock
from netgpt.core.errors import UsageError
from netgpt.network.scenario import Scenario
from netgpt.network.scenario_file import parse_scenario
from netgpt.wire.namespaces import Namespaces, check_namespaces
from netgpt.wire.shaper_datagram import DatagramShaper
from netgpt.wire.shaper_network import LinkNetwork
from netgpt.wire.shaper_packet import PacketShaper
from netgpt.wire.shaper_pump import Pump
from netgpt.wire.shaper_stream import StreamShaper, Way
from netgpt.world.shaper import CONNECTION_FLOW, DATAGRAM_FLOW, TICK_S
from netgpt.world.shaping import make_links

SCENARIO = """
name = "two-cells"
default_node = "car1"
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
queue = "200ms"
[[cell]]
id = "east"
at = "edge2"
bandwidth = "20MHz"
tdd = "DDDSU"
queue = "200ms"
handover_interruption = "10ms"
[[attach]]
node = "car1"
cell = "west"
efficiency_up = 2.0
efficiency_down = 4.0
[[attach]]
node = "car2"
cell = "west"
efficiency_up = 2.0
efficiency_down = 4.0
[[link]]
between = ["edge1", "edge2"]
up = "1Gbps"
down = "1Gbps"
delay = "80ms"
[[link]]
between = ["edge1", "cloud1"]
up = "1Gbps"
down = "1Gbps"
delay = "30ms"
[[link]]
between = ["edge2", "cloud1"]
up = "1Gbps"
down = "1Gbps"
delay = "100ms"
"""
PORT = 5000
Serve = Callable[[asyncio.StreamReader, asyncio.StreamWriter], Awaitable[None]]


@pytest.fixture(params=["stream", "packet"])
def mode(request: pytest.FixtureRequest) -> str:
    if request.param == "packet":
        try:
            check_namespaces()
        except UsageError as error:
            pytest.skip(error.message)
    return request.param


class World:
    """A scenario's links in a mode, shaped by the machine's clock, and sockets at its nodes."""

    def __init__(self, network: LinkNetwork) -> None:
        self.network = network
        self.open: list[Any] = []  # what is to be closed at the end

    async def talk(self, source: str, target: str, serve: Serve) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
        """A server at one node, and a connection to it from another."""
        raise NotImplementedError

    async def datagrams(self, source: str, target: str) -> tuple[socket.socket, Callable[[bytes], object]]:
        """A socket that receives at one node, and what sends to it from another."""
        raise NotImplementedError

    async def connection(self, caller: socket.socket) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
        reader, writer = await asyncio.open_connection(sock=caller)
        self.open.append(writer.transport)
        return reader, writer

    def watched(self, serve: Serve) -> Serve:
        def serving(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> Awaitable[None]:
            self.open.append(writer.transport)
            return serve(reader, writer)

        return serving

    async def close(self) -> None:
        for each in self.open:
            getattr(each, "abort", each.close)()
        await asyncio.sleep(0.05)  # for the ends of connections to be seen

    def carried(self, device: str) -> int:
        return self.network.find(f"{device}-radio").carried["up"].delivered_bytes


class StreamWorld(World):
    def __init__(self, pump: Pump) -> None:
        super().__init__(pump.network)
        self.shaper, self.relay = StreamShaper(pump), DatagramShaper(pump)

    async def talk(self, source: str, target: str, serve: Serve) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
        server = await asyncio.start_server(self.watched(serve), "127.0.0.1", 0)
        way = Way(source=source, target=target, address=server.sockets[0].getsockname(), flow=CONNECTION_FLOW)
        self.open.append(server)
        return await self.connection(socket.create_connection(("127.0.0.1", self.shaper.listen(way))))

    async def datagrams(self, source: str, target: str) -> tuple[socket.socket, Callable[[bytes], object]]:
        inlet, outlet = socket.socket(type=socket.SOCK_DGRAM), socket.socket(type=socket.SOCK_DGRAM)
        outlet.bind(("127.0.0.1", 0))
        self.open += [inlet, outlet]
        port = self.relay.listen(Way(source=source, target=target, address=outlet.getsockname(), flow=DATAGRAM_FLOW))
        return outlet, lambda data: inlet.sendto(data, ("127.0.0.1", port))

    async def close(self) -> None:
        await super().close()
        self.shaper.close()
        self.relay.close()


class PacketWorld(World):
    def __init__(self, pump: Pump, inside: Namespaces) -> None:
        super().__init__(pump.network)
        self.inside = inside
        self.shaper = PacketShaper(pump, inside.tuns, inside.addresses, flow=CONNECTION_FLOW, datagram_flow=DATAGRAM_FLOW)

    async def talk(self, source: str, target: str, serve: Serve) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
        listener = self.inside.socket(target)
        listener.bind((self.inside.addresses[target], 0))
        self.open.append(await asyncio.start_server(self.watched(serve), sock=listener))
        caller = self.inside.socket(source)
        caller.setblocking(False)
        await asyncio.get_running_loop().sock_connect(caller, listener.getsockname())
        return await self.connection(caller)

    async def datagrams(self, source: str, target: str) -> tuple[socket.socket, Callable[[bytes], object]]:
        inlet, outlet = self.inside.socket(source, socket.SOCK_DGRAM), self.inside.socket(target, socket.SOCK_DGRAM)
        outlet.bind((self.inside.addresses[target], PORT))
        self.open += [inlet, outlet]
        return outlet, lambda data: inlet.sendto(data, outlet.getsockname())

    async def close(self) -> None:
        await super().close()
        self.shaper.close()


@asynccontextmanager
async def world(mode: str, scenario: Scenario) -> AsyncIterator[World]:
    links = make_links(scenario, SeededChance(1))
    if mode == "stream":
        pump = Pump(LinkNetwork(links, full="hold"), ElapsedClock(WallClock()), tick_s=TICK_S)
        made = StreamWorld(pump)
        yield made
        await made.close()
        pump.close()
        return
    with Namespaces() as inside:
        for node in scenario.nodes:
            inside.add(node.id)
        pump = Pump(LinkNetwork(links, full="drop"), ElapsedClock(WallClock()), tick_s=TICK_S)
        packets = PacketWorld(pump, inside)
        yield packets
        await packets.close()
        pump.close()


def run(work: Coroutine[Any, Any, Any]) -> Any:
    async def within() -> Any:
        async with asyncio.timeout(100):
            return await work

    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        return runner.run(within())


def scenario_with(old: str = "", new: str = "") -> Scenario:
    """The scenario, with some of its text replaced."""
    assert old in SCENARIO
    return parse_scenario(SCENARIO.replace(old, new) if old else SCENARIO, where="test")


async def sink(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    with suppress(ConnectionError):
        while await reader.read(65536):
            pass
    writer.close()


async def echo(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    with suppress(ConnectionError):
        while data := await reader.read(65536):
            writer.write(data)
            await writer.drain()
    writer.close()


async def pour(writer: asyncio.StreamWriter) -> None:
    """Send for ever."""
    with suppress(ConnectionError):
        while True:
            writer.write(bytes(16_384))
            await writer.drain()


def test_a_neighbours_upload_lowers_a_users_rate(mode: str) -> None:
    async def work() -> tuple[float, float]:
        async with world(mode, scenario_with()) as made:

            async def rate() -> float:
                await asyncio.sleep(0.7)
                begin_s, before = time.monotonic(), made.carried("car1")
                await asyncio.sleep(1.5)
                return (made.carried("car1") - before) / (time.monotonic() - begin_s)

            _, first = await made.talk("car1", "edge1", sink)
            tasks = [asyncio.ensure_future(pour(first))]
            alone = await rate()
            _, second = await made.talk("car2", "edge1", sink)
            tasks.append(asyncio.ensure_future(pour(second)))
            together = await rate()
            for task in tasks:
                task.cancel()
            await asyncio.sleep(0)
            return alone, together

    alone, together = run(work())
    assert together == pytest.approx(alone / 2, rel=0.2)


def test_a_handover_in_the_middle_of_a_stream_loses_nothing(mode: str) -> None:
    """To a site from which the way is another, and longer, one; back it is the shorter one that comes later, so that packets overtake."""
    changes = '[{ at = "0.6s", to = "east" }, { at = "1.1s", to = "west" }]'
    scenario = scenario_with('node = "car1"\ncell', f'node = "car1"\nhandover = {changes}\ncell')
    data = SeededChance(3).stream("content").bytes(1_500_000)

    async def work() -> tuple[bytes, LinkNetwork]:
        async with world(mode, scenario) as made:
            reader, writer = await made.talk("car1", "cloud1", echo)
            came = asyncio.ensure_future(reader.readexactly(len(data)))
            writer.write(data)
            await writer.drain()
            return await came, made.network

    came, network = run(work())
    assert hashlib.sha256(came).digest() == hashlib.sha256(data).digest()
    assert [crossing.link.id for crossing in network.route("car1", "cloud1") or ()] == ["car1-radio", "edge1-cloud1"]
    assert min(network.find(link).carried["up"].delivered_bytes for link in ("edge1-cloud1", "edge2-cloud1")) > 50_000, "both ways had their part"
    assert network.unrouted == 0


def test_datagrams_get_lost_on_the_air_and_connections_do_not(mode: str) -> None:
    """Unacknowledged RLC gives up what HARQ has."""
    scenario = scenario_with('id = "west"\n', 'id = "west"\nharq_bler = "30%"\nharq_attempts = 1\n')
    count = 500

    async def work() -> tuple[int, int, bytes]:
        async with world(mode, scenario) as made:
            outlet, send = await made.datagrams("car1", "edge1")
            outlet.setblocking(False)
            came: list[bytes] = []
            asyncio.get_running_loop().add_reader(outlet, lambda: came.append(outlet.recv(2000)))
            for _ in range(count):
                send(bytes(1000))
                await asyncio.sleep(0.005)
            await asyncio.sleep(0.3)
            asyncio.get_running_loop().remove_reader(outlet)
            lost = made.network.find("car1-radio").carried["up"].lost
            reader, writer = await made.talk("car1", "edge1", echo)
            writer.write(b"all of it" * 1000)
            whole = await reader.readexactly(9000)
            assert made.network.find("car1-radio").carried["up"].lost == lost
            return len(came), lost, whole

    arrived, lost, whole = run(work())
    assert arrived + lost == count
    assert 0.2 < lost / count < 0.6, "a datagram takes a block or two"
    assert whole == b"all of it" * 1000


def test_a_shaper_with_nothing_to_do_rests(mode: str) -> None:
    """Its clock begins at zero, its timers follow the machine's."""

    async def work() -> float:
        async with world(mode, scenario_with()) as made:
            reader, writer = await made.talk("car1", "cloud1", echo)
            writer.write(b"x")
            await reader.readexactly(1)
            begin_s = time.process_time()
            await asyncio.sleep(1.0)
            return time.process_time() - begin_s

    assert run(work()) < 0.3
