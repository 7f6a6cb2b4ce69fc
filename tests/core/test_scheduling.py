import asyncio

import pytest

from netgpt.core.scheduling import TaskGroup, TaskOwner


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
