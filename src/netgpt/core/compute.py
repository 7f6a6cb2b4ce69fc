"""Where heavy work runs: `await compute.run(work, cost_s=...)`.

In the real worlds the work runs in an executor thread and takes the time it takes; in the simulated
world it runs inline and the clock advances by its modelled cost.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Protocol, TypeVar

from netgpt.core.clock import Clock

T = TypeVar("T")


class Compute(Protocol):
    """Runs a piece of work that would otherwise hold up the event loop."""

    async def run(self, work: Callable[[], T], *, cost_s: float = 0.0) -> T:
        """Run `work` and return its result.

        Args:
            work: takes no argument; its exception passes through.
            cost_s: modelled duration, seconds; used by the simulated world only.
        """
        ...

    def close(self) -> None: ...


class ThreadCompute:
    """One worker thread: work is done in the order in which it was asked for."""

    def __init__(self, name: str = "compute") -> None:
        self._pool = ThreadPoolExecutor(max_workers=1, thread_name_prefix=name)

    async def run(self, work: Callable[[], T], *, cost_s: float = 0.0) -> T:
        return await asyncio.get_running_loop().run_in_executor(self._pool, work)

    def close(self) -> None:
        self._pool.shutdown(wait=False, cancel_futures=True)


class VirtualCompute:
    """Runs inline, then lets the virtual clock advance by the modelled cost."""

    def __init__(self, clock: Clock) -> None:
        self._clock = clock

    async def run(self, work: Callable[[], T], *, cost_s: float = 0.0) -> T:
        result = work()
        await self._clock.sleep(cost_s)
        return result

    def close(self) -> None:
        """Nothing runs in the background."""
