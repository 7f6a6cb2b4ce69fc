"""How long the next answer will be: from how long earlier ones were, those that were cut counted as at least so long.

The survival function of the lengths (Kaplan and Meier, J. Am. Stat. Assoc. 53, 1958) beyond whose end answers end at a constant rate. While none
has ended by itself nothing says at which: the next is expected to reach its limit, but to have at most as much again as the longest, or as a first
guess. What is left of one that is under way may be all that its limit lets it: its slot is not promised to another too early.
Kept for each API key and model name, bounded; knows no content.
"""

from __future__ import annotations

import math
from collections import OrderedDict, deque

KEPT = 64  # answers of one kind
KINDS = 256  # kinds that are kept; who did not ask for longest is forgotten
FEW = 4  # answers of a kind below which those of all kinds count
FIRST_GUESS = 64.0  # tokens, before any answer


class _Past:
    """Answers of one kind."""

    def __init__(self) -> None:
        self._seen: deque[tuple[int, bool]] = deque(maxlen=KEPT)  # (tokens, whether it was cut there)
        self._steps: list[tuple[int, float]] | None = None  # (length, share of answers that are longer), rising
        self._mean = FIRST_GUESS
        self.longest = 0

    def __len__(self) -> int:
        return len(self._seen)

    def add(self, tokens: int, cut: bool) -> None:
        self._seen.append((max(tokens, 1), cut))
        self.longest = max(one for one, _ in self._seen)
        self._steps = None

    def reach(self) -> float:
        """So long an answer can be expected to be at most, whatever its limit."""
        return self.longest + max(FIRST_GUESS, self.longest) if math.isinf(self.steps()[1]) else math.inf

    def steps(self) -> tuple[list[tuple[int, float]], float]:
        """The survival function, and the mean length beyond its end."""
        if self._steps is None:
            longer: dict[int, float] = {}
            left, share, ended, total = len(self._seen), 1.0, 0, 0
            for tokens, cut in sorted(self._seen):
                total += tokens
                if not cut:
                    ended += 1
                    share *= (left - 1) / left
                    longer[tokens] = share
                left -= 1
            self._steps = list(longer.items())
            self._mean = total / ended if ended else math.inf
        return self._steps, self._mean


class Lengths:
    """What a door has learnt of answers' lengths."""

    def __init__(self) -> None:
        self._kinds: OrderedDict[tuple[str, str], _Past] = OrderedDict()
        self._all = _Past()

    def add(self, key: str, model: str, tokens: int, *, cut: bool) -> None:
        """An answer of so many tokens; `cut` where a limit ended it."""
        past = self._kinds.setdefault((key, model), _Past())
        self._kinds.move_to_end((key, model))
        past.add(tokens, cut)
        self._all.add(tokens, cut)
        if len(self._kinds) > KINDS:
            self._kinds.popitem(last=False)

    def _past(self, key: str, model: str) -> _Past:
        past = self._kinds.get((key, model))
        return past if past is not None and len(past) >= FEW else self._all

    def prepare(self, key: str, model: str) -> None:
        """Compute now, when nobody waits for it, what `mean` and `quantile` will need."""
        self._past(key, model).steps()

    def mean(self, key: str, model: str, most: int) -> float:
        """The expected length of an answer that is cut at `most` tokens."""
        past = self._past(key, model)
        if not len(past):
            return min(FIRST_GUESS, most)
        steps, beyond = past.steps()
        end = min(most, past.reach())
        expected, share, at = 0.0, 1.0, 0
        for tokens, longer in steps:
            if tokens >= end:
                break
            expected += share * (tokens - at)
            share, at = longer, tokens
        else:
            rest = end - at
            return max(expected + share * min(rest, _mean_below(beyond, rest)), 1.0)
        return max(expected + share * (end - at), 1.0)

    def left(self, key: str, model: str, made: int, most: int) -> float:
        """The expected rest of an answer that has `made` tokens and is cut at `most`: of the earlier ones that were longer than that."""
        past = self._past(key, model)
        if not len(past):
            return min(FIRST_GUESS, max(most - made, 0))
        steps, beyond = past.steps()
        longer = next((share for tokens, share in reversed(steps) if tokens <= made), 1.0)
        if longer <= 0:  # none was: they end there at a constant rate
            return _mean_below(beyond, max(most - made, 0))
        expected, share, at = 0.0, longer, made
        for tokens, after in steps:
            if tokens <= made:
                continue
            if tokens >= most:
                break
            expected += share * (tokens - at)
            share, at = after, tokens
        else:
            return (expected + share * _mean_below(beyond, most - at)) / longer
        return (expected + share * (most - at)) / longer

    def quantile(self, key: str, model: str, most: int, share: float) -> float:
        """The length that this share of answers does not pass."""
        past = self._past(key, model)
        if not len(past):
            return min(-FIRST_GUESS * math.log(1 - share), most)  # as if answers ended at a constant rate
        steps, beyond = past.steps()
        least = past.longest if math.isinf(beyond) else most  # where none has ended by itself: as long as some were at least
        return float(min(next((tokens for tokens, longer in steps if 1 - longer >= share), least), most))


def _mean_below(mean: float, limit: float) -> float:
    """Of a geometric length of that mean, cut at `limit`."""
    if limit <= 0:
        return 0.0
    if math.isinf(mean):
        return float(limit)
    rate = 1 / max(mean, 1.0)
    return (1 - (1 - rate) ** limit) / rate
