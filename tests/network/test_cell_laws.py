"""What holds for a cell whatever is offered: cause before effect, nothing made or lost, order, and that only offers and their times matter."""

from __future__ import annotations

import math
from collections import defaultdict
from collections.abc import Sequence

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from netgpt.network.access import Access, Drx, Rrc
from netgpt.network.background import BackgroundLoad
from netgpt.network.cell import Cell, CellProfile
from netgpt.network.efficiency import ConstantEfficiency, SampledEfficiency
from netgpt.network.flow import FLOWS
from netgpt.network.frame import Frame
from netgpt.network.harq import Harq
from netgpt.network.medium import Delivery, Direction, Packet

STATIONS = ("u0", "u1", "u2")
TRACES = {
    "u0": ConstantEfficiency(3.0),
    "u1": SampledEfficiency([0.5, 4.0, 0.0, 2.0], 0.03),
    "u2": SampledEfficiency([1.0, 5.0], 0.0077),
}
ACCESSES = (
    Access(),
    Access(frame=Frame(0, ""), sr_offset_slots=0),
    Access(grant="configured", harq=Harq(bler=0.3, retransmission_bler=0.4, max_transmissions=2)),
    Access(frame=Frame(1, "DDDDDDDSUU"), sr_period_slots=4, drx=Drx(), rrc=Rrc(inactive_after_s=0.05, idle_after_s=0.3)),
    Access(
        frame=Frame(2, "DSUUF"),
        k2_slots=0,
        ue_preparation_slots=0,
        gnb_preparation_slots=0,
        gnb_processing_slots=0,
        ue_processing_slots=0,
        k1_slots=0,
    ),
)
Offer = tuple[float, str, Direction, Packet]


@st.composite
def profiles(draw: st.DrawFn) -> CellProfile:
    return CellProfile(
        id="cell1",
        bandwidth_mhz=draw(st.sampled_from((20, 40))),
        access=draw(st.sampled_from(ACCESSES)),
        scheduler=draw(st.sampled_from(("proportional-fair", "strict-priority", "delay-aware"))),
        queue_bytes=draw(st.sampled_from((20_000, 10**9))),
        background=draw(st.sampled_from((BackgroundLoad(), BackgroundLoad(up=0.4, down=0.2, users=2, burst_bytes=200_000)))),
    )


@st.composite
def offers(draw: st.DrawFn) -> list[Offer]:
    """Small and large packets of any flow, at rising times, several at once now and then."""
    found: list[Offer] = []
    at_s = 0.0
    for number in range(draw(st.integers(1, 12))):
        at_s += draw(st.sampled_from((0.0, 0.0004, 0.0025, 0.02, 0.1)))
        packet = Packet(
            size_bytes=draw(st.sampled_from((0, 1, 64, 1500, 30_000, 60_000))),
            flow=draw(st.sampled_from(sorted(FLOWS))),
            reliable=draw(st.booleans()),
            content=number,
        )
        found.append((at_s, draw(st.sampled_from(STATIONS)), draw(st.sampled_from(("up", "down"))), packet))
    return found


def cell_of(profile: CellProfile, seed: int = 3) -> Cell:
    cell = Cell(profile, seed=seed)
    for station, trace in TRACES.items():
        cell.attach(station, up=trace, down=trace)
    return cell


def play(cell: Cell, offered: Sequence[Offer], until_s: float, looks_s: Sequence[float] = ()) -> tuple[list[Delivery], list[bool]]:
    """All offers, `advance` at these times besides, then once until the end."""
    found: list[Delivery] = []
    taken: list[bool] = []
    looks = sorted(look_s for look_s in looks_s if look_s < until_s)
    for offer in offered:
        while looks and looks[0] <= offer[0]:
            found += cell.advance(looks.pop(0))
        taken.append(cell.offer(*offer))
    for look_s in looks:
        found += cell.advance(look_s)
    return found + cell.advance(until_s), taken


laws = settings(max_examples=15, deadline=None)


@laws
@given(profiles(), offers())
def test_nothing_arrives_before_it_could(profile: CellProfile, offered: list[Offer]) -> None:
    """A packet is prepared, takes a slot, and is decoded; and it cannot beat the cell's full rate."""
    cell, frame = cell_of(profile), profile.access.frame
    began_s = {offer[3].content: offer[0] for offer in offered}
    found, _ = play(cell, offered, 5.0)
    for delivery in found:
        number = delivery.packet.content
        way = delivery.direction
        least_slots = (
            1 + profile.access.frozen_slots(way) + (profile.access.gnb_processing_slots if way == "up" else profile.access.ue_processing_slots)
        )
        assert delivery.at_s - began_s[number] > (least_slots - 1e-6) * frame.slot_s - (0 if delivery.lost else 1e-9)
        full_bps = 8 * 106 * 12 * 14 * 5.0 / 8 / frame.slot_s  # all resource blocks of 40 MHz at 5 bit/s/Hz
        assert delivery.lost or delivery.at_s - began_s[number] > 8 * delivery.packet.size_bytes / full_bps


