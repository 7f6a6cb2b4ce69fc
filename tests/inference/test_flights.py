"""The same request, asked while it is being answered, follows the first one's answer."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator
from contextlib import aclosing

from netgpt.core.clock import run_virtual
from netgpt.core.errors import NodeUnreachable, Overloaded
from netgpt.core.scheduling import TaskGroup
from netgpt.inference.flights import Flights
from netgpt.inference.request import Answer, Delta


class Maker:
    """Answers in three words, one a second, and notes how often it was asked and what became of it."""

    def __init__(self, fails_after: int | None = None) -> None:
        self.made = 0
        self.ended = 0
        self.fails_after = fails_after

    async def __call__(self) -> AsyncGenerator[Answer, None]:
        self.made += 1
        try:
            for place, word in enumerate(("one ", "two ", "three")):
                if place == self.fails_after:
                    raise Overloaded("full", hint="later")
                await asyncio.sleep(1)
                yield Delta(text=word, origin="edge1")
        finally:
            self.ended += 1


async def read(flights: Flights, make: Maker, *, after_s: float = 0.0, most: int = 9) -> str:
    await asyncio.sleep(after_s)
    told: list[str] = []
    async with aclosing(flights.join(b"key", make)) as answers:
        async for answer in answers:
            assert isinstance(answer, Delta)
            told.append(answer.text)
            if len(told) == most:
                break
    return "".join(told)


def test_who_comes_later_is_told_all_of_it_and_it_is_made_once() -> None:
    async def main() -> None:
        flights, make = Flights(), Maker()
        async with TaskGroup() as tasks:
            readers = [tasks.create_task(read(flights, make, after_s=after_s)) for after_s in (0.0, 0.5, 1.5, 2.9)]
        assert [reader.result() for reader in readers] == ["one two three"] * 4
        assert (make.made, make.ended, len(flights)) == (1, 1, 0)
        assert await read(flights, make) == "one two three"
        assert make.made == 2, "what has ended is made anew"
        await flights.close()

    run_virtual(main())


def test_who_began_may_leave_and_the_last_who_leaves_ends_it() -> None:
    async def main() -> None:
        flights, make = Flights(), Maker()
        async with TaskGroup() as tasks:
            first = tasks.create_task(read(flights, make, most=1))
            second = tasks.create_task(read(flights, make, after_s=0.5))
        assert (first.result(), second.result()) == ("one ", "one two three")
        assert make.made == 1
        await read(flights, make, most=1)
        assert (make.made, make.ended, len(flights)) == (2, 2, 0), "nobody waits for the rest, so it is not made"
        async with TaskGroup() as tasks:
            lost = tasks.create_task(read(flights, make))
            await asyncio.sleep(0.5)
            lost.cancel()
        assert (make.made, make.ended, len(flights)) == (3, 3, 0)
        await flights.close()

    run_virtual(main())


def test_an_error_reaches_every_reader() -> None:
    async def main() -> None:
        flights, make = Flights(), Maker(fails_after=1)
        results = await asyncio.gather(*(read(flights, make, after_s=after_s) for after_s in (0.0, 0.5)), return_exceptions=True)
        assert [type(result) for result in results] == [Overloaded, Overloaded]
        assert (make.made, make.ended, len(flights)) == (1, 1, 0)
        await flights.close()

    run_virtual(main())


def test_closing_ends_what_is_in_flight() -> None:
    async def main() -> None:
        flights, make = Flights(), Maker()
        reading = asyncio.gather(read(flights, make), return_exceptions=True)
        await asyncio.sleep(0.5)
        await flights.close()
        assert [type(result) for result in await reading] == [NodeUnreachable]
        assert (make.made, make.ended, len(flights)) == (1, 1, 0)

    run_virtual(main())
