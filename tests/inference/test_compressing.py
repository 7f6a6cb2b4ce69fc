"""A prompt that is compressed on its way: door, handles, services and `hash` engines; only the wire is a function call."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator
from dataclasses import replace

import pytest

from netgpt.core.chance import SeededChance
from netgpt.core.clock import WallClock
from netgpt.core.errors import InvalidRequest
from netgpt.engine.hash_engine import HashEngine
from netgpt.inference.caching import flight_of
from netgpt.inference.compressing import MOST_READING
from netgpt.inference.door import Door
from netgpt.inference.request import CacheWish, ChatRequest, CompressWish
from netgpt.models.card import weightless_card
from netgpt.models.generation import Generate
from netgpt.models.tokenizer import ByteTokenizer, render_chat
from netgpt.network.member import Member, Tier
from netgpt.network.offer import Offer, Pace
from netgpt.node.handle import NodeHandle
from netgpt.node.service import EngineService
from netgpt.telemetry.metrics import Metrics
from netgpt.wire.codec import decode
from netgpt.wire.messages import PROTOCOL_VERSION

from .near_nodes import Connection, ask

CLOCK = WallClock()
CONTEXT = "".join(f"Note {number}: the unit {number} was looked at and found well.\n" for number in range(12))
ASKED = (("system", "Never guess."), ("user", f"Read.\n{CONTEXT}What of unit 7?"))
REQUEST = ChatRequest(request_id="r", model="netgpt-cloud", messages=ASKED, max_tokens=8, temperature=0, seed=1, compress=CompressWish(when="always"))
WHOLE = len(render_chat(ByteTokenizer(), ASKED))


class Heard(Connection):
    """Keeps what it was asked to generate."""

    def __init__(self, service: EngineService) -> None:
        super().__init__(service)
        self.asked: list[Generate] = []

    async def call(self, method: str, payload: bytes, *, deadline_s: float, qos: str = "standard"):  # type: ignore[override]
        if method == "generate":
            self.asked.append(decode(Generate, payload))
        async for reply in super().call(method, payload, deadline_s=deadline_s, qos=qos):
            yield reply


def network(*, reads: bool = True, context_tokens: int = 2048) -> tuple[Door, dict[str, Heard]]:
    """A door of `device1` beside `cloud1`."""
    members: list[Member] = []
    connections: dict[str, Heard] = {}
    tiers: tuple[Tier, ...] = ("device", "cloud")
    for size, tier in enumerate(tiers, 1):
        node = f"{tier}1"
        card = weightless_card(f"hash-{tier}", tier=tier, parameters=size, context_tokens=context_tokens, tokenizer=ByteTokenizer())
        engine, offer = HashEngine(card, CLOCK), Offer(pace=Pace(layers_s=1e-5, read_s=1e-3))
        connections[node] = Heard(EngineService(node, engine, lambda call: "device1"))
        members.append(
            Member(
                id=node, tier=tier, engine_address=node, door_url="-", model=card.id, tokenizer=ByteTokenizer.hash, parameters=size, state="ready",
                slots=4, context_tokens=context_tokens, protocol_version=PROTOCOL_VERSION, reads=reads, offer=offer,
            )
        )  # fmt: skip
    door = Door(
        entry=lambda: members[0],
        members=lambda: members,
        handle=lambda member: NodeHandle(member, connections[member.id], ByteTokenizer(), CLOCK, is_entry=member is members[0]),
        tokenizer=ByteTokenizer(),
        clock=CLOCK,
        chance=SeededChance(1),
        metrics=Metrics(),
        record=lambda *_, **__: None,
    )
    return door, connections


def said_to(connection: Heard) -> str:
    return ByteTokenizer().decode(connection.asked[-1].ids).decode()


def test_a_compressed_prompt_is_what_the_node_gets_and_the_reply_says_what_was_left_out() -> None:
    async def main() -> None:
        door, connections = network()
        _, finish, _ = await ask(door, REQUEST)
        use, heard = finish.compression, said_to(connections["cloud1"])
        assert use is not None
        assert (use.fidelity, use.by, use.prompt_tokens) == ("compressed", "self-information", WHOLE)
        assert use.left_out_tokens == WHOLE - finish.prompt_tokens == WHOLE - len(connections["cloud1"].asked[-1].ids)
        assert 0.3 * WHOLE < use.left_out_tokens <= 0.5 * WHOLE
        assert "Never guess." in heard
        assert "unit 7 was looked at" in heard, "its number is asked for"
        assert "What of unit 7?" in heard
        assert heard.count("Note") < CONTEXT.count("Note")
        assert connections["device1"].calls == ["score"], "the own node alone reads the prompt"
        assert connections["cloud1"].calls == ["generate"]
        assert finish.link_bytes["device1"]["sent"] > 2 * 64, "the reading is counted, too"
        again, _ = network()
        assert (await ask(again, REQUEST))[1].compression == replace(use, took_s=pytest.approx(use.took_s, abs=1.0))

    asyncio.run(main())


def test_compressing_what_must_stay_on_its_device_asks_nobody_else() -> None:
    async def main() -> None:
        door, connections = network()
        _, finish, _ = await ask(door, replace(REQUEST, model="netgpt-device", privacy="device-only"))
        assert finish.compression is not None
        assert finish.compression.fidelity == "compressed"
        assert connections["device1"].calls == ["score", "generate"]
        assert connections["cloud1"].calls == []
        assert set(finish.link_bytes) == {"device1"}

    asyncio.run(main())


def test_a_flood_of_prompts_has_few_read_at_once_and_words_judge_the_rest() -> None:
    async def main() -> None:
        door, connections = network()
        device, free, read = connections["device1"], asyncio.Event(), connections["device1"].call

        async def held(method: str, payload: bytes, *, deadline_s: float, qos: str = "standard") -> AsyncGenerator[bytes, None]:
            if method == "score":
                await free.wait()
            async for reply in read(method, payload, deadline_s=deadline_s, qos=qos):
                yield reply

        device.call = held  # type: ignore[method-assign]
        tasks = [asyncio.ensure_future(ask(door, replace(REQUEST, request_id=f"r{number}"))) for number in range(10)]
        while sum(task.done() for task in tasks) < 10 - MOST_READING:
            await asyncio.sleep(0.001)
        free.set()
        told = [finish.compression.by for _, finish, _ in await asyncio.gather(*tasks) if finish.compression]
        assert (told.count("self-information"), told.count("words")) == (MOST_READING, 10 - MOST_READING)
        assert device.calls.count("score") == MOST_READING

    asyncio.run(main())


def test_where_the_own_model_does_not_read_words_say_what_goes() -> None:
    async def main() -> None:
        door, connections = network(reads=False)
        _, finish, _ = await ask(door, REQUEST)
        assert finish.compression is not None
        assert finish.compression.by == "words"
        assert connections["device1"].calls == []
        assert "What of unit 7?" in said_to(connections["cloud1"])

    asyncio.run(main())


@pytest.mark.parametrize(
    ("changes", "why"),
    [
        ({"messages": (("user", "What of unit 7?"),)}, "less than 128 tokens"),
        ({"messages": (("system", CONTEXT), ("user", "What of unit 7?"))}, "less than 10%"),
        ({"compress": CompressWish(when="auto")}, "leaves it to auto"),
        ({"compress": CompressWish(when="always", rate=0.95)}, "less than 10%"),
    ],
)
def test_a_prompt_that_stays_whole_says_why(changes: dict[str, object], why: str) -> None:
    async def main() -> None:
        door, connections = network()
        request = replace(REQUEST, **changes)
        _, finish, _ = await ask(door, request)
        assert finish.compression is not None
        assert (finish.compression.fidelity, finish.compression.left_out_tokens) == ("whole", 0)
        assert why in finish.compression.why
        assert connections["cloud1"].asked[-1].ids == tuple(render_chat(ByteTokenizer(), request.messages))
        assert (await ask(door, replace(request, compress=None)))[1].compression is None

    asyncio.run(main())


def test_auto_shows_and_takes_the_compressed_way_where_only_that_fits() -> None:
    async def main() -> None:
        door, _ = network(context_tokens=WHOLE - 50)
        wished = replace(REQUEST, model="auto", compress=CompressWish(when="auto"))
        for number in range(6):  # it learns how many tokens characters are
            _, first, _ = await ask(door, replace(wished, request_id=f"first{number}"))
            assert first.compression is not None
            assert first.compression.fidelity == "compressed", "what fits nobody whole is shortened, whatever was expected"
        decision = door.plan(wished)
        assert {str(one.prediction.candidate) for one in decision.ranked} == {"cloud1, compressed", "device1, compressed"}
        _, finish, _ = await ask(door, wished)
        assert finish.plan["chosen"]["fidelity"] == "compressed"
        assert ", compressed" in finish.why
        assert finish.compression is not None
        assert finish.compression.fidelity == "compressed"
        assert finish.plan["chosen"]["prompt_tokens"] == pytest.approx(finish.prompt_tokens, rel=0.2)

    asyncio.run(main())


def test_answers_to_whole_and_compressed_prompts_are_not_one_another() -> None:
    wishes = (None, CompressWish(when="always"), CompressWish(when="always", rate=0.25))
    assert len({flight_of(replace(REQUEST, compress=wish), CacheWish()) for wish in wishes}) == len(wishes)


@pytest.mark.parametrize(("wish", "param"), [({"when": "allways"}, "compress"), ({"rate": 0.01}, "compress.rate"), ({"rate": 1.5}, "compress.rate")])
def test_wrong_wishes_are_refused_by_name(wish: dict[str, object], param: str) -> None:
    with pytest.raises(InvalidRequest) as refused:
        CompressWish(**wish)  # type: ignore[arg-type]
    assert refused.value.param == param
    if param == "compress":
        assert "'always'" in refused.value.hint
