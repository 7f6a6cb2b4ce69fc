"""Running estimates of single quantities, from samples that come now and then: bounded, forgetful, and not led astray by one outlier.

Pure of clocks: whoever adds a sample says when it was taken.
"""

from __future__ import annotations

import math
from collections import deque
from statistics import median

WINDOW = 16  # samples that are kept
MEMORY_S = 20.0  # a sample this old weighs 1/e of a fresh one
NEWEST = 3  # their median says where the quantity is now: one outlier does not move it, two samples that agree do
TOLERANCE = 0.25  # older samples count while they are within this share of it,
DEVIATIONS = 3.0  # or within so many of the newest ones' own deviations,
FARTHEST = 0.5  # but never farther than this share: what jumps about has left its old level
APART_S = 0.01  # what comes sooner after a sample is none: a door of hundreds of requests a second would do little else than learn
STALE_S = 60.0  # after so long without a sample nothing is known any more


class Level:
    """A quantity that stays for a while and may jump."""

    def __init__(self, prior: float, spread: float) -> None:
        """Args:
        prior: what it is taken for before the first sample.
        spread: how far off that may be, as a share of it.
        """
        self._prior = prior
        self._prior_spread = spread
        self._samples: deque[tuple[float, float]] = deque(maxlen=WINDOW)  # (when, value)
        self._known = (prior, spread)  # level and its spread; computed when a sample comes, which nobody waits for

    @property
    def count(self) -> int:
        return len(self._samples)

    @property
    def newest_s(self) -> float:
        """When the newest sample was taken; minus infinity without one."""
        return self._samples[-1][0] if self._samples else -math.inf

    def add(self, value: float, now_s: float) -> None:
        """Take in a sample, unless one was taken within `APART_S` before."""
        if now_s - self.newest_s >= APART_S:
            self._samples.append((now_s, value))
            self._known = self._computed()

    @property
    def value(self) -> float:
        return self._known[0]

    def spread(self, now_s: float) -> float:
        """How far off the value may be, as a share of it: the samples' own, and more the older the newest is."""
        if not self._samples:
            return self._prior_spread
        age_s = min(max(now_s - self.newest_s, 0.0) / STALE_S, 1.0)
        own = self._known[1]
        return own + max(self._prior_spread - own, 0.0) * age_s

    def _computed(self) -> tuple[float, float]:
        newest = [value for _, value in list(self._samples)[-NEWEST:]]
        here = median(newest) if len(newest) != 2 else newest[-1]
        deviation = median(abs(value - here) for value in newest)
        within = max(TOLERANCE * abs(here), min(DEVIATIONS * deviation, FARTHEST * abs(here)))
        last_s = self.newest_s
        weight = weighed = apart = 0.0
        agreeing = [(math.exp((at_s - last_s) / MEMORY_S), value) for at_s, value in self._samples if abs(value - here) <= within]
        for share, value in agreeing:
            weight += share
            weighed += share * value
        level = weighed / weight
        for share, value in agreeing:
            apart += share * abs(value - level)
        off = apart / weight
        spread = (off / abs(level) if level else 0.0) + self._prior_spread / (2 * len(self._samples) ** 2)
        return level, min(spread, max(self._prior_spread, 1.0))


class Fading:
    """A mean that forgets with time, of a quantity that changes from sample to sample."""

    def __init__(self, memory_s: float) -> None:
        self._memory_s = memory_s
        self._weight = self._sum = 0.0
        self._at_s = 0.0

    def add(self, value: float, now_s: float) -> None:
        share = math.exp((self._at_s - now_s) / self._memory_s) if self._weight else 0.0
        self._weight = self._weight * share + 1.0
        self._sum = self._sum * share + value
        self._at_s = now_s

    @property
    def mean(self) -> float:
        return self._sum / self._weight if self._weight else 0.0

    def trust(self, now_s: float) -> float:
        """How much the samples say beside a guess that counts as one sample of now: from 0 (never, or long ago) towards 1."""
        left = self._weight * math.exp((self._at_s - now_s) / self._memory_s) if self._weight else 0.0
        return left / (1 + left)


class Line:
    """y = fixed + slope * x, by least squares over samples of which the older ones weigh less."""

    KEPT = 0.9  # of the weight of all earlier samples, at each new one
    PRIOR = 0.05  # weight of each of the two points that stand for the first guess

    def __init__(self, fixed: float, slope: float, far: float) -> None:
        """Args:
        far: a typical x: the first guess counts as seen at 0 and there.
        """
        self._fixed, self._slope = fixed, slope
        self._sums = [0.0] * 5
        for x in (0.0, far):
            self._take(x, fixed + slope * x, self.PRIOR)

    def _take(self, x: float, y: float, weight: float) -> None:
        for place, part in enumerate((1.0, x, y, x * x, x * y)):
            self._sums[place] += weight * part

    def add(self, x: float, y: float) -> None:
        self._sums = [self.KEPT * part for part in self._sums]
        self._take(x, y, 1.0)

    @property
    def slope(self) -> float:
        n, sum_x, sum_y, sum_xx, sum_xy = self._sums
        spread = n * sum_xx - sum_x * sum_x
        if spread <= 1e-9 * max(n * sum_xx, 1e-12):  # all at one x: as it was guessed
            return self._slope
        return (n * sum_xy - sum_x * sum_y) / spread

    def at(self, x: float) -> float:
        n, sum_x, sum_y, _, _ = self._sums
        return sum_y / n + self.slope * (x - sum_x / n)
