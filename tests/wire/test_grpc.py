"""What only real sockets show: killed and frozen peers, reconnection, other event loops, nothing left behind."""

from __future__ import annotations

import asyncio
import signal
import subprocess
import sys
import time
from collections.abc import AsyncGenerator, Iterator
from contextlib import contextmanager

import pytest

from netgpt.core.errors import NodeUnreachable, UsageError
from netgpt.core.transport import Call
from netgpt.wire.grpc_transport import KEEPALIVE_S, KEEPALIVE_TIMEOUT_S, GrpcTransport

from .worlds import Sockets, Worker, replies, serve

PEER = """
import asyncio, sys
from netgpt.wire.grpc_transport import GrpcTransport

async def handler(call):
    yield b"here"
    await asyncio.sleep(600)

async def main():
    print((await GrpcTransport().listen(sys.argv[1], handler)).address, flush=True)
    await asyncio.sleep(600)

asyncio.run(main())
"""


@contextmanager
def peer(address: str = "127.0.0.1:0") -> Iterator[tuple[subprocess.Popen[str], str]]:
    """Another process that listens, and its address."""
    with subprocess.Popen([sys.executable, "-c", PEER, address], stdout=subprocess.PIPE, text=True) as process:
        try:
            assert process.stdout is not None
            yield process, process.stdout.readline().strip()
        finally:
            process.kill()


@pytest.mark.skipif(sys.platform == "win32", reason="signals")
@pytest.mark.parametrize(("how", "within_s"), [("SIGKILL", 1.0), ("SIGSTOP", KEEPALIVE_S + KEEPALIVE_TIMEOUT_S + 1.0)])
def test_a_call_to_a_peer_that_vanishes_ends_quickly(how: str, within_s: float) -> None:
    async def story() -> None:
        with peer() as (process, address):
            connection = GrpcTransport().connect(address)
            got = connection.call("generate", b"", deadline_s=60)
            assert await anext(got) == b"here"
            process.send_signal(getattr(signal, how))
            started_s = time.monotonic()
            with pytest.raises(NodeUnreachable, match=address) as caught:
                await anext(got)
            assert time.monotonic() - started_s < within_s
            assert "netgpt ps" in caught.value.hint
            await connection.close()

    asyncio.run(story())


def test_a_connection_finds_a_peer_that_comes_back() -> None:
    async def story() -> None:
        with peer() as (_, address):
            connection = GrpcTransport().connect(address)
            got = connection.call("generate", b"", deadline_s=60)
            await anext(got)
            await got.aclose()
        with pytest.raises(NodeUnreachable):
            await replies(connection, "generate")
        with peer(address):
            async with asyncio.timeout(2):
                while True:
                    try:
                        got = connection.call("generate", b"", deadline_s=60)
                        assert await anext(got) == b"here"
                        break
                    except NodeUnreachable:
                        await asyncio.sleep(0.02)
            await got.aclose()
            await connection.close()

    asyncio.run(story())


def test_the_work_of_a_caller_that_is_killed_is_closed() -> None:
    caller = """
import asyncio, sys
from netgpt.wire.grpc_transport import GrpcTransport

async def main():
    async for reply in GrpcTransport().connect(sys.argv[1]).call("generate", b"", deadline_s=600):
        print(reply, flush=True)

asyncio.run(main())
"""

    async def story() -> None:
        worker = Worker(pause_s=3600)
        listener = await GrpcTransport().listen("127.0.0.1:0", worker)
        with subprocess.Popen([sys.executable, "-c", caller, listener.address], stdout=subprocess.PIPE) as process:
            while not worker.made:
                await asyncio.sleep(0.01)
            process.kill()
            async with asyncio.timeout(2):
                await worker.closed.wait()
        await listener.close()

    asyncio.run(story())


def test_the_transport_works_on_uvloop() -> None:
    uvloop = pytest.importorskip("uvloop")

    async def story() -> None:
        worker = Worker()
        listener, connection = await serve(Sockets(), worker)
        got = connection.call("generate", b"", deadline_s=10)
        assert await anext(got) == b"1"
        await got.aclose()
        async with asyncio.timeout(1):
            await worker.closed.wait()
        await connection.close()
        await listener.close()

    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        runner.run(story())


def test_a_hundred_calls_at_once_leave_no_task_behind() -> None:
    async def handler(call: Call) -> AsyncGenerator[bytes, None]:
        yield call.payload

    async def story() -> None:
        listener, connection = await serve(Sockets(), handler)
        before = len(asyncio.all_tasks())
        got = await asyncio.gather(*(replies(connection, "generate", b"%d" % index) for index in range(100)))
        assert got == [[b"%d" % index] for index in range(100)]
        await connection.close()
        await listener.close()
        await asyncio.sleep(0)
        assert len(asyncio.all_tasks()) <= before

    asyncio.run(story())


@pytest.mark.parametrize("address", ["nowhere", "127.0.0.1:99999", "host.invalid:0", "127.0.0.1:http"])
def test_an_address_that_is_none_is_refused_with_a_next_step(address: str) -> None:
    async def story() -> None:
        with pytest.raises(UsageError) as caught:
            await GrpcTransport().listen(address, Worker())
        assert caught.value.hint

    asyncio.run(story())
