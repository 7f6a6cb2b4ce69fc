"""Mode `packet` of the link shaper: the kernel's own TCP between network namespaces."""

from __future__ import annotations

import asyncio
import hashlib
import json
import os
import shutil
import socket
import subprocess
import sys
import time
from collections.abc import AsyncIterator, Iterator, Sequence
from contextlib import asynccontextmanager

import pytest

from netgpt.core.chance import SeededChance
from netgpt.core.clock import WallClock
from netgpt.core.errors import UsageError
from netgpt.wire.namespaces import Namespaces, check_namespaces, enter_command, node_address
from netgpt.wire.shaper_link import plain_wires
from netgpt.wire.shaper_network import ShapedLink
from netgpt.wire.shaper_packet import PacketShaper
from netgpt.wire.shaper_pump import Pump
from netgpt.wire.shaper_stream import HEADER_BYTES, SEGMENT_BYTES

from .shaper_lab import NODES, chain, network_of, run

PORT = 5000
SIZE = 10_000_000


@pytest.fixture(scope="module")
def permitted() -> None:
    try:
        check_namespaces()
    except UsageError as error:
        pytest.skip(error.message)


@pytest.fixture
def networks(permitted: None) -> Iterator[Namespaces]:
    with Namespaces() as made:
        yield made


@asynccontextmanager
async def shaped(networks: Namespaces, links: Sequence[ShapedLink]) -> AsyncIterator[PacketShaper]:
    """The namespaces of all nodes of a chain, with its links between them."""
    for node in NODES[: len(links) + 1]:
        networks.add(node)
    pump = Pump(network_of(links, "drop"), WallClock())
    shaper = PacketShaper(pump, networks.tuns, networks.addresses)
    try:
        yield shaper
    finally:
        shaper.close()
        pump.close()


async def transfer(networks: Namespaces, source: str, target: str, data: bytes, *, port: int = PORT) -> tuple[bytes, float]:
    """Send `data` over one connection; what came out at the other end, and how long it took."""
    done: asyncio.Future[bytes] = asyncio.get_running_loop().create_future()

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        done.set_result(await reader.read())
        writer.close()

    listener = networks.socket(target)
    listener.bind((networks.addresses[target], port))
    server = await asyncio.start_server(serve, sock=listener)
    caller = networks.socket(source)
    caller.setblocking(False)
    begin_s = time.monotonic()
    await asyncio.get_running_loop().sock_connect(caller, (networks.addresses[target], port))
    _, writer = await asyncio.open_connection(sock=caller)
    for start in range(0, len(data), 100_000):
        writer.write(data[start : start + 100_000])
        await writer.drain()
    writer.write_eof()
    came = await done
    writer.close()
    server.close()
    return came, time.monotonic() - begin_s


def test_ten_megabytes_cross_unharmed_and_are_charged_as_they_are(networks: Namespaces) -> None:
    links = chain(plain_wires(up_bps=100e6, down_bps=100e6, queue_s=2.0), plain_wires(up_bps=100e6, down_bps=100e6, queue_s=2.0))
    data = SeededChance(3).stream("content").bytes(SIZE)

    async def work() -> None:
        async with shaped(networks, links):
            came, took_s = await transfer(networks, "a", "c", data)
            assert hashlib.sha256(came).digest() == hashlib.sha256(data).digest()
            assert took_s >= 8 * SIZE / 100e6

    run(work())
    for link in links:
        assert link.carried["up"].dropped == 0
        assert link.carried["up"].charged_bytes == pytest.approx(SIZE * (SEGMENT_BYTES + HEADER_BYTES) / SEGMENT_BYTES, rel=0.01)


def test_a_full_queue_drops_and_tcp_makes_it_good(networks: Namespaces) -> None:
    links = chain(plain_wires(up_bps=20e6, down_bps=20e6, delay_s=0.005, queue_s=0.02))
    data = SeededChance(3).stream("content").bytes(2_000_000)

    async def work() -> None:
        async with shaped(networks, links):
            came, _ = await transfer(networks, "a", "b", data)
            assert came == data

    run(work())
    assert links[0].carried["up"].dropped > 0
    assert links[0].carried["up"].charged_bytes > len(data)


