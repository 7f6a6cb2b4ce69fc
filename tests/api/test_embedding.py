"""Embeddings: from JSON to a request, over a door's nodes, and back in both encodings."""

from __future__ import annotations

import asyncio
import base64
import struct
from collections.abc import Awaitable, Callable
from dataclasses import replace
from typing import Any

import pytest

from netgpt.api.account import ReplyHead
from netgpt.api.embedding import embedding_list, encoded, parse_embedding, parse_encoding
from netgpt.core.clock import Clock, WallClock
from netgpt.core.errors import ContextLengthExceeded, InvalidRequest, ModelNotFound, NodeUnreachable, NotSupported, Overloaded, PrivacyRefused
from netgpt.core.scheduling import TaskGroup
from netgpt.engine.hash_engine import HashEngine, embed_tokens
from netgpt.inference.door import Door, DoorLimits
from netgpt.inference.request import EmbedRequest, Span, Vectors
from netgpt.models.card import ModelCard
from netgpt.models.generation import Embed, Embedding
from netgpt.network.member import Member
from netgpt.telemetry.metrics import Metrics

from .hash_door import card, hash_engines, make_door, member

CLOCK = WallClock()
BODY: dict[str, Any] = {"model": "auto", "input": "hi"}


class LostEngine(HashEngine):
    """A node that is gone."""

    async def embed(self, request: Embed) -> Embedding:
        raise NodeUnreachable("gone", hint="wait")


class HeldEngine(HashEngine):
    """An engine that answers once it is let."""

    def __init__(self, card: ModelCard, clock: Clock) -> None:
        super().__init__(card, clock)
        self.asked, self.free = asyncio.Semaphore(0), asyncio.Event()

    async def embed(self, request: Embed) -> Embedding:
        self.asked.release()
        await self.free.wait()
        return await super().embed(request)


class RefusingEngine(HashEngine):
    """An engine without embeddings."""

    async def embed(self, request: Embed) -> Embedding:
        raise NotSupported("no embeddings here", hint="ask another")


class NotingEngine(HashEngine):
    """An engine that takes its time, and notes for whom it worked and how much at once."""

    def __init__(self, card: ModelCard, clock: Clock) -> None:
        super().__init__(card, clock)
        self.asked: list[str] = []
        self.at_once = self.most_at_once = 0

    async def embed(self, request: Embed) -> Embedding:
        self.asked.append(request.session)
        self.at_once += 1
        self.most_at_once = max(self.most_at_once, self.at_once)
        for _ in range(10):
            await asyncio.sleep(0)
        self.at_once -= 1
        return await super().embed(request)


def wanted(*texts: str | tuple[int, ...], model: str = "auto", privacy: str = "cloud-allowed") -> EmbedRequest:
    return EmbedRequest(request_id="embd-1", model=model, texts=texts or ("hello",), privacy=privacy)


def with_door(story: Callable[[Door], Awaitable[None]], members: list[Member] | None = None, **engines: HashEngine) -> str:
    """Run `story` against a door; returns its metrics."""
    metrics = Metrics()
    members = members or [member("device"), member("edge"), member("cloud")]

    async def main() -> None:
        door = make_door(CLOCK, metrics, hash_engines(CLOCK) | engines, members)  # type: ignore[arg-type]
        await story(door)
        await door.close()

    asyncio.run(main())
    return metrics.render().decode()


def test_the_least_body_asks_for_floats() -> None:
    assert parse_embedding(BODY, "r") == EmbedRequest(request_id="r", model="auto", texts=("hi",))
    assert parse_encoding(BODY) == "float"
    assert parse_encoding({**BODY, "encoding_format": "base64"}) == "base64"
    several = parse_embedding({**BODY, "input": [[1, 2], "b"], "privacy": "device-only", "deadline_s": 3, "user": "u"}, "r")
    assert several == EmbedRequest(request_id="r", model="auto", texts=((1, 2), "b"), privacy="device-only", deadline_s=3)


