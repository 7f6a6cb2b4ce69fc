import asyncio

import pytest

from netgpt.core.clock import run_virtual
from netgpt.core.scheduling import Afterwards, Deadline, TaskGroup, TaskOwner


def test_a_failing_task_cancels_its_group_in_creation_order():
    ended: list[int] = []

    async def wait(number: int) -> None:
        try:
            await asyncio.sleep(10)
        finally:
            ended.append(number)

    async def fail() -> None:
        await asyncio.sleep(0)
        raise ValueError("on purpose")

    async def main() -> None:
        async with TaskGroup() as group:
            for number in range(30):
                group.create_task(wait(number))
            group.create_task(fail())

    with pytest.raises(ExceptionGroup, match="unhandled errors"):
        asyncio.run(main())
    assert ended == list(range(30))


def test_an_owner_ends_its_tasks_and_reports_the_first_failure():
    async def main() -> None:
        owner = TaskOwner()
        done: list[str] = []

        async def wait() -> None:
            try:
                await asyncio.sleep(10)
            finally:
                done.append("waited")

        async def fail() -> None:
            raise ValueError("first")

        owner.spawn(wait(), name="wait")
        owner.spawn(fail(), name="fail")
        await asyncio.sleep(0)
        await asyncio.sleep(0)
        assert len(owner) == 1
        with pytest.raises(ValueError, match="first"):
            await owner.close()
        assert done == ["waited"]
        assert len(owner) == 0

    asyncio.run(main())


async def take(deadline: Deadline, wait_s: float) -> None:
    with deadline:
        await asyncio.sleep(wait_s)


def test_a_deadline_ends_the_wait_that_comes_to_it_and_none_before():
    async def main() -> None:
        deadline = Deadline(10.0)
        for _ in range(9):
            await take(deadline, 1.0)
        assert not deadline.passed
        with pytest.raises(TimeoutError):
            await take(deadline, 2.0)
        assert deadline.passed
        assert asyncio.get_running_loop().time() == 10.0
        task = asyncio.current_task()
        assert task is not None
        assert not task.cancelling()

    run_virtual(main())


def test_a_deadline_is_put_off_and_hastened_and_does_not_count_between_waits():
    async def main() -> None:
        deadline = Deadline(1.0)
        for _ in range(20):
            await take(deadline, 0.9)
            deadline.put_off(1.0)
        await asyncio.sleep(100)  # nobody waits
        deadline.put_off(5.0)
        deadline.hasten(0.5)
        deadline.hasten(3.0)
        with pytest.raises(TimeoutError):
            await take(deadline, 0.6)

    run_virtual(main())


def test_many_waits_of_one_deadline_share_a_timer():
    async def main() -> int:
        loop, set_at = asyncio.get_running_loop(), []
        deadline, call_at = Deadline(1.0), loop.call_at
        loop.call_at = lambda when, callback, *args, **named: (set_at.append(callback), call_at(when, callback, *args, **named))[1]  # type: ignore[method-assign]
        for _ in range(100):
            with deadline:
                await asyncio.sleep(0)
            deadline.put_off(1.0)
        deadline.close()
        return len(set_at)

    assert run_virtual(main()) == 1


def test_a_deadline_leaves_errors_and_cancellations_of_others_alone():
    async def main() -> None:
        deadline = Deadline(1.0)
        with pytest.raises(TimeoutError, match="its own"), deadline:
            raise TimeoutError("its own")
        assert not deadline.passed
        waiting = asyncio.ensure_future(take(deadline, 5.0))
        await asyncio.sleep(0.5)
        waiting.cancel()
        with pytest.raises(asyncio.CancelledError):
            await waiting
        deadline.close()

    run_virtual(main())


def test_what_nobody_waits_for_is_done_in_order_and_one_failure_keeps_nothing_back() -> None:
    done: list[int] = []
    failures: list[object] = []

    def fail() -> None:
        raise ValueError("broken")

    async def main() -> None:
        asyncio.get_running_loop().set_exception_handler(lambda _, context: failures.append(str(context["exception"])))
        afterwards = Afterwards(1.0)
        for call in (lambda: done.append(1), fail, lambda: done.append(2)):
            afterwards.call(call)
        await asyncio.sleep(0.9)
        assert done == []
        await asyncio.sleep(0.1)
        assert (done, failures) == ([1, 2], ["broken"])
        afterwards.call(done.append, 3)
        afterwards.run()  # as at the end of its owner
        assert done == [1, 2, 3]
        await asyncio.sleep(2.0)
        assert done == [1, 2, 3]

    run_virtual(main())
