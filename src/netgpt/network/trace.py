"""Traces: what a link or a radio channel can carry over time, as a table that repeats.

A trace has one series for each user equipment (UE). A series holds rates (`bps`) or spectral efficiencies (`bps/Hz`), each
valid from its time to the next one, or Mahimahi's delivery opportunities. `network.trace_file` reads and writes them,
`network.service` answers when bytes are served. Traces that come with the package lie in `traces/`.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from netgpt.core.errors import UsageError
from netgpt.core.spelling import did_you_mean
from netgpt.network.service import OPPORTUNITY_BYTES, Opportunities, RateSteps, Service

RATE, EFFICIENCY, OPPORTUNITY = "bps", "bps/Hz", "opportunity"
UNITS: dict[str, tuple[str, float]] = {  # as written in files: what it is here, times what
    "bps": (RATE, 1.0), "kbps": (RATE, 1e3), "Mbps": (RATE, 1e6), "Gbps": (RATE, 1e9), "bit/s": (RATE, 1.0), "Mbit/s": (RATE, 1e6),
    "bps/Hz": (EFFICIENCY, 1.0), "bit/s/Hz": (EFFICIENCY, 1.0),
}  # fmt: skip


@dataclass(frozen=True, kw_only=True, eq=False)
class Series:
    """One UE's values. Of a trace of opportunities: `times_s` are theirs, and `values` the bytes that each takes."""

    times_s: NDArray[np.float64]  # (n,), the first is 0 (opportunities: the first's own), increasing
    values: NDArray[np.float64]  # (n,), in the trace's unit
    cells: NDArray[np.int32] | None = None  # (n,): the serving cell, if the trace tells


@dataclass(frozen=True, kw_only=True)
class Origin:
    """Where a trace comes from: it travels with every copy."""

    source: str = ""  # who measured or generated it, and how
    licence: str = ""
    command: str = ""  # that makes it again
    seed: int | None = None
    parameters: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True, kw_only=True, eq=False)
class Trace:
    """A whole trace: equal units, one period for all UEs."""

    name: str  # of its file, for messages
    unit: str  # RATE, EFFICIENCY or OPPORTUNITY
    period_s: float
    series: Mapping[str, Series]  # by UE; the only one of a link's trace is ""
    origin: Origin = Origin()

    def of(self, ue: str | None = None) -> Series:
        """One UE's series; of a trace with one UE it need not be named.

        Raises:
            UsageError: unknown UE, or none named and there are several.
        """
        if ue is None and len(self.series) == 1:
            return next(iter(self.series.values()))
        if ue is None or ue not in self.series:
            said = f"has {len(self.series)} UEs" if ue is None else f"has no UE {ue!r}"
            raise UsageError(f"trace {self.name!r} {said}", hint="name one: " + did_you_mean(ue or "", list(self.series)), param="ue")
        return self.series[ue]

    def at(self, times_s: ArrayLike, ue: str | None = None) -> NDArray[np.float64]:
        """The values at `times_s` (>= 0); after its end the trace begins anew. Shape as `times_s`.

        Raises:
            UsageError: unknown UE, or a trace of opportunities, which have no value in between.
        """
        series = self._steps(ue)
        return series.values[np.searchsorted(series.times_s, np.mod(np.asarray(times_s, np.float64), self.period_s), side="right") - 1]

    def cell_at(self, times_s: ArrayLike, ue: str | None = None) -> NDArray[np.int32]:
        """The serving cells at `times_s`; 0 throughout if the trace does not tell."""
        series = self._steps(ue)
        place = np.searchsorted(series.times_s, np.mod(np.asarray(times_s, np.float64), self.period_s), side="right") - 1
        return np.zeros(place.shape, np.int32) if series.cells is None else series.cells[place]

    def _steps(self, ue: str | None) -> Series:
        if self.unit == OPPORTUNITY:
            raise UsageError(f"trace {self.name!r} has opportunities, not values", hint="convert it: netgpt trace import FILE --every 100ms")
        return self.of(ue)

    def service(self, ue: str | None = None) -> Service:
        """When bytes over this link are served.

        Raises:
            UsageError: unknown UE, spectral efficiencies (see `as_rate`), or a series that never serves anything.
        """
        series = self.of(ue)
        if self.unit == OPPORTUNITY:
            return Opportunities(np.rint(series.times_s * 1e3).astype(np.int64))
        if self.unit == EFFICIENCY:
            raise UsageError(f"trace {self.name!r} has spectral efficiencies, a link wants rates", hint="give its bandwidth, or use it in a cell")
        if not np.any(series.values > 0):
            raise UsageError(f"trace {self.name!r} never serves anything: every value is 0", hint="give a trace with a value above 0")
        return RateSteps(series.times_s, series.values, self.period_s)

    def as_rate(self, bandwidth_hz: float) -> Trace:
        """The rates of a UE that has the whole bandwidth for itself."""
        return self.scaled(bandwidth_hz, RATE) if self.unit == EFFICIENCY else self

    def scaled(self, factor: float, unit: str = "") -> Trace:
        """All values times `factor`; opportunities cannot be scaled."""
        if self.unit == OPPORTUNITY:
            raise UsageError(f"opportunities of {self.name!r} cannot be scaled", hint="convert them to a rate first: --every 100ms")
        return replace(self, unit=unit or self.unit, series={ue: replace(one, values=one.values * factor) for ue, one in self.series.items()})

    def binned(self, every_s: float) -> Trace:
        """Means over bins of `every_s`, from the start; opportunities become rates (bps). The period is whole bins, at least one.

        Raises:
            UsageError: `every_s` is not above 0, or longer than the trace.
        """
        if not 0 < every_s <= self.period_s:
            message = f"bins of {every_s:g} s do not fit trace {self.name!r} of {self.period_s:g} s"
            raise UsageError(message, hint=f"give a time above 0 s and of at most {self.period_s:g} s", param="every")
        count = int(np.floor(self.period_s / every_s + 1e-9))
        edges = np.arange(count + 1, dtype=np.float64) * every_s
        unit = RATE if self.unit == OPPORTUNITY else self.unit
        series = {ue: Series(times_s=edges[:-1], values=self._means(one, edges), cells=_first(one, edges)) for ue, one in self.series.items()}
        return replace(self, unit=unit, period_s=float(edges[-1]), series=series)

    def _means(self, series: Series, edges: NDArray[Any]) -> NDArray[Any]:
        if self.unit == OPPORTUNITY:  # the one at the very end belongs to the last bin
            until = np.searchsorted(np.rint(series.times_s * 1e3), np.rint(edges * 1e3), side="right")
            until[0] = 0
            return np.diff(until) * OPPORTUNITY_BYTES * 8 / np.diff(edges)
        times = np.append(series.times_s, self.period_s)
        area = np.concatenate(([0.0], np.cumsum(series.values * np.diff(times))))
        return np.diff(np.interp(edges, times, area)) / np.diff(edges)


def _first(series: Series, edges: NDArray[Any]) -> NDArray[np.int32] | None:
    if series.cells is None:
        return None
    return series.cells[np.searchsorted(series.times_s, edges[:-1] + 1e-9, side="right") - 1]