def read(body: object) -> None:
    parse_embedding(body, "r")
    parse_encoding(body)


@pytest.mark.parametrize(
    ("fields", "param"),
    [
        ({"input": None}, "input"),
        ({"input": ["a", ""]}, "input[1]"),
        ({"input": ["a"] * 257}, "input"),
        ({"model": None}, "model"),
        ({"privacy": "x"}, "privacy"),
        ({"deadline_s": -1}, "deadline_s"),
        ({"encoding_format": "binary"}, "encoding_format"),
        ({"encoding_format": 1}, "encoding_format"),
    ],
)
def test_a_wrong_value_is_refused_by_name(fields: dict[str, Any], param: str) -> None:
    with pytest.raises(InvalidRequest) as caught:
        read({**BODY, **fields})
    assert caught.value.param == param
    assert caught.value.hint


def test_fewer_dimensions_are_refused() -> None:
    with pytest.raises(NotSupported) as caught:
        parse_embedding({**BODY, "dimensions": 8}, "r")
    assert caught.value.param == "dimensions"


def test_base64_is_little_endian_binary32() -> None:
    assert encoded((0.5, -1.0), "float") == [0.5, -1.0]
    packed = encoded((0.5, -1.0), "base64")
    assert isinstance(packed, str)
    assert struct.unpack("<2f", base64.b64decode(packed)) == (0.5, -1.0)


def test_the_reply_is_openais_list_with_its_account() -> None:
    vectors = Vectors(vectors=((1.0,), (0.5,)), prompt_tokens=3, strategy="auto", why="it is up", origin=(Span(node="e", tokens=3),))
    reply = embedding_list(ReplyHead(id="r", model="auto", created=1, entry="device1"), vectors, "float")
    assert [item["embedding"] for item in reply["data"]] == [[1.0], [0.5]]
    assert reply["usage"] == {"prompt_tokens": 3, "total_tokens": 3}
    assert reply["netgpt"]["origin"] == [{"node": "e", "tokens": 3}]


def test_texts_come_back_in_order_from_one_model_and_are_counted() -> None:
    texts = [f"text {n}" for n in range(40)]

    async def story(door: Door) -> None:
        made = await door.embed(wanted(*texts))
        for text, vector in zip(texts, made.vectors, strict=True):
            assert vector == pytest.approx(embed_tokens("hash-cloud", tuple(text.encode())), abs=1e-6)
        assert made.prompt_tokens == sum(map(len, texts))
        assert made.origin == (Span(node="cloud1", tokens=made.prompt_tokens),)
        assert made.link_bytes["cloud1"]["received"] > 40 * 64 * 4
        assert door.open_requests == 0

    told = with_door(story)
    assert f'netgpt_tokens_total{{direction="input",model="auto"}} {sum(map(len, texts))}.0' in told
    assert 'netgpt_requests_total{finish_reason="stop",model="auto"} 1.0' in told


def test_only_a_node_with_the_same_model_goes_on_for_a_lost_one() -> None:
    members = [member("device"), member("edge"), member("cloud"), member("cloud", "cloud2")]

    async def second_cloud(door: Door) -> None:
        assert (await door.embed(wanted())).origin == (Span(node="cloud2", tokens=5),)

    async def no_other(door: Door) -> None:
        with pytest.raises(NodeUnreachable):
            await door.embed(wanted("a", "b"))
        assert door.open_requests == 0

    lost = LostEngine(card("cloud"), CLOCK)
    with_door(second_cloud, members, cloud1=lost, cloud2=HashEngine(card("cloud"), CLOCK))
    with_door(no_other, cloud1=lost)


def test_content_is_embedded_only_where_it_may_be_seen() -> None:
    async def story(door: Door) -> None:
        assert (await door.embed(wanted(privacy="device-only"))).origin[0].node == "device1"
        assert (await door.embed(wanted(privacy="edge-allowed"))).origin[0].node == "edge1"
        with pytest.raises(PrivacyRefused):
            await door.embed(wanted(model="netgpt-cloud", privacy="edge-allowed"))

    with_door(story)


