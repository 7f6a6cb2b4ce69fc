"""How often members are heard, and when they are missed."""

from __future__ import annotations

import heapq

import pytest

from netgpt.controller.pace import BEAT_INTERVAL_S, BEATS_PER_S, Pace, lost_after_s
from netgpt.network.member import Tier


def beats(tier: Tier, members: int, duration_s: float) -> list[tuple[float, float]]:
    """(time, wait) of all heartbeats of members that begin at once and obey."""
    pace = Pace()
    due = [(0.0, number) for number in range(members)]
    heard: list[tuple[float, float]] = []
    while due[0][0] < duration_s:
        now_s, number = heapq.heappop(due)
        wait_s = pace.wait_s(f"node{number}", tier, now_s)
        heard.append((now_s, wait_s))
        heapq.heappush(due, (now_s + wait_s, number))
    return heard


def test_a_small_network_beats_every_fifth_of_a_second_and_is_lost_after_three_quarters() -> None:
    assert all(wait_s == pytest.approx(BEAT_INTERVAL_S, abs=20 / BEATS_PER_S) for _, wait_s in beats("edge", 10, 5.0))
    assert lost_after_s(BEAT_INTERVAL_S) == pytest.approx(0.75)


def test_ten_thousand_devices_come_evenly_at_the_rate_that_the_controller_bears() -> None:
    heard = beats("device", 10_000, 40.0)
    later = [(at_s, wait_s) for at_s, wait_s in heard if at_s >= 30]
    assert len(later) == pytest.approx(10 * BEATS_PER_S, rel=0.01)
    assert {round(wait_s, 2) for _, wait_s in later} == {10_000 / BEATS_PER_S}
    for tenth in range(300, 400):
        assert sum(int(at_s * 10) == tenth for at_s, _ in later) == pytest.approx(BEATS_PER_S / 10, abs=2)


def test_devices_do_not_take_the_places_of_edge_and_cloud() -> None:
    pace = Pace()
    for number in range(10_000):
        pace.wait_s(f"phone{number}", "device", 0.0)
    assert pace.wait_s("edge1", "edge", 0.0) == BEAT_INTERVAL_S


def test_who_beats_before_its_time_takes_nobodys_place() -> None:
    pace = Pace()
    for number in range(1000):
        pace.wait_s(f"phone{number}", "device", 0.0)
    told_s = pace.wait_s("phone999", "device", 0.1)
    for hundredth in range(11, 100):
        assert pace.wait_s("phone999", "device", hundredth / 100) == pytest.approx(max(0.1 + told_s - hundredth / 100, BEAT_INTERVAL_S))
    assert pace.wait_s("phone1000", "device", 1.0) == pytest.approx(BEAT_INTERVAL_S + 1000 / BEATS_PER_S - 1.0, abs=0.01)


def test_who_is_silent_too_long_is_told_once_and_expected_again_when_heard() -> None:
    pace = Pace()
    pace.expect("a", 0.0, 0.2)
    pace.expect("b", 0.0, 5.0)
    pace.expect("c", 0.0, 0.2)
    pace.expect("c", 0.5, 0.2)
    assert pace.overdue(0.74) == []
    assert pace.overdue(0.76) == [("a", 0.76)]
    assert pace.overdue(0.9) == []
    pace.expect("a", 1.0, 0.2)
    pace.forget("c")
    assert pace.overdue(2.5) == [], "that it was late may be its round trip: it was never heard twice in time"
    assert pace.overdue(2.6) == [("a", pytest.approx(1.6))]
    assert pace.overdue(10.34) == []
    assert pace.overdue(10.36) == [("b", 10.36)]


def test_a_member_behind_a_satellite_is_granted_its_round_trip_and_no_more() -> None:
    pace, now_s, trip_s = Pace(), 0.0, 0.7
    pace.expect("far", now_s, 0.2)
    now_s += trip_s  # it beats as soon as it has joined
    for _ in range(10):
        assert pace.overdue(now_s) == []
        pace.expect("far", now_s, 0.2)
        now_s += 0.2 + trip_s
    pace.expect("far", now_s, 0.2)
    assert pace.overdue(now_s + lost_after_s(0.2, trip_s) - 0.01) == []
    assert [node for node, _ in pace.overdue(now_s + lost_after_s(0.2, trip_s) + 0.01)] == ["far"]


def test_being_late_once_or_lost_for_long_grants_nothing() -> None:
    pace, now_s = Pace(), 0.0
    for gap_s in (0.21, 0.21, 0.21, 0.7, 0.21, 60.0, 0.21):
        pace.expect("near", now_s, 0.2)
        pace.overdue(now_s + gap_s)
        now_s += gap_s
    pace.expect("near", now_s, 0.2)
    assert [node for node, _ in pace.overdue(now_s + lost_after_s(0.2) + 0.02)] == ["near"]
