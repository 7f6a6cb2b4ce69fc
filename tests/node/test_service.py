"""What a node says and does when it speaks as the release before does."""

from __future__ import annotations

import asyncio
from contextlib import aclosing

import pytest

from netgpt.core.clock import WallClock
from netgpt.core.errors import NotSupported
from netgpt.core.transport import Call
from netgpt.engine.hash_engine import HashEngine
from netgpt.inference.cache import OVERHEAD_BYTES, AnswerCache
from netgpt.models.card import weightless_card
from netgpt.models.generation import Embed, Load, Recall, Recalled, Remember, Remembered
from netgpt.models.tokenizer import ByteTokenizer
from netgpt.node.service import EngineService
from netgpt.wire.codec import decode, encode
from netgpt.wire.messages import Hello, Stats, Welcome

TOKENIZER = ByteTokenizer()
CARD = weightless_card("hash-edge", tier="edge", parameters=1, context_tokens=512, tokenizer=TOKENIZER)


async def answer(service: EngineService, method: str, message: object) -> bytes:
    async with aclosing(service.handle(Call(method=method, payload=encode(message)))) as replies:
        return await anext(replies)


@pytest.mark.parametrize(("own", "theirs", "text"), [(2, 2, True), (1, 2, False), (2, 1, False), (1, 1, False)])
def test_a_capability_is_told_only_where_both_sides_can_speak_of_it(own: int, theirs: int, text: bool) -> None:
    service = EngineService("edge1", HashEngine(CARD, WallClock()), lambda call: "", TOKENIZER, version=own)
    hello = Hello(protocol_version=theirs, node="phone1", release="0")
    welcome = decode(Welcome, asyncio.run(answer(service, "hello", hello)))
    assert welcome.protocol_version == min(own, theirs)
    assert (welcome.capabilities.text, welcome.capabilities.embed) == (text, text)
    assert welcome.capabilities.logprobs


def test_a_node_of_version_1_has_no_embeddings() -> None:
    service = EngineService("edge1", HashEngine(CARD, WallClock()), lambda call: "", TOKENIZER, version=1)
    with pytest.raises(NotSupported, match="has no method 'embed'"):
        asyncio.run(answer(service, "embed", Embed(session="s", ids=(1,))))


async def welcome(service: EngineService, theirs: int) -> Welcome:
    return decode(Welcome, await answer(service, "hello", Hello(protocol_version=theirs, node="phone1", release="0")))


def test_a_node_says_that_it_keeps_answers_only_to_those_who_can_ask_for_them() -> None:
    keeper = AnswerCache(WallClock(), entries=5)

    async def main() -> None:
        keeping = EngineService("edge1", HashEngine(CARD, WallClock()), lambda call: "", TOKENIZER, keeper=keeper)
        assert (await welcome(keeping, 2)).capabilities.keeps
        assert not (await welcome(keeping, 1)).capabilities.keeps
        older = EngineService("edge1", HashEngine(CARD, WallClock()), lambda call: "", TOKENIZER, keeper=keeper, version=1)
        assert not (await welcome(older, 2)).capabilities.keeps
        plain = EngineService("edge1", HashEngine(CARD, WallClock()), lambda call: "", TOKENIZER)
        assert not (await welcome(plain, 2)).capabilities.keeps
        for service in (older, plain):
            with pytest.raises(NotSupported, match="has no method 'recall'"):
                await answer(service, "recall", Recall(scope="s", group=b"g", exact=b"e"))

    asyncio.run(main())


def test_what_a_node_is_told_to_remember_it_recalls() -> None:
    async def main() -> None:
        service = EngineService("edge1", HashEngine(CARD, WallClock()), lambda call: "", keeper=AnswerCache(WallClock(), entries=5))
        asked = Recall(scope="s", group=b"g", exact=b"e", max_age_s=60.0)
        assert not decode(Recalled, await answer(service, "recall", asked)).found
        told = Remember(scope="s", exact=b"e", text="100 ms", reason="stop", life_s=60.0)
        assert decode(Remembered, await answer(service, "remember", told)).kept
        assert decode(Recalled, await answer(service, "recall", asked)).text == "100 ms"
        load = decode(Load, await answer(service, "stats", Stats()))
        assert (load.kept_answers, load.kept_bytes) == (1, OVERHEAD_BYTES + len("100 ms"))

    asyncio.run(main())
