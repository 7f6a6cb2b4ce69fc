"""Background load of a cell: users who are not modelled otherwise and whose bursts compete for resource blocks."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np

from netgpt.core.errors import ScenarioInvalid
from netgpt.network.medium import Direction

BURST_LIMIT = 20.0  # times the mean: no burst is larger


@dataclass(frozen=True, kw_only=True)
class BackgroundLoad:
    """Bursts that arrive by a Poisson process, of exponentially distributed size."""

    up: float = 0.0  # share of what the cell carries at `efficiency`
    down: float = 0.0
    users: int = 4
    burst_bytes: int = 50_000  # mean
    efficiency: float = 2.0  # bit/s/Hz, of these users

    def __post_init__(self) -> None:
        if not (0 <= self.up < 2 and 0 <= self.down < 2):
            raise ScenarioInvalid(f"background load is {self.up!r} up, {self.down!r} down", hint="give shares of the cell, such as 0.5; less than 2")
        if self.users < 1 or self.burst_bytes < 1:
            raise ScenarioInvalid(f"background load has {self.users} users, bursts of {self.burst_bytes} bytes", hint="both start at 1")

    def share(self, direction: Direction) -> float:
        return self.up if direction == "up" else self.down


def bursts(load: BackgroundLoad, direction: Direction, capacity_bps: float, generator: np.random.Generator) -> Iterator[tuple[float, int, int]]:
    """The bursts of one direction, for ever: (time in s, number of the user, bytes). None if there is no load."""
    rate = load.share(direction) * capacity_bps / (8 * load.burst_bytes)  # bursts a second
    at_s = 0.0
    while rate > 0:
        at_s += float(generator.exponential(1 / rate))
        size = min(float(generator.exponential(load.burst_bytes)), BURST_LIMIT * load.burst_bytes)
        yield at_s, int(generator.integers(load.users)), max(round(size), 1)
