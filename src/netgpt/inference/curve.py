"""A logistic score made a probability by a rising curve (isotonic regression, arXiv 2605.18796). `calibration` fits it. Pure."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

Pools = tuple[tuple[float, int], ...]  # probabilities, rising, and how many outcomes each was seen for


@dataclass(frozen=True, kw_only=True)
class Curve:
    """From features to a probability: a standardised logistic score, then a rising curve through its knots."""

    mean: tuple[float, ...]
    scale: tuple[float, ...]
    weights: tuple[float, ...]
    bias: float
    knots: tuple[float, ...]  # scores, rising
    heights: tuple[float, ...]  # probabilities there, not falling; constant beyond the ends
    counts: tuple[int, ...]  # outcomes that each height was fitted on

    @property
    def pools(self) -> Pools:
        return tuple(zip(self.heights, self.counts, strict=True))

    def scores(self, features: NDArray[np.float64]) -> NDArray[np.float64]:
        """Logits before the curve: shape (N,) of (N, F)."""
        return (features - np.array(self.mean)) / np.array(self.scale) @ np.array(self.weights) + self.bias

    def probabilities(self, features: NDArray[np.float64]) -> NDArray[np.float64]:
        """Shape (N,) of (N, F)."""
        return np.interp(self.scores(features), self.knots, self.heights)
