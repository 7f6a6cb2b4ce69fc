"""Links, and ways through links and cells."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from netgpt.network.link import Hop, Link, Ways
from netgpt.network.medium import Packet
from netgpt.network.radio import Radio
from netgpt.network.scenario_file import load_scenario
from netgpt.network.service import ConstantRate
from netgpt.network.wired import OneWay


def link(first: str, second: str, delay_s: float = 0.1) -> Link:
    profile = OneWay(service=ConstantRate(1e6), delay_s=delay_s)
    return Link((first, second), up=profile, down=profile)


def test_a_path_names_each_link_in_its_direction() -> None:
    ways = Ways([link("phone", "edge"), link("edge", "cloud")])
    there, back = ways.path("phone", "cloud"), ways.path("cloud", "phone")
    assert there is not None
    assert back is not None
    assert [(hop.name, hop.direction) for hop in there] == [("phone-edge", "up"), ("edge-cloud", "up")]
    assert [(hop.name, hop.direction) for hop in back] == [("edge-cloud", "down"), ("phone-edge", "down")]
    assert back[0].medium is ways.links["edge-cloud"].medium


@pytest.mark.parametrize(("direct_s", "hops"), [(0.3, 2), (0.2, 1), (0.1, 1)])
def test_the_path_has_the_least_delay_then_the_fewest_hops(direct_s: float, hops: int) -> None:
    path = Ways([link("a", "b"), link("b", "c"), link("a", "c", direct_s)]).path("a", "c")
    assert path is not None
    assert len(path) == hops


def test_no_path_and_no_way_to_go() -> None:
    assert Ways([link("a", "b"), link("c", "d")]).path("a", "d") is None
    assert Ways([]).path("a", "a") == ()
    assert Ways([]).path("a", "b") is None


def test_a_device_is_reached_through_the_site_of_the_cell_that_serves_it_now() -> None:
    radio = Radio(load_scenario("vehicles"), seed=1)
    ways = Ways([link("edge1", "cloud1"), link("edge2", "cloud1"), link("edge1", "edge2", 0.01)], radio)

    def names(source: str, target: str) -> list[tuple[str, str]]:
        return [(hop.name, hop.direction) for hop in ways.path(source, target) or ()]

    assert names("cloud1", "east1") == [("edge1-cloud1", "down"), ("cell1", "down")]
    assert names("east1", "west1") == [("cell1", "up"), ("edge1-edge2", "up"), ("cell2", "down")]
    assert names("east1", "east2") == [("cell1", "up"), ("cell1", "down")], "two devices of one cell meet at its site"
    radio.advance(26.0)
    assert names("cloud1", "east1") == [("edge2-cloud1", "down"), ("cell2", "down")]
    assert names("edge1", "east1") == [("edge1-edge2", "up"), ("cell2", "down")], "what had come to the old site goes on to the new one"
    assert names("east1", "west1") == [("cell2", "up"), ("edge1-edge2", "down"), ("cell1", "down")]


def test_a_cleared_link_forgets_what_waits_and_what_is_under_way() -> None:
    medium = link("a", "b", 0.5).medium
    packets = [Packet(size_bytes=125_000, content=number) for number in range(3)]  # a second each
    for packet, direction in zip(packets, ("up", "up", "down"), strict=True):
        medium.offer(0.0, "a", direction, packet)
    assert medium.clear(1.2) == packets, "one is under way, one is being sent, one goes the other way"
    assert medium.next_s() == float("inf")
    medium.offer(1.2, "a", "up", packets[0])
    assert [delivery.at_s for delivery in medium.advance(9.0)] == [pytest.approx(1.2 + 1.0 + 0.5)]


NODES = "abcdefg"
LINKS = st.lists(st.tuples(st.sampled_from(NODES), st.sampled_from(NODES), st.sampled_from([0.1, 0.2, 0.3])).filter(lambda ends: ends[0] != ends[1]))


def every_path(links: list[Link], source: str, target: str, seen: frozenset[str] = frozenset()) -> list[list[Link]]:
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


@given(LINKS.filter(lambda links: len(links) <= 8 and len({frozenset(each[:2]) for each in links}) == len(links)))
def test_no_other_path_is_shorter_whatever_hangs_on_it(described: list[tuple[str, str, float]]) -> None:
    links = [link(*each) for each in described]
    ways = Ways(links)
    for source in NODES:
        for target in NODES:
            path = ways.path(source, target)
            others = every_path(links, source, target)
            assert (path is None) == (not others)
            if path is not None:
                assert ends_at(path, source) == target
                assert cost([hop.link for hop in path if hop.link]) == min(cost(each) for each in others)


def ends_at(path: tuple[Hop, ...], here: str) -> str:
    for hop in path:
        assert hop.link is not None
        first, second = hop.link.ends if hop.direction == "up" else hop.link.ends[::-1]
        assert (first, second) == (here, hop.target)
        here = second
    return here


def cost(links: list[Link]) -> tuple[float, int]:
    return (round(sum(each.oneway["up"].delay_s for each in links), 6), len(links))
