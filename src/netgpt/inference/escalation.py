"""Whether an answer is good enough, or which larger model to ask: pure functions of what its evidence says.

The rule: ask the model that gains most, if it gains more than it costs. A model's gain is the probability that its answer would be right
less the probability that this one is; its cost is `price` times its share of the largest model's parameters. So `price` is the
accuracy that a call of the largest model must bring. It follows from an error budget or from a share of calls, on recorded outcomes.
"""

from __future__ import annotations

import math
from collections import deque
from collections.abc import Mapping, Sequence

import numpy as np
from numpy.typing import NDArray

from netgpt.core.value import value
from netgpt.inference.confidence import Evidence, Judgement

PRICES = np.concatenate(([0.0], np.geomspace(1e-3, 1.0, 181)))
WINDOW = 200  # labels that a drift is judged by
DRIFT_PRIOR = 0.5  # standard deviation of the drift expected, logits: few labels move little
DRIFT_ALARM_Z = 3.0
KEPT_MARGIN = 0.9  # tokens before the first that is less sure than this stay; not tuned


@value
class Choice:
    """Where to go on."""

    model: str  # "" keeps the answer
    gain: float  # of expected accuracy


def choose_next(judgement: Judgement, costs: Mapping[str, float], price: float, *, shift: float = 0.0) -> Choice:
    """Keep the answer, or ask one of the models of `costs`.

    Args:
        costs: of each larger model that can be asked, as a share of the largest one's.
        shift: logits to add to the answer's own probability: what `Drift` has found.
    """
    right = shifted(judgement.right, shift)
    best = Choice(model="", gain=0.0)
    best_worth = 0.0
    for model, cost in costs.items():
        gain = judgement.others.get(model, 1.0) - right  # of an unknown larger model the best is expected
        if (worth := gain - price * cost) > best_worth:
            best, best_worth = Choice(model=model, gain=gain), worth
    return best


def shifted(probability: float, shift: float) -> float:
    """A probability moved by `shift` logits."""
    if shift == 0.0 or not 0.0 < probability < 1.0:
        return probability
    return 1 / (1 + math.exp(-math.log(probability / (1 - probability)) - shift))


def sure_tokens(evidence: Evidence, least_margin: float = KEPT_MARGIN) -> int:
    """How many leading tokens of a doubted answer were sure: only what follows goes to a larger model."""
    unsure = np.flatnonzero(evidence.margins < least_margin)
    return int(unsure[0]) if len(unsure) else 0  # sure of each token, and yet not of the answer: all of it is made anew


@value
class Outlook:
    """What recorded outcomes give at one price."""

    price: float
    accuracy: float
    large_share: float  # calls of the largest model, a request
    cost: float  # of all calls, the failed attempts among them, in calls of the largest model a request


def price_for_accuracy(outlooks: Sequence[Outlook], accuracy: float) -> Outlook:
    """The cheapest outlook that is right so often; the most accurate one if none is."""
    enough = [one for one in outlooks if one.accuracy >= accuracy]
    return min(enough, key=lambda one: one.cost) if enough else max(outlooks, key=lambda one: one.accuracy)


def price_for_share(outlooks: Sequence[Outlook], large_share: float) -> Outlook:
    """The most accurate outlook that calls the largest model at most so often; the one that calls it least if none does."""
    within = [one for one in outlooks if one.large_share <= large_share]
    return max(within, key=lambda one: one.accuracy) if within else min(outlooks, key=lambda one: one.large_share)


class Drift:
    """How far reality has moved from the calibration, from how often larger models say the same.

    One number: logits to add to every probability. It is the maximum a posteriori of a logistic model whose only unknown is that offset,
    over the last `WINDOW` labels, each weighed by one over the probability with which it was asked for.
    """

    def __init__(self) -> None:
        self._labels: deque[tuple[float, bool, float]] = deque(maxlen=WINDOW)
        self.shift = 0.0
        self.z = 0.0  # of the offset, in its standard deviations under no drift

    def see(self, expected: float, agreed: bool, weight: float = 1.0) -> None:
        """Take one label: how probable agreement was thought to be, and whether it came."""
        self._labels.append((min(max(expected, 1e-3), 1 - 1e-3), agreed, weight))
        expected_N, agreed_N, weight_N = (np.array(column, dtype=np.float64) for column in zip(*self._labels, strict=True))
        self.shift = _offset(np.log(expected_N / (1 - expected_N)), agreed_N, weight_N)
        spread = math.sqrt(float((weight_N**2 * expected_N * (1 - expected_N)).sum()))
        self.z = float((weight_N * (agreed_N - expected_N)).sum()) / spread if spread else 0.0

    @property
    def alarm(self) -> bool:
        """Whether the calibration no longer holds."""
        return abs(self.z) > DRIFT_ALARM_Z


def _offset(logit_N: NDArray[np.float64], agreed_N: NDArray[np.float64], weight_N: NDArray[np.float64]) -> float:
    offset = 0.0
    for _ in range(8):  # Newton's method on a concave function of one number
        probability_N = 1 / (1 + np.exp(-logit_N - offset))
        slope = float((weight_N * (agreed_N - probability_N)).sum()) - offset / DRIFT_PRIOR**2
        curvature = float((weight_N * probability_N * (1 - probability_N)).sum()) + 1 / DRIFT_PRIOR**2
        offset += slope / curvature
    return offset
