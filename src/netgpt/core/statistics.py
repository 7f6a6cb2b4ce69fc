"""Shares and correlations of outcomes that are true or false, with 95 % intervals; least squares. Pure."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence

import numpy as np
from numpy.typing import NDArray

from netgpt.core.chance import SeededChance

Z_95 = 1.959964  # the normal distribution's 97.5 % quantile
RESAMPLES = 4000


def wilson_interval(right: int, trials: int) -> tuple[float, float]:
    """95 % score interval of a share (Wilson, JASA 1927); (0, 1) without trials."""
    if trials == 0:
        return 0.0, 1.0
    share, z2 = right / trials, Z_95**2 / trials
    centre = share + z2 / 2
    spread = Z_95 * math.sqrt(share * (1 - share) / trials + z2 / (4 * trials))
    return max(0.0, (centre - spread) / (1 + z2)), min(1.0, (centre + spread) / (1 + z2))


def clopper_pearson(right: int, trials: int, *, confidence: float = 0.95) -> tuple[float, float]:
    """Bounds of a share, each of which holds with that confidence (Clopper and Pearson, Biometrika 1934); (0, 1) without trials.

    Exact and one-sided each: `right` or fewer would be seen at the upper bound with probability 1 - `confidence`, so many or more at the lower.
    """
    if trials == 0:
        return 0.0, 1.0
    low = 0.0 if right == 0 else _share_at(lambda share: 1 - _binomial_cdf(right - 1, trials, share), 1 - confidence)
    high = 1.0 if right == trials else _share_at(lambda share: 1 - _binomial_cdf(right, trials, share), confidence)
    return low, high


def _share_at(rising: Callable[[float], float], value: float) -> float:
    """The share at which a rising function has that value."""
    low, high = 0.0, 1.0
    for _ in range(60):
        middle = (low + high) / 2
        low, high = (middle, high) if rising(middle) < value else (low, middle)
    return (low + high) / 2


def _binomial_cdf(most: int, trials: int, share: float) -> float:
    """Probability of `most` or fewer."""
    if share <= 0 or share >= 1:
        return 1.0 if share <= 0 or most >= trials else 0.0
    log_all = math.lgamma(trials + 1)
    terms = (
        log_all - math.lgamma(k + 1) - math.lgamma(trials - k + 1) + k * math.log(share) + (trials - k) * math.log1p(-share) for k in range(most + 1)
    )
    return min(1.0, math.fsum(math.exp(term) for term in terms))


def phi_coefficient(counts: NDArray[np.float64] | NDArray[np.int64]) -> NDArray[np.float64]:
    """Phi of 2x2 tables: Pearson's correlation of two outcomes that are true or false.

    Args:
        counts: shape (..., 4): both, only the first, only the second, neither.

    Returns:
        Shape (...), NaN where one of the outcomes is always the same.
    """
    both, first, second, neither = np.moveaxis(np.asarray(counts, dtype=np.float64), -1, 0)
    margins = (both + first) * (second + neither) * (both + second) * (first + neither)
    with np.errstate(invalid="ignore", divide="ignore"):
        return np.where(margins > 0, (both * neither - first * second) / np.sqrt(margins), np.nan)


def phi_interval(counts: Sequence[int]) -> tuple[float, float] | tuple[None, None]:
    """95 % percentile bootstrap interval over the trials, from a fixed seed; (None, None) where phi is not defined."""
    total = sum(counts)
    if not total or math.isnan(float(phi_coefficient(np.array(counts)))):
        return None, None
    resampled = phi_coefficient(SeededChance(0).stream("phi").multinomial(total, np.array(counts) / total, size=RESAMPLES))
    low, high = np.nanpercentile(resampled, [2.5, 97.5])
    return float(low), float(high)


def non_negative_squares(features: NDArray[np.float64], targets: NDArray[np.float64]) -> list[float]:
    """Non-negative least squares: among all choices of columns, the best whose solution has no negative part.

    Args:
        features: a row for each target; the time doubles with each column.
    """
    columns = features.shape[1]
    scale = np.maximum(np.abs(features).max(axis=0), 1e-300)
    best, least = np.zeros(columns), float(targets @ targets)
    for chosen in range(1, 1 << columns):
        used = [column for column in range(columns) if chosen >> column & 1]
        found, *_ = np.linalg.lstsq(features[:, used] / scale[used], targets, rcond=None)
        loss = float(np.sum((features[:, used] / scale[used] @ found - targets) ** 2))
        if loss < least and (found >= 0).all():
            best, least = np.zeros(columns), loss
            best[used] = found / scale[used]
    return [float(value) for value in best]
