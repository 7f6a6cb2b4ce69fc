"""What a cascade will do, before it runs: how often it climbs, and how often what comes out is right. From calibrations; pure.

A calibration's curves say how probable it is that an answer is right, over what its evidence shows; their heights, as often as they came up in
the calibration, stand for the answers to come. Which tasks are hard is taken to be the same for both models (ranks coupled). The rule that decides
(`escalation.choose_next`) is applied to each, moved to the qualities that the nodes state: requests are as hard as these say.
"""

from __future__ import annotations

import math
from functools import lru_cache
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from netgpt.inference.curve import Pools
from netgpt.network.member import Member

GRID = (np.arange(64) + 0.5) / 64  # ranks of answers, the least sure first
EDGE = 1e-3
FARTHEST = 20.0  # logits
KEPT = 256  # curves, with their moves


class Climbing(Protocol):
    """Knows what cascades do at a door."""

    def can_judge_member(self, member: Member) -> bool:
        """Whether an answer of that node gives evidence that somebody here understands."""
        ...

    def expect(self, lower: Member, upper: Member, lower_quality: float, upper_quality: float) -> tuple[float, float]:
        """How often `lower`'s answer is passed on to `upper`, and the quality of what comes out."""
        ...


def expected(right: Pools, other: Pools, worth: float, shift: float, lower_quality: float, upper_quality: float) -> tuple[float, float]:
    """The share that climbs, and the quality of what comes out.

    Args:
        right, other: of the smaller model's curve and of the larger one's.
        worth: the gain from which on the larger model is asked.
        shift: logits that drift adds to the smaller one's.
        lower_quality, upper_quality: shares of right answers as the nodes state them.
    """
    after, before = with_mean(other, upper_quality), with_mean(right, lower_quality)
    climbs = after - _moved(before, shift) > worth
    comes_out = np.where(climbs, after, before)
    return float(climbs.mean()), float(comes_out.mean())


@lru_cache(maxsize=KEPT)
def _over_ranks(pools: Pools) -> NDArray[np.float64]:
    """Probabilities at the ranks of `GRID`."""
    heights, counts = np.array(pools).T
    ranks = (np.cumsum(counts) - counts / 2) / counts.sum()
    return np.clip(np.interp(GRID, ranks, heights), EDGE, 1 - EDGE)


def _moved(probabilities: NDArray[np.float64], logits: float) -> NDArray[np.float64]:
    return 1 / (1 + np.exp(-np.log(probabilities / (1 - probabilities)) - logits))


@lru_cache(maxsize=KEPT)  # a bisection costs more than a whole decision
def with_mean(pools: Pools, mean: float) -> NDArray[np.float64]:
    """The same order of sure and unsure, moved until their mean is that."""
    probabilities = _over_ranks(pools)
    low, high = -FARTHEST, FARTHEST
    for _ in range(math.ceil(math.log2(2 * FARTHEST / EDGE))):
        middle = (low + high) / 2
        low, high = (middle, high) if _moved(probabilities, middle).mean() < mean else (low, middle)
    return _moved(probabilities, (low + high) / 2)
