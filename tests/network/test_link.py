"""Links as shared queues."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from netgpt.network.link import Lane, LinkProfile, Path, Routes, SharedLink, shortest_path, transfer_time_s
from netgpt.network.service import RateSteps

SLOW = LinkProfile(rate_bps=8000, delay_s=0.5)  # a thousand bytes a second


def link(first: str, second: str, delay_s: float = 0.1) -> SharedLink:
    profile = LinkProfile(rate_bps=1e6, delay_s=delay_s)
    return SharedLink((first, second), up=profile, down=profile)


def test_a_free_link_takes_transmission_plus_delay() -> None:
    assert transfer_time_s(1000, 8000, 0.5) == 1.5
    assert Lane(SLOW).admit(10.0, 1000) == 11.5


def test_a_payload_waits_for_those_before_it() -> None:
    lane = Lane(SLOW)
    assert [lane.admit(0.0, 1000), lane.admit(0.0, 2000), lane.admit(10.0, 1000)] == [1.5, 3.5, 11.5]


def test_directions_do_not_wait_for_each_other() -> None:
    both = SharedLink(("a", "b"), up=SLOW, down=SLOW)
    assert both.lanes["up"].admit(0.0, 1000) == both.lanes["down"].admit(0.0, 1000) == 1.5


@given(st.lists(st.tuples(st.floats(0, 10), st.integers(0, 10_000)), min_size=1))
def test_nothing_overtakes_and_the_rate_is_never_exceeded(payloads: list[tuple[float, int]]) -> None:
    lane, now_s, arrivals_s = Lane(SLOW), 0.0, []
    for wait_s, payload_bytes in payloads:
        now_s += wait_s
        arrivals_s.append(lane.admit(now_s, payload_bytes))
        assert arrivals_s[-1] >= now_s + transfer_time_s(payload_bytes, SLOW.rate_bps, SLOW.delay_s) - 1e-9
    assert arrivals_s == sorted(arrivals_s)
    assert arrivals_s[-1] >= sum(size for _, size in payloads) / 1000 + SLOW.delay_s - 1e-9


def test_a_cut_link_forgets_its_queue() -> None:
    slow = SharedLink(("a", "b"), up=SLOW, down=SLOW)
    slow.lanes["up"].admit(0.0, 1_000_000)
    slow.cut(2.0)
    slow.cut(3.0)
    assert slow.cut_at_s == 2.0
    slow.heal()
    assert slow.cut_at_s is None
    assert slow.lanes["up"].admit(4.0, 1000) == 5.5


def test_a_path_names_each_link_in_its_direction() -> None:
    access, backhaul = link("phone", "edge"), link("edge", "cloud")
    there = shortest_path([access, backhaul], "phone", "cloud")
    back = shortest_path([access, backhaul], "cloud", "phone")
    assert there is not None
    assert back is not None
    assert [(hop.link.id, hop.direction) for hop in there] == [("phone-edge", "up"), ("edge-cloud", "up")]
    assert [(hop.link.id, hop.direction) for hop in back] == [("edge-cloud", "down"), ("phone-edge", "down")]
    assert back[0].lane is backhaul.lanes["down"]


@pytest.mark.parametrize(("direct_s", "hops"), [(0.3, 2), (0.2, 1), (0.1, 1)])
def test_the_path_has_the_least_delay_then_the_fewest_hops(direct_s: float, hops: int) -> None:
    path = shortest_path([link("a", "b"), link("b", "c"), link("a", "c", direct_s)], "a", "c")
    assert path is not None
    assert len(path) == hops


def test_no_path_and_no_way_to_go() -> None:
    assert shortest_path([link("a", "b"), link("c", "d")], "a", "d") is None
    assert shortest_path([], "a", "a") == ()


def test_a_lane_follows_rates_over_time_and_waits_out_an_outage():
    steps = RateSteps([0.0, 10.0, 20.0], [8000, 0, 16_000], 30.0)
    lane = Lane(LinkProfile(rate_bps=0.0, delay_s=0.5, service=steps))
    assert lane.admit(0.0, 1000) == pytest.approx(1.5)
    assert lane.admit(9.5, 1000) == pytest.approx(20.75)  # half of it before the outage, half at the double rate after it
    assert lane.admit(9.6, 0) == pytest.approx(20.75), "a sign does not overtake"
    lane.clear()
    assert lane.admit(25.0, 2000) == pytest.approx(26.5)


NODES = "abcdefg"
LINKS = st.lists(st.tuples(st.sampled_from(NODES), st.sampled_from(NODES), st.sampled_from([0.1, 0.2, 0.3])).filter(lambda ends: ends[0] != ends[1]))


def every_path(links: list[SharedLink], source: str, target: str, seen: frozenset[str] = frozenset()) -> list[list[SharedLink]]:
    """All paths without loops, found by trying each."""
    if source == target:
        return [[]]
    found = []
    for each in links:
        if source in each.ends:
            there = each.ends[1] if each.ends[0] == source else each.ends[0]
            if there not in seen:
                found += [[each, *rest] for rest in every_path(links, there, target, seen | {source})]
    return found


@given(LINKS.filter(lambda links: len(links) <= 8))
def test_no_other_path_is_shorter_whatever_hangs_on_it(described: list[tuple[str, str, float]]) -> None:
    links = [link(*each) for each in described]
    routes = Routes(links)
    for source in NODES:
        for target in NODES:
            path = routes(source, target)
            others = every_path(links, source, target)
            assert (path is None) == (not others)
            if path is not None:
                assert ends_at(path, source) == target
                best = min(cost(each) for each in others)
                assert cost([hop.link for hop in path]) == best
                assert routes(source, target) is path


def ends_at(path: Path, here: str) -> str:
    for hop in path:
        first, second = hop.link.ends if hop.direction == "up" else hop.link.ends[::-1]
        assert first == here
        here = second
    return here


def cost(links: list[SharedLink]) -> tuple[float, int]:
    return (round(sum(each.lanes["up"].profile.delay_s for each in links), 6), len(links))
