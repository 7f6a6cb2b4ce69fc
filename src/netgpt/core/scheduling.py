"""Tasks with an owner, scheduled and cancelled in the order in which they were created; and deadlines for many waits.

`asyncio.TaskGroup` keeps its tasks in a set, whose order follows object ids: two runs of one seed may
cancel in different orders. `TaskGroup` here keeps creation order and is otherwise the same.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine, Iterator
from types import TracebackType
from typing import Any, TypeVar

T = TypeVar("T")


class _InOrder:
    """The part of a set's interface that `asyncio.TaskGroup` uses, in insertion order."""

    def __init__(self) -> None:
        self._items: dict[asyncio.Task[Any], None] = {}

    def add(self, task: asyncio.Task[Any]) -> None:
        self._items[task] = None

    def discard(self, task: asyncio.Task[Any]) -> None:
        self._items.pop(task, None)

    def __iter__(self) -> Iterator[asyncio.Task[Any]]:
        return iter(tuple(self._items))

    def __len__(self) -> int:
        return len(self._items)


class TaskGroup(asyncio.TaskGroup):  # noqa: TID251 - the one that keeps creation order
    """An `asyncio.TaskGroup` that cancels in creation order and can be cancelled from inside."""

    def __init__(self) -> None:
        super().__init__()
        self._tasks: Any = _InOrder()

    def cancel(self) -> None:
        """Cancel every child that still runs; the group then ends without an error."""
        for task in self._tasks:
            task.cancel()


class TaskOwner:
    """Owns background tasks of an object that is started and closed rather than entered and left.

    A task that fails keeps its exception until `close`, which raises the first one.
    """

    def __init__(self) -> None:
        self._running = _InOrder()
        self._failed: BaseException | None = None

    def spawn(self, work: Coroutine[Any, Any, T], *, name: str) -> asyncio.Task[T]:
        task = asyncio.get_running_loop().create_task(work, name=name)
        self._running.add(task)
        task.add_done_callback(self._finished)
        return task

    def _finished(self, task: asyncio.Task[Any]) -> None:
        self._running.discard(task)
        if not task.cancelled() and task.exception() is not None and self._failed is None:
            self._failed = task.exception()

    def __len__(self) -> int:
        return len(self._running)

    async def close(self) -> None:
        """Cancel what runs, in creation order, wait for it to end, and raise the first failure."""
        tasks = list(self._running)
        for task in tasks:
            task.cancel()
        for task in tasks:
            try:
                await task
            except asyncio.CancelledError:
                current = asyncio.current_task()
                if current is not None and current.cancelling():
                    raise
            except Exception:
                continue  # kept in self._failed
        if self._failed is not None:
            failed, self._failed = self._failed, None
            raise failed


class Deadline:
    """An `asyncio.timeout` for many short waits of one after the other, as the parts of a stream are:

        deadline = Deadline(5.0)
        with deadline:
            part = await source()  # TimeoutError, once 5 s have passed since the deadline was set

    `asyncio.timeout` sets a timer and cancels it for each wait. Here one timer serves all of them; it is set again only
    if it rings and the deadline has been put off meanwhile. Nothing is limited between the waits. Whoever makes a
    deadline closes it. `passed` tells a wait that took too long from a TimeoutError of what was waited for.
    """

    def __init__(self, after_s: float) -> None:
        self._loop = asyncio.get_running_loop()
        self._timer: asyncio.TimerHandle | None = None
        self._rings_s = 0.0
        self._waiting: asyncio.Task[Any] | None = None
        self._cancelling = 0  # cancellations of the waiting task that are not ours
        self.passed = False
        self.put_off(after_s)

    def put_off(self, after_s: float) -> None:
        """Set the deadline to so many seconds from now."""
        self._due_s = self._loop.time() + after_s

    def hasten(self, after_s: float) -> None:
        """Let it be no later than so many seconds from now."""
        self._due_s = min(self._due_s, self._loop.time() + after_s)

    def __enter__(self) -> None:
        task = self._waiting = asyncio.current_task(self._loop)
        assert task is not None
        self._cancelling = task.cancelling()
        if self._timer is None or self._due_s < self._rings_s:
            self._set_timer()

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        task, self._waiting = self._waiting, None
        if self.passed:
            assert task is not None
            if task.uncancel() <= self._cancelling and kind is asyncio.CancelledError:
                raise TimeoutError from error

    def close(self) -> None:
        """Free the timer."""
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None

    def _set_timer(self) -> None:
        self.close()
        self._rings_s = self._due_s
        self._timer = self._loop.call_at(self._due_s, self._ring)

    def _ring(self) -> None:
        self._timer = None
        if self._waiting is None:
            return  # the next wait sets it again
        if self._due_s > self._rings_s:
            self._set_timer()
        else:
            self.passed = True
            self._waiting.cancel()


class Afterwards:
    """Calls that nobody waits for, in their order. They are made together, some time after the first of them was put here.

    What comes in meanwhile does not wait for them, and many made together cost less than one by one.
    """

    def __init__(self, after_s: float) -> None:
        self._after_s = after_s
        self._calls: list[tuple[Callable[..., object], tuple[Any, ...]]] = []

    def call(self, function: Callable[..., object], *arguments: Any) -> None:
        """Call it later in the running loop, unless `run` comes first."""
        if not self._calls:
            asyncio.get_running_loop().call_later(self._after_s, self.run)
        self._calls.append((function, arguments))

    def run(self) -> None:
        """Make all calls now. One that fails is told to the loop's exception handler, and keeps no other back."""
        calls, self._calls = self._calls, []
        for function, arguments in calls:
            try:
                function(*arguments)
            except Exception as error:
                asyncio.get_running_loop().call_exception_handler({"message": f"{function!r} failed", "exception": error})


def first_error(errors: BaseExceptionGroup) -> BaseException:
    """The first that failed in a group of groups: the others were cancelled because of it."""
    first = errors.exceptions[0]
    return first_error(first) if isinstance(first, BaseExceptionGroup) else first


def cancel_leftovers(loop: asyncio.AbstractEventLoop) -> None:
    """Cancel every task of `loop`, oldest first by name counter, and run the loop until they have ended."""
    leftovers = sorted(asyncio.all_tasks(loop), key=_creation_order)
    for task in leftovers:
        task.cancel()
    if leftovers:
        loop.run_until_complete(asyncio.gather(*leftovers, return_exceptions=True))


def _creation_order(task: asyncio.Task[Any]) -> tuple[int, str]:
    name = task.get_name()
    digits = name.rpartition("-")[2]
    return (int(digits) if digits.isdigit() else 0, name)
