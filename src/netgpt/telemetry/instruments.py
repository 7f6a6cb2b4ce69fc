"""What counts: counters, gauges and histograms of one process, written by its loop alone.

A request sets a dozen of them. The client library's own take a lock and check their arguments for threads and callers that
are not here, which costs ten times as much; what is exposed is still the library's to write.
"""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Callable, Iterator
from itertools import accumulate
from typing import Generic, TypeVar

from prometheus_client.metrics_core import CounterMetricFamily, GaugeMetricFamily, HistogramMetricFamily, Metric


class Counter:
    """A sum that only grows."""

    __slots__ = ("value",)

    def __init__(self) -> None:
        self.value = 0.0

    def inc(self, amount: float = 1.0) -> None:
        self.value += amount


class Gauge:
    """A value as it is now: set, counted up and down, or asked for when it is read."""

    __slots__ = ("_read", "_value")

    def __init__(self) -> None:
        self._value = 0.0
        self._read: Callable[[], float] | None = None

    def inc(self, amount: float = 1.0) -> None:
        self._value += amount

    def set(self, value: float) -> None:
        self._value = value

    def set_function(self, read: Callable[[], float]) -> None:
        self._read = read

    @property
    def value(self) -> float:
        return float(self._value if self._read is None else self._read())


class Histogram:
    """How many observations lay in each bucket, and their sum.

    Args:
        bounds: the buckets' upper bounds, ascending; each belongs to its bucket. What is above all is counted too.
    """

    __slots__ = ("_bounds", "_counts", "_total")

    def __init__(self, bounds: tuple[float, ...]) -> None:
        self._bounds = bounds
        self._counts = [0] * (len(bounds) + 1)
        self._total = 0.0

    def observe(self, value: float) -> None:
        self._counts[bisect_left(self._bounds, value)] += 1
        self._total += value

    @property
    def total(self) -> float:
        return self._total

    @property
    def buckets(self) -> list[tuple[str, float]]:
        """Upper bounds as the exposition has them, each with the number of all observations up to it."""
        names = [*map(str, self._bounds), "+Inf"]
        return [(name, float(count)) for name, count in zip(names, accumulate(self._counts), strict=True)]


I = TypeVar("I", Counter, Gauge, Histogram)  # noqa: E741 - an instrument


class Labelled(Generic[I]):
    """An instrument for each combination of labels, made when it is first asked for."""

    def __init__(self, names: tuple[str, ...], make: Callable[[], I]) -> None:
        self.names = names
        self._make = make
        self._children: dict[tuple[str, ...], I] = {}

    def labels(self, *values: str) -> I:
        """The instrument with these labels' values, in the order of `names`."""
        child = self._children.get(values)
        if child is None:
            if len(values) != len(self.names):
                raise ValueError(f"labels are {self.names}, but {len(values)} values were given")
            child = self._children[values] = self._make()
        return child

    def __iter__(self) -> Iterator[tuple[tuple[str, ...], I]]:
        return iter(self._children.items())


def counters(name: str, about: str, found: Labelled[Counter]) -> Metric:
    """The family of a counter."""
    family = CounterMetricFamily(name, about, labels=found.names)
    for values, counter in found:
        family.add_metric(values, counter.value)
    return family


def gauges(name: str, about: str, found: Labelled[Gauge]) -> Metric:
    """The family of a gauge."""
    family = GaugeMetricFamily(name, about, labels=found.names)
    for values, gauge in found:
        family.add_metric(values, gauge.value)
    return family


def histograms(name: str, about: str, found: Labelled[Histogram]) -> Metric:
    """The family of a histogram."""
    family = HistogramMetricFamily(name, about, labels=found.names)
    for values, histogram in found:
        family.add_metric(values, histogram.buckets, histogram.total)
    return family
