"""`TimedEngine` gives any engine the speed of a declared machine: no result before its modelled time.

A result is released at max(real, modelled) time; when the real engine took longer than the model says,
that is an overrun and is counted. The machine computes prompts one after the other, and decoding waits
meanwhile; a decoding step serves all running sessions at once.
"""

from __future__ import annotations

from collections.abc import AsyncGenerator, Awaitable, Callable, Mapping, Sequence
from contextlib import aclosing
from dataclasses import dataclass, replace
from typing import TypeVar

from netgpt.core.clock import Clock
from netgpt.engine.contract import Engine
from netgpt.engine.threads import Slots
from netgpt.engine.workload import Workload
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
    Timings,
    Tokens,
    Verdict,
    Verify,
)
from netgpt.network.roofline import Declared

Result = TypeVar("Result", Held, Verdict, Embedding, Scores)
QUEUE = 256  # calls that may wait for a slot


@dataclass(kw_only=True, eq=False)
class _Pace:
    """How far one answer is on the declared machine."""

    machine: Declared  # which computes it
    context: int  # tokens of the session
    due_s: float = 0.0  # when what was made last is due
    stalled_s: float = 0.0  # of the machine's, when the last step was planned
    overruns: int = 0


class TimedEngine:
    """Wraps `engine`, as if `declared` ran in its place. Slots are its own: a real engine may be done long before.

    Args:
        count: how many of the model's tokens some ids of a prompt are.
        count_new: how many decoding steps a reply is.
        variants: the same machine with the model in other precisions, by name; a step of each is a step of its own.
    """

    def __init__(
        self,
        engine: Engine,
        declared: Declared,
        clock: Clock,
        *,
        count: Callable[[Sequence[int]], int] = len,
        count_new: Callable[[Sequence[int]], int] = len,
        variants: Mapping[str, Declared] | None = None,
    ) -> None:
        self._engine = engine
        self._declared = declared
        self._variants = variants or {}
        self._clock = clock
        self._count = count
        self._count_new = count_new
        self._slots = Slots(engine.card.id, max(engine.load().slots, 1), QUEUE)
        self._workload = Workload(self._slots.count, clock)
        self._answers: list[_Pace] = []  # those that are being decoded
        self._free_s = 0.0  # when the machine has computed the prompts that it was given
        self._stalled_s = 0.0  # how long prompts have taken in all
        self._worked_s = 0.0  # how long the machine is at work, until `_works_until_s`
        self._works_until_s = 0.0
        self.releases = 0
        self.overruns = 0

    @property
    def card(self) -> ModelCard:
        return self._engine.card

    @property
    def capabilities(self) -> Capabilities:
        return self._engine.capabilities

    async def generate(self, request: Generate) -> AsyncGenerator[Tokens, None]:
        arrival_s = self._clock.now_s()
        tokens = self._count(request.ids)
        with self._workload.enter(tokens, request.max_tokens) as job:
            async with self._slots:
                job.start()
                start_s = self._clock.now_s()
                machine = self._variants.get(request.variant, self._declared)
                prefill_s = machine.prefill_s(tokens, request.keep)
                pace = _Pace(machine=machine, context=request.keep + tokens)
                waited_s = 0.0
                try:
                    async with aclosing(self._engine.generate(request)) as replies:
                        asked_s, begun = start_s, False
                        async for reply in replies:
                            steps = made = self._count_new(reply.ids)
                            if not begun:
                                begun = True
                                pace.due_s = self._take_prompt(start_s, prefill_s)
                                waited_s = pace.due_s - prefill_s - arrival_s
                                self._join(pace)
                                steps -= 1  # the prompt itself tells the first token
                            await self._step(pace, steps, asked_s)
                            job.add(made, ends=bool(reply.finish))
                            yield self._stamped(reply, pace, Timings(queue_s=waited_s, prefill_s=prefill_s), arrival_s)
                            asked_s = self._clock.now_s()
                finally:
                    if pace in self._answers:
                        self._answers.remove(pace)

    def _take_prompt(self, start_s: float, duration_s: float) -> float:
        """When the machine will have computed a prompt that could begin at `start_s`."""
        begin_s = max(self._free_s, start_s)
        self._free_s = begin_s + duration_s
        self._stalled_s += duration_s
        self._work(begin_s, self._free_s)
        return self._free_s

    def _work(self, begin_s: float, end_s: float) -> None:
        """The machine is at work in that time, on this and perhaps on more."""
        self._worked_s += max(end_s - max(begin_s, self._works_until_s), 0.0)
        self._works_until_s = max(self._works_until_s, end_s)

    def busy_s(self) -> float:
        """How long the declared machine has been at work: computed a prompt, or decoded for one session or several."""
        return self._worked_s - max(self._works_until_s - self._clock.now_s(), 0.0)

    def _join(self, pace: _Pace) -> None:
        pace.stalled_s = self._stalled_s  # what came before has been waited for
        self._answers.append(pace)

    async def _step(self, pace: _Pace, steps: int, asked_s: float) -> None:
        """Release what the engine has made in so many decoding steps, or in none but the prompt."""
        made_s = self._clock.now_s()
        plan_s = pace.due_s
        if steps > 0:
            machines = {id(one.machine): one.machine for one in self._answers}.values()  # one, unless variants are asked for
            step_s = sum(machine.decode_s([one.context for one in self._answers if one.machine is machine]) for machine in machines)
            plan_s += steps * step_s + self._stalled_s - pace.stalled_s
            pace.stalled_s = self._stalled_s
            pace.context += steps
            self._work(plan_s - steps * step_s, plan_s)
        overrun = made_s > plan_s and made_s - asked_s > max(plan_s - pace.due_s, 0.0)
        pace.overruns += overrun
        pace.due_s = max(plan_s, made_s)
        await self._release(plan_s, overrun)

    def _stamped(self, tokens: Tokens, pace: _Pace, timings: Timings, arrival_s: float) -> Tokens:
        if tokens.timings is None:
            return tokens
        decode_s = max(self._clock.now_s() - arrival_s - timings.queue_s - timings.prefill_s, 0.0)
        return replace(tokens, timings=replace(timings, decode_s=decode_s, modelled=True, declared=str(pace.machine), overruns=pace.overruns))

    async def prefill(self, request: Prefill) -> Held:
        return await self._prompt(lambda: self._engine.prefill(request), request.ids, request.keep)

    async def verify(self, request: Verify) -> Verdict:
        return await self._prompt(lambda: self._engine.verify(request), (*request.ids, *request.drafts), request.keep)

    async def embed(self, request: Embed) -> Embedding:
        return await self._prompt(lambda: self._engine.embed(request), request.ids, 0)

    async def score(self, request: Score) -> Scores:
        return await self._prompt(lambda: self._engine.score(request), request.ids, 0)

    async def _prompt(self, work: Callable[[], Awaitable[Result]], ids: Sequence[int], past: int) -> Result:
        arrival_s = self._clock.now_s()
        async with self._slots:
            start_s = self._clock.now_s()
            result = await work()
            duration_s = self._declared.prefill_s(self._count(ids), past)
            due_s = self._take_prompt(start_s, duration_s)
            overrun = self._clock.now_s() > due_s
            await self._release(due_s, overrun)
        timings = Timings(
            queue_s=due_s - duration_s - arrival_s, prefill_s=duration_s, modelled=True, declared=str(self._declared), overruns=int(overrun)
        )
        return replace(result, timings=timings)

    async def _release(self, due_s: float, overrun: bool) -> None:
        self.releases += 1
        self.overruns += overrun
        wait_s = due_s - self._clock.now_s()
        if wait_s > 0:
            await self._clock.sleep(wait_s)

    async def rollback(self, request: Rollback) -> Held:
        return await self._engine.rollback(request)

    def load(self) -> Load:
        return replace(
            self._engine.load(),
            running=self._slots.running,
            waiting=self._slots.waiting,
            releases=self.releases,
            overruns=self.overruns,
            free_s=self._workload.free_s(),
            step_s=self._workload.step_s,
            prompt_token_s=self._workload.prompt_token_s,
            prompt_tokens=self._workload.prompt_tokens,
        )

    async def close(self) -> None:
        await self._engine.close()
