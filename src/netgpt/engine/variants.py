"""One model in several precisions behind one engine contract: a call goes to the one that it names.

The model runs in its own precision; another one is loaded when it is first asked for, off the event loop, and stays. Sessions are a
precision's own: KV of one is of no use to another. Calls that name none, and all but `generate`, go to the model as it runs.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, Callable, Mapping
from contextlib import aclosing
from dataclasses import replace

from netgpt.core.compute import Compute
from netgpt.core.errors import NotSupported
from netgpt.core.spelling import did_you_mean
from netgpt.engine.contract import Engine
from netgpt.models.card import ModelCard
from netgpt.models.generation import (
    Capabilities,
    Embed,
    Embedding,
    Generate,
    Held,
    Load,
    Prefill,
    Rollback,
    Score,
    Scores,
    Tokens,
    Verdict,
    Verify,
)


class VariantEngine:
    """`engine`, and the same model in other precisions.

    Args:
        others: what makes each, by name; called once, when it is first asked for.
        compute: where they are loaded: not while the model computes.
    """

    def __init__(self, engine: Engine, others: Mapping[str, Callable[[], Engine]], *, compute: Compute) -> None:
        self.own = engine  # in the model's own precision
        self._others = dict(others)
        self._compute = compute
        self._loaded: dict[str, Engine] = {}
        self._loading = asyncio.Lock()

    @property
    def card(self) -> ModelCard:
        return self.own.card

    @property
    def capabilities(self) -> Capabilities:
        return self.own.capabilities

    async def _named(self, name: str) -> Engine:
        if not name:
            return self.own
        if name not in self._others:
            raise NotSupported(f"{self.card.id!r} does not run in {name!r} here", hint=did_you_mean(name, self._others), param="variant")
        async with self._loading:
            if name not in self._loaded:
                self._loaded[name] = await self._compute.run(self._others[name])
        return self._loaded[name]

    async def generate(self, request: Generate) -> AsyncGenerator[Tokens, None]:
        engine = await self._named(request.variant)
        async with aclosing(engine.generate(request)) as replies:
            async for tokens in replies:
                yield tokens

    async def prefill(self, request: Prefill) -> Held:
        return await self.own.prefill(request)

    async def verify(self, request: Verify) -> Verdict:
        return await self.own.verify(request)

    async def embed(self, request: Embed) -> Embedding:
        return await self.own.embed(request)

    async def score(self, request: Score) -> Scores:
        return await self.own.score(request)

    async def rollback(self, request: Rollback) -> Held:
        """Of the session in every precision; what the model's own holds of it is told."""
        for engine in self._loaded.values():
            await engine.rollback(request)
        return await self.own.rollback(request)

    def load(self) -> Load:
        """Of all that are loaded; slots are the model's own, since all share the machine."""
        own, others = self.own.load(), [engine.load() for engine in self._loaded.values()]
        if not others:
            return own
        every = (own, *others)
        return replace(
            own,
            running=sum(one.running for one in every),
            waiting=sum(one.waiting for one in every),
            held_tokens=sum(one.held_tokens for one in every),
            capacity_tokens=sum(one.capacity_tokens for one in every),
            sessions=tuple(name for one in every for name in one.sessions),
        )

    async def close(self) -> None:
        for engine in (self.own, *self._loaded.values()):
            await engine.close()
