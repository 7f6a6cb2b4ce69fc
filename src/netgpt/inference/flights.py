"""Requests in flight: the same request, asked again while it is being answered, follows the first one's answer.

Each flight is a task of its own, so that whoever began it may leave; it ends when its last reader has left. What makes two requests the
same is `caching.flight_of`'s matter, what an answer is the caller's.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, Callable
from contextlib import aclosing

from netgpt.core.errors import NodeUnreachable
from netgpt.core.scheduling import TaskOwner
from netgpt.inference.request import Answer

Make = Callable[[], AsyncGenerator[Answer, None]]


class _Flight:
    """One answer on its way, and everything of it so far."""

    def __init__(self) -> None:
        self.told: list[Answer] = []
        self.error: BaseException | None = None
        self.done = False
        self.readers = 0
        self.task: asyncio.Task[None] | None = None
        self._news = asyncio.Event()

    def ring(self) -> None:
        self._news.set()
        self._news = asyncio.Event()

    async def read(self) -> AsyncGenerator[Answer, None]:
        """All of it, from the beginning. Raises what ended it."""
        place = 0
        while True:
            for answer in self.told[place:]:
                place += 1
                yield answer
            if place < len(self.told):
                continue
            if self.error is not None:
                raise self.error
            if self.done:
                return
            await self._news.wait()


class Flights:
    """The flights of one door."""

    def __init__(self) -> None:
        self._open: dict[bytes, _Flight] = {}
        self._tasks = TaskOwner()

    def __len__(self) -> int:
        return len(self._open)

    def __contains__(self, key: bytes) -> bool:
        return key in self._open

    async def join(self, key: bytes, make: Make) -> AsyncGenerator[Answer, None]:
        """The answer of the flight that has this key, from its beginning; without one it begins with `make()`.

        Raises:
            NetgptError: what ended the flight.
        """
        flight = self._open.get(key) or self._begin(key, make())
        flight.readers += 1
        try:
            async with aclosing(flight.read()) as answers:
                async for answer in answers:
                    yield answer
        finally:
            await self._leave(key, flight)

    async def close(self) -> None:
        """End every flight."""
        await self._tasks.close()

    def _begin(self, key: bytes, answers: AsyncGenerator[Answer, None]) -> _Flight:
        flight = self._open[key] = _Flight()
        flight.task = self._tasks.spawn(self._fly(key, flight, answers), name=f"flight-{key.hex()[:8]}")
        return flight

    async def _fly(self, key: bytes, flight: _Flight, answers: AsyncGenerator[Answer, None]) -> None:
        try:
            async with aclosing(answers):
                async for answer in answers:
                    flight.told.append(answer)
                    flight.ring()
        except asyncio.CancelledError:
            flight.error = NodeUnreachable("the answer was given up", hint="ask again")
            raise
        except Exception as error:  # its readers raise it
            flight.error = error
        finally:
            flight.done = True
            if self._open.get(key) is flight:
                del self._open[key]
            flight.ring()

    async def _leave(self, key: bytes, flight: _Flight) -> None:
        flight.readers -= 1
        if flight.readers or flight.done or flight.task is None:
            return
        if self._open.get(key) is flight:
            del self._open[key]  # who comes now begins anew
        flight.task.cancel()
        await asyncio.wait([flight.task])
