"""Declared timing: results come when the declared machine would give them, and never before."""

import asyncio
from collections.abc import AsyncGenerator
from typing import Any

import pytest

from netgpt.core.clock import VirtualClock, run_virtual
from netgpt.core.errors import Overloaded
from netgpt.engine.hash_engine import HashEngine
from netgpt.engine.timed import TimedEngine
from netgpt.models.card import weightless_card
from netgpt.models.generation import Generate, Held, Prefill, Tokens, Verify
from netgpt.models.tokenizer import ByteTokenizer
from netgpt.network.profile import find_profile
from netgpt.network.roofline import declare
from netgpt.network.shape import find_shape

CARD = weightless_card("hash-test", tier="edge", parameters=10**9, context_tokens=256, tokenizer=ByteTokenizer())
PROMPT = tuple(b"hello")
PHONE = declare(find_profile("phone"), find_shape("llama-3.2-1b"), "int4")


class SlowEngine(HashEngine):
    """Each token takes so long for real."""

    def __init__(self, clock: VirtualClock, token_s: float) -> None:
        super().__init__(CARD, clock)
        self._token_s = token_s
        self._real_clock = clock

    async def generate(self, request: Generate) -> AsyncGenerator[Tokens, None]:
        async for tokens in super().generate(request):
            await self._real_clock.sleep(self._token_s)
            yield tokens

    async def prefill(self, request: Prefill) -> Held:
        await self._real_clock.sleep(self._token_s)
        return await super().prefill(request)


async def finish_of(engine: TimedEngine, session: str, count: int, prompt: tuple[int, ...] = PROMPT) -> Tokens:
    return [tokens async for tokens in engine.generate(Generate(session=session, ids=prompt, max_tokens=count))][-1]


def steps_s(count: int, batch: int = 1) -> float:
    """The steps after the first token of `batch` sessions in step with each other."""
    return sum(PHONE.decode_s([len(PROMPT) + made] * batch) for made in range(count - 1))


def test_a_declared_machine_takes_its_modelled_time():
    async def main() -> None:
        clock = VirtualClock()
        timed = TimedEngine(HashEngine(CARD, clock), PHONE, clock)
        timings = (await finish_of(timed, "s", 11)).timings
        assert clock.now_s() == pytest.approx(PHONE.prefill_s(5) + steps_s(11))
        assert timings is not None
        assert (timings.modelled, timings.overruns) == (True, 0)
        assert timings.declared == "llama-3.2-1b in int4 on snapdragon-8-gen-3"
        assert timings.queue_s == pytest.approx(0, abs=1e-12)
        assert timings.prefill_s == pytest.approx(PHONE.prefill_s(5))
        assert timings.decode_s == pytest.approx(steps_s(11))
        assert (timed.load().releases, timed.load().overruns) == (11, 0)
        before_s = clock.now_s()
        verdict = await timed.verify(Verify(session="s", ids=PROMPT, drafts=(1, 2)))
        assert verdict.timings is not None
        assert verdict.timings.modelled
        assert clock.now_s() - before_s == pytest.approx(PHONE.prefill_s(7))

    run_virtual(main())


def test_a_held_session_pays_for_new_tokens_and_reads_the_old_ones():
    async def main() -> None:
        clock = VirtualClock()
        timed = TimedEngine(HashEngine(CARD, clock), PHONE, clock)
        await timed.prefill(Prefill(session="s", ids=PROMPT * 40))
        before_s = clock.now_s()
        held = await timed.prefill(Prefill(session="s", keep=200, ids=PROMPT))
        assert held.timings is not None
        assert clock.now_s() - before_s == pytest.approx(PHONE.prefill_s(5, past=200))
        assert PHONE.prefill_s(5) < PHONE.prefill_s(5, past=200) < PHONE.prefill_s(205)

    run_virtual(main())


def test_sessions_share_a_step_and_prompts_come_one_after_the_other():
    async def main() -> None:
        clock = VirtualClock()
        timed = TimedEngine(HashEngine(CARD, clock), PHONE, clock)
        ends = await asyncio.gather(*(finish_of(timed, f"s{number}", 21) for number in range(4)))
        alone_s = PHONE.prefill_s(5) + steps_s(21)
        assert clock.now_s() < 0.5 * 4 * alone_s  # far from one after the other
        assert clock.now_s() == pytest.approx(4 * PHONE.prefill_s(5) + steps_s(21, batch=4), rel=0.02)
        waits = [end.timings.queue_s for end in ends if end.timings]
        assert waits == pytest.approx([number * PHONE.prefill_s(5) for number in range(4)])

    run_virtual(main())


