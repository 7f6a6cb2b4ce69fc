"""Spectral efficiency of one UE over time: what its radio channel allows, before anybody shares the cell.

The unit is bit/s/Hz of the resource elements that carry data, layers added up: the column "spectral efficiency" of
TS 38.214 tables 5.1.3.1-1 to -3 times the number of layers. 0 is an outage.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from netgpt.core.errors import ScenarioInvalid

HIGHEST = 6 * 948 / 1024  # bit/s/Hz of a layer, MCS 28 of TS 38.214 table 5.1.3.1-1
_HINT = "spectral efficiency is a finite number, 0 or more, in bit/s/Hz"


class EfficiencyTrace(Protocol):
    """A UE's spectral efficiency in one direction."""

    @property
    def step_s(self) -> float:
        """It may change at multiples of this time only; `math.inf` if it never does."""
        ...

    def at(self, now_s: float) -> float:
        """bit/s/Hz from `now_s` to the next multiple of `step_s`; 0 in an outage."""
        ...


class ConstantEfficiency:
    """The same always.

    Raises:
        ScenarioInvalid: negative or not finite.
    """

    step_s = math.inf

    def __init__(self, efficiency: float) -> None:
        self._efficiency = checked_efficiency(efficiency, "a constant efficiency")

    def at(self, now_s: float) -> float:
        return self._efficiency


class SampledEfficiency:
    """Samples at equal steps from time 0, repeated when they end.

    Raises:
        ScenarioInvalid: no sample, one that is negative or not finite, or a step that is not positive.
    """

    def __init__(self, samples: Sequence[float] | NDArray[np.float64], step_s: float) -> None:
        self._samples = [checked_efficiency(float(sample), f"sample {n} of the efficiency trace") for n, sample in enumerate(samples)]
        if not self._samples:
            raise ScenarioInvalid("the efficiency trace is empty", hint="give at least one sample")
        if not 0 < step_s < math.inf:
            raise ScenarioInvalid(f"the efficiency trace has a step of {step_s!r} s", hint="give a time above 0")
        self.step_s = step_s

    def at(self, now_s: float) -> float:
        return self._samples[int(now_s / self.step_s + 1e-6) % len(self._samples)]


def checked_efficiency(efficiency: float, what: str) -> float:
    """The value itself.

    Raises:
        ScenarioInvalid: it is negative or not finite; `what` names it.
    """
    if not math.isfinite(efficiency) or efficiency < 0:
        raise ScenarioInvalid(f"{what} is {efficiency!r}", hint=_HINT)
    return efficiency
