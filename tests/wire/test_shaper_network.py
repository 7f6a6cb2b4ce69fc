"""Ways across media, told the time: exact to the last bit."""

from __future__ import annotations

import math

import pytest

from netgpt.core.errors import UsageError
from netgpt.network.medium import Packet
from netgpt.network.service import RateSteps
from netgpt.network.wired import OneWay, burst_loss
from netgpt.wire.shaper_control import changed, link_rows, parse_words
from netgpt.wire.shaper_link import Crossing, Wire, Wires, plain_wires
from netgpt.wire.shaper_network import Arrival, LinkNetwork

from .shaper_lab import chain, network_of

MBPS = plain_wires(up_bps=8e6, down_bps=8e6, delay_s=0.02)  # 1 MB/s: a packet of 1,000 B takes a millisecond


def drain(network: LinkNetwork) -> list[Arrival]:
    """All that still arrives, each at its own time."""
    arrivals: list[Arrival] = []
    while (at_s := network.next_s()) < math.inf:
        arrivals += network.advance(at_s)
    return arrivals


def test_along_a_way_packets_are_stored_and_forwarded() -> None:
    links = chain(MBPS, plain_wires(up_bps=4e6, down_bps=4e6, delay_s=0.01))
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
    links = chain(plain_wires(), plain_wires(up_bps=8e6, queue_s=0.005))
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
        links = chain(plain_wires(up_bps=8e6, queue_s=0.005))
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


def said(wires: Wires, way: str) -> tuple[float, float, float, float, float]:
    one = wires[way]  # type: ignore[index]
    return one.service.rate_bps(0.0), one.delay_s, one.jitter_s, one.loss.share, one.queue_s


def test_words_become_settings() -> None:
    wires = changed(plain_wires(), parse_words(["rate=2Mbps", "delay=40ms", "loss=1%"]))
    assert said(wires, "up") == said(wires, "down") == (2e6, 0.04, 0.0, 0.01, 0.1)
    wires = changed(wires, {"up": "1Gbps", "queue": 0.5, "delay_down": "50ms", "jitter": "4ms", "loss_up": 0})
    assert said(wires, "up") == (1e9, 0.04, 0.004, 0.0, 0.5)
    assert said(wires, "down") == (2e6, 0.05, 0.004, 0.01, 0.5)
    assert said(changed(wires, {"rate": "unlimited", "queue": "1s", "queue_up": "2s"}), "up") == (math.inf, 0.04, 0.004, 0.0, 2.0)


def test_a_link_that_follows_a_trace_keeps_it_until_a_rate_is_set_and_its_bursts_always() -> None:
    steps = RateSteps([0, 1], [8e6, 4e6], 2)
    link = Wire(
        ("a", "b"), dict.fromkeys(("up", "down"), OneWay(service=steps, delay_s=0.01, loss=burst_loss(0.01, 4))), mean_bps={"up": 6e6, "down": 6e6}
    )
    network = network_of([link])
    network.change(0.0, link, changed(link.wires(), {"delay": "20ms", "loss": "2%"}))
    assert (link.rate_bps("up"), link.wires()["up"].service, link.delay_s("down")) == (6e6, steps, 0.02)
    assert (link.wires()["up"].loss.share, link.wires()["up"].loss.mean_burst) == (pytest.approx(0.02), 4)
    network.change(0.0, link, changed(link.wires(), {"up": "1Mbps"}))
    assert (link.rate_bps("up"), link.rate_bps("down")) == (1e6, 6e6)
    with pytest.raises(UsageError, match=r"no bursts of 4\.0 datagrams lose 0\.9 of all"):
        changed(link.wires(), {"loss": "90%"})


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
        (["jitter=-1ms"], "the jitter '-1ms' is negative", "5ms"),
        (["jitter_up=1ms"], "a delay of 0 cannot vary", "jitter=0"),
        (["up_delay=1ms"], "unknown key 'up_delay'", "known: "),
    ],
)
def test_what_no_link_can_be_is_refused_with_the_next_step(words: list[str], message: str, hint: str) -> None:
    with pytest.raises(UsageError) as refused:
        changed(plain_wires(), parse_words(words))
    assert message in refused.value.message
    assert hint in refused.value.hint


@pytest.mark.parametrize("value", [None, True, ["2Mbps"], float("nan")])
def test_what_json_may_hold_instead_of_a_quantity_is_refused(value: object) -> None:
    for key in ("rate", "delay", "loss", "queue"):
        with pytest.raises(UsageError):
            changed(plain_wires(), {key: value})


def test_a_link_is_found_by_either_order_of_its_ends_and_an_unknown_one_is_named() -> None:
    network = network_of(chain(MBPS, MBPS))
    assert network.find("b-a") is network.find("a-b")
    with pytest.raises(UsageError, match="unknown link 'a-bb'") as refused:
        network.find("a-bb")
    assert "did you mean 'a-b'?" in refused.value.hint


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
    assert link_rows(network_of(chain(plain_wires())), 0.0)[0]["rate_bps"] is None
