"""Service curves against plain, slow definitions of what they mean."""

from __future__ import annotations

from itertools import pairwise
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from netgpt.network.service import OPPORTUNITY_BYTES, ConstantRate, Cursor, Opportunities, RateSteps
from netgpt.network.trace_file import load_trace

from .measured_links import MEASURED

RATES = st.lists(st.sampled_from([0.0, 8e3, 64e3, 1e6]), min_size=1, max_size=6).filter(any)
SIZES = st.integers(1, 20_000)
STARTS = st.floats(0, 50)


@st.composite
def steps(draw: st.DrawFn) -> RateSteps:
    rates = draw(RATES)
    lengths = draw(st.lists(st.floats(0.01, 3), min_size=len(rates), max_size=len(rates)))
    edges = np.concatenate(([0.0], np.cumsum(lengths)))
    return RateSteps(edges[:-1], rates, float(edges[-1]))


OPPORTUNITIES = st.lists(st.integers(0, 400), min_size=1, max_size=40).map(sorted).filter(lambda at: at[-1] > 0).map(Opportunities)
SERVICES = st.one_of(st.floats(1e3, 1e9).map(ConstantRate), steps(), OPPORTUNITIES)


def integrate(service: RateSteps, start_s: float, end_s: float) -> float:
    """Bytes between two times, from `rate_bps` alone, one step after the other."""
    period, edges = service._period_s, service._edge_list
    marks = sorted({start_s, end_s, *(k * period + edge for k in range(int(end_s / period) + 2) for edge in edges)})
    inside = [mark for mark in marks if start_s <= mark <= end_s]
    return sum((b - a) * service.rate_bps((a + b) / 2) / 8 for a, b in pairwise(inside))


@given(steps(), STARTS, SIZES)
def test_a_rate_trace_serves_exactly_what_its_rates_add_up_to(service: RateSteps, start_s: float, size_bytes: int) -> None:
    end_s = float(service.finish_s(start_s, size_bytes))
    assert integrate(service, start_s, end_s) == pytest.approx(size_bytes, rel=1e-6, abs=1e-3)
    assert service.rate_bps(end_s - 1e-7) > 0 or end_s - start_s < 1e-6  # the last byte leaves while something is served


@given(SERVICES, st.lists(STARTS, min_size=1, max_size=20), SIZES)
def test_one_question_and_many_have_the_same_answer(service: ConstantRate | RateSteps | Opportunities, starts: list[float], size_bytes: int) -> None:
    together = service.finish_s(starts, size_bytes)
    alone = [service.serve(Cursor(), start, size_bytes).time_s for start in starts]
    np.testing.assert_allclose(together, alone, rtol=1e-12, atol=1e-12)


@given(SERVICES, st.lists(st.tuples(st.floats(0, 2), SIZES), min_size=1, max_size=30))
def test_a_backlog_is_what_was_offered_less_what_left(service: ConstantRate | RateSteps | Opportunities, gaps: list[tuple[float, int]]) -> None:
    cursor, now_s, sent = Cursor(), 0.0, []
    for gap_s, size_bytes in gaps:
        now_s += gap_s
        cursor = service.serve(cursor, now_s, size_bytes)
        sent.append((cursor.time_s, size_bytes))
    unfinished = [size for done_s, size in sent if done_s > now_s]
    backlog = service.backlog_bytes(cursor, now_s)
    assert backlog <= sum(unfinished) + 1e-3
    assert backlog >= sum(unfinished[1:]) - 1e-3  # the first may have begun to leave
    assert service.backlog_bytes(cursor, cursor.time_s) == 0


def test_a_rate_trace_with_an_outage_serves_by_hand() -> None:
    service = RateSteps([0, 1, 2], [8e3, 0, 16e3], 3)  # 1000, 0, 2000 bytes in each second
    assert service.finish_s([0, 0, 0.5, 1.2, 0, 0, 2.5], [500, 1000, 1000, 1, 1001, 3000, 2000]) == pytest.approx(
        [0.5, 1, 2.25, 2.0005, 2.0005, 3, 4]
    )
    assert [service.rate_bps(at_s) for at_s in (0, 0.99, 1, 1.5, 2, 3)] == [8e3, 8e3, 0, 0, 16e3, 8e3]


