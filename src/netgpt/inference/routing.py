"""Which model should answer, before any has begun: probabilities from the prompt's surface, how usual its
words are, and the smallest model's state of it.

Boosted trees or the nearest known prompts say for each model how probably it is right; the rule weighs that against cost, as a cascade's
does. Both are fitted by `calibration` and lie in `calibration.json`. Pure, and far from torch.

Axes: N prompt, F feature, K kept direction, M known prompt, O model.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from netgpt.core.errors import NotSupported
from netgpt.core.value import value
from netgpt.inference.boosting import Forest
from netgpt.inference.curve import Curve
from netgpt.inference.surface import SURFACE, surface_of
from netgpt.inference.words import KNOWN, Words, words_of

NEIGHBOURS = 60
FEW = 8  # neighbours by which it is judged whether a prompt is like the known ones
WIDEST = 5.0  # standard deviations; a feature farther off counts as this far
BOOSTED, KNN = "boosted", "knn"
KINDS = (BOOSTED, KNN)


@dataclass(frozen=True, kw_only=True, eq=False)
class Nearest:
    """Shares of right answers among the known prompts that lie nearest (RouterArena's plain kNN router)."""

    mean_F: NDArray[np.float64]
    scale_F: NDArray[np.float64]
    axes_FK: NDArray[np.float64]
    points_MK: NDArray[np.int8]
    step: float  # one unit of `points_MK`
    right_MO: NDArray[np.bool_]

    near: float  # mean distance from the nearest few up to which a prompt is like the known ones,
    far: float  # and from which on it is not

    def probabilities(self, features_NF: NDArray[np.float64]) -> NDArray[np.float64]:
        """Shape (N, O); nearer prompts weigh more."""
        away_NM = self.away(features_NF) ** 2
        found_NO = np.zeros((len(away_NM), self.right_MO.shape[1]))
        near = min(NEIGHBOURS, away_NM.shape[1])
        for i, away_M in enumerate(away_NM):
            nearest = np.argpartition(away_M, near - 1)[:near]
            weight = 1 / (1 + away_M[nearest] / max(float(away_M[nearest].mean()), 1e-9))
            found_NO[i] = (weight @ self.right_MO[nearest] + 0.5) / (weight.sum() + 1)
        return found_NO

    def familiarity(self, features_NF: NDArray[np.float64]) -> NDArray[np.float64]:
        """How far prompts are like the known ones: 1 within `near`, 0 from `far` on; shape (N,)."""
        away_N = mean_of_nearest(self.away(features_NF))
        return np.clip((self.far - away_N) / max(self.far - self.near, 1e-9), 0.0, 1.0)

    def away(self, features_NF: NDArray[np.float64]) -> NDArray[np.float64]:
        """Distances from the known prompts, in steps: shape (N, M)."""
        places_NK = np.clip((features_NF - self.mean_F) / self.scale_F, -WIDEST, WIDEST) @ self.axes_FK / self.step
        points_MK = self.points_MK.astype(np.float64)
        square_NM = (places_NK**2).sum(1)[:, None] + (points_MK**2).sum(1) - 2 * places_NK @ points_MK.T
        return np.sqrt(np.maximum(square_NM, 0.0))


def mean_of_nearest(away_NM: NDArray[np.float64], *, but: int = 0) -> NDArray[np.float64]:
    """Mean distance from the nearest few, without the nearest `but`: shape (N,)."""
    few = min(FEW + but, away_NM.shape[1])
    return np.sort(np.partition(away_NM, few - 1, axis=1)[:, :few], axis=1)[:, but:].mean(1)


@dataclass(frozen=True, kw_only=True)
class Router:
    """What the smallest model's state of a prompt says of every model."""

    tasks: int  # that it was fitted on
    models: tuple[str, ...]  # the smallest, whose state it reads, first
    kind: str  # of `KINDS`: which of the two decides
    price: float  # accuracy that a call of the largest model must gain
    forests: tuple[Forest, ...]  # one a model
    nearest: Nearest
    plain: Curve  # whether the smallest model is right, by `lasting_features`: what holds of unlike prompts too
    shares: tuple[float, ...]  # of right answers, one a model
    words: Words = field(default_factory=Words)  # of the prompts that it was fitted on

    @property
    def needs_state(self) -> bool:
        """Whether it reads the smallest model's state; recorded models have none."""
        return self.forests[0].width > len(SURFACE) + len(KNOWN)

    def expected(self, features_NF: NDArray[np.float64], kind: str = "") -> NDArray[np.float64]:
        """How probably each model is right: shape (N, O).

        Of prompts unlike the known ones only what logistic regression says of the smallest model is believed; of the larger ones then
        nothing is known but how often they are right.
        """
        if (kind or self.kind) == KNN:
            known_NO = self.nearest.probabilities(text_features(features_NF))
        else:
            known_NO = np.stack([forest.probabilities(features_NF) for forest in self.forests], axis=1)
        unlike_NO = np.tile(self.shares, (len(features_NF), 1))
        unlike_NO[:, 0] = self.plain.probabilities(lasting_features(features_NF))
        familiar_N1 = self.nearest.familiarity(text_features(features_NF))[:, None]
        return familiar_N1 * known_NO + (1 - familiar_N1) * unlike_NO

    def probabilities(self, messages: Sequence[tuple[str, str]], state: Sequence[float]) -> dict[str, float]:
        """By model.

        Args:
            state: of the prompt, by `Embed` with one part; empty where `needs_state` says no.

        Raises:
            NotSupported: a state of another length than it was fitted on.
        """
        features = np.concatenate((surface_of(messages), self.words.features([words_of(messages)])[0], state))
        if len(features) != self.forests[0].width:
            width = self.forests[0].width - len(SURFACE) - len(KNOWN)
            what = f"the router of {self.models[0]!r} knows states of {width} values, not of {len(state)}"
            raise NotSupported(
                what, hint="the model's weights are others: fit it anew with netgpt calibrate, or ask 'cascade' or 'auto'", param="model"
            )
        return dict(zip(self.models, self.expected(features[None, :])[0].tolist(), strict=True))


def text_features(features_NF: NDArray[np.float64]) -> NDArray[np.float64]:
    """Of a router's features those that need no model: shape (N, len(SURFACE) + len(KNOWN)). By these prompts are near to each other."""
    return features_NF[:, : len(SURFACE) + len(KNOWN)]


def lasting_features(features_NF: NDArray[np.float64]) -> NDArray[np.float64]:
    """Of a router's features how usual the words are, and the state: what lengths and counts tell ends with the kind of prompt."""
    return features_NF[:, len(SURFACE) :]


@value
class Routed:
    """Who is to answer."""

    model: str
    right: float  # how probably


def choose_model(probabilities: Mapping[str, float], costs: Mapping[str, float], price: float) -> Routed:
    """The model whose probability, less `price` times its cost, is highest; of equal ones the first.

    Args:
        costs: of each model that can be asked, as a share of the largest one's; the best is expected of one without a probability.
    """
    worth = {model: probabilities.get(model, 1.0) - price * cost for model, cost in costs.items()}
    best = max(worth, key=lambda model: worth[model])
    return Routed(model=best, right=probabilities.get(best, 1.0))