def test_a_link_that_loses_datagrams_loses_no_packet_of_tcp(networks: Namespaces) -> None:
    count, links = 1000, chain(plain_wires(loss=0.3))

    async def work() -> int:
        async with shaped(networks, links):
            with networks.socket("b", socket.SOCK_DGRAM) as target, networks.socket("a", socket.SOCK_DGRAM) as source:
                target.bind((networks.addresses["b"], PORT))
                target.setblocking(False)
                came_one_by_one: list[bytes] = []
                asyncio.get_running_loop().add_reader(target, lambda: came_one_by_one.append(target.recv(1000)))
                for number in range(count):
                    source.sendto(b"x" * 100, (networks.addresses["b"], PORT))
                    if number % 20 == 19:
                        await asyncio.sleep(0.005)
                await asyncio.sleep(0.1)
                asyncio.get_running_loop().remove_reader(target)
                arrived = len(came_one_by_one)
            lost = links[0].carried["up"].lost
            assert arrived == count - lost
            came, _ = await transfer(networks, "a", "b", bytes(500_000))
            assert len(came) == 500_000
            assert links[0].carried["up"].lost == lost
            return arrived

    assert abs(run(work()) - 700) < 60
    assert links[0].carried["up"].charged_bytes > 128 * count


def test_a_round_trip_takes_the_links_delays(networks: Namespaces) -> None:
    links = chain(plain_wires(delay_s=0.01), plain_wires(delay_s=0.02))

    async def work() -> float:
        async with shaped(networks, links):
            begin_s = time.monotonic()
            caller = networks.socket("a")
            caller.setblocking(False)
            with caller, pytest.raises(ConnectionRefusedError):
                await asyncio.get_running_loop().sock_connect(caller, (networks.addresses["c"], PORT))
            return time.monotonic() - begin_s

    assert 0.06 <= run(work()) < 0.5


def test_what_goes_to_nobody_is_dropped(networks: Namespaces) -> None:
    async def work() -> None:
        async with shaped(networks, chain(plain_wires())) as shaper:
            with networks.socket("a", socket.SOCK_DGRAM) as source:
                source.sendto(b"x", (node_address(77), PORT))
            while shaper.strays == 0:
                await asyncio.sleep(0.005)

    run(work())


def test_a_command_inside_a_network_sees_that_network_alone_and_gains_nothing(networks: Namespaces) -> None:
    networks.add("a")
    networks.add("b")
    program = "import json, os, socket; print(json.dumps([os.getuid(), [name for _, name in socket.if_nameindex()]]))"
    command = [*enter_command(*networks.networks()["b"]), sys.executable, "-c", program]
    done = subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)
    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout) == [os.getuid(), ["lo", "tun0"]]
    assert "tun0" not in [name for _, name in socket.if_nameindex()]


@pytest.mark.usefixtures("permitted")
def test_the_keeper_ends_with_what_it_keeps() -> None:
    with Namespaces() as networks:
        networks.add("a")
        keeper = networks.networks()["a"][0]
        assert os.path.exists(f"/proc/{keeper}")
    assert not os.path.exists(f"/proc/{keeper}")


def test_addresses_are_all_different() -> None:
    addresses = [node_address(number) for number in range(600)]
    assert addresses[0] == "10.77.0.1"
    assert len(set(addresses)) == 600


def test_where_namespaces_are_notpermitted_that_is_said_with_what_to_do_instead() -> None:
    """In a user namespace that may have no further ones."""
    if shutil.which("unshare") is None:
        pytest.skip("there is no command `unshare`")
    program = (
        "from netgpt.wire.namespaces import check_namespaces\ntry:\n check_namespaces()\nexcept Exception as e:\n print(e.message)\n print(e.hint)"
    )
    shell = 'for what in user net; do echo 0 > /proc/sys/user/max_${what}_namespaces || exit 77; done; exec "$@"'
    done = subprocess.run(
        ["unshare", "--user", "--map-root-user", "sh", "-c", shell, "sh", sys.executable, "-c", program],
        capture_output=True, text=True, timeout=60, check=False,
    )  # fmt: skip
    if done.returncode == 77 or "unshare failed" in done.stderr:
        pytest.skip(f"no user namespace to forbid them in: {done.stderr.strip()}")
    message, hint = done.stdout.splitlines()
    assert message.startswith("network namespaces are not permitted here")
    assert "netgpt up --links stream" in hint
