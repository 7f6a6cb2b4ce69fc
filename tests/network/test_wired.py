"""What every point-to-point link keeps to, whatever is offered when."""

from __future__ import annotations

import math
import statistics
from collections import Counter
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from netgpt.network.medium import Delivery, Medium, Packet
from netgpt.network.service import ConstantRate, Opportunities, RateSteps, Service, Unlimited
from netgpt.network.trace_file import load_trace
from netgpt.network.wired import Loss, OneWay, PointToPoint, burst_loss, independent_loss

from .measured_links import MEASURED

SERVICES = st.sampled_from([
    ConstantRate(1e6),
    ConstantRate(64e3),
    RateSteps([0, 0.3, 0.5], [1e6, 0, 2e5], 1.1),
    Opportunities([3, 3, 9, 40, 41, 100]),
])  # fmt: skip
OFFERS = st.lists(
    st.tuples(st.floats(0, 0.4), st.sampled_from(["up", "down"]), st.integers(1, 9000), st.booleans()), min_size=1, max_size=40
)  # gap, direction, bytes, reliable
Offer = tuple[float, str, int, bool]


def link(service: Service, **more) -> PointToPoint:
    one = OneWay(service=service, delay_s=0.02, **more)
    return PointToPoint("a", up=one, down=one, seed=5)


def both_ways(one: OneWay) -> dict[str, OneWay]:
    return {"up": one, "down": one}


def drive(medium: PointToPoint, offers: Sequence[Offer], stops: Sequence[float] = ()) -> tuple[list[Delivery], list[tuple[float, str, Packet, bool]]]:
    """All deliveries and all offers (time, direction, packet, taken); `advance` is called at the offers, at its own times, or at `stops` too."""
    deliveries, offered, now_s = [], [], 0.0
    marks = sorted(stops)
    for number, (gap_s, direction, size_bytes, reliable) in enumerate(offers):
        for stop_s in [mark for mark in marks if now_s <= mark < now_s + gap_s]:
            deliveries += medium.advance(stop_s)
        now_s += gap_s
        packet = Packet(size_bytes=size_bytes, reliable=reliable, content=number)
        offered.append((now_s, direction, packet, medium.offer(now_s, "a", direction, packet)))
    while (next_s := medium.next_s()) < math.inf:
        deliveries += medium.advance(next_s)
    return deliveries, offered


@given(SERVICES, OFFERS)
def test_cause_order_and_conservation(service: Service, offers: list[Offer]) -> None:
    deliveries, offered = drive(link(service), offers)
    taken = {packet.content: (at_s, direction) for at_s, direction, packet, ok in offered if ok}
    assert Counter(one.packet.content for one in deliveries) == Counter(taken.keys())
    assert [one.at_s for one in deliveries] == sorted(one.at_s for one in deliveries)
    for one in deliveries:
        at_s, direction = taken[one.packet.content]
        assert one.direction == direction
        assert one.station == "a"
        assert one.at_s >= at_s + 0.02
        assert not one.lost
    for direction in ("up", "down"):
        assert [one.packet.content for one in deliveries if one.direction == direction] == [n for n, (_, d) in taken.items() if d == direction]


@given(SERVICES, OFFERS, st.lists(st.floats(0, 10), max_size=30))
def test_how_often_time_is_told_changes_nothing(service: Service, offers: list[Offer], stops: list[float]) -> None:
    loss = burst_loss(0.3, 2)
    assert drive(link(service, queue_s=0.2, loss=loss), offers) == drive(link(service, queue_s=0.2, loss=loss), offers, stops)


@given(SERVICES, OFFERS, st.sampled_from([0.0, 0.01, 0.1]), st.sampled_from([0, 3000, 20_000]))
def test_no_more_waits_ahead_of_a_new_message_than_the_stated_queue(service: Service, offers: list[Offer], queue_s: float, queue_bytes: int) -> None:
    medium = link(service, queue_s=queue_s, queue_bytes=queue_bytes)
    now_s, dropped = 0.0, 0
    for gap_s, direction, size_bytes, reliable in offers:
        now_s += gap_s
        medium.advance(now_s)
        before = medium.backlog("a", direction)
        taken = medium.offer(now_s, "a", direction, Packet(size_bytes=size_bytes, reliable=reliable))
        dropped += not taken
        if taken and before.bytes:
            assert before.delay_s <= queue_s + 1e-9
            assert medium.backlog("a", direction).bytes <= queue_bytes + 1
        if not taken:
            assert before.bytes > 0  # an idle link takes anything
            assert before.delay_s > queue_s - 1e-9 or before.bytes + size_bytes > queue_bytes - 1
    left = sum(len(lane.waiting) + len(lane.flying) for lane in medium._lanes.values())
    assert left + dropped <= len(offers)


