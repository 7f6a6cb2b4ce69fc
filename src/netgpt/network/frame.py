"""The time and frequency grid of a carrier: slots, which of them go up or down, and how many resource blocks.

Slots are counted from time 0. A slot of a TDD pattern is D (down), U (up), F (both, as all of an FDD carrier's)
or S (special: downlink symbols, a guard, uplink symbols; the latter carry control, not data).
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np
from numpy.typing import NDArray

from netgpt.core.errors import ScenarioInvalid
from netgpt.network.medium import Direction

SYMBOLS = 14  # of a slot with normal cyclic prefix, TS 38.211 table 4.3.2-1
SUBCARRIERS = 12  # of a resource block, TS 38.211 clause 4.4.4.1
SLOT_MARGIN = 1e-9  # of a slot: times that should lie on a boundary do, in spite of binary fractions

# Resource blocks by numerology (subcarriers 15 kHz * 2^mu) and bandwidth in MHz: TS 38.101-1 table 5.3.2-1 (FR1) for mu 0..2,
# TS 38.101-2 table 5.3.2-1 (FR2) for mu 3.
RESOURCE_BLOCKS: dict[int, dict[int, int]] = {
    0: {5: 25, 10: 52, 15: 79, 20: 106, 25: 133, 30: 160, 40: 216, 50: 270},
    1: {5: 11, 10: 24, 15: 38, 20: 51, 25: 65, 30: 78, 40: 106, 50: 133, 60: 162, 70: 189, 80: 217, 90: 245, 100: 273},
    2: {10: 11, 15: 18, 20: 24, 25: 31, 30: 38, 40: 51, 50: 65, 60: 79, 70: 93, 80: 107, 90: 121, 100: 135},
    3: {50: 32, 100: 66, 200: 132, 400: 264},
}


def numerology_of(subcarrier_spacing_hz: float) -> int:
    """mu of a subcarrier spacing: 15 kHz * 2^mu (TS 38.211 table 4.2-1)."""
    return round(math.log2(subcarrier_spacing_hz / 15e3))


def resource_blocks(numerology: int, bandwidth_mhz: float) -> int:
    """Resource blocks of a carrier.

    Raises:
        ScenarioInvalid: no such numerology, or no such bandwidth of it.
    """
    if numerology not in RESOURCE_BLOCKS:
        raise ScenarioInvalid(f"unknown numerology {numerology!r}", hint="0: 15 kHz, 1: 30 kHz, 2: 60 kHz, 3: 120 kHz (FR2)")
    widths = RESOURCE_BLOCKS[numerology]
    if bandwidth_mhz not in widths:
        raise ScenarioInvalid(
            f"no carrier of {bandwidth_mhz:g} MHz with {15 * 2**numerology} kHz subcarriers",
            hint="known: " + ", ".join(f"{width} MHz" for width in widths),
        )
    return widths[int(bandwidth_mhz)]


@dataclass(frozen=True)
class Frame:
    """The slots of a carrier.

    Args:
        numerology: mu; a slot lasts 1 ms / 2^mu (TS 38.211 table 4.3.2-2).
        pattern: such as "DDDSU", repeated from time 0; "" is FDD (TS 38.213 clause 11.1).
        special: symbols of an S slot: down, guard, up.

    Raises:
        ScenarioInvalid: a pattern with another letter, or without a slot for each direction; a special slot of not 14 symbols.
    """

    numerology: int = 1
    pattern: str = "DDDSU"
    special: tuple[int, int, int] = (10, 2, 2)

    def __post_init__(self) -> None:
        if self.numerology not in RESOURCE_BLOCKS:
            resource_blocks(self.numerology, 0)
        if set(self.pattern) - set("DSUF"):
            raise ScenarioInvalid(f"TDD pattern {self.pattern!r} has letters other than D, S, U, F", hint='write for example "DDDSU", or "" for FDD')
        if sum(self.special) != SYMBOLS or min(self.special) < 0:
            raise ScenarioInvalid(f"the special slot has {self.special} symbols", hint="down, guard and up add up to 14, for example 10, 2, 2")
        for direction in ("up", "down"):
            if not any(self._symbols(direction, kind) for kind in self._kinds):
                raise ScenarioInvalid(f"TDD pattern {self.pattern!r} has no slot for {direction}link data", hint='write for example "DDDSU"')

    @cached_property
    def _kinds(self) -> str:
        return self.pattern or "F"

    @cached_property
    def slot_s(self) -> float:
        return 1e-3 / 2**self.numerology

    @property
    def period(self) -> int:
        """Slots after which the pattern repeats."""
        return len(self._kinds)

    def slot_of(self, time_s: float) -> int:
        """The slot that runs at a time."""
        return int(np.floor(time_s / self.slot_s + SLOT_MARGIN))

    def start_s(self, slot: float) -> float:
        return slot * self.slot_s

    def symbols(self, direction: Direction, slot: int) -> int:
        """Symbols of a slot that can carry data that way."""
        return self._symbols(direction, self._kinds[slot % self.period])

    def _symbols(self, direction: str, kind: str) -> int:
        if kind == "S":
            return self.special[0] if direction == "down" else 0
        return SYMBOLS if kind == "F" or kind == direction[0].upper() else 0

    @cached_property
    def opportunities(self) -> dict[Direction, Opportunities]:
        """Where data can go, by direction."""
        return {way: Opportunities([self.symbols(way, slot) for slot in range(self.period)]) for way in ("up", "down")}

    @cached_property
    def up_control(self) -> Opportunities:
        """Slots with symbols for PUCCH."""
        return Opportunities([self.special[2] if kind == "S" else self._symbols("up", kind) for kind in self._kinds])


class Opportunities:
    """The slots of a repeated pattern that have symbols for something, and how many. Slots are numbered, and so are opportunities."""

    def __init__(self, symbols: Sequence[int]) -> None:
        self._period = len(symbols)
        self._places = [place for place, count in enumerate(symbols) if count]
        self._symbols = [count for count in symbols if count]
        self._places_P = np.array(self._places, dtype=np.int64)
        self._symbols_P = np.array(self._symbols, dtype=np.int64)
        self._before = [sum(1 for earlier in self._places if earlier < place) for place in range(self._period + 1)]
        self.mean_symbols = sum(self._symbols) / max(len(self._symbols), 1)
        self.share = len(self._places) / self._period  # opportunities per slot

    def number(self, slot: int) -> int:
        """How many opportunities come before this slot; the number of the first at or after it."""
        period, place = divmod(slot, self._period)
        return period * len(self._places) + self._before[place]

    def slot(self, number: int) -> int:
        """The slot of an opportunity."""
        period, index = divmod(number, len(self._places))
        return period * self._period + self._places[index]

    def next(self, slot: int) -> int:
        """The first slot at or after this one that has an opportunity."""
        return self.slot(self.number(slot))

    def last(self, slot: int) -> int:
        """The last slot at or before this one that has an opportunity."""
        return self.slot(self.number(slot + 1) - 1)

    def symbols(self, number: int) -> int:
        return self._symbols[number % len(self._symbols)]

    def range(self, number: int, count: int) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
        """Slots and symbols of `count` opportunities from one on, each of shape (count,)."""
        periods_N, index_N = np.divmod(np.arange(number, number + count, dtype=np.int64), len(self._places))
        return periods_N * self._period + self._places_P[index_N], self._symbols_P[index_N]
