"""Media and ways across them, told the time: exact to the last bit."""

from __future__ import annotations

import math

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from netgpt.core.chance import SeededChance
from netgpt.core.errors import UsageError
from netgpt.network.medium import Packet
from netgpt.wire.shaper_control import changed, link_rows, parse_words
from netgpt.wire.shaper_medium import UNLIMITED, ConstantLink, LinkSettings
from netgpt.wire.shaper_network import Arrival, Crossing, LinkNetwork

from .shaper_lab import chain, network_of

MBPS = LinkSettings(up_bps=8e6, down_bps=8e6, delay_s=0.02)  # 1 MB/s: a packet of 1,000 B takes a millisecond


def link(settings: LinkSettings) -> ConstantLink:
    return ConstantLink("a", settings, SeededChance(1).stream("loss"))


def drain(network: LinkNetwork) -> list[Arrival]:
    """All that still arrives, each at its own time."""
    arrivals: list[Arrival] = []
    while (at_s := network.next_s()) < math.inf:
        arrivals += network.advance(at_s)
    return arrivals


def test_packets_leave_one_after_the_other_and_arrive_a_delay_later() -> None:
    medium = link(MBPS)
    assert all(medium.offer(0.0, "a", "up", Packet(size_bytes=1000, content=number)) for number in range(5))
    assert medium.next_s() == pytest.approx(0.021)
    arrived = medium.advance(1.0)
    assert [delivery.at_s for delivery in arrived] == pytest.approx([0.021, 0.022, 0.023, 0.024, 0.025])
    assert [delivery.packet.content for delivery in arrived] == [0, 1, 2, 3, 4]
    assert medium.next_s() == math.inf


