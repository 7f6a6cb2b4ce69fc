"""Mode `stream` of the link shaper: real connections through it."""

from __future__ import annotations

import asyncio
import contextlib
import hashlib
import math
import socket
import struct
import time

import pytest

from netgpt.core.chance import SeededChance
from netgpt.core.clock import WallClock
from netgpt.core.errors import PortInUse
from netgpt.wire.shaper_datagram import DatagramShaper
from netgpt.wire.shaper_link import plain_wires
from netgpt.wire.shaper_pump import Pump
from netgpt.wire.shaper_stream import (
    HEADER_BYTES,
    MOST_WINDOW_BYTES,
    SEGMENT_BYTES,
    SLACK_BYTES,
    StreamShaper,
    Way,
    charged_bytes,
    chunk_bytes,
    window_bytes,
)

from .shaper_lab import Stalls, chain, network_of, run, stream_site

SIZE = 10_000_000
SLACK_S = 0.1  # beyond what the links and `Stalls` account for


def content(size: int = SIZE) -> bytes:
    return SeededChance(3).stream("content").bytes(size)


async def echo(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    with contextlib.suppress(ConnectionError):
        while data := await reader.read(65536):
            writer.write(data)
            await writer.drain()
    writer.close()


async def sink(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    """Read all, then say what it was."""
    digest = hashlib.sha256()
    with contextlib.suppress(ConnectionError):
        while data := await reader.read(1 << 20):
            digest.update(data)
        writer.write(digest.digest())
    writer.close()


async def send_all(writer: asyncio.StreamWriter, data: bytes) -> None:
    for start in range(0, len(data), 100_000):
        writer.write(data[start : start + 100_000])
        await writer.drain()
    writer.write_eof()


def test_ten_megabytes_cross_unharmed_and_cost_what_tcp_would_cost() -> None:
    links = chain(plain_wires(up_bps=400e6, down_bps=400e6, delay_s=0.002), plain_wires(up_bps=200e6, down_bps=200e6, queue_s=0.002))

    async def work() -> None:
        async with stream_site(sink, links) as site:
            reader, writer = await site.connect()
            await send_all(writer, content())
            assert await reader.read() == hashlib.sha256(content()).digest()
            writer.close()

    run(work())
    for link in links:
        charged = link.carried["up"].charged_bytes
        assert charged == link.carried["up"].delivered_bytes
        assert charged == pytest.approx(SIZE * (SEGMENT_BYTES + HEADER_BYTES) / SEGMENT_BYTES, rel=0.01)
        acknowledged = link.carried["down"].charged_bytes
        assert acknowledged == pytest.approx(SIZE / SEGMENT_BYTES / 2 * HEADER_BYTES, rel=0.1)


def test_both_directions_at_once_lose_and_reorder_nothing() -> None:
    data = content(3_000_000)

    async def work() -> None:
        async with stream_site(echo, chain(plain_wires(up_bps=100e6, down_bps=50e6, delay_s=0.003, queue_s=0.01))) as site:
            for _ in range(2):
                reader, writer = await site.connect()
                _, back = await asyncio.gather(send_all(writer, data), reader.read())
                assert hashlib.sha256(back).digest() == hashlib.sha256(data).digest()
                writer.close()

    run(work())


def test_a_link_carries_no_more_than_its_rate() -> None:
    links = chain(plain_wires(up_bps=16e6, down_bps=16e6))
    size = 1_000_000

    async def work() -> tuple[float, float]:
        async with Stalls() as stalls, stream_site(sink, links) as site:
            begin_s = time.monotonic()
            reader, writer = await site.connect()
            await send_all(writer, bytes(size))
            await reader.read()
            writer.close()
            return time.monotonic() - begin_s, stalls.total_s

    took_s, stalled_s = run(work())
    least_s = 8 * charged_bytes(size) / 16e6
    assert least_s <= took_s < least_s + stalled_s + SLACK_S


def test_a_connection_takes_a_round_trip_and_an_answer_another() -> None:
    async def work() -> tuple[float, list[float], float]:
        async with Stalls() as stalls, stream_site(echo, chain(plain_wires(delay_s=0.02))) as site:
            begin_s = time.monotonic()
            reader, writer = await site.connect()
            writer.write(b"x")
            await reader.read(1)
            first_s, trips = time.monotonic() - begin_s, []
            for _ in range(20):
                begin_s = time.monotonic()
                writer.write(b"x" * 64)
                await reader.readexactly(64)
                trips.append(time.monotonic() - begin_s)
            writer.close()
            return first_s, trips, stalls.total_s

    first_s, trips, stalled_s = run(work())
    assert 0.08 <= first_s < 0.08 + stalled_s + SLACK_S
    assert min(trips) >= 0.04
    assert sum(trips) < 0.04 * len(trips) + stalled_s + 2 * SLACK_S


def test_what_is_ahead_of_a_new_message_is_at_most_the_stated_queue() -> None:
    queue_s, rate_bps = 0.1, 8e6
    links = chain(plain_wires(up_bps=rate_bps, down_bps=rate_bps, delay_s=0.01, queue_s=queue_s))

    async def work() -> tuple[list[float], float]:
        async with Stalls() as stalls, stream_site(sink, links) as site:
            busy = [await site.connect() for _ in range(3)]
            senders = [asyncio.ensure_future(send_all(writer, bytes(1_000_000))) for _, writer in busy]
            await asyncio.sleep(0.5)
            times, before_s = [], stalls.total_s
            for _ in range(3):
                begin_s = time.monotonic()
                reader, writer = await site.connect()
                writer.write(b"hello")
                writer.write_eof()
                await reader.read()  # up: SYN, then message and end together; down: the link is free
                times.append(time.monotonic() - begin_s)
                writer.close()
            for sender in senders:
                sender.cancel()
            await asyncio.gather(*senders, return_exceptions=True)
            for _, writer in busy:
                writer.transport.abort()
            return times, stalls.total_s - before_s

    times, stalled_s = run(work())
    most_s = 2 * (queue_s + 0.02 + 4 * 8 * 1500 / rate_bps)
    assert max(times) > queue_s, "the link is busy"
    assert sum(times) <= len(times) * most_s + stalled_s + SLACK_S


@pytest.mark.parametrize("who", ["the source", "the target"])
def test_the_end_of_one_side_ends_the_other(who: str) -> None:
    async def work() -> None:
        seen: asyncio.Queue[bytes] = asyncio.Queue()

        async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            if who == "the target":
                writer.write(b"bye")
                writer.close()
            seen.put_nowait(await reader.read())
            writer.close()

        async with stream_site(serve, chain(plain_wires(delay_s=0.005))) as site:
            reader, writer = await site.connect()
            if who == "the source":
                writer.write(b"bye")
                writer.close()
                assert await seen.get() == b"bye"
            else:
                assert await reader.read() == b"bye"
                writer.close()
            while site.shaper.pairs:
                await asyncio.sleep(0.005)

    run(work())


def test_half_of_a_connection_may_end_while_the_other_goes_on() -> None:
    async def work() -> None:
        async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            assert await reader.read() == b"question"
            for _ in range(5):
                writer.write(b"answer ")
                await asyncio.sleep(0.01)
            writer.close()

        async with stream_site(serve, chain(plain_wires(delay_s=0.005))) as site:
            reader, writer = await site.connect()
            writer.write(b"question")
            writer.write_eof()
            assert await reader.read() == b"answer " * 5
            writer.close()

    run(work())


def test_a_reset_of_one_side_resets_the_other() -> None:
    async def work() -> None:
        met: asyncio.Future[str] = asyncio.get_running_loop().create_future()

        async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            try:
                await reader.read(1)
                await reader.read()
                met.set_result("end")
            except ConnectionResetError:
                met.set_result("reset")
            writer.close()

        async with stream_site(serve, chain(plain_wires(delay_s=0.005))) as site:
            _, writer = await site.connect()
            writer.write(b"x")
            await asyncio.sleep(0.1)
            writer.get_extra_info("socket").setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
            writer.transport.abort()
            assert await met == "reset"
            assert not site.shaper.pairs

    run(work())


def test_where_nothing_listens_a_connection_is_refused() -> None:
    async def work() -> None:
        async with stream_site(echo, chain(plain_wires(delay_s=0.01))) as site:
            with socket.create_server(("127.0.0.1", 0)) as gone:
                address = gone.getsockname()
            port = site.shaper.listen(Way(source="a", target="b", address=address))
            begin_s = time.monotonic()
            reader, writer = await asyncio.open_connection("127.0.0.1", port)
            with pytest.raises(ConnectionResetError):
                await reader.read()
            assert time.monotonic() - begin_s >= 0.02, "the refusal travels"
            writer.close()

    run(work())


def test_nodes_that_no_links_join_are_hung_up_on() -> None:
    async def work() -> None:
        async with stream_site(echo, chain(plain_wires())) as site:
            port = site.shaper.listen(Way(source="a", target="z", address=site.way.address))
            reader, writer = await asyncio.open_connection("127.0.0.1", port)
            assert await reader.read() == b""
            writer.close()

    run(work())


def test_a_reader_that_does_not_read_holds_its_sender_back() -> None:
    settings = plain_wires(up_bps=40e6, down_bps=40e6, delay_s=0.01)
    window = window_bytes(40e6, 0.02)

    async def work() -> None:
        async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            reader._transport.pause_reading()  # type: ignore[attr-defined]
            await done.wait()
            writer.transport.abort()

        done = asyncio.Event()
        async with stream_site(serve, chain(settings)) as site:
            sender = socket.create_connection(("127.0.0.1", site.port))
            sender.setblocking(False)
            sent, quiet = 0, 0
            while quiet < 20:
                try:
                    sent += sender.send(bytes(65536))
                    quiet = 0
                except BlockingIOError:
                    quiet += 1
                await asyncio.sleep(0.02)
            pair = next(iter(site.shaper.pairs))
            assert pair.there.under_way <= window
            assert site.shaper.own_bytes <= window
            for each in (pair.near, pair.far):
                assert each is not None
                for option in (socket.SO_RCVBUF, socket.SO_SNDBUF):
                    assert each.getsockopt(socket.SOL_SOCKET, option) <= window
            buffers = sender.getsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF)
            assert sent <= buffers + 3 * window + 512 * 1024, "of the machine's own buffers each end has one"
            sender.close()
            done.set()

    run(work())


def test_windows_are_a_bandwidth_delay_product_and_64_kib() -> None:
    assert window_bytes(10e6, 0.04) == 50_000 + SLACK_BYTES
    assert window_bytes(10e6, 0.0) == SLACK_BYTES
    assert window_bytes(math.inf, 0.0) == window_bytes(1e12, 10.0) == MOST_WINDOW_BYTES


def test_what_is_read_at_once_is_a_segment_or_half_a_millisecond() -> None:
    assert chunk_bytes(1e6) == SEGMENT_BYTES
    assert chunk_bytes(1e9) == 41 * SEGMENT_BYTES
    assert chunk_bytes(math.inf) == 181 * SEGMENT_BYTES


def test_a_port_that_is_taken_is_named() -> None:
    async def work() -> None:
        async with stream_site(echo, chain(plain_wires())) as site:
            with socket.create_server(("127.0.0.1", 0)) as taken, pytest.raises(PortInUse, match=str(taken.getsockname()[1])):
                site.shaper.listen(Way(source="a", target="b", address=site.way.address, port=taken.getsockname()[1]))

    run(work())


def test_a_link_that_is_set_anew_changes_what_goes_over_it_now() -> None:
    links = chain(plain_wires(up_bps=1e6, down_bps=1e6))

    async def work() -> float:
        async with stream_site(sink, links) as site:
            reader, writer = await site.connect()
            sender = asyncio.ensure_future(send_all(writer, bytes(2_000_000)))
            await asyncio.sleep(0.2)
            begin_s = time.monotonic()
            site.shaper.pump.change(links[0], plain_wires(up_bps=200e6, down_bps=200e6))
            await sender
            await reader.read()
            writer.close()
            return time.monotonic() - begin_s

    assert run(work()) < 8, "at the old rate it takes 16 s"


@pytest.mark.parametrize("loss", [0.0, 0.3])
def test_datagrams_cross_with_their_answers_or_get_lost(loss: float) -> None:
    count, links = 1000, chain(plain_wires(loss=loss))

    async def work() -> tuple[list[int], list[int]]:
        """What the target got, and what came back of it."""
        loop, came, back = asyncio.get_running_loop(), [], []
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as target, socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as source:

            def answer() -> None:
                data, sender = target.recvfrom(100)
                came.append(int(data))
                target.sendto(data, sender)

            for each in (target, source):
                each.setblocking(False)
                each.bind(("127.0.0.1", 0))
            loop.add_reader(target, answer)
            loop.add_reader(source, lambda: back.append(int(source.recv(100))))
            pump = Pump(network_of(links), WallClock())
            shaper = DatagramShaper(pump)
            port = shaper.listen(Way(source="a", target="b", address=target.getsockname()))
            for number in range(count):
                source.sendto(b"%d" % number, ("127.0.0.1", port))
                if number % 20 == 19:
                    await asyncio.sleep(0.005)
            await asyncio.sleep(0.1)
            shaper.close()
            pump.close()
            loop.remove_reader(target)
            loop.remove_reader(source)
        return came, back

    came, back = run(work())
    for arrived, sent in ((came, count), (back, len(came))):
        assert arrived == sorted(arrived)
        assert abs(len(arrived) - (1 - loss) * sent) <= 0.06 * count * (loss > 0)
    assert links[0].carried["up"].charged_bytes == sum(len(str(number)) + 28 for number in range(count))
    assert links[0].carried["up"].lost == count - len(came)


def test_connections_lose_nothing_on_a_link_that_loses_datagrams() -> None:
    async def work() -> None:
        async with stream_site(sink, chain(plain_wires(loss=0.5, up_bps=400e6))) as site:
            reader, writer = await site.connect()
            await send_all(writer, content(300_000))
            assert await reader.read() == hashlib.sha256(content(300_000)).digest()
            writer.close()

    run(work())


def test_a_closed_shaper_lets_go_of_all() -> None:
    async def work() -> None:
        async with stream_site(echo, chain(plain_wires())) as site:
            reader, writer = await site.connect()
            writer.write(b"x")
            await reader.read(1)
            shaper: StreamShaper = site.shaper
        with pytest.raises(ConnectionResetError):
            await reader.read()
        assert not shaper.pairs
        writer.close()

    run(work())
