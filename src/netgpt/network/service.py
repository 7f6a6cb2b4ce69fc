"""Service curves: a transmitter starts with some bytes at some time; when has the last of them left?

Four kinds: no limit, a constant rate, rates that change in steps, and delivery opportunities as Mahimahi has them. Steps and
opportunities repeat after their period. All are pure: what a transmitter has used up is a `Cursor`, which the
caller keeps. Knows neither packets nor queues.
"""

from __future__ import annotations

import math
from bisect import bisect_left, bisect_right
from dataclasses import dataclass
from typing import Protocol

import numpy as np
from numpy.typing import ArrayLike, NDArray

OPPORTUNITY_BYTES = 1500  # of one line of a Mahimahi trace


@dataclass(frozen=True, slots=True)
class Cursor:
    """Where a transmitter stands: all that it could send before is used or gone."""

    time_s: float = 0.0  # when the last byte left
    spare_bytes: float = 0.0  # of the opportunity at `time_s`: only for what was queued before it
    next_index: int = 0  # of the first opportunity that is not used


class Service(Protocol):
    """What one direction of a link can send over time."""

    def serve(self, cursor: Cursor, ready_s: float, size_bytes: float) -> Cursor:
        """Send `size_bytes`, which are there from `ready_s` on, behind all that was sent before; the new cursor's time is the last byte's."""
        ...

    def backlog_bytes(self, cursor: Cursor, now_s: float) -> float:
        """What has not left by `now_s` of all that brought a transmitter to `cursor`; all of it was offered by then."""
        ...

    def rate_bps(self, at_s: float) -> float:
        """The rate at this time; 0 in an outage."""
        ...

    def capacity_bytes(self, start_s: float, end_s: float) -> float:
        """What it can send after one time and until another, if it always has something to send."""
        ...

    def finish_s(self, start_s: ArrayLike, size_bytes: ArrayLike) -> NDArray[np.float64]:
        """When the last of `size_bytes` (> 0) has left a transmitter that is free at `start_s` (>= 0); arrays broadcast."""
        ...


class Unlimited:
    """What is there leaves at once."""

    def serve(self, cursor: Cursor, ready_s: float, size_bytes: float) -> Cursor:
        return Cursor(max(cursor.time_s, ready_s))

    def backlog_bytes(self, cursor: Cursor, now_s: float) -> float:
        return 0.0

    def rate_bps(self, at_s: float) -> float:
        return math.inf

    def capacity_bytes(self, start_s: float, end_s: float) -> float:
        return math.inf if end_s > start_s else 0.0

    def finish_s(self, start_s: ArrayLike, size_bytes: ArrayLike) -> NDArray[np.float64]:
        return np.broadcast_arrays(np.asarray(start_s, np.float64), np.asarray(size_bytes, np.float64))[0]


class ConstantRate:
    """The same rate at all times."""

    def __init__(self, rate_bps: float) -> None:
        if not (rate_bps > 0 and math.isfinite(rate_bps)):
            raise ValueError(f"a rate of {rate_bps} bit/s serves nothing: give a finite number above 0")
        self._rate_bps = rate_bps

    def serve(self, cursor: Cursor, ready_s: float, size_bytes: float) -> Cursor:
        return Cursor(max(cursor.time_s, ready_s) + 8 * size_bytes / self._rate_bps)

    def backlog_bytes(self, cursor: Cursor, now_s: float) -> float:
        return max(0.0, cursor.time_s - now_s) * self._rate_bps / 8

    def rate_bps(self, at_s: float) -> float:
        return self._rate_bps

    def capacity_bytes(self, start_s: float, end_s: float) -> float:
        return self._rate_bps * (end_s - start_s) / 8

    def finish_s(self, start_s: ArrayLike, size_bytes: ArrayLike) -> NDArray[np.float64]:
        return np.asarray(start_s, np.float64) + 8 * np.asarray(size_bytes, np.float64) / self._rate_bps


