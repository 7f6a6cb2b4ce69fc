"""What a node says and does when it speaks as the release before does."""

from __future__ import annotations

import asyncio
from contextlib import aclosing

import pytest

from netgpt.core.clock import WallClock
from netgpt.core.errors import NotSupported
from netgpt.core.transport import Call
from netgpt.engine.hash_engine import HashEngine
from netgpt.models.card import ModelCard
from netgpt.models.generation import Embed
from netgpt.models.tokenizer import ByteTokenizer
from netgpt.node.service import EngineService
from netgpt.wire.codec import decode, encode
from netgpt.wire.messages import Hello, Welcome

TOKENIZER = ByteTokenizer()
CARD = ModelCard(
    id="hash-edge",
    tier="edge",
    parameters=1,
    layers=0,
    bytes=0,
    context_tokens=512,
    vocabulary=TOKENIZER.vocabulary,
    tokenizer=TOKENIZER.hash,
)


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
