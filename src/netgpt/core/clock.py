"""Time as an argument: the clock protocol, the wall clock, and the virtual clock.

Under the virtual clock a whole network runs in one process on `VirtualLoop`, an asyncio event loop
that never waits: when nothing is ready it jumps to the next deadline. Ready callbacks run first in,
first out, and timers of one instant run in the order in which they were set, so that a run is a pure
function of its inputs. `asyncio.timeout`, `asyncio.sleep` and queues work on it unchanged.
"""

from __future__ import annotations

import asyncio
import contextvars
import heapq
import time
from asyncio import events
from collections.abc import Callable, Coroutine
from typing import Any, Protocol, TypeVar

from netgpt.core.scheduling import cancel_leftovers

T = TypeVar("T")


class Clock(Protocol):
    """Where durations and deadlines come from."""

    def now_s(self) -> float:
        """Seconds on a clock that only moves forward; its zero means nothing."""
        ...

    def date_s(self) -> float:
        """Seconds since the epoch, for stamps that people read; never subtracted."""
        ...

    async def sleep(self, duration_s: float) -> None: ...


class WallClock:
    """The machine's own clocks."""

    now_s = staticmethod(time.monotonic)

    def date_s(self) -> float:
        return time.time()  # noqa: TID251 - the one place where the wall clock is read

    async def sleep(self, duration_s: float) -> None:
        await asyncio.sleep(duration_s)


class ElapsedClock:
    """Another clock, whose time begins at zero now."""

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._began_s = clock.now_s()

    def now_s(self) -> float:
        return self._clock.now_s() - self._began_s

    def date_s(self) -> float:
        return self._clock.date_s()

    async def sleep(self, duration_s: float) -> None:
        await self._clock.sleep(duration_s)


class VirtualClock:
    """The running `VirtualLoop`'s clock; time starts at zero and moves only when nothing else can."""

    def now_s(self) -> float:
        return asyncio.get_running_loop().time()

    def date_s(self) -> float:
        return self.now_s()

    async def sleep(self, duration_s: float) -> None:
        await asyncio.sleep(duration_s)


class _Timer(asyncio.TimerHandle):
    """A timer that breaks ties by the order in which timers were set."""

    def __init__(self, when: float, callback: Callable[..., object], args: Any, loop: VirtualLoop, context: contextvars.Context | None) -> None:
        super().__init__(when, callback, args, loop, context)
        self._key = (when, loop.next_timer_order())

    def __lt__(self, other: object) -> bool:
        return self._key < other._key if isinstance(other, _Timer) else NotImplemented


class VirtualLoop(asyncio.BaseEventLoop):
    """An asyncio loop with virtual time and no input or output.

    Raises:
        RuntimeError: from `run_until_complete` when nothing is ready and no timer is set, that is,
            when every task waits for something that can never happen.
    """

    def __init__(self) -> None:
        super().__init__()
        self._virtual_time_s = 0.0
        self._timer_count = 0
        self._selector = _JumpingSelector(self)
        self._clock_resolution = 1e-9

    def next_timer_order(self) -> int:
        self._timer_count += 1
        return self._timer_count

    def time(self) -> float:
        return self._virtual_time_s

    def advance(self, duration_s: float) -> None:
        """Move virtual time forward; called by the selector when nothing is ready."""
        self._virtual_time_s += duration_s

    def call_at(self, when: float, callback: Callable[..., object], *args: Any, context: contextvars.Context | None = None) -> asyncio.TimerHandle:
        self._check_closed()  # type: ignore[attr-defined]
        timer = _Timer(when, callback, args, self, context)
        heapq.heappush(self._scheduled, timer)  # type: ignore[attr-defined]
        timer._scheduled = True  # type: ignore[attr-defined]
        return timer

    def _process_events(self, event_list: list[object]) -> None:
        """There is no input or output, hence there are no events."""

    def _write_to_self(self) -> None:
        """Nothing blocks, hence nothing need be woken."""

    def _asyncgen_finalizer_hook(self, agen: Any) -> None:
        """Close a dropped async generator on this loop; the base class would ask another thread's way in."""
        self._asyncgens.discard(agen)  # type: ignore[attr-defined]
        if not self.is_closed():
            self.call_soon(self.create_task, agen.aclose())

    def call_soon_threadsafe(self, callback: Callable[..., object], *args: Any, context: contextvars.Context | None = None) -> asyncio.Handle:
        raise RuntimeError("no thread may touch the virtual loop: use the world's compute protocol")

    def run_in_executor(self, executor: Any, func: Callable[..., Any], *args: Any) -> Any:
        raise RuntimeError("no executor runs under the virtual clock: use the world's compute protocol")


class _JumpingSelector:
    """Stands where a real loop waits for sockets: jumps to the next timer instead."""

    def __init__(self, loop: VirtualLoop) -> None:
        self._loop = loop

    def select(self, timeout: float | None) -> list[object]:
        if timeout is None:
            raise RuntimeError("every task of the simulation waits and no timer is set")
        if timeout > 0:
            self._loop.advance(timeout)
        return []


def run_virtual(main: Coroutine[Any, Any, T]) -> T:
    """Run `main` to its end under the virtual clock and return its result.

    Tasks that `main` leaves behind are cancelled in the order in which they were created.
    """
    loop = VirtualLoop()
    events.set_event_loop(loop)
    try:
        return loop.run_until_complete(main)
    finally:
        cancel_leftovers(loop)
        loop.run_until_complete(loop.shutdown_asyncgens())
        events.set_event_loop(None)
        loop.close()