def test_a_constant_link_delivers_by_hand() -> None:
    medium: Medium = link(ConstantRate(8e6))  # a byte takes a microsecond
    packets = [Packet(size_bytes=size) for size in (1000, 500, 2000)]
    assert all(medium.offer(1.0, "a", "up", packet) for packet in packets[:2])
    assert medium.offer(1.0, "a", "down", packets[2])
    assert medium.backlog("a", "up").bytes == 1500
    assert medium.backlog("a", "up").delay_s == pytest.approx(1.5e-3)
    assert medium.next_s() == pytest.approx(1.021)
    assert medium.advance(1.0209) == []
    arrived = medium.advance(2.0)
    assert [(one.packet, one.direction) for one in arrived] == [(packets[0], "up"), (packets[1], "up"), (packets[2], "down")]
    assert [one.at_s for one in arrived] == pytest.approx([1.021, 1.0215, 1.022])
    assert medium.next_s() == math.inf
    assert medium.backlog("a", "up").packets == 0


def test_directions_differ_as_described() -> None:
    medium = PointToPoint("a", up=OneWay(service=ConstantRate(8e3), delay_s=0.5), down=OneWay(service=ConstantRate(8e6), delay_s=0.1))
    for direction in ("up", "down"):
        medium.offer(0, "a", direction, Packet(size_bytes=1000))
    assert {one.direction: round(one.at_s, 6) for one in medium.advance(9)} == {"down": 0.101, "up": 1.5}


@pytest.mark.parametrize(
    ("loss", "share", "burst"), [(independent_loss(0.1), 0.1, 1 / 0.9), (burst_loss(0.1, 8), 0.1, 8.0), (burst_loss(0.4, 3), 0.4, 3.0)]
)
def test_loss_is_of_the_stated_share_and_burst_and_spares_reliable_packets(loss: Loss, share: float, burst: float) -> None:
    medium = link(ConstantRate(1e9), loss=loss)
    for number in range(20_000):
        medium.offer(number * 1e-3, "a", "up", Packet(size_bytes=100, reliable=number % 5 == 0))
    arrived = medium.advance(1e6)
    lost = [one.lost for one in arrived if not one.packet.reliable]
    assert len(arrived) == 20_000
    assert not any(one.lost for one in arrived if one.packet.reliable)
    bursts = sum(now and not before for before, now in zip([False, *lost], lost, strict=False))
    assert sum(lost) / len(lost) == pytest.approx(share, rel=0.2)
    assert sum(lost) / bursts == pytest.approx(burst, rel=0.2)
    assert loss.share == pytest.approx(share)


def test_loss_of_a_datagram_depends_on_the_seed_and_its_number_alone() -> None:
    def losses(seed: int, *, with_reliable: bool) -> list[bool]:
        one = OneWay(service=ConstantRate(1e6), delay_s=0, loss=burst_loss(0.2, 3))
        medium = PointToPoint("a", up=one, down=one, seed=seed)
        for number in range(600):
            medium.offer(number * 0.1, "a", "up", Packet(size_bytes=100, reliable=False))
            if with_reliable:
                medium.offer(number * 0.1, "a", "up", Packet(size_bytes=100))
        return [one.lost for one in medium.advance(1e3) if not one.packet.reliable]

    assert losses(5, with_reliable=False) == losses(5, with_reliable=True) != losses(6, with_reliable=False)


