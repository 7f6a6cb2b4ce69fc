"""How much later than told first tokens come, one time in twenty: of the door's own predictions of late. Bounded; knows no content."""

from __future__ import annotations

from bisect import bisect_left, insort
from collections import deque

KEPT = 100  # predictions of each kind
RARE = 0.05
FIRST_GUESSES = (1.3, 3.0)  # so many times what was told, before much is known: of requests that find a slot, and of those that are to wait
WEIGHT = 20  # as if so many had come before, of which one was as late as the first guess


class _Ratios:
    """What happened over what was told, the newest ones, and in their order."""

    def __init__(self, first_guess: float) -> None:
        self._newest: deque[float] = deque([1.0] * (WEIGHT - 1) + [first_guess], maxlen=KEPT)
        self._sorted = sorted(self._newest)

    def add(self, ratio: float) -> None:
        if len(self._newest) == KEPT:
            del self._sorted[bisect_left(self._sorted, self._newest[0])]
        self._newest.append(ratio)
        insort(self._sorted, ratio)

    def rare(self) -> float:
        return max(self._sorted[-1 - int(RARE * (len(self._sorted) - 1))], 1.0)


class Lateness:
    """Of the predictions of one door."""

    def __init__(self) -> None:
        self._kinds = tuple(_Ratios(guess) for guess in FIRST_GUESSES)

    def add(self, told_s: float, was_s: float, *, waits: bool) -> None:
        """A first token came; `waits`: it was told to wait for others."""
        if told_s > 0:
            self._kinds[waits].add(was_s / told_s)

    def rare(self) -> tuple[float, float]:
        """How many times later than told a first token comes one time in twenty: one that is to find a slot, and one that is to wait."""
        slot, wait = self._kinds
        return slot.rare(), wait.rare()
