"""What an engine says of its slots: when each gets free, from its own steps and the lengths of its own answers."""

import pytest

from netgpt.core.clock import VirtualClock, run_virtual
from netgpt.engine.workload import Job, Workload

PROMPT_TOKEN_S, STEP_S = 0.001, 0.05


async def answer(workload: Workload, clock: VirtualClock, job: Job, tokens: int, *, ends: bool = False) -> None:
    """So many tokens of an answer that has a slot, at the paces above; `ends`: it says itself that these are all."""
    for left in reversed(range(tokens)):
        await clock.sleep(STEP_S if job.made else PROMPT_TOKEN_S * job.prompt)
        job.add(1, ends=ends and not left)


async def measured(slots: int = 2) -> tuple[Workload, VirtualClock]:
    """With the paces seen once, of an answer that its limit has cut."""
    clock = VirtualClock()
    workload = Workload(slots, clock)
    with workload.enter(100, 20) as job:
        job.start()
        await answer(workload, clock, job, 20)
    return workload, clock


def test_an_engine_that_has_made_nothing_says_nothing() -> None:
    workload = Workload(2, VirtualClock())
    workload.enter(10, 10).__enter__()
    assert (workload.free_s(), workload.step_s, workload.prompt_token_s) == ((), 0.0, 0.0)


def test_slots_get_free_when_what_is_left_of_their_answers_is_made() -> None:
    async def main() -> None:
        workload, clock = await measured()
        assert workload.step_s == pytest.approx(STEP_S)
        assert workload.prompt_token_s == pytest.approx(PROMPT_TOKEN_S)
        assert workload.prompt_tokens == pytest.approx(100, rel=0.3)
        assert workload.free_s() == (0.0, 0.0)
        with workload.enter(100, 30) as job:
            job.start()
            await answer(workload, clock, job, 10)
            await clock.sleep(0.02)
            assert workload.free_s() == pytest.approx((0.0, 20 * STEP_S - 0.02)), "no answer has ended before its limit yet"
        assert workload.free_s() == (0.0, 0.0)

    run_virtual(main())


def test_who_waits_takes_the_slot_that_gets_free_first_and_its_prompt_holds_the_others_up() -> None:
    async def main() -> None:
        workload, clock = await measured()
        first, second = workload.enter(100, 10), workload.enter(100, 40)
        for job in (first, second):
            job.start()
            await answer(workload, clock, job, 1)
        assert workload.free_s() == pytest.approx((9 * STEP_S - 0.1, 39 * STEP_S))
        with workload.enter(200, 5):
            waited_s = 9 * STEP_S - 0.1 + 0.2
            assert workload.free_s() == pytest.approx((waited_s + 5 * STEP_S, 39 * STEP_S + 0.2))
        assert workload.free_s() == pytest.approx((9 * STEP_S - 0.1, 39 * STEP_S)), "its client has left"

    run_virtual(main())


def test_a_prompt_under_way_must_be_done_before_the_next_can_begin() -> None:
    async def main() -> None:
        workload, clock = await measured()
        with workload.enter(300, 10) as job:
            job.start()
            await clock.sleep(0.1)
            assert workload.free_s()[0] == pytest.approx(0.2)

    run_virtual(main())


def test_answers_that_end_early_are_expected_to_end_early() -> None:
    async def main() -> None:
        workload, clock = await measured(slots=1)
        for _ in range(60):
            with workload.enter(100, 100) as job:
                job.start()
                await answer(workload, clock, job, 10, ends=True)
        with workload.enter(100, 100) as job:
            job.start()
            await answer(workload, clock, job, 5)
            assert workload.free_s()[0] == pytest.approx(5 * STEP_S, rel=0.2)

    run_virtual(main())


def test_answers_that_their_clients_leave_might_have_been_longer() -> None:
    async def main() -> None:
        workload, clock = await measured(slots=1)
        for _ in range(60):
            with workload.enter(100, 100) as job:
                job.start()
                await answer(workload, clock, job, 10)
        with workload.enter(100, 100) as job:
            job.start()
            await answer(workload, clock, job, 5)
            assert workload.free_s()[0] == pytest.approx(95 * STEP_S)

    run_virtual(main())


def test_where_prompts_do_not_hold_each_other_up_each_slot_is_a_thing_of_its_own() -> None:
    async def main() -> None:
        clock = VirtualClock()
        workload = Workload(2, clock, serial=False)
        with workload.enter(1, 20) as job:
            job.start()
            await clock.sleep(0.3)
            job.add(1)
            await answer(workload, clock, job, 19)
        with workload.enter(1, 10) as first, workload.enter(1, 30) as second:
            first.start()
            second.start()
            await clock.sleep(0.1)
            assert workload.free_s() == pytest.approx((0.2 + 10 * STEP_S, 0.2 + 30 * STEP_S))
            with workload.enter(1, 5):
                assert workload.free_s() == pytest.approx((0.2 + 10 * STEP_S + 0.3 + 5 * STEP_S, 0.2 + 30 * STEP_S))

    run_virtual(main())
