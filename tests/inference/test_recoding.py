"""Sessions between tokenizers: a door, node handles, engine services and engines, with only the wire a function call."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from contextlib import aclosing
from dataclasses import replace

import pytest
from tokenizers import Tokenizer as FastTokenizer
from tokenizers import decoders, models, pre_tokenizers, trainers

from netgpt.core.chance import SeededChance
from netgpt.core.clock import WallClock
from netgpt.core.errors import ContextLengthExceeded, NetgptError, NotSupported
from netgpt.engine.contract import Engine
from netgpt.engine.hash_engine import HashEngine
from netgpt.inference.choice import serving_nodes
from netgpt.inference.door import Door
from netgpt.inference.request import ChatRequest, EmbedRequest, Span
from netgpt.models.card import weightless_card
from netgpt.models.generation import Generate, Penalties, Text, Turn
from netgpt.models.grammar import json_grammar
from netgpt.models.tokenizer import SPECIAL_TOKENS, BpeTokenizer, ByteTokenizer, Tokenizer
from netgpt.network.member import Member
from netgpt.node.handle import NodeHandle
from netgpt.node.recode import encoded
from netgpt.node.service import EngineService
from netgpt.telemetry.metrics import Metrics
from netgpt.wire.messages import PROTOCOL_VERSION

from .near_nodes import Connection, ask

CLOCK = WallClock()
QUESTION = "answers at noon"
HELLO = ChatRequest(request_id="r", model="auto", messages=(("user", QUESTION),), max_tokens=12, temperature=0, seed=5)


def other_tokenizer() -> BpeTokenizer:
    """Pairs of bytes: every id of the other model stands for other bytes than here."""
    made = FastTokenizer(models.BPE())
    made.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    made.decoder = decoders.ByteLevel()
    alphabet = pre_tokenizers.ByteLevel.alphabet()
    trainer = trainers.BpeTrainer(vocab_size=290, special_tokens=list(SPECIAL_TOKENS), initial_alphabet=alphabet, show_progress=False)
    made.train_from_iterator(["user answers eat the tea at noon in the inn"] * 3, trainer)
    return BpeTokenizer(made.to_str())


OTHER = other_tokenizer()


def hash_node(node: str, tokenizer: Tokenizer, *, parameters: int, context_tokens: int = 512) -> tuple[Member, Engine]:
    card = weightless_card(f"hash-{node}", tier="cloud", parameters=parameters, context_tokens=context_tokens, tokenizer=tokenizer)
    member = Member(
        id=node,
        tier="cloud",
        engine_address=node,
        door_url="-",
        model=card.id,
        tokenizer=tokenizer.hash,
        parameters=parameters,
        state="ready",
        slots=4,
        context_tokens=context_tokens,
        text=True,
        protocol_version=PROTOCOL_VERSION,
    )
    return member, HashEngine(card, CLOCK)


def make_door(members: Sequence[Member], connect: Callable[[Member], Connection], tokenizer: Tokenizer) -> Door:
    return Door(
        entry=lambda: members[0],
        members=lambda: members,
        handle=lambda member: NodeHandle(member, connect(member), tokenizer, CLOCK, is_entry=member is members[0]),
        tokenizer=tokenizer,
        clock=CLOCK,
        chance=SeededChance(1),
        metrics=Metrics(),
        record=lambda *_, **__: None,
    )


async def alone(tokenizer: Tokenizer, engine: Engine, answer: bytes, max_tokens: int) -> list[bytes]:
    """The tokens that the node says after `answer`, asked without a door."""
    text = Text(messages=(Turn(role="user", content=QUESTION),), answer=answer)
    request = Generate(session="x", ids=(), max_tokens=max_tokens, text=text)
    own = encoded(request, text, tokenizer.render([("user", QUESTION)]), tokenizer, 512)
    async with aclosing(engine.generate(own)) as replies:
        return [tokenizer.decode((i,)) async for tokens in replies for i in tokens.ids]


def test_a_node_of_another_tokenizer_answers_in_its_own_tokens() -> None:
    async def main() -> None:
        member, engine = hash_node("cloud1", OTHER, parameters=9)
        service = EngineService("cloud1", engine, lambda _: "", OTHER)
        door = make_door([member], lambda _: Connection(service), ByteTokenizer())
        text, finish, _ = await ask(door, HELLO)
        assert text == b"".join(await alone(OTHER, engine, b"", 12)).decode("utf-8", "replace")
        assert finish.origin == (Span(node="cloud1", tokens=finish.completion_tokens, recoded=True),)
        assert finish.prompt_tokens == len(OTHER.render(HELLO.messages)) < len(ByteTokenizer().render(HELLO.messages))
        assert finish.counted_by == {"prompt_tokens": ("cloud1",), "completion_tokens": ("cloud1",)}

    asyncio.run(main())


@pytest.mark.parametrize("said", range(4))
@pytest.mark.parametrize("first_is_own", [True, False])
def test_a_lost_nodes_answer_goes_on_byte_for_byte_with_another_tokenizer(said: int, first_is_own: bool) -> None:
    async def main() -> None:
        kinds: list[Tokenizer] = [ByteTokenizer(), OTHER] if first_is_own else [OTHER, ByteTokenizer()]
        nodes = [hash_node("cloud1", kinds[0], parameters=9), hash_node("cloud2", kinds[1], parameters=8)]
        services = {m.id: EngineService(m.id, e, lambda _: "", k) for (m, e), k in zip(nodes, kinds, strict=True)}
        first = b"".join((await alone(kinds[0], nodes[0][1], b"", 12))[:said])
        rest = b"".join(await alone(kinds[1], nodes[1][1], first, 12 - said))
        door = make_door([member for member, _ in nodes], lambda m: Connection(services[m.id], said if m.id == "cloud1" else None), ByteTokenizer())
        text, finish, _ = await ask(door, HELLO)
        assert text == (first + rest).decode("utf-8", "replace")
        assert len(finish.switches) == 1
        assert {span.node: span.recoded for span in finish.origin}.get("cloud2") is first_is_own

    asyncio.run(main())


def test_logprobs_come_with_the_bytes_of_the_nodes_own_tokens() -> None:
    async def main() -> None:
        member, engine = hash_node("cloud1", OTHER, parameters=9)
        door = make_door([member], lambda _: Connection(EngineService("cloud1", engine, lambda _: "", OTHER)), ByteTokenizer())
        text, finish, deltas = await ask(door, replace(HELLO, logprobs=True, top_logprobs=2))
        tokens = [token for delta in deltas for token in delta.tokens]
        assert b"".join(tokens).decode("utf-8", "replace") == text
        assert len(tokens) == finish.completion_tokens == sum(len(delta.logprobs) for delta in deltas)
        assert all(len(top) == 2 for delta in deltas for top in delta.top_tokens)

    asyncio.run(main())


def test_a_node_says_itself_whether_the_prompt_fits() -> None:
    async def main() -> None:
        member, engine = hash_node("cloud1", OTHER, parameters=9, context_tokens=20)
        door = make_door([member], lambda _: Connection(EngineService("cloud1", engine, lambda _: "", OTHER)), ByteTokenizer())
        with pytest.raises(ContextLengthExceeded, match="the context holds 20"):
            await ask(door, replace(HELLO, messages=(("user", "x" * 40),)))
        _, finish, _ = await ask(door, replace(HELLO, max_tokens=None))  # as many as fit
        assert finish.prompt_tokens + finish.completion_tokens <= 20

    asyncio.run(main())


def test_a_prompt_too_long_for_one_node_goes_to_the_one_that_holds_it() -> None:
    async def main() -> None:
        small, large = hash_node("cloud1", ByteTokenizer(), parameters=9, context_tokens=20), hash_node("cloud2", ByteTokenizer(), parameters=8)
        services = {m.id: EngineService(m.id, e, lambda _: "") for m, e in (small, large)}
        door = make_door([small[0], large[0]], lambda m: Connection(services[m.id]), ByteTokenizer())
        _, finish, _ = await ask(door, replace(HELLO, messages=(("user", "x" * 40),)))
        assert [span.node for span in finish.origin] == ["cloud2"]

    asyncio.run(main())


def test_a_node_that_takes_no_text_is_refused_with_the_reason_and_another_asked() -> None:
    async def main() -> None:
        older, engine = hash_node("cloud1", OTHER, parameters=9)
        older = replace(older, text=False)
        ours, own = hash_node("cloud2", ByteTokenizer(), parameters=8)
        services = {"cloud1": EngineService("cloud1", engine, lambda _: ""), "cloud2": EngineService("cloud2", own, lambda _: "")}
        with pytest.raises(NotSupported, match="takes no text"):
            await ask(make_door([older], lambda m: Connection(services[m.id]), ByteTokenizer()), HELLO)
        _, finish, _ = await ask(make_door([older, ours], lambda m: Connection(services[m.id]), ByteTokenizer()), HELLO)
        assert [span.node for span in finish.origin] == ["cloud2"]
        assert "not_supported" in finish.switches[0]

    asyncio.run(main())


def test_what_is_no_conversation_is_asked_of_nodes_of_the_doors_own_tokenizer() -> None:
    async def main() -> None:
        other, engine = hash_node("cloud1", OTHER, parameters=9)
        ours, own = hash_node("cloud2", ByteTokenizer(), parameters=8)
        services = {"cloud1": EngineService("cloud1", engine, lambda _: "", OTHER), "cloud2": EngineService("cloud2", own, lambda _: "")}
        raw = replace(HELLO, messages=(), prompt="as it is")
        texts = EmbedRequest(request_id="e", model="auto", texts=("a text",))
        both = make_door([other, ours], lambda m: Connection(services[m.id]), ByteTokenizer())
        _, finish, _ = await ask(both, raw)
        assert [span.node for span in finish.origin] == ["cloud2"]
        assert [span.node for span in (await both.embed(texts)).origin] == ["cloud2"]
        foreign = make_door([other], lambda m: Connection(services[m.id]), ByteTokenizer())
        with pytest.raises(NotSupported, match="another tokenizer") as caught:
            await ask(foreign, raw)
        assert caught.value.param == "prompt"
        with pytest.raises(NotSupported, match="another tokenizer") as caught:
            await foreign.embed(texts)
        assert caught.value.param == "input"

    asyncio.run(main())


def test_a_grammar_follows_the_answer_in_the_nodes_own_ids() -> None:
    text = Text(messages=(Turn(role="user", content=QUESTION),), answer=b'{"a":')
    prompt_ids = OTHER.render([("user", QUESTION)])
    request = Generate(session="x", ids=(), max_tokens=4, text=text, grammar=json_grammar("{}", param="response_format"), answer_from=3)
    own = encoded(request, text, prompt_ids, OTHER, 512)
    assert own.answer_from == len(prompt_ids)
    assert OTHER.decode(own.ids[own.answer_from :]) == b'{"a":'


def test_penalties_count_the_answer_in_the_nodes_own_ids() -> None:
    text = Text(messages=(Turn(role="user", content=QUESTION),), answer=b"so far")
    prompt_ids = OTHER.render([("user", QUESTION)])
    penalties = Penalties(frequency=1.0)
    own = encoded(Generate(session="x", ids=(), max_tokens=4, text=text, penalties=penalties, answer_from=3), text, prompt_ids, OTHER, 512)
    assert (own.answer_from, own.penalties) == (len(prompt_ids), penalties)


def test_logprobs_are_asked_of_nodes_that_have_them() -> None:
    plain = replace(hash_node("cloud1", OTHER, parameters=9)[0], lacks=("logprobs",))
    able = hash_node("cloud2", OTHER, parameters=8)[0]
    found = serving_nodes("auto", [plain, able], entry=able, privacy="cloud-allowed", needs=("logprobs",))
    assert [member.id for member in found] == ["cloud2"]
    assert len(serving_nodes("auto", [plain, able], entry=able, privacy="cloud-allowed")) == 2
    with pytest.raises(NetgptError) as caught:
        serving_nodes("auto", [plain], entry=plain, privacy="cloud-allowed", needs=("logprobs",))
    assert (type(caught.value), caught.value.param) == (NotSupported, "logprobs")
    assert "'cloud1'" in caught.value.message
