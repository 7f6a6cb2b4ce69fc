"""What a trace is like, in a few figures: for tables, and to compare a generated trace with a measured one."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from netgpt.network.trace import Series, Trace

QUANTILES = (0.05, 0.1, 0.5, 0.9, 0.95)
COHERENCE = 0.5  # the autocorrelation at which values count as other ones


@dataclass(frozen=True, kw_only=True)
class SeriesStats:
    """One UE's figures, weighted by time; values in the trace's unit."""

    ue: str
    samples: int
    mean: float
    p5: float
    p10: float
    p50: float
    p90: float
    p95: float
    outage_share: float  # of time with a value at or below the outage threshold
    longest_outage_s: float  # across the end of the trace too, which then begins anew
    coherence_s: float | None  # the lag at which the autocorrelation falls to one half; None if it does not, or nothing varies
    cells: int  # serving cells in turn, 0 if the trace does not tell


def series_stats(trace: Trace, outage: float = 0.0) -> list[SeriesStats]:
    """The figures of every UE; a trace of opportunities is to be binned before.

    Args:
        outage: a value at or below it is an outage.
    """
    return [_stats(trace, ue, one, outage) for ue, one in trace.series.items()]


def _stats(trace: Trace, ue: str, series: Series, outage: float) -> SeriesStats:
    lengths_s = np.diff(np.append(series.times_s, trace.period_s))
    quantiles = _weighted_quantiles(series.values, lengths_s)
    out = series.values <= outage
    return SeriesStats(
        ue=ue,
        samples=series.values.size,
        mean=float(series.values @ lengths_s) / trace.period_s,
        p5=quantiles[0],
        p10=quantiles[1],
        p50=quantiles[2],
        p90=quantiles[3],
        p95=quantiles[4],
        outage_share=float(lengths_s[out].sum()) / trace.period_s,
        longest_outage_s=_longest(out, lengths_s),
        coherence_s=_coherence_s(trace, ue),
        cells=0 if series.cells is None else int(np.unique(series.cells).size),
    )


def _weighted_quantiles(values: NDArray[np.float64], weights: NDArray[np.float64]) -> list[float]:
    """The least values at or below which at least these shares of the weight lie."""
    order = np.argsort(values, kind="stable")
    shares = np.cumsum(weights[order]) / weights.sum()
    return [float(values[order][min(int(np.searchsorted(shares, q - 1e-12)), values.size - 1)]) for q in QUANTILES]


def _longest(out: NDArray[np.bool_], lengths_s: NDArray[np.float64]) -> float:
    if out.all():
        return float(lengths_s.sum())
    first = int(np.argmin(out))  # begin where it is none, so that one across the end is whole
    longest = run = 0.0
    for is_out, length_s in zip(np.roll(out, -first).tolist(), np.roll(lengths_s, -first).tolist(), strict=True):
        run = run + length_s if is_out else 0.0
        longest = max(longest, run)
    return longest


def _coherence_s(trace: Trace, ue: str) -> float | None:
    series = trace.series[ue]
    if series.values.size < 4 or np.ptp(series.values) == 0:
        return None
    step_s = float(np.median(np.diff(series.times_s)))
    values = trace.at(np.arange(0, trace.period_s - step_s / 2, step_s) + step_s / 2, ue)
    values = values - values.mean()
    size = 2 * values.size
    spectrum = np.abs(np.fft.rfft(values, size)) ** 2
    correlation = np.fft.irfft(spectrum, size)[: values.size // 2]  # longer lags have too few pairs
    correlation = correlation / correlation[0] * values.size / (values.size - np.arange(correlation.size))
    below = np.flatnonzero(correlation < COHERENCE)
    if not below.size:
        return None
    lag = int(below[0])
    before, after = correlation[lag - 1], correlation[lag]
    return float((lag - 1 + (before - COHERENCE) / (before - after)) * step_s)