@settings(max_examples=100, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(
    st.lists(st.tuples(st.floats(0, 0.02), st.integers(1, 1500)), max_size=60),
    st.floats(1e4, 1e9),
    st.floats(0.001, 0.2),
    st.floats(0, 0.1),
)
def test_what_is_accepted_waits_no_longer_than_the_stated_queue_and_nothing_overtakes(
    offers: list[tuple[float, int]], rate_bps: float, queue_s: float, delay_s: float
) -> None:
    medium = link(LinkSettings(up_bps=rate_bps, delay_s=delay_s, queue_s=queue_s))
    now_s, accepted = 0.0, []
    for gap_s, size in offers:
        now_s += gap_s
        wait_s = medium.backlog("a", "up").delay_s if gap_s == 0 else None
        if medium.offer(now_s, "a", "up", Packet(size_bytes=size, content=(len(accepted), now_s, size))):
            accepted.append(now_s)
            assert wait_s is None or wait_s <= queue_s + 8 * (1500 + 1500) / rate_bps
    arrived = medium.advance(1e9)
    assert [delivery.packet.content[0] for delivery in arrived] == list(range(len(accepted)))
    for delivery in arrived:
        _, offered_s, size = delivery.packet.content
        waited_s = delivery.at_s - delay_s - 8 * size / rate_bps - offered_s
        assert waited_s <= queue_s + 2 * 8 * 1500 / rate_bps + 1e-9, "the queue, the packet being sent, and one that an empty queue takes"


def test_a_full_queue_refuses_and_says_what_waits() -> None:
    medium = link(LinkSettings(up_bps=8e6, queue_s=0.01))
    assert [medium.offer(0.0, "a", "up", Packet(size_bytes=1000)) for _ in range(12)] == [True] * 11 + [False]
    backlog = medium.backlog("a", "up")
    assert (backlog.packets, backlog.bytes, backlog.delay_s) == (11, 11000, pytest.approx(0.011))
    assert medium.backlog("a", "down").packets == 0
    with pytest.raises(KeyError):
        medium.offer(0.0, "b", "up", Packet(size_bytes=1))


def test_datagrams_get_lost_and_what_is_reliable_never() -> None:
    medium = link(LinkSettings(loss=0.3))
    for number in range(4000):
        medium.offer(0.0, "a", "down", Packet(size_bytes=100, reliable=number % 2 == 0))
    arrived = medium.advance(0.0)
    assert len(arrived) == 4000
    assert not any(delivery.lost for delivery in arrived if delivery.packet.reliable)
    assert 0.26 < sum(delivery.lost for delivery in arrived) / 2000 < 0.34


def test_new_settings_hold_for_what_waits_and_for_what_is_half_sent() -> None:
    medium = link(MBPS)
    for number in range(3):
        medium.offer(0.0, "a", "up", Packet(size_bytes=1000, content=number))
    medium.adjust(0.0005, LinkSettings(up_bps=4e6, down_bps=8e6, delay_s=0.0))
    times = [delivery.at_s for delivery in medium.advance(1.0)]
    assert times == pytest.approx([0.0015, 0.0035, 0.0055]), "half a packet at 1 us/B was left"
    medium.offer(1.0, "a", "up", Packet(size_bytes=1000))
    assert medium.next_s() == pytest.approx(1.002)


def test_a_shorter_delay_lets_nothing_overtake() -> None:
    medium = link(LinkSettings(delay_s=1.0))
    medium.offer(0.0, "a", "up", Packet(size_bytes=1, content="first"))
    medium.adjust(0.1, LinkSettings(delay_s=0.1))
    medium.offer(0.1, "a", "up", Packet(size_bytes=1, content="second"))
    assert [delivery.packet.content for delivery in medium.advance(2.0)] == ["first", "second"]


def test_along_a_way_packets_are_stored_and_forwarded() -> None:
    links = chain(MBPS, LinkSettings(up_bps=4e6, down_bps=4e6, delay_s=0.01))
    network = network_of(links)
    for number in range(3):
        assert network.offer(0.0, "a", "c", Packet(size_bytes=1000, content=number))
    arrivals = drain(network)
    assert [arrival.content for arrival in arrivals] == [0, 1, 2]
    assert [arrival.at_s for arrival in arrivals] == pytest.approx([0.033, 0.035, 0.037])
    assert [each.carried["up"].delivered_bytes for each in links] == [3000, 3000]
    assert network.rate_bps("a", "c") == 4e6
    assert network.round_trip_s("c", "a") == pytest.approx(0.06)


@pytest.mark.parametrize("full", ["drop", "hold"])
def test_a_full_queue_on_the_way_drops_packets_and_holds_streams(full: str) -> None:
    links = chain(LinkSettings(), LinkSettings(up_bps=8e6, queue_s=0.005))
    network = network_of(links, full)  # type: ignore[arg-type]
    for number in range(20):
        network.offer(0.0, "a", "c", Packet(size_bytes=1000, content=number, reliable=number != 19))
    network.advance(0.0)
    assert network.held_bytes(links[1], "up") == (13_000 if full == "hold" else 0)
    arrivals = [arrival.content for arrival in drain(network)]
    dropped = links[1].carried["up"].dropped
    assert (len(arrivals), dropped) == ((19, 1) if full == "hold" else (6, 14)), "a datagram is dropped in either"
    assert arrivals == sorted(arrivals)
    assert arrivals[:6] == list(range(6))


def test_a_refused_offer_is_a_drop_for_packets_and_none_for_streams() -> None:
    for full, expected in (("drop", 3), ("hold", 0)):
        links = chain(LinkSettings(up_bps=8e6, queue_s=0.005))
        network = network_of(links, full)  # type: ignore[arg-type]
        taken = [network.offer(0.0, "a", "b", Packet(size_bytes=1000)) for _ in range(9)]
        assert taken == [True] * 6 + [False] * 3
        assert links[0].carried["up"].dropped == expected
        assert 0 < network.retry_after_s(Crossing(links[0], "up")) <= 0.005


def test_nodes_that_no_links_join_do_not_reach_each_other() -> None:
    network = network_of(chain(MBPS))
    assert not network.offer(0.0, "a", "z", Packet(size_bytes=1))
    assert network.unrouted == 1
    assert network.route("a", "z") is None
    assert network.offer(0.0, "a", "a", Packet(size_bytes=1, content="own")), "a node reaches itself over no link"
    assert [arrival.content for arrival in network.advance(0.0)] == ["own"]


def test_words_become_settings() -> None:
    settings = changed(LinkSettings(), parse_words(["rate=2Mbps", "delay=40ms", "loss=1%"]))
    assert settings == LinkSettings(up_bps=2e6, down_bps=2e6, delay_s=0.04, loss=0.01)
    assert changed(settings, {"up": "1Gbps", "queue": 0.5}) == LinkSettings(up_bps=1e9, down_bps=2e6, delay_s=0.04, loss=0.01, queue_s=0.5)
    assert changed(settings, {"rate": "unlimited"}).up_bps == UNLIMITED


@pytest.mark.parametrize(
    ("words", "message", "hint"),
    [
        ([], "nothing is to be set", "KEY=VALUE"),
        (["rate"], "'rate' is not KEY=VALUE", "rate=2Mbps"),
        (["rat=2Mbps"], "unknown key 'rat'", "did you mean 'rate'"),
        (["rate=2Mbps", "rate=3Mbps"], "'rate' is given twice", "once"),
        (["rate=-2Mbps"], "the rate '-2Mbps' is negative", "unlimited"),
        (["rate=0"], "too low", "1 bps"),
        (["rate=fast"], "'fast' is not a rate", "20Mbps"),
        (["delay=-1ms"], "the delay '-1ms' is negative", "5ms"),
        (["delay=10h"], "out of range", "60 s"),
        (["queue=0"], "the queue '0' is out of range", "0.001 s"),
        (["loss=101%"], "the loss '101%' is no share", "1%"),
        (["loss=some"], "the loss 'some' is no share", "1%"),
    ],
)
def test_what_no_link_can_be_is_refused_with_the_next_step(words: list[str], message: str, hint: str) -> None:
    with pytest.raises(UsageError) as refused:
        changed(LinkSettings(), parse_words(words))
    assert message in refused.value.message
    assert hint in refused.value.hint


@pytest.mark.parametrize("value", [None, True, ["2Mbps"], float("nan")])
def test_what_json_may_hold_instead_of_a_quantity_is_refused(value: object) -> None:
    for key in ("rate", "delay", "loss", "queue"):
        with pytest.raises(UsageError):
            changed(LinkSettings(), {key: value})


def test_a_link_is_found_by_either_order_of_its_ends_and_an_unknown_one_is_named() -> None:
    network = network_of(chain(MBPS, MBPS))
    assert network.find("b-a") is network.find("a-b")
    with pytest.raises(UsageError, match="unknown link 'a-bb'") as refused:
        network.find("a-bb")
    assert "did you mean 'a-b'?" in refused.value.hint


def test_a_medium_whose_rate_is_an_outcome_cannot_be_set() -> None:
    links = chain(MBPS)
    links[0].adjustable = None
    with pytest.raises(UsageError, match="cannot be set"):
        network_of(links).adjust(0.0, links[0], LinkSettings())


def test_the_live_state_says_what_is_set_what_waits_and_what_went_by() -> None:
    links = chain(MBPS)
    network = network_of(links)
    for _ in range(10):
        network.offer(5.0, "a", "b", Packet(size_bytes=1000))
    up, down = link_rows(network, 5.0)
    assert (up["from"], up["to"], down["from"], down["to"]) == ("a", "b", "b", "a")
    assert (up["rate_bps"], up["delay_s"], up["queue_limit_s"], up["adjustable"]) == (8e6, 0.02, 0.1, True)
    assert (up["queue_bytes"], up["queue_s"], up["charged_bytes"], up["delivered_bytes"]) == (10_000, pytest.approx(0.01), 10_000, 0)
    network.advance(5.5)
    assert link_rows(network, 6.2)[0]["carried_bps"] == 80_000
    assert link_rows(network, 6.2)[0]["utilisation"] == pytest.approx(0.01)
    assert link_rows(network, 9.0)[0]["carried_bps"] == 0
    assert link_rows(network_of(chain(LinkSettings())), 0.0)[0]["rate_bps"] is None