def service_of(rate_bps: float) -> Service:
    """A constant rate, or none at all if it is `math.inf`."""
    return Unlimited() if rate_bps == math.inf else ConstantRate(rate_bps)


class RateSteps:
    """Rates that hold from their time to the next one, and repeat after `period_s`.

    Args:
        times_s: shape (n,), the first is 0, strictly increasing.
        rates_bps: shape (n,), >= 0, not all 0.
        period_s: after the last time.
    """

    def __init__(self, times_s: ArrayLike, rates_bps: ArrayLike, period_s: float) -> None:
        times, rates = np.asarray(times_s, np.float64), np.asarray(rates_bps, np.float64)
        edges = np.append(times, period_s)
        if times.size == 0 or times.shape != rates.shape or times[0] != 0 or not np.all(np.diff(edges) > 0):
            raise ValueError("times must begin at 0 and increase up to the period, with one rate each")
        if not (np.all(np.isfinite(rates)) and np.all(rates >= 0) and np.any(rates > 0)):
            raise ValueError("rates must be finite, not negative, and not all 0")
        self._edges, self._bytes_per_s = edges, rates / 8
        self._served = np.concatenate(([0.0], np.cumsum(self._bytes_per_s * np.diff(edges))))  # bytes of one period by each edge
        self._period_s, self._period_bytes = float(period_s), float(self._served[-1])
        self._slack_bytes = 1e-6 + 1e-15 * self._period_bytes  # a rounding error must not wait for the end of an outage
        self._edge_list, self._rate_list, self._served_list = edges.tolist(), self._bytes_per_s.tolist(), self._served.tolist()

    def serve(self, cursor: Cursor, ready_s: float, size_bytes: float) -> Cursor:
        start_s = max(cursor.time_s, ready_s)
        return Cursor(start_s if size_bytes <= 0 else max(start_s, self._finish_s(start_s, size_bytes)))

    def _finish_s(self, start_s: float, size_bytes: float) -> float:
        """`finish_s` for one packet, a tenth of the time."""
        period, phase_s = divmod(start_s, self._period_s)
        step = bisect_right(self._edge_list, phase_s) - 1
        target = self._served_list[step] + (phase_s - self._edge_list[step]) * self._rate_list[step] + size_bytes
        whole, rest = divmod(target - self._slack_bytes, self._period_bytes)
        if rest == 0:
            whole, rest = whole - 1, self._period_bytes
        edge = bisect_left(self._served_list, rest)
        within_s = self._edge_list[edge - 1] + (rest - self._served_list[edge - 1]) / self._rate_list[edge - 1]
        return (period + whole) * self._period_s + within_s

    def finish_s(self, start_s: ArrayLike, size_bytes: ArrayLike) -> NDArray[np.float64]:
        start = np.asarray(start_s, np.float64)
        period, phase = np.divmod(start, self._period_s)
        step = np.searchsorted(self._edges, phase, side="right") - 1
        target = self._served[step] + (phase - self._edges[step]) * self._bytes_per_s[step] + np.asarray(size_bytes, np.float64)
        whole, rest = np.divmod(target - self._slack_bytes, self._period_bytes)
        full = rest == 0
        whole, rest = np.where(full, whole - 1, whole), np.where(full, self._period_bytes, rest)
        edge = np.searchsorted(self._served, rest, side="left")
        within = self._edges[edge - 1] + (rest - self._served[edge - 1]) / self._bytes_per_s[edge - 1]
        return np.maximum(start, (period + whole) * self._period_s + within)

    def _served_by(self, at_s: float) -> float:
        """Bytes that could be sent from 0 until `at_s`."""
        period, phase_s = divmod(at_s, self._period_s)
        step = bisect_right(self._edge_list, phase_s) - 1
        return period * self._period_bytes + self._served_list[step] + (phase_s - self._edge_list[step]) * self._rate_list[step]

    def backlog_bytes(self, cursor: Cursor, now_s: float) -> float:
        return max(0.0, self._served_by(cursor.time_s) - self._served_by(now_s)) if cursor.time_s > now_s else 0.0

    def capacity_bytes(self, start_s: float, end_s: float) -> float:
        return self._served_by(end_s) - self._served_by(start_s)

    def rate_bps(self, at_s: float) -> float:
        return 8 * self._rate_list[bisect_right(self._edge_list, at_s % self._period_s) - 1]


