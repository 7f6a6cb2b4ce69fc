"""Which model should answer, before any has begun: probabilities from the prompt's surface and the smallest model's state of it.

Boosted trees or the nearest known prompts say for each model how probably it is right; the rule weighs that against cost, as a cascade's
does. Both are fitted by `calibration` and lie in `calibration.json`. Pure, and far from torch.

Axes: N prompt, F feature, K kept direction, M known prompt, O model.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from netgpt.core.errors import NotSupported
from netgpt.core.value import value
from netgpt.inference.boosting import Forest
from netgpt.inference.surface import SURFACE, surface_of

NEIGHBOURS = 60
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

    def probabilities(self, features_NF: NDArray[np.float64]) -> NDArray[np.float64]:
        """Shape (N, O); nearer prompts weigh more."""
        place_NK = np.clip((features_NF - self.mean_F) / self.scale_F, -WIDEST, WIDEST) @ self.axes_FK / self.step
        points_MK = self.points_MK.astype(np.float32)
        found_NO = np.zeros((len(place_NK), self.right_MO.shape[1]))
        near = min(NEIGHBOURS, len(points_MK))
        for i, place_K in enumerate(place_NK.astype(np.float32)):
            away_M = ((points_MK - place_K) ** 2).sum(1)
            nearest = np.argpartition(away_M, near - 1)[:near]
            weight = 1 / (1 + away_M[nearest] / max(float(away_M[nearest].mean()), 1e-9))
            found_NO[i] = (weight @ self.right_MO[nearest] + 0.5) / (weight.sum() + 1)
        return found_NO


@dataclass(frozen=True, kw_only=True)
class Router:
    """What the smallest model's state of a prompt says of every model."""

    tasks: int  # that it was fitted on
    models: tuple[str, ...]  # the smallest, whose state it reads, first
    kind: str  # of `KINDS`: which of the two decides
    price: float  # accuracy that a call of the largest model must gain
    forests: tuple[Forest, ...]  # one a model
    nearest: Nearest

    @property
    def needs_state(self) -> bool:
        """Whether it reads the smallest model's state; recorded models have none."""
        return self.forests[0].width > len(SURFACE)

    def expected(self, features_NF: NDArray[np.float64], kind: str = "") -> NDArray[np.float64]:
        """How probably each model is right: shape (N, O)."""
        if (kind or self.kind) == KNN:
            return self.nearest.probabilities(features_NF)
        return np.stack([forest.probabilities(features_NF) for forest in self.forests], axis=1)

    def probabilities(self, messages: Sequence[tuple[str, str]], state: Sequence[float]) -> dict[str, float]:
        """By model.

        Args:
            state: of the prompt, by `Embed` with one part; empty where `needs_state` says no.

        Raises:
            NotSupported: a state of another length than it was fitted on.
        """
        features = np.concatenate((surface_of(messages), state))
        if len(features) != self.forests[0].width:
            what = f"the router of {self.models[0]!r} knows states of {self.forests[0].width - len(SURFACE)} values, not of {len(state)}"
            raise NotSupported(
                what, hint="the model's weights are others: fit it anew with netgpt calibrate, or ask 'cascade' or 'auto'", param="model"
            )
        return dict(zip(self.models, self.expected(features[None, :])[0].tolist(), strict=True))


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
