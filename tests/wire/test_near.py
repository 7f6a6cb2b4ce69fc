"""The short way to what this process itself serves."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncGenerator, Awaitable, Callable
from contextlib import aclosing

import pytest

from netgpt.core.errors import DeadlineExceeded, NetgptError, NodeUnreachable, Overloaded
from netgpt.core.transport import Call, Connection, Handler, Listener, Payload, Peer
from netgpt.models.generation import Generate, Tokens
from netgpt.wire.grpc_transport import GrpcTransport
from netgpt.wire.near_transport import NearTransport

from .worlds import SmallNetwork, Worker, replies

REQUEST = Generate(session="s", ids=(1,), max_tokens=1)


def test_over_tls_a_call_within_the_process_shows_its_own_certificate() -> None:
    network = SmallNetwork()
    seen: list[Call] = []

    async def handler(call: Call) -> AsyncGenerator[bytes, None]:
        seen.append(call)
        yield call.payload

    async def main() -> None:
        own = Peer(node="cloud1", tier="cloud", role="node", serial="1f")
        near = NearTransport(network.transport("cloud1"), lambda: own)
        listener = await near.listen("127.0.0.1:0", handler)
        inside, outside = near.connect(listener.address, peer="cloud1"), network.transport("phone").connect(listener.address, peer="cloud1")
        assert await replies(inside, "stats", b"a") == await replies(outside, "stats", b"a") == [b"a"]
        assert seen[0].peer == own
        assert seen[1].peer is not None
        assert seen[1].peer.node == "phone"
        for connection in (inside, outside):
            await connection.close()
        await listener.close()

    asyncio.run(main())


def near(handler: Handler, story: Callable[[Listener, Connection], Awaitable[None]]) -> None:
    """Run a story with a caller in the process that serves."""

    async def main() -> None:
        transport = NearTransport(GrpcTransport())
        listener = await transport.listen("127.0.0.1:0", handler)
        await story(listener, transport.connect(listener.address, credential="ngc1.me"))
        await listener.close()

    asyncio.run(main())


def test_messages_cross_as_they_are() -> None:
    seen: list[Call] = []
    answers = [Tokens(position=0, data=b"a"), Tokens(position=1, finish="stop")]

    async def handler(call: Call) -> AsyncGenerator[Payload, None]:
        seen.append(call)
        for answer in answers:
            yield answer

    async def story(_: Listener, connection: Connection) -> None:
        assert connection.near
        heard = [reply async for reply in connection.call("generate", REQUEST, deadline_s=1.0)]
        assert all(one is other for one, other in zip(heard, answers, strict=True))
        assert seen[0] == Call(method="generate", payload=REQUEST, credential="ngc1.me", near=True)
        assert seen[0].payload is REQUEST

    near(handler, story)


def test_errors_deadlines_and_closing_are_those_of_every_transport(caplog: pytest.LogCaptureFixture) -> None:
    async def handler(call: Call) -> AsyncGenerator[Payload, None]:
        yield b"one"
        if call.method == "generate":
            raise Overloaded("full", hint="wait", retry_after_s=2.5)
        if call.method == "stats":
            raise TimeoutError("the prompt")
        await asyncio.sleep(3600)

    async def story(listener: Listener, connection: Connection) -> None:
        with pytest.raises(Overloaded, match="full"):
            await replies(connection, "generate")
        with pytest.raises(NetgptError, match="TimeoutError at the serving node") as caught:
            await replies(connection, "stats")
        assert "the prompt" not in str(caught.value)
        with pytest.raises(DeadlineExceeded, match=r"0\.05 s"):
            await replies(connection, "verify", deadline_s=0.05)
        await listener.close()
        with pytest.raises(NodeUnreachable, match=listener.address):
            await replies(connection, "generate")

    with caplog.at_level(logging.ERROR):
        near(handler, story)
    assert "TimeoutError while serving stats" in caplog.text


@pytest.mark.parametrize("pause_s", [0.0, 3600.0], ids=["busy", "waiting"])
def test_closing_the_iterator_closes_the_work_at_once(pause_s: float) -> None:
    worker = Worker(pause_s)

    async def story(_: Listener, connection: Connection) -> None:
        async with aclosing(connection.call("generate", b"", deadline_s=10.0)) as got:
            await anext(got)
        assert worker.closed.is_set()

    near(worker, story)