def test_a_change_holds_from_then_on_and_nobody_overtakes() -> None:
    slow = OneWay(service=ConstantRate(8e3), delay_s=1.0)
    medium = PointToPoint("a", up=slow, down=slow)
    for size_bytes in (1000, 1000, 1000):  # they would leave at 1, 2 and 3 s
        medium.offer(0, "a", "up", Packet(size_bytes=size_bytes))
    medium.change(1.5, "up", OneWay(service=ConstantRate(8e6), delay_s=0.0))
    assert medium.backlog("a", "up").bytes == 1500
    assert medium.next_s() == pytest.approx(2.0)
    assert [round(one.at_s, 6) for one in medium.advance(9)] == [2.0, 2.0, 2.0]  # the second and third have left at 1.5005 and 1.5015
    medium.offer(10, "a", "up", Packet(size_bytes=1000))
    assert medium.next_s() == pytest.approx(10.001)


@given(SERVICES, SERVICES, OFFERS, st.floats(0, 10))
def test_a_change_loses_and_doubles_nothing(before: Service, after: Service, offers: list[Offer], change_s: float) -> None:
    medium, arrived, now_s = link(before), [], 0.0
    for number, (gap_s, direction, size_bytes, _) in enumerate(offers):
        if now_s <= change_s < now_s + gap_s:
            medium.change(change_s, direction, OneWay(service=after, delay_s=0.0))
        now_s += gap_s
        medium.offer(now_s, "a", direction, Packet(size_bytes=size_bytes, content=number))
    while medium.next_s() < math.inf:
        arrived += medium.advance(medium.next_s())
    assert sorted(one.packet.content for one in arrived) == list(range(len(offers)))
    for direction in ("up", "down"):
        mine = [one.packet.content for one in arrived if one.direction == direction]
        assert mine == sorted(mine)


def test_an_outage_is_told_and_lasts() -> None:
    medium = link(RateSteps([0, 1, 5], [8e3, 0, 8e3], 6), queue_s=10)
    medium.offer(0.5, "a", "up", Packet(size_bytes=600))
    medium.advance(1.5)
    assert medium.backlog("a", "up").bytes == 100
    assert medium.backlog("a", "up").delay_s == math.inf
    assert not medium.offer(1.6, "a", "up", Packet(size_bytes=1))
    assert medium.next_s() == pytest.approx(5.12)


def test_a_driver_who_is_late_does_no_harm() -> None:
    medium = link(ConstantRate(8e6))
    medium.offer(0, "a", "up", Packet(size_bytes=1000))
    medium.offer(1, "a", "up", Packet(size_bytes=1000))
    assert [one.at_s for one in medium.advance(medium.next_s())] == pytest.approx([0.021])
    medium.offer(0.5, "a", "down", Packet(size_bytes=1000))  # it is past 1 s already
    assert [one.at_s for one in medium.advance(9)] == pytest.approx([1.021, 1.021])


@pytest.mark.parametrize(("delay_s", "jitter_s"), [(0.12, 0.03), (0.022, 0.008), (0.34, 0.018), (0.01, 0.02)])
def test_delays_of_packets_far_apart_have_the_stated_mean_and_deviation(delay_s: float, jitter_s: float) -> None:
    medium = PointToPoint("a", **both_ways(OneWay(service=ConstantRate(1e9), delay_s=delay_s, jitter_s=jitter_s)), seed=3)
    count = 20_000
    for number in range(count):
        medium.offer(10.0 * number, "a", "up", Packet(size_bytes=125))
    delays = [one.at_s - 10.0 * number - 1e-6 for number, one in enumerate(medium.advance(1e9))]
    mean, deviation = statistics.fmean(delays), statistics.stdev(delays)
    assert mean == pytest.approx(delay_s, abs=4 * jitter_s / math.sqrt(count))
    assert deviation == pytest.approx(jitter_s, rel=0.05)
    assert min(delays) >= -1e-9


def test_a_packets_delay_depends_on_the_seed_and_its_number_alone() -> None:
    def delays(seed: int, sizes: Sequence[int], looks: int) -> list[float]:
        medium = PointToPoint("a", **both_ways(OneWay(service=ConstantRate(1e9), delay_s=0.02, jitter_s=0.005)), seed=seed)
        found = []
        for number, size in enumerate(sizes):
            medium.offer(float(number), "a", "up", Packet(size_bytes=size))
            for look in range(looks):
                found += medium.advance(number + look * 0.003)
        found += medium.advance(1e9)
        return [one.at_s - number - 8e-9 * one.packet.size_bytes for number, one in enumerate(found)]

    before = delays(5, [100] * 600, 0)
    assert before == pytest.approx(delays(5, [100, 1400] * 300, 9))
    assert before != pytest.approx(delays(6, [100] * 600, 0))


