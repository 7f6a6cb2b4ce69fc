"""How long the next answer will be: from how long earlier ones were, those that were cut counted as at least so long.

The survival function of the lengths (Kaplan and Meier, J. Am. Stat. Assoc. 53, 1958) beyond whose end answers end at a constant rate.
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

    def __len__(self) -> int:
        return len(self._seen)

    def add(self, tokens: int, cut: bool) -> None:
        self._seen.append((max(tokens, 1), cut))
        self._steps = None

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
        expected, share, at = 0.0, 1.0, 0
        for tokens, longer in steps:
            if tokens >= most:
                break
            expected += share * (tokens - at)
            share, at = longer, tokens
        else:
            rest = most - at
            return max(expected + share * min(rest, _mean_below(beyond, rest)), 1.0)
        return max(expected + share * (most - at), 1.0)

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
        steps, _ = past.steps()
        return float(min(next((tokens for tokens, longer in steps if 1 - longer >= share), most), most))


def _mean_below(mean: float, limit: float) -> float:
    """Of a geometric length of that mean, cut at `limit`."""
    if limit <= 0:
        return 0.0
    if math.isinf(mean):
        return float(limit)
    rate = 1 / max(mean, 1.0)
    return (1 - (1 - rate) ** limit) / rate