def test_what_cannot_be_embedded_is_refused_by_name() -> None:
    async def story(door: Door) -> None:
        for request, error, param in (
            (wanted("a", "x" * 2049), ContextLengthExceeded, "input[1]"),
            (wanted((5, 261)), InvalidRequest, "input"),
            (wanted(model="gpt"), ModelNotFound, "model"),
            (wanted(), NotSupported, None),
        ):
            with pytest.raises(error) as caught:
                await door.embed(request)
            assert caught.value.param == param

    with_door(story, cloud1=RefusingEngine(card("cloud"), CLOCK))


def test_embeddings_wait_for_their_turn_and_a_full_door_refuses_them() -> None:
    held = HeldEngine(card("cloud"), CLOCK)

    async def story(door: Door) -> None:
        async with TaskGroup() as tasks:
            for _ in range(18):  # what a node with 16 slots is asked at once
                tasks.create_task(door.embed(wanted()))
                await held.asked.acquire()
            waiting = tasks.create_task(door.embed(wanted()))
            await asyncio.sleep(0)
            with pytest.raises(Overloaded):
                await door.embed(wanted())
            assert not waiting.done()
            held.free.set()
        assert waiting.result().prompt_tokens == 5

    asyncio.run(story(make_door(CLOCK, Metrics(), {"cloud1": held}, [member("cloud")], limits=DoorLimits(queue=1))))


def test_texts_take_turns_with_other_keys_and_each_counts_at_its_node() -> None:
    engine = NotingEngine(card("cloud"), CLOCK)
    room = 18  # of a node with 16 slots

    async def story(door: Door) -> None:
        async with TaskGroup() as tasks:
            for number in range(4):
                tasks.create_task(door.embed(replace(wanted(*["a text"] * 20), request_id=f"flood{number}", key="flood")))
            while len(engine.asked) < room:
                await asyncio.sleep(0)
            tasks.create_task(door.embed(replace(wanted(), request_id="polite", key="polite")))

    asyncio.run(story(make_door(CLOCK, Metrics(), {"cloud1": engine}, [member("cloud")])))
    assert len(engine.asked) == 81
    assert engine.asked.index("polite-0") <= room + 2, "it waited for one text, not for a request"
    assert engine.most_at_once == room


def test_a_request_of_many_texts_makes_do_with_the_places_that_a_full_queue_leaves_it() -> None:
    held = HeldEngine(card("cloud"), CLOCK)

    async def story(door: Door) -> None:
        async with TaskGroup() as tasks:
            for _ in range(17):
                tasks.create_task(door.embed(wanted()))
                await held.asked.acquire()
            several = tasks.create_task(door.embed(wanted(*(f"text {n}" for n in range(12)))))
            await held.asked.acquire()  # one of its texts is at the node, one waits, and there is room for no other
            with pytest.raises(Overloaded):
                await door.embed(wanted())
            held.free.set()
        assert [round(vector[0], 6) for vector in several.result().vectors] == [
            round(embed_tokens("hash-cloud", tuple(f"text {n}".encode()))[0], 6) for n in range(12)
        ]

    asyncio.run(story(make_door(CLOCK, Metrics(), {"cloud1": held}, [member("cloud")], limits=DoorLimits(queue=1))))


def test_texts_that_are_far_too_long_are_refused_before_any_is_sent() -> None:
    engine = NotingEngine(card("cloud"), CLOCK)

    async def story(door: Door) -> None:
        for texts in (("a", "x" * 900_000), ("a", *["y" * 5000] * 100), ("a", "x" * 2049), ("a", (300,))):
            with pytest.raises((ContextLengthExceeded, InvalidRequest)) as caught:
                await door.embed(wanted(*texts))
            assert caught.value.param == "input[1]"

    asyncio.run(story(make_door(CLOCK, Metrics(), {"cloud1": engine}, [member("cloud")])))
    assert engine.asked == []
