import asyncio

import pytest

from netgpt.core.clock import ElapsedClock, VirtualClock, run_virtual
from netgpt.core.scheduling import TaskGroup


def test_virtual_time_jumps_to_the_next_deadline():
    async def main() -> list[float]:
        clock = VirtualClock()
        await clock.sleep(3600)
        await clock.sleep(0.25)
        return [clock.now_s()]

    assert run_virtual(main()) == [3600.25]


def test_timers_of_one_instant_run_in_the_order_in_which_they_were_set():
    async def main() -> list[int]:
        seen: list[int] = []
        loop = asyncio.get_running_loop()
        for number in range(100):
            loop.call_at(1.0, seen.append, number)
        await asyncio.sleep(2)
        return seen

    assert run_virtual(main()) == list(range(100))


def test_timeouts_and_queues_work_under_the_virtual_clock():
    async def main() -> float:
        queue: asyncio.Queue[int] = asyncio.Queue(1)
        with pytest.raises(TimeoutError):
            async with asyncio.timeout(5):
                await queue.get()
        return VirtualClock().now_s()

    assert run_virtual(main()) == 5


def test_a_simulation_in_which_all_wait_for_ever_is_an_error():
    async def main() -> None:
        await asyncio.Event().wait()

    with pytest.raises(RuntimeError, match="every task of the simulation waits"):
        run_virtual(main())


def test_threads_are_refused_under_the_virtual_clock():
    async def main() -> None:
        await asyncio.to_thread(print)

    with pytest.raises(RuntimeError, match="no executor"):
        run_virtual(main())


def test_tasks_left_behind_are_cancelled_in_creation_order():
    ended: list[int] = []

    async def wait(number: int) -> None:
        try:
            await asyncio.sleep(100)
        finally:
            ended.append(number)

    async def main() -> None:
        loop = asyncio.get_running_loop()
        kept = [loop.create_task(wait(number)) for number in range(20)]
        await asyncio.sleep(0)
        assert len(kept) == 20

    run_virtual(main())
    assert ended == list(range(20))


def test_a_group_cancels_its_tasks_in_creation_order():
    ended: list[int] = []

    async def wait(number: int) -> None:
        try:
            await asyncio.sleep(100)
        finally:
            ended.append(number)

    async def main() -> None:
        async with TaskGroup() as group:
            for number in range(50):
                group.create_task(wait(number))
            await asyncio.sleep(0)
            group.cancel()

    run_virtual(main())
    assert ended == list(range(50))


def test_an_elapsed_clocks_zero_is_when_it_was_made_and_it_runs_as_the_other_does() -> None:
    async def main() -> tuple[float, float, float]:
        clock = VirtualClock()
        await clock.sleep(3.0)
        elapsed = ElapsedClock(clock)
        began_s = elapsed.now_s()
        await elapsed.sleep(2.0)
        return began_s, elapsed.now_s(), elapsed.date_s()

    assert run_virtual(main()) == (0.0, 2.0, 5.0)
