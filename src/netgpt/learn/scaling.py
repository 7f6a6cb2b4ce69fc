"""How the loss falls with size: a power law through (non-embedding parameters, held-out loss).

Source: Kaplan et al. 2020, arXiv 2001.08361, loss = (N_c / N)^alpha for models trained on enough data.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray


@dataclass(frozen=True, kw_only=True)
class PowerLaw:
    """loss = factor * N^-exponent."""

    factor: float
    exponent: float
    worst_residual: float  # largest |ln(loss) - ln(fit)| of the points it was fitted to

    def at(self, sizes: NDArray[np.float64]) -> NDArray[np.float64]:
        return self.factor * sizes**-self.exponent


def fit_power_law(sizes: Sequence[float], losses: Sequence[float]) -> PowerLaw:
    """Least squares in logarithms.

    Args:
        sizes: non-embedding parameters, two different ones at least.
        losses: nats per token, positive.
    """
    x, y = np.log(np.asarray(sizes, dtype=np.float64)), np.log(np.asarray(losses, dtype=np.float64))
    slope, intercept = np.polyfit(x, y, 1)
    return PowerLaw(factor=float(np.exp(intercept)), exponent=float(-slope), worst_residual=float(np.abs(y - intercept - slope * x).max()))
