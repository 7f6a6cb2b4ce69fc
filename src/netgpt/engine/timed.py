"""`TimedEngine` gives any engine the speed of a declared machine: no result before its modelled time.

A result is released at max(real, modelled) time; when the real engine was slower, that is an overrun
and is counted. Prompts are computed one after the other; a decoding step serves all running sessions.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, Awaitable, Callable, Sequence
from contextlib import aclosing
from dataclasses import replace
from typing import TypeVar

from netgpt.core.clock import Clock
from netgpt.engine.contract import Engine
from netgpt.models.card import ModelCard
from netgpt.models.generation import Capabilities, Embed, Embedding, Generate, Held, Load, Prefill, Rollback, Timings, Tokens, Verdict, Verify
from netgpt.network.profile import HardwareProfile, decode_step_time_s, prefill_time_s

Result = TypeVar("Result", Held, Verdict, Embedding)


class TimedEngine:
    """Wraps `engine`, as if it ran a model of `parameters` weights on `profile`.

    Args:
        count: how many of the model's tokens some ids of a prompt are.
        count_new: how many decoding steps a reply is.
    """

    def __init__(
        self,
        engine: Engine,
        profile: HardwareProfile,
        clock: Clock,
        *,
        parameters: int,
        count: Callable[[Sequence[int]], int] = len,
        count_new: Callable[[Sequence[int]], int] = len,
    ) -> None:
        self._engine = engine
        self._profile = profile
        self._clock = clock
        self._parameters = parameters or engine.card.parameters
        self._count = count
        self._count_new = count_new
        self._prompts = asyncio.Lock()
        self.releases = 0
        self.overruns = 0

    @property
    def card(self) -> ModelCard:
        return self._engine.card

    @property
    def capabilities(self) -> Capabilities:
        return self._engine.capabilities

    async def generate(self, request: Generate) -> AsyncGenerator[Tokens, None]:
        start_s = self._clock.now_s()
        due_s = 0.0
        prefill_s = 0.0
        async with aclosing(self._engine.generate(request)) as replies:
            async for tokens in replies:
                if not due_s:
                    async with self._prompts:
                        prefill_s = prefill_time_s(self._profile, self._parameters, self._count(request.ids))
                        due_s = max(self._clock.now_s(), start_s) + prefill_s
                        await self._release(due_s)
                else:
                    due_s += self._count_new(tokens.ids) * decode_step_time_s(self._profile, self._parameters, max(self._engine.load().running, 1))
                    await self._release(due_s)
                yield self._stamped(tokens, prefill_s, self._clock.now_s() - start_s)

    def _stamped(self, tokens: Tokens, prefill_s: float, elapsed_s: float) -> Tokens:
        if tokens.timings is None:
            return tokens
        queue_s = tokens.timings.queue_s
        return replace(
            tokens, timings=Timings(queue_s=queue_s, prefill_s=prefill_s, decode_s=max(elapsed_s - queue_s - prefill_s, 0.0), modelled=True)
        )

    async def prefill(self, request: Prefill) -> Held:
        return await self._prompt(self._engine.prefill(request), prefill_time_s(self._profile, self._parameters, self._count(request.ids)))

    async def verify(self, request: Verify) -> Verdict:
        new_tokens = self._count((*request.ids, *request.drafts))
        return await self._prompt(self._engine.verify(request), prefill_time_s(self._profile, self._parameters, new_tokens))

    async def embed(self, request: Embed) -> Embedding:
        return await self._prompt(self._engine.embed(request), prefill_time_s(self._profile, self._parameters, self._count(request.ids)))

    async def _prompt(self, work: Awaitable[Result], modelled_s: float) -> Result:
        async with self._prompts:
            due_s = self._clock.now_s() + modelled_s
            result = await work
            await self._release(due_s)
        return replace(result, timings=Timings(prefill_s=modelled_s, modelled=True))

    async def _release(self, due_s: float) -> None:
        wait_s = due_s - self._clock.now_s()
        self.releases += 1
        if wait_s > 0:
            await self._clock.sleep(wait_s)
        elif wait_s < 0:
            self.overruns += 1

    async def rollback(self, request: Rollback) -> Held:
        return await self._engine.rollback(request)

    def load(self) -> Load:
        return self._engine.load()

    async def close(self) -> None:
        await self._engine.close()