def test_decoding_waits_while_a_prompt_is_computed():
    async def main() -> None:
        clock = VirtualClock()
        timed = TimedEngine(HashEngine(CARD, clock), PHONE, clock)
        alone_s = PHONE.prefill_s(5) + steps_s(20)

        async def prompt() -> None:
            await clock.sleep(alone_s / 2)
            await timed.prefill(Prefill(session="other", ids=PROMPT * 40))

        answer = asyncio.ensure_future(finish_of(timed, "s", 20))
        await prompt()
        await answer
        assert clock.now_s() == pytest.approx(alone_s + PHONE.prefill_s(200), rel=1e-6)

    run_virtual(main())


def test_a_machine_is_at_work_while_it_computes_a_prompt_or_decodes_for_anybody():
    async def main() -> None:
        clock = VirtualClock()
        timed = TimedEngine(HashEngine(CARD, clock), PHONE, clock)
        await asyncio.gather(*(finish_of(timed, f"s{number}", 21) for number in range(4)))
        assert timed.busy_s() == pytest.approx(clock.now_s(), rel=1e-6), "it was never idle, and works for four at once"
        await clock.sleep(5.0)
        before_s = timed.busy_s()
        asking = asyncio.ensure_future(timed.prefill(Prefill(session="other", ids=PROMPT * 40)))
        await clock.sleep(PHONE.prefill_s(200) / 2)
        assert timed.busy_s() - before_s == pytest.approx(PHONE.prefill_s(200) / 2)
        await asking

    run_virtual(main())


def test_results_that_take_longer_than_modelled_are_overruns_and_come_at_once():
    async def main() -> None:
        clock = VirtualClock()
        token_s = 10 * PHONE.decode_s([5])
        timed = TimedEngine(SlowEngine(clock, token_s), PHONE, clock)
        timings = (await finish_of(timed, "s", 5)).timings
        assert timings is not None
        assert timings.overruns == timed.load().overruns == 5
        assert clock.now_s() == pytest.approx(5 * token_s)  # real, since that is more
        held = await timed.prefill(Prefill(session="p", ids=PROMPT))
        assert held.timings is not None
        assert held.timings.overruns == 1

    run_virtual(main())


def test_a_slow_reader_is_no_overrun():
    async def main() -> None:
        clock = VirtualClock()
        timed = TimedEngine(HashEngine(CARD, clock), PHONE, clock)
        async for _ in timed.generate(Generate(session="s", ids=PROMPT, max_tokens=5)):
            await clock.sleep(1.0)
        assert (timed.releases, timed.overruns) == (5, 0)

    run_virtual(main())


def test_real_work_within_the_modelled_time_costs_nothing():
    async def main() -> None:
        clock = VirtualClock()
        timed = TimedEngine(SlowEngine(clock, PHONE.decode_s([5]) / 2), PHONE, clock)
        await finish_of(timed, "s", 11)
        assert clock.now_s() == pytest.approx(PHONE.prefill_s(5) + steps_s(11))
        assert timed.overruns == 0

    run_virtual(main())


def test_slots_are_the_declared_machines(monkeypatch: Any):
    async def main() -> None:
        clock = VirtualClock()
        monkeypatch.setattr("netgpt.engine.timed.QUEUE", 1)
        timed = TimedEngine(HashEngine(CARD, clock, slots=1), PHONE, clock)
        first = asyncio.ensure_future(finish_of(timed, "a", 5))
        second = asyncio.ensure_future(finish_of(timed, "b", 5))
        await asyncio.sleep(0)
        await asyncio.sleep(0)
        assert (timed.load().running, timed.load().waiting) == (1, 1)
        with pytest.raises(Overloaded):
            await finish_of(timed, "c", 5)
        done = await asyncio.gather(first, second)
        assert done[1].timings is not None
        assert done[1].timings.queue_s == pytest.approx(PHONE.prefill_s(5) + steps_s(5))
        assert timed.load().running == 0

    run_virtual(main())
