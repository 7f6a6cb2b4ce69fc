"""What every transport promises, over real sockets, over TLS and over described links alike."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncGenerator, Callable
from contextlib import aclosing
from typing import Any

import pytest

from netgpt.core.errors import DeadlineExceeded, InvalidRequest, NetgptError, NodeUnreachable, Overloaded, PortInUse
from netgpt.core.transport import Call, Connection
from netgpt.models.card import ModelCard
from netgpt.models.generation import (
    Capabilities,
    Embed,
    Embedding,
    Generate,
    Held,
    Load,
    Prefill,
    Recall,
    Recalled,
    Remember,
    Remembered,
    Rollback,
    Score,
    Scores,
    Timings,
    Tokens,
    TopLogprobs,
    Verdict,
    Verify,
)
from netgpt.network.member import Member, Snapshot
from netgpt.wire.codec import encode
from netgpt.wire.messages import CALLS, Beat, Certified, Certify, Empty, Heartbeat, Hello, Join, Joined, Leave, Stats, Welcome
from netgpt.wire.payload import MAX_PAYLOAD_BYTES, ByteLog

from .worlds import Story, Worker, World, over_links, over_sockets, over_tls, replies, serve

Run = Callable[[Story], None]
in_all_worlds = pytest.mark.parametrize("run", [over_sockets, over_tls, over_links])


def stream(connection: Connection, method: str, payload: bytes = b"", deadline_s: float = 10.0) -> AsyncGenerator[bytes, None]:
    return connection.call(method, payload, deadline_s=deadline_s)


@in_all_worlds
def test_a_call_carries_method_payload_and_credential_and_brings_replies_in_order(run: Run) -> None:
    seen: list[Call] = []

    async def handler(call: Call) -> AsyncGenerator[bytes, None]:
        seen.append(call)
        for index in range(300):
            yield call.payload + bytes([index % 256])

    async def story(world: World) -> None:
        listener, connection = await serve(world, handler)
        assert await replies(connection, "generate", b"ids") == [b"ids" + bytes([index % 256]) for index in range(300)]
        assert seen == [Call(method="generate", payload=b"ids", credential="ngc1.me", peer=world.peer)]
        await connection.close()
        await listener.close()

    run(story)


@in_all_worlds
def test_an_error_crosses_with_its_class_message_and_hint_after_the_replies_before_it(run: Run) -> None:
    async def handler(call: Call) -> AsyncGenerator[bytes, None]:
        yield b"one"
        raise Overloaded("queue is füll", hint="wait", param="model", retry_after_s=2.5)

    async def story(world: World) -> None:
        listener, connection = await serve(world, handler)
        got = stream(connection, "generate")
        assert await anext(got) == b"one"
        with pytest.raises(Overloaded) as caught:
            await anext(got)
        error = caught.value
        assert (error.message, error.hint, error.param, error.retry_after_s) == ("queue is füll", "wait", "model", 2.5)
        await connection.close()
        await listener.close()

    run(story)


@in_all_worlds
def test_a_bug_in_a_handler_reaches_the_caller_without_its_text(run: Run, caplog: pytest.LogCaptureFixture) -> None:
    async def handler(call: Call) -> AsyncGenerator[bytes, None]:
        yield b""
        raise KeyError("the prompt")

    async def story(world: World) -> None:
        listener, connection = await serve(world, handler)
        with pytest.raises(NetgptError, match="KeyError") as caught:
            await replies(connection, "generate")
        assert "the prompt" not in str(caught.value)
        await connection.close()
        await listener.close()

    with caplog.at_level(logging.ERROR):
        run(story)
    assert "KeyError while serving generate" in caplog.text
    assert "the prompt" not in [record.getMessage() for record in caplog.records]


@in_all_worlds
@pytest.mark.parametrize("pause_s", [0.0, 3600.0], ids=["busy", "waiting"])
def test_closing_the_iterator_closes_the_work_at_once(run: Run, pause_s: float) -> None:
    async def story(world: World) -> None:
        worker = Worker(pause_s)
        listener, connection = await serve(world, worker)
        async with aclosing(stream(connection, "generate")) as got:
            assert await anext(got) == b"1"
        async with asyncio.timeout(1):
            await worker.closed.wait()
        await connection.close()
        await listener.close()

    run(story)


@in_all_worlds
def test_cancelling_the_caller_closes_the_work(run: Run) -> None:
    async def story(world: World) -> None:
        worker = Worker(pause_s=3600)
        listener, connection = await serve(world, worker)
        caller = asyncio.ensure_future(replies(connection, "generate"))
        while not worker.made:
            await asyncio.sleep(0.001)
        caller.cancel()
        with pytest.raises(asyncio.CancelledError):
            await caller
        async with asyncio.timeout(1):
            await worker.closed.wait()
        await connection.close()
        await listener.close()

    run(story)


@in_all_worlds
def test_a_deadline_ends_both_sides(run: Run) -> None:
    async def story(world: World) -> None:
        worker = Worker(pause_s=3600)
        listener, connection = await serve(world, worker)
        with pytest.raises(DeadlineExceeded, match=r"0\.2 s"):
            await replies(connection, "generate", deadline_s=0.2)
        async with asyncio.timeout(1):
            await worker.closed.wait()
        await connection.close()
        await listener.close()

    run(story)


@in_all_worlds
def test_a_slow_reader_holds_the_work_back(run: Run) -> None:
    async def handler(call: Call) -> AsyncGenerator[bytes, None]:
        nonlocal made
        while True:
            made += 1
            yield bytes(64 * 1024)

    made = 0

    async def story(world: World) -> None:
        listener, connection = await serve(world, handler)
        async with aclosing(stream(connection, "generate")) as got:
            await anext(got)
            await asyncio.sleep(0.3)
            assert made < 300
        await connection.close()
        await listener.close()

    run(story)


@in_all_worlds
def test_closing_the_listener_ends_calls_in_flight_and_frees_the_address(run: Run) -> None:
    async def story(world: World) -> None:
        worker = Worker(pause_s=3600)
        listener, connection = await serve(world, worker)
        with pytest.raises(PortInUse, match=listener.address):
            await world.server.listen(listener.address, worker)
        got = stream(connection, "generate")
        await anext(got)
        await listener.close()
        assert worker.closed.is_set()
        with pytest.raises(NodeUnreachable, match=listener.address) as caught:
            await anext(got)
        assert "netgpt ps" in caught.value.hint
        with pytest.raises(NodeUnreachable, match=listener.address) as caught:
            await replies(connection, "generate")
        assert "netgpt ps" in caught.value.hint
        again = await world.server.listen(listener.address, worker)
        await connection.close()
        await again.close()

    run(story)


@in_all_worlds
def test_closing_the_connection_ends_its_calls(run: Run) -> None:
    async def story(world: World) -> None:
        worker = Worker(pause_s=3600)
        listener, connection = await serve(world, worker)
        got = stream(connection, "generate")
        await anext(got)
        await connection.close()
        with pytest.raises(NodeUnreachable, match="closed on this side"):
            await anext(got)
        with pytest.raises(NodeUnreachable, match="closed on this side"):
            await replies(connection, "generate")
        async with asyncio.timeout(1):
            await worker.closed.wait()
        await listener.close()

    run(story)


@in_all_worlds
def test_a_payload_that_is_too_large_is_refused_in_both_directions(run: Run) -> None:
    async def handler(call: Call) -> AsyncGenerator[bytes, None]:
        yield bytes(MAX_PAYLOAD_BYTES)
        yield bytes(MAX_PAYLOAD_BYTES + 1)

    async def story(world: World) -> None:
        listener, connection = await serve(world, handler)
        with pytest.raises(InvalidRequest, match="larger than"):
            await replies(connection, "generate", bytes(MAX_PAYLOAD_BYTES + 1))
        async with aclosing(stream(connection, "generate", bytes(MAX_PAYLOAD_BYTES), deadline_s=60)) as got:
            assert len(await anext(got)) == MAX_PAYLOAD_BYTES
            with pytest.raises(InvalidRequest, match="larger than"):
                await anext(got)
        await connection.close()
        await listener.close()

    run(story)


CARD = ModelCard(id="m", tier="edge", parameters=8, layers=2, bytes=16, context_tokens=64, vocabulary=256, tokenizer="ab")
MEMBER = Member(id="edge1", tier="edge", engine_address="127.0.0.1:7000", door_url="http://127.0.0.1:8000", state="ready")
SNAPSHOT = Snapshot(version=3, members=(MEMBER, MEMBER))
CONVERSATION: dict[str, tuple[Any, list[Any]]] = {
    "hello": (
        Hello(protocol_version=1, node="device1", release="0.1"),
        [Welcome(protocol_version=1, node="edge1", card=CARD, capabilities=Capabilities(verify=True))],
    ),
    "generate": (
        Generate(session="s", ids=(1, 2, 300), max_tokens=2),
        [
            Tokens(position=3, ids=(70_000,), logprobs=(-0.5,), top=(TopLogprobs(ids=(7,), logprobs=(-1,)),)),
            Tokens(position=4, finish="length", timings=Timings(decode_s=0.1)),
        ],
    ),
    "verify": (Verify(session="s", ids=(), drafts=(1, 2, 3)), [Verdict(accepted=2, next_id=9, logprobs=(-0.1, -0.2, -0.3))]),
    "prefill": (Prefill(session="s", ids=tuple(range(500))), [Held(session="s", tokens=500)]),
    "rollback": (Rollback(session="s", length=3), [Held(session="s", tokens=3)]),
    "embed": (Embed(session="s", ids=(1, 70_000)), [Embedding(values=(0.6, -0.8), timings=Timings(prefill_s=0.1))]),
    "score": (Score(session="s", ids=(1, 70_000, 2)), [Scores(logprobs=(-0.5, -7.25), timings=Timings(prefill_s=0.1))]),
    "stats": (Stats(), [Load(running=1, slots=4, sessions=("s",))]),
    "recall": (
        Recall(scope="s", group=b"\x01" * 32, exact=b"\x02" * 32, question="5QI 7?", max_age_s=60.0),
        [Recalled(found=True, match="semantic", text="100 ms", reason="stop", completion_tokens=2, made_by="cloud1", age_s=0.0, similarity=0.97)],
    ),
    "remember": (Remember(scope="s", exact=b"\x02" * 32, text="100 ms", reason="stop", made_by="cloud1", life_s=60.0), [Remembered(kept=True)]),
    "join": (Join(token="ngt1.x", member=MEMBER), [Joined(credential="ngc1.y", snapshot=SNAPSHOT)]),
    "certify": (Certify(request=b"csr"), [Certified(certificate=b"certificate", root=b"root")]),
    "heartbeat": (Heartbeat(node="edge1", member=MEMBER, known_version=3), [Beat(snapshot=SNAPSHOT, controller_epoch=1)]),
    "leave": (Leave(node="edge1"), [Empty()]),
}  # fmt: skip


def test_payload_bytes_are_equal_in_all_worlds_for_every_kind_of_message() -> None:
    assert set(CONVERSATION) == set(CALLS)
    assert {type(part) for request, answers in CONVERSATION.values() for part in (request, *answers)} == {
        kind for call in CALLS.values() for kind in (call.request, call.reply)
    }

    async def handler(call: Call) -> AsyncGenerator[bytes, None]:
        for message in CONVERSATION[call.method][1]:
            yield encode(message)

    def counted(run: Run) -> tuple[dict[tuple[str, str], int], dict[str, list[bytes]]]:
        log, received = ByteLog(), {}

        async def story(world: World) -> None:
            nonlocal log
            log = world.log
            listener, connection = await serve(world, handler)
            for method, (request, _) in CONVERSATION.items():
                received[method] = await replies(connection, method, encode(request))
            await connection.close()
            await listener.close()

        run(story)
        return {(way, method): sent.payload_bytes for (_, way, method), sent in log.sent.items()}, received

    real, secure, simulated = counted(over_sockets), counted(over_tls), counted(over_links)
    assert real == secure == simulated
    assert real[0] == {
        **{("request", method): len(encode(request)) for method, (request, _) in CONVERSATION.items()},
        **{("reply", method): sum(len(encode(answer)) for answer in answers) for method, (_, answers) in CONVERSATION.items()},
    }