class Opportunities:
    """Delivery opportunities: each takes up to 1,500 bytes of what was queued before it; what it does not need is wasted.

    An opportunity may end one packet and begin the next, and a packet may need several. The trace repeats: its
    period is its last millisecond. Source: mahimahi's `LinkQueue` (which counts 1,504 bytes, its TUN device's
    largest packet; its manual and all published figures say 1,500).

    Args:
        at_ms: shape (n,), whole milliseconds >= 0, not decreasing, the last above 0.
    """

    def __init__(self, at_ms: ArrayLike) -> None:
        at = np.asarray(at_ms, np.int64)
        if at.size == 0 or at[0] < 0 or np.any(np.diff(at) < 0) or at[-1] <= 0:
            raise ValueError("opportunities must be milliseconds that do not decrease, the last one above 0")
        self._at_ms, self._list_ms = at, at.tolist()
        self._count, self._period_ms = int(at.size), int(at[-1])

    def serve(self, cursor: Cursor, ready_s: float, size_bytes: float) -> Cursor:
        if size_bytes <= 0:
            return Cursor(max(cursor.time_s, ready_s), cursor.spare_bytes if ready_s < cursor.time_s else 0.0, cursor.next_index)
        if ready_s < cursor.time_s and size_bytes <= cursor.spare_bytes:
            return Cursor(cursor.time_s, cursor.spare_bytes - size_bytes, cursor.next_index)
        need = size_bytes - (cursor.spare_bytes if ready_s < cursor.time_s else 0.0)
        count = math.ceil(need / OPPORTUNITY_BYTES)
        end = max(cursor.next_index, self._first_after(ready_s)) + count
        return Cursor(self._time_s(end - 1), count * OPPORTUNITY_BYTES - need, end)

    def backlog_bytes(self, cursor: Cursor, now_s: float) -> float:
        if cursor.time_s <= now_s:
            return 0.0
        return max(0.0, (cursor.next_index - self._first_after(now_s)) * OPPORTUNITY_BYTES - cursor.spare_bytes)

    def rate_bps(self, at_s: float) -> float:
        """The mean over the second that comes: single opportunities have no rate."""
        return 8.0 * self.capacity_bytes(at_s, at_s + 1)

    def capacity_bytes(self, start_s: float, end_s: float) -> float:
        return float(OPPORTUNITY_BYTES * (self._first_after(end_s) - self._first_after(start_s)))

    def finish_s(self, start_s: ArrayLike, size_bytes: ArrayLike) -> NDArray[np.float64]:
        period, phase_ms = np.divmod(np.round(np.asarray(start_s, np.float64) * 1e3, 6), self._period_ms)
        first = period.astype(np.int64) * self._count + np.searchsorted(self._at_ms, phase_ms, side="right")
        last = first + np.ceil(np.asarray(size_bytes, np.float64) / OPPORTUNITY_BYTES).astype(np.int64) - 1
        period, place = np.divmod(last, self._count)
        return (period * self._period_ms + self._at_ms[place]) / 1e3

    def _first_after(self, at_s: float) -> int:
        """Index of the first opportunity after `at_s`, counted through all periods."""
        at_ms = round(at_s * 1e3, 6)  # to the nanosecond, so that the time of an opportunity is that opportunity's
        period, phase_ms = divmod(at_ms, self._period_ms)
        return int(period) * self._count + bisect_right(self._list_ms, phase_ms)

    def _time_s(self, index: int) -> float:
        period, place = divmod(index, self._count)
        return (period * self._period_ms + self._list_ms[place]) / 1e3
