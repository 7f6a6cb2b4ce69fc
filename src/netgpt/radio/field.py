"""Gaussian fields over the plane whose values decorrelate with distance: a pure function of position.

The autocorrelation is exp(-d/D), as TR 38.901 clause 7.4.4 (eq. 7.4-5) wants, for shadow fading and, by clause 7.6.3.1, for all that is
spatially consistent. Two users who stand together have equal values, and who comes back finds what was there.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

WAVES = 300


class GaussianField:
    """Independent fields of zero mean and variance one, by sums of plane waves.

    The waves' directions are uniform and their lengths follow the spectrum of exp(-d/D) in the plane, whose
    radial distribution function is 1 - (1 + (kD)^2)^(-1/2).

    Args:
        chance: all draws happen here, once.
        count: fields that know nothing of each other.
        correlation_m: D, in metres.
    """

    def __init__(self, chance: np.random.Generator, count: int, correlation_m: float) -> None:
        length = np.sqrt((1 - chance.random((count, WAVES))) ** -2.0 - 1) / correlation_m
        angle = 2 * np.pi * chance.random((count, WAVES))
        self._waves = np.stack([length * np.cos(angle), length * np.sin(angle)], axis=1)  # (count, 2, WAVES)
        self._phases = 2 * np.pi * chance.random((count, 1, WAVES))

    def at(self, positions_m: NDArray[np.float64]) -> NDArray[np.float64]:
        """Values at positions of shape (n, 2); shape (count, n)."""
        return np.stack([
            np.sqrt(2 / WAVES) * np.cos(positions_m @ waves + phases).sum(axis=1) for waves, phases in zip(self._waves, self._phases, strict=True)
        ])  # fmt: skip