class Mahimahi:
    """Mahimahi's link, one opportunity after the other, as its source has it."""

    def __init__(self, at_ms: list[int]) -> None:
        self.at_ms, self.base_ms, self.place = at_ms, 0, 0
        self.queue: list[list[int]] = []  # [number, bytes left]
        self.done_s: dict[int, float] = {}

    def pass_to(self, now_ms: int) -> None:
        while (at_ms := self.base_ms + self.at_ms[self.place]) <= now_ms:
            left = OPPORTUNITY_BYTES
            while left and self.queue:
                amount = min(left, self.queue[0][1])
                left -= amount
                self.queue[0][1] -= amount
                if not self.queue[0][1]:
                    self.done_s[self.queue.pop(0)[0]] = at_ms / 1e3
            self.place += 1
            if self.place == len(self.at_ms):
                self.place, self.base_ms = 0, self.base_ms + self.at_ms[-1]


@given(
    st.lists(st.integers(0, 60), min_size=1, max_size=30).map(sorted).filter(lambda at: at[-1] > 0),
    st.lists(st.tuples(st.integers(0, 40), SIZES), min_size=1, max_size=30),
)
def test_opportunities_are_used_as_mahimahi_uses_them(at_ms: list[int], gaps: list[tuple[int, int]]) -> None:
    reference, service, cursor, ours, now_ms = Mahimahi(at_ms), Opportunities(at_ms), Cursor(), {}, 0
    for number, (gap_ms, size_bytes) in enumerate(gaps):
        now_ms += gap_ms
        reference.pass_to(now_ms)
        reference.queue.append([number, size_bytes])
        cursor = service.serve(cursor, now_ms / 1e3, size_bytes)
        ours[number] = cursor.time_s
    while reference.queue:
        now_ms += 60
        reference.pass_to(now_ms)
    assert ours == reference.done_s


def test_an_opportunity_that_comes_before_its_packet_is_wasted() -> None:
    service = Opportunities([5, 10, 10, 20])
    first = service.serve(Cursor(), 0.001, 600)
    assert first == Cursor(0.005, 900, 1)
    assert service.serve(first, 0.002, 1000) == Cursor(0.010, 1400, 2)  # 900 bytes at 5 ms, 100 at 10 ms
    assert service.serve(first, 0.005, 900) == Cursor(0.010, 600, 2)  # came with the opportunity, not before it
    assert service.serve(Cursor(), 0.010, 1) == Cursor(0.020, 1499, 4)
    assert service.serve(Cursor(), 0.020, 1).time_s == 0.025  # the trace repeats


@pytest.mark.parametrize(
    ("make", "words"),
    [
        (lambda: ConstantRate(0), "above 0"),
        (lambda: ConstantRate(float("inf")), "finite"),
        (lambda: RateSteps([], [], 1), "begin at 0"),
        (lambda: RateSteps([0, 1], [1, 1], 1), "increase"),
        (lambda: RateSteps([0], [0], 1), "not all 0"),
        (lambda: RateSteps([0], [-1], 1), "not negative"),
        (lambda: RateSteps([0], [float("nan")], 1), "finite"),
        (lambda: Opportunities([]), "milliseconds"),
        (lambda: Opportunities([2, 1]), "not decrease"),
        (lambda: Opportunities([0, 0]), "above 0"),
    ],
)
def test_a_curve_that_serves_nothing_is_refused(make, words: str) -> None:
    with pytest.raises(ValueError, match=words):
        make()


@pytest.mark.parametrize("path", MEASURED)
def test_a_measured_trace_carries_its_opportunities_while_backlogged(path: Path) -> None:
    at_ms = [int(line) for line in path.read_text(encoding="utf-8").split()]
    service, until_s = load_trace(str(path)).service(), 2.5 * at_ms[-1] / 1e3
    carried = 1500 * (2 * len(at_ms) + sum(at <= at_ms[-1] / 2 for at in at_ms))
    done_s = service.finish_s(np.zeros(4000), np.linspace(carried / 4000, 1.1 * carried, 4000))
    served = np.interp(until_s, done_s, np.linspace(carried / 4000, 1.1 * carried, 4000))
    assert served == pytest.approx(carried, rel=0.01)
    cursor, packets = Cursor(), 2000
    for _ in range(packets):  # packet after packet
        cursor = service.serve(cursor, 0.0, 1400)
    used = 1500 * (np.searchsorted(at_ms, cursor.time_s * 1e3, side="right"))
    assert 1400 * packets == pytest.approx(used, rel=0.01)