@laws
@given(profiles(), offers(), st.lists(st.floats(0, 4), max_size=4))
def test_bytes_are_delivered_or_lost_or_wait(profile: CellProfile, offered: list[Offer], looks_s: list[float]) -> None:
    cell = cell_of(profile)
    found, taken = play(cell, offered, 5.0, looks_s)
    accepted = [offer for offer, was_taken in zip(offered, taken, strict=True) if was_taken]
    assert sorted(delivery.packet.content for delivery in found) == sorted(offer[3].content for offer in accepted)  # type: ignore[type-var]
    assert all(not delivery.packet.reliable for delivery in found if delivery.lost)
    for totals in cell.totals.values():
        assert totals.offered >= totals.delivered + totals.lost
    assert all(cell.backlog(station, way).bytes == 0 for station in STATIONS for way in ("up", "down"))


@laws
@given(profiles(), offers(), st.floats(0.001, 0.5))
def test_in_the_midst_bytes_are_delivered_or_wait_or_are_in_the_air(profile: CellProfile, offered: list[Offer], at_s: float) -> None:
    cell = cell_of(profile)
    early = [offer for offer in offered if offer[0] <= at_s]
    play(cell, early, at_s)
    in_air: defaultdict[tuple[str, Direction], int] = defaultdict(int)
    for _, _, delivery in cell._deliveries:
        in_air[delivery.station, delivery.direction] += delivery.packet.size_bytes
    header = profile.access.header_bytes
    for station in STATIONS:
        for way in ("up", "down"):
            waiting = cell.backlog(station, way)
            queue = cell._legs[station][way].queue
            assert waiting.packets == queue.packets
            assert waiting.bytes == sum(item.left_bytes for level in queue._levels.values() for item in level)
            assert waiting.bytes <= sum(o[3].size_bytes + header for o in early if o[1:3] == (station, way))
    taken = sum(totals.offered for totals in cell.totals.values())
    done = sum(totals.delivered + totals.lost for totals in cell.totals.values())
    flying = sum(delivery.packet.size_bytes for _, _, delivery in cell._deliveries)
    queued = sum(
        item.packet.size_bytes for legs in cell._legs.values() for leg in legs.values() for level in leg.queue._levels.values() for item in level
    )
    assert taken == done + flying + queued


@laws
@given(profiles(), offers())
def test_a_flow_arrives_in_the_order_in_which_it_was_offered(profile: CellProfile, offered: list[Offer]) -> None:
    found, _ = play(cell_of(profile), offered, 5.0)
    orders: defaultdict[tuple[str, Direction, str], list[object]] = defaultdict(list)
    for delivery in found:
        orders[delivery.station, delivery.direction, delivery.packet.flow].append(delivery.packet.content)
    assert all(numbers == sorted(numbers) for numbers in orders.values())  # type: ignore[type-var]
    assert [delivery.at_s for delivery in found] == sorted(delivery.at_s for delivery in found)


@laws
@given(profiles(), offers(), st.lists(st.floats(0, 2), max_size=20))
def test_looking_more_often_changes_nothing(profile: CellProfile, offered: list[Offer], looks_s: list[float]) -> None:
    once, often = cell_of(profile), cell_of(profile)
    assert play(once, offered, 5.0) == play(often, offered, 5.0, looks_s)
    for station in STATIONS:
        assert once.activity(5.0, station).busy_s == pytest.approx(often.activity(5.0, station).busy_s)


@laws
@given(profiles(), offers())
def test_next_s_is_never_late(profile: CellProfile, offered: list[Offer]) -> None:
    """Driven by `next_s` alone, every delivery is handed out at its time; and there are not many looks."""
    driven, looks, found = cell_of(profile), 0, []
    for offer in [*offered, (5.0, "", "up", Packet(size_bytes=0))]:
        while (next_s := driven.next_s()) <= offer[0]:
            for delivery in driven.advance(next_s):
                assert delivery.at_s == pytest.approx(next_s, abs=1e-9)
                found.append(delivery)
            looks += 1
        if offer[1]:
            driven.offer(*offer)
    expected, _ = play(cell_of(profile), offered, 5.0)
    assert found == expected
    if not profile.background.up:
        assert looks < 3000
        assert driven.next_s() == math.inf


@laws
@given(offers())
def test_the_same_seed_gives_the_same_and_another_seed_another_fate(offered: list[Offer]) -> None:
    profile = CellProfile(id="cell1", access=ACCESSES[2])
    assert play(cell_of(profile), offered, 5.0) == play(cell_of(profile), offered, 5.0)


def test_seeds_differ() -> None:
    profile = CellProfile(id="cell1", access=ACCESSES[2])
    offered: list[Offer] = [(0.02 * n, "u0", "up", Packet(size_bytes=64, flow="draft", content=n)) for n in range(50)]
    assert play(cell_of(profile, seed=1), offered, 5.0) != play(cell_of(profile, seed=2), offered, 5.0)
