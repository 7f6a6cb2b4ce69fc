"""What is measured of a score or a probability: deferral curves between random and oracle, discrimination, calibration. Pure.

A deferral curve orders the tasks by a score and sends the first share of them to the larger model; its area is that between it and the
straight line of random deferral, as a share of the oracle's, who knows what is gained. Intervals are bootstrapped over tasks.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray

from netgpt.core.chance import SeededChance
from netgpt.core.statistics import wilson_interval

RESAMPLES, ECE_BINS = 1000, 15

Figures = dict[str, float]
Floats = NDArray[np.float64]
Verdicts = NDArray[np.bool_]


def deferral_area(score_N: Floats, gain_N: Floats) -> float:
    """Area between a score's deferral curve and random deferral, a task; equal scores share their gain."""
    levels, level_N = np.unique(-score_N, return_inverse=True)
    x = np.concatenate(([0.0], np.cumsum(np.bincount(level_N, minlength=len(levels))))) / len(gain_N)
    y = np.concatenate(([0.0], np.cumsum(np.bincount(level_N, weights=gain_N, minlength=len(levels))))) / len(gain_N)
    return float(np.trapezoid(y, x) - y[-1] / 2)


def area_share(score_N: Floats, gain_N: Floats, groups_N: NDArray[np.int64] | None = None) -> float:
    """`deferral_area` over the oracle's; with `groups_N`, summed over the groups, ordered within each alone."""
    groups = [np.arange(len(gain_N))] if groups_N is None else [np.flatnonzero(groups_N == group) for group in np.unique(groups_N)]
    mine = sum(deferral_area(score_N[one], gain_N[one]) * len(one) for one in groups)
    oracle = sum(deferral_area(gain_N[one], gain_N[one]) * len(one) for one in groups)
    return mine / oracle if oracle > 0 else float("nan")


def resampled(count: int, figure: Callable[[NDArray[np.int64]], float], *, name: str, resamples: int = RESAMPLES) -> tuple[float, float]:
    """95 % percentile bootstrap interval of a figure of task places."""
    stream = SeededChance(0).stream(name)
    values = [figure(stream.integers(0, count, count)) for _ in range(resamples)]
    low, high = np.nanpercentile(values, [2.5, 97.5])
    return float(low), float(high)


def share_figures(name: str, verdicts_N: Verdicts) -> Figures:
    """A share with its 95 % Wilson interval: `name`, `name_low` and `name_high`."""
    low, high = wilson_interval(int(verdicts_N.sum()), len(verdicts_N))
    return {name: rounded(verdicts_N.mean()), f"{name}_low": rounded(low), f"{name}_high": rounded(high)}


def calibration_error(probability_N: Floats, right_N: Verdicts, bins: int = ECE_BINS) -> float:
    """Expected calibration error over bins of equal mass."""
    order = np.argsort(probability_N, kind="stable")
    parts = np.array_split(order, bins)
    return sum(len(part) * abs(probability_N[part].mean() - right_N[part].mean()) for part in parts if len(part)) / len(order)


def auroc(score_N: Floats, right_N: Verdicts) -> float:
    """Probability that a right answer scores above a wrong one; ties count half."""
    _, level_N, counts = np.unique(score_N, return_inverse=True, return_counts=True)
    ranks = (np.cumsum(counts) - (counts - 1) / 2)[level_N]
    hits = int(right_N.sum())
    misses = len(right_N) - hits
    return float((ranks[right_N].sum() - hits * (hits + 1) / 2) / (hits * misses)) if hits and misses else float("nan")


def brier_skill(probability_N: Floats, right_N: Verdicts) -> float:
    """1 less the Brier score over that of always saying the mean."""
    reference = float(right_N.mean() * (1 - right_N.mean()))
    return 1 - float(((probability_N - right_N) ** 2).mean()) / reference if reference else float("nan")


def deferral_curve(score_N: Floats, gain_N: Floats, base: float, points: int = 41) -> list[list[float]]:
    """(Share deferred, accuracy); equal scores in random order."""
    mixed_N = SeededChance(0).stream("equal scores").permutation(len(gain_N))
    order = mixed_N[np.argsort(-score_N[mixed_N], kind="stable")]
    accuracy = base + np.concatenate(([0.0], np.cumsum(gain_N[order]))) / len(gain_N)
    places = np.linspace(0, len(gain_N), points).round().astype(int)
    return [[rounded(place / len(gain_N)), rounded(float(accuracy[place]))] for place in places]


def rounded(value: float) -> float:
    return round(float(value), 4)
