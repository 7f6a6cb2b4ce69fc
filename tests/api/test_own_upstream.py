"""NetGPT behind NetGPT: a door as the upstream of another node's engine, over real sockets."""

from __future__ import annotations

import asyncio
from contextlib import aclosing
from typing import Any

import pytest

from netgpt.core.clock import WallClock
from netgpt.engine.hash_engine import HashEngine
from netgpt.engine.openai_engine import OpenAIEngine
from netgpt.engine.openai_request import Upstream
from netgpt.models.generation import Generate, Text, Tokens, Turn
from netgpt.models.tokenizer import ByteTokenizer, render_chat
from netgpt.telemetry.metrics import Metrics

from .test_real_door import CARD, make_app

CLOCK = WallClock()
PROMPT = Text(messages=(Turn(role="user", content="How is it?"),), logprobs=True)
REQUEST = Generate(session="s", ids=(), max_tokens=20, text=PROMPT, top_logprobs=2)


async def collect(engine: Any, request: Generate) -> list[Tokens]:
    async with aclosing(engine.generate(request)) as replies:
        return [tokens async for tokens in replies]


def test_our_own_door_is_an_upstream_with_logprobs_counts_and_a_known_tokenizer(serving: Any) -> None:
    async def main() -> None:
        behind = HashEngine(CARD, CLOCK)
        async with serving(make_app(behind, Metrics())) as url:
            engine = OpenAIEngine(Upstream(url=f"{url}/v1", model="auto"), CLOCK, tier="cloud")
            await engine.look()
            able, card = engine.capabilities, engine.card
            assert (able.logprobs, able.top_logprobs, able.usage, able.tokenizer) == (True, 20, True, CARD.tokenizer)
            assert (card.id, card.context_tokens) == ("auto", CARD.context_tokens)
            assert card.tokenizer != CARD.tokenizer  # it takes text, whatever runs behind it

            prompt = tuple(render_chat(ByteTokenizer(), [("user", "How is it?")]))
            own = await collect(behind, Generate(session="own", ids=prompt, max_tokens=20, stop_ids=(ByteTokenizer.end_id,), top_logprobs=2))
            asked = await collect(engine, REQUEST)
            said = [tokens for tokens in own if ByteTokenizer.end_id not in tokens.ids]
            assert b"".join(tokens.data for tokens in asked) == ByteTokenizer().decode([i for tokens in own for i in tokens.ids])
            assert [value for tokens in asked for value in tokens.logprobs] == pytest.approx(
                [value for tokens in said for value in tokens.logprobs], abs=1e-6
            )
            assert all(len(top.tokens) == 2 for tokens in asked for top in tokens.top)
            assert sum(tokens.made for tokens in asked) == sum(len(tokens.ids) for tokens in own)
            assert asked[-1].prompt_tokens == len(prompt)
            await engine.close()

    asyncio.run(main())
