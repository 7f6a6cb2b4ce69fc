"""What the software itself takes in a simulated network: each message occupies the processes at its ends, and the link shaper between them.

A process does one thing at a time, in the order in which it comes. Where processes share a machine's processors, one that has work
waits for a processor, and lets others go first after each piece of it. Knows messages by their method and size, not what they mean.
"""

from __future__ import annotations

import asyncio
import math
from collections import deque
from collections.abc import Callable, Collection
from typing import NamedTuple

from netgpt.network.scenario import ProcessesSpec

SHAPER = " shaper"  # no node's name
ASKED_BY_USERS = ("generate", "embed", "score")  # calls that a door makes for a request of its own


class _Work(NamedTuple):
    duration_s: float
    then: Callable[[], None]


class Processes:
    """All processes of a network.

    Args:
        spec: what each kind of work takes.
        beside: addresses that the link shaper does not stand before.
    """

    def __init__(self, spec: ProcessesSpec, *, beside: Collection[str] = ()) -> None:
        self._spec = spec
        self._beside = frozenset(beside)
        self._idle: float = spec.cores or math.inf  # processors
        self._work: dict[str, deque[_Work]] = {}  # by process, of those that have any; the first is being done or waits for a processor
        self._ready: deque[str] = deque()  # wait for a processor

    def call_s(self, method: str, payload: bytes | None, *, caller: bool) -> float:
        """What one end of a call does for its request; None: a sign, which goes with something else."""
        if payload is None:
            return 0.0
        asked = self._spec.request_s if caller and method in ASKED_BY_USERS else 0.0
        return asked + self._spec.call_s + self._bytes_s(payload)

    def reply_s(self, payload: bytes | None) -> float:
        """What one end does for a reply."""
        return 0.0 if payload is None else self._spec.reply_s + self._bytes_s(payload)

    def _bytes_s(self, payload: bytes) -> float:
        return len(payload) / 1000 * self._spec.kilobyte_s

    def shaper_s(self, source: str, target: str) -> float:
        """What the link shaper does for a piece of a message at each node of its way."""
        return 0.0 if source == target or source in self._beside or target in self._beside else self._spec.shaper_s

    def do(self, process: str, duration_s: float, then: Callable[[], None]) -> None:
        """Let the process do this after all that it has to do already; then call `then`. What takes no time and waits for nothing is done at once."""
        work = self._work.get(process)
        if work is not None:
            work.append(_Work(duration_s, then))
        elif duration_s <= 0:
            then()
        else:
            self._work[process] = deque((_Work(duration_s, then),))
            self._begin(process)

    def _begin(self, process: str) -> None:
        if self._idle < 1:
            self._ready.append(process)
            return
        self._idle -= 1
        asyncio.get_running_loop().call_later(self._work[process][0].duration_s, self._done, process)

    def _done(self, process: str) -> None:
        self._idle += 1
        work = self._work[process]
        done = [work.popleft()]
        while work and work[0].duration_s <= 0:
            done.append(work.popleft())
        if work:
            self._ready.append(process)
        else:
            del self._work[process]
        while self._ready and self._idle >= 1:
            self._begin(self._ready.popleft())
        for each in done:
            each.then()