@given(SERVICES, OFFERS, st.lists(st.floats(0, 10), max_size=30))
def test_jitter_lets_nobody_overtake_and_looking_changes_nothing(service: Service, offers: list[Offer], stops: list[float]) -> None:
    def jittery() -> PointToPoint:
        return link(service, jitter_s=0.03)

    deliveries, offered = drive(jittery(), offers)
    assert (deliveries, offered) == drive(jittery(), offers, stops)
    for direction in ("up", "down"):
        mine = [one for one in deliveries if one.direction == direction]
        assert [one.packet.content for one in mine] == [n for n, (_, way, _, ok) in enumerate(offered) if ok and way == direction]
        assert all(one.at_s >= offered[one.packet.content][0] for one in mine)


def test_a_changed_delay_or_loss_leaves_what_is_being_sent_as_it_is() -> None:
    """Opportunities that are half used stay so."""
    before = OneWay(service=Opportunities([10, 20, 30]), delay_s=0.0)
    changed, left = (PointToPoint("a", up=before, down=before) for _ in range(2))
    for medium in (changed, left):
        for _ in range(5):
            medium.offer(0.0, "a", "up", Packet(size_bytes=900))
    changed.change(0.015, "up", replace(before, loss=independent_loss(0.5)))
    assert [one.at_s for one in changed.advance(9)] == [one.at_s for one in left.advance(9)] == pytest.approx([0.01, 0.02, 0.02, 0.03, 0.03])
    assert changed.spec("up").loss.share == 0.5


def test_a_link_without_a_limit_has_no_queue() -> None:
    medium = PointToPoint("a", **both_ways(OneWay(service=Unlimited(), delay_s=0.1, queue_s=0.001)))
    assert all(medium.offer(1.0, "a", "up", Packet(size_bytes=10**6)) for _ in range(100))
    assert medium.backlog("a", "up").bytes == 0
    medium.change(1.05, "up", OneWay(service=ConstantRate(8e3), delay_s=0.0))
    medium.offer(1.05, "a", "up", Packet(size_bytes=1000))
    assert [one.at_s for one in medium.advance(9)] == pytest.approx([1.1] * 100 + [2.05])


def test_misuse_is_refused() -> None:
    medium = link(ConstantRate(1e6))
    with pytest.raises(KeyError, match="this link has 'a' alone"):
        medium.offer(0, "b", "up", Packet(size_bytes=1))
    for wrong in (
        {"delay_s": -1.0},
        {"delay_s": math.nan},
        {"delay_s": 0, "jitter_s": 0.01},
        {"delay_s": 1, "jitter_s": -1.0},
        {"delay_s": 0, "queue_s": -1},
        {"delay_s": 0, "queue_bytes": -1},
    ):
        with pytest.raises(ValueError, match="give"):
            OneWay(service=ConstantRate(1e6), **wrong)
    for make in (
        lambda: burst_loss(0.9, 2),
        lambda: burst_loss(0.1, 0.5),
        lambda: independent_loss(1.1),
        lambda: Loss(good_to_bad=0.1, bad_to_good=0),
    ):
        with pytest.raises(ValueError, match=r"lose|give|never end"):
            make()


@pytest.mark.parametrize("path", MEASURED)
def test_a_measured_trace_is_used_up_while_backlogged(path: Path) -> None:
    trace = load_trace(str(path))
    medium = link(trace.service(), queue_bytes=60_000)
    at_ms = trace.of().times_s * 1e3
    until_s, served, offered = 30.0, 0, 0
    for number in range(1, int(until_s * 200)):  # every 5 ms the queue is filled to its limit
        served += sum(one.packet.size_bytes for one in medium.advance(number * 0.005))
        while medium.offer(number * 0.005, "a", "up", Packet(size_bytes=1400)):
            offered += 1400
    served += sum(one.packet.size_bytes for one in medium.advance(until_s + 0.02))
    carried = 1500 * ((at_ms > 5) & (at_ms <= until_s * 1e3)).sum()
    assert at_ms[-1] > until_s * 1e3
    assert served == pytest.approx(carried, rel=0.01, abs=3000)
    assert served <= offered <= served + 70_000
