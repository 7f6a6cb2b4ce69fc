"""A cell as its users meet it: what they share, what a packet waits for, what is never lost, and what is refused."""

from __future__ import annotations

import math
from collections import defaultdict
from collections.abc import Iterable

import numpy as np
import pytest

from netgpt.core.errors import ScenarioInvalid, UsageError
from netgpt.network.access import Access, Drx, Rrc
from netgpt.network.background import BackgroundLoad
from netgpt.network.cell import Cell, CellProfile
from netgpt.network.efficiency import ConstantEfficiency, EfficiencyTrace, SampledEfficiency
from netgpt.network.flow import flow_without_qos
from netgpt.network.frame import Frame
from netgpt.network.harq import Harq
from netgpt.network.medium import Delivery, Direction, Packet

SURE = Harq(bler=0.0)
MB = 1_000_000


def cell_of(*efficiencies: float | EfficiencyTrace, seed: int = 1, **profile: object) -> Cell:
    """A cell with UEs u0, u1, ... of these efficiencies, both ways."""
    cell = Cell(CellProfile(**{"id": "cell1", "queue_bytes": 10**9, **profile}), seed=seed)  # type: ignore[arg-type]
    for number, efficiency in enumerate(efficiencies):
        trace = ConstantEfficiency(efficiency) if isinstance(efficiency, int | float) else efficiency
        cell.attach(f"u{number}", up=trace, down=trace)
    return cell


def served_bytes(cell: Cell, direction: Direction, *, from_s: float, to_s: float, packet_bytes: int = 20_000, each: int = 6 * MB) -> dict[str, int]:
    """What each UE gets while all are backlogged."""
    for station in list(cell._legs):
        for _ in range(each // packet_bytes):
            assert cell.offer(0.0, station, direction, Packet(size_bytes=packet_bytes, flow="update"))
    found: defaultdict[str, int] = defaultdict(int)
    for delivery in cell.advance(to_s):
        if delivery.at_s > from_s:
            found[delivery.station] += delivery.packet.size_bytes
    assert all(cell.backlog(station, direction).bytes for station in cell._legs), "somebody ran out of data: offer more"
    return found


def run(cell: Cell, offers: Iterable[tuple[float, str, Direction, Packet]], until_s: float = 1e6) -> list[Delivery]:
    for offer in offers:
        assert cell.offer(*offer)
    return cell.advance(until_s)


@pytest.mark.parametrize("direction", ["up", "down"])
def test_twenty_users_share_what_one_would_have(direction: Direction) -> None:
    alone = sum(served_bytes(cell_of(3.0), direction, from_s=0.5, to_s=3.5, packet_bytes=50_000, each=100 * MB).values())
    shares = served_bytes(cell_of(*[3.0] * 20), direction, from_s=0.5, to_s=3.5, packet_bytes=5_000, each=6 * MB)
    assert sum(shares.values()) == pytest.approx(alone, rel=0.03)
    assert min(shares.values()) == pytest.approx(alone / 20, rel=0.06)


def test_a_carrier_carries_what_its_resource_blocks_hold() -> None:
    cell = cell_of(3.0, access=Access(harq=SURE))
    found = served_bytes(cell, "up", from_s=0.5, to_s=2.5, packet_bytes=10_000, each=20 * MB)["u0"]
    slots = 2.0 / 0.0025  # one U of five slots of 0.5 ms
    assert found == pytest.approx(slots * 273 * 12 * 14 * (1 - 0.08) * 3.0 / 8, rel=0.005)


def test_constant_channels_share_resource_blocks_evenly() -> None:
    """Proportional fairness with constant rates: an equal part of the resource for everybody, so bytes as the efficiencies."""
    efficiencies = (1.0, 2.0, 4.0, 5.0)
    found = served_bytes(cell_of(*efficiencies), "up", from_s=3.0, to_s=9.0, each=60 * MB)
    for number, efficiency in enumerate(efficiencies):
        assert found[f"u{number}"] / sum(found.values()) == pytest.approx(efficiency / sum(efficiencies), rel=0.05)


def test_varying_channels_share_as_proportional_fairness_says() -> None:
    """Three users whose channels change every 10 ms, independently, with unequal means and spreads."""
    levels = np.array([[1.0, 3.0], [2.0, 2.5], [0.5, 5.0]])
    state_N = np.random.default_rng(5).integers(0, 8, 6000)
    rates_UN = np.array([levels[user][(state_N >> user) & 1] for user in range(3)])
    cell = cell_of(*(SampledEfficiency(rates_N, 0.01) for rates_N in rates_UN), fairness_window_s=1.0)
    found = served_bytes(cell, "down", from_s=3.0, to_s=15.0, packet_bytes=100_000, each=250 * MB)
    ideal = proportional_fair_rates(rates_UN[:, 300:1500])
    for user in range(3):
        assert found[f"u{user}"] / sum(found.values()) == pytest.approx(ideal[user] / ideal.sum(), rel=0.05)


def proportional_fair_rates(rates_UN: np.ndarray) -> np.ndarray:
    """Rates that maximise the sum of logarithms over all divisions of every interval, shape (U,).

    By multiplicative updates of the users' weights 1 / rate: in the optimum each interval goes to the greatest rate x weight.
    """
    rates_U = rates_UN.mean(axis=1) / len(rates_UN)
    for step in range(1, 3_000):
        sharp_UN = np.exp(300 * (rates_UN / rates_U[:, None] - (rates_UN / rates_U[:, None]).max(axis=0)) / 3)
        shares_UN = sharp_UN / sharp_UN.sum(axis=0)
        rates_U += ((shares_UN * rates_UN).mean(axis=1) - rates_U) / min(step, 200)
    return rates_U


def test_a_users_rate_falls_when_a_neighbour_uploads() -> None:
    cell = cell_of(3.0, 3.0)
    for _ in range(6000):
        cell.offer(0.0, "u0", "up", Packet(size_bytes=10_000, flow="kv"))

    def rate_until(to_s: float) -> int:
        return sum(delivery.packet.size_bytes for delivery in cell.advance(to_s) if delivery.station == "u0")

    rate_until(1.0)
    alone = rate_until(3.0)
    cell.offer(3.0, "u1", "up", Packet(size_bytes=30 * MB, flow="kv"))
    rate_until(4.0)
    beside = rate_until(6.0)
    assert beside == pytest.approx(alone / 2, rel=0.05)


def test_a_short_upload_takes_longer_beside_others() -> None:
    alone_s = run(cell_of(3.0), [(0.0, "u0", "up", Packet(size_bytes=MB, flow="kv"))])[0].at_s
    cell = cell_of(3.0, 3.0, 3.0)
    for other in ("u1", "u2"):
        cell.offer(0.0, other, "up", Packet(size_bytes=30 * MB, flow="kv"))
    cell.advance(2.0)
    cell.offer(2.0, "u0", "up", Packet(size_bytes=MB, flow="kv"))
    assert cell.advance(4.0)[0].at_s - 2.0 > 1.2 * alone_s


def test_up_and_down_do_not_compete() -> None:
    one, both = cell_of(3.0), cell_of(3.0)
    alone = run(one, [(0.0, "u0", "up", Packet(size_bytes=MB, flow="kv"))])
    beside = run(both, [(0.0, "u0", "down", Packet(size_bytes=9 * MB, flow="kv")), (0.0, "u0", "up", Packet(size_bytes=MB, flow="kv"))])
    assert alone[0].at_s == next(delivery.at_s for delivery in beside if delivery.direction == "up")


def test_a_small_uplink_packet_waits_for_request_grant_and_slot() -> None:
    """DDDSU at 30 kHz, worked out by hand: requests in slots 4, 14, ...; 64 bytes offered in slot 0."""
    cell = cell_of(3.0, access=Access(harq=SURE))
    (delivery,) = run(cell, [(0.0001, "u0", "up", Packet(size_bytes=64, flow="draft"))])
    # Request in slot 4, heard after 2 slots of processing: grant in slot 7 (D), k2 = 2: PUSCH in slot 9, over at 5 ms, 2 slots to decode.
    assert delivery.at_s == pytest.approx(0.006)
    cell = cell_of(3.0, access=Access(harq=SURE, grant="configured"))
    (delivery,) = run(cell, [(0.0001, "u0", "up", Packet(size_bytes=64, flow="draft"))])
    assert delivery.at_s == pytest.approx(0.0035)  # PUSCH in slot 4 at once


def test_a_small_downlink_packet_waits_for_its_slot_and_a_sleeping_user() -> None:
    cell = cell_of(3.0, access=Access(harq=SURE))
    (delivery,) = run(cell, [(0.0001, "u0", "down", Packet(size_bytes=64, flow="token"))])
    assert delivery.at_s == pytest.approx(0.002)  # prepared in slot 1, sent in slot 2, one slot to decode
    drx = Drx(on_duration_s=0.01, inactivity_s=0.1, cycle_s=0.16)
    cell = cell_of(3.0, access=Access(harq=SURE, drx=drx))
    awake, asleep, still_awake = run(cell, [(at_s, "u0", "down", Packet(size_bytes=64, flow="token")) for at_s in (0.05, 0.2, 0.33)])
    assert awake.at_s < 0.053
    assert 0.32 < asleep.at_s < 0.323  # the next cycle
    assert still_awake.at_s < 0.334


def test_a_silent_user_has_to_resume() -> None:
    access = Access(harq=SURE, rrc=Rrc(inactive_after_s=10, idle_after_s=100))
    cell = cell_of(3.0, access=access)
    offers = [(at_s, "u0", "up", Packet(size_bytes=64, flow="prompt")) for at_s in (1.0, 20.0, 200.0)]
    connected, resumed, set_up = (delivery.at_s - offer[0] for delivery, offer in zip(run(cell, offers, 250.0), offers, strict=True))
    assert connected < 0.012
    assert resumed == pytest.approx(access.rrc.resume_s, abs=0.006)
    assert set_up == pytest.approx(access.rrc.setup_s, abs=0.006)
    (paged,) = run(cell, [(250.001, "u0", "down", Packet(size_bytes=64, flow="token"))])
    cycles = math.ceil(250.001 / access.rrc.paging_cycle_s)
    assert paged.at_s == pytest.approx(cycles * access.rrc.paging_cycle_s + access.rrc.resume_s, abs=0.003)


def test_a_handover_holds_traffic_up() -> None:
    cell = cell_of(3.0, access=Access(harq=SURE))
    cell.offer(0.0, "u0", "down", Packet(size_bytes=10 * MB, flow="model"))
    cell.offer(0.0, "u0", "up", Packet(size_bytes=MB, flow="kv"))
    free = {delivery.direction: delivery.at_s for delivery in run(cell_of(3.0, access=Access(harq=SURE)), [])}
    assert not free
    cell.advance(0.05)
    cell.interrupt(0.05, "u0", 0.2)
    assert cell.advance(0.25) == []
    before = cell.backlog("u0", "down").bytes
    assert before > MB
    ends = {delivery.direction: delivery.at_s for delivery in cell.advance(5.0)}
    unheld = cell_of(3.0, access=Access(harq=SURE))
    unheld.offer(0.0, "u0", "down", Packet(size_bytes=10 * MB, flow="model"))
    unheld.offer(0.0, "u0", "up", Packet(size_bytes=MB, flow="kv"))
    for delivery in unheld.advance(5.0):
        assert ends[delivery.direction] - delivery.at_s == pytest.approx(0.2, abs=0.01)


def test_an_outage_holds_traffic_up_and_an_endless_one_for_ever() -> None:
    cell = cell_of(SampledEfficiency([0.0] * 50 + [3.0] * 50, 0.01), 0.0, access=Access(harq=SURE))
    cell.offer(0.0, "u0", "down", Packet(size_bytes=64, flow="token"))
    cell.offer(0.0, "u1", "down", Packet(size_bytes=64, flow="token"))
    assert cell.advance(0.5) == []
    (delivery,) = cell.advance(1000.0)
    assert 0.5 < delivery.at_s < 0.503
    assert cell.backlog("u1", "down").delay_s == math.inf
    assert cell.next_s() == math.inf


def test_acknowledged_rlc_delays_and_never_loses_unacknowledged_loses() -> None:
    bad = Access(harq=Harq(bler=0.5, retransmission_bler=0.5, max_transmissions=2))
    offers = [(0.02 * n, "u0", "up", Packet(size_bytes=64, flow="draft", reliable=n % 2 == 0)) for n in range(2000)]
    found = run(cell_of(3.0, access=bad), offers)
    assert len(found) == len(offers)
    lost = [delivery for delivery in found if delivery.lost]
    assert all(not delivery.packet.reliable for delivery in lost)
    assert len(lost) / 1000 == pytest.approx(0.25, abs=0.05)


def test_a_datagram_of_a_flow_on_acknowledged_rlc_is_not_lost() -> None:
    bad = Access(harq=Harq(bler=0.9, retransmission_bler=0.9, max_transmissions=1))
    found = run(cell_of(3.0, access=bad), [(0.1 * n, "u0", "up", Packet(size_bytes=64, flow="token", reliable=False)) for n in range(100)])
    assert not any(delivery.lost for delivery in found)


def test_an_urgent_flow_overtakes_bulk_within_a_user() -> None:
    offers = [(0.0, "u0", "up", Packet(size_bytes=5 * MB, flow="model")), (0.3, "u0", "up", Packet(size_bytes=64, flow="draft"))]
    first, second = run(cell_of(3.0, access=Access(harq=SURE)), offers)
    assert (first.packet.flow, second.packet.flow) == ("draft", "model")
    assert first.at_s < 0.31
    without = Cell(CellProfile(id="c", queue_bytes=10**9), seed=1, flow_of=flow_without_qos)
    without.attach("u0", up=ConstantEfficiency(3.0), down=ConstantEfficiency(3.0))
    assert [delivery.packet.flow for delivery in run(without, offers)] == ["model", "draft"]


def test_strict_priority_serves_the_urgent_user_first() -> None:
    sizes = {"update": 20 * MB, "kv": 2 * MB}
    found: dict[str, float] = {}
    for scheduler in ("proportional-fair", "strict-priority", "delay-aware"):
        cell = cell_of(3.0, 3.0, scheduler=scheduler, access=Access(harq=SURE))
        cell.offer(0.0, "u0", "up", Packet(size_bytes=sizes["update"], flow="update"))
        cell.advance(1.0)
        cell.offer(1.0, "u1", "up", Packet(size_bytes=sizes["kv"], flow="kv"))
        found[scheduler] = next(delivery.at_s for delivery in cell.advance(60.0) if delivery.packet.flow == "kv") - 1.0
    alone = run(cell_of(3.0, access=Access(harq=SURE)), [(0.0, "u0", "up", Packet(size_bytes=sizes["kv"], flow="kv"))])[0].at_s
    assert found["strict-priority"] == pytest.approx(alone, abs=0.01)
    assert found["proportional-fair"] > 1.2 * alone
    assert found["delay-aware"] >= found["strict-priority"] - 1e-9


def test_the_queue_is_bounded_and_a_full_one_drops_the_newest() -> None:
    cell = cell_of(3.0, queue_bytes=100_000)
    taken = [cell.offer(0.0, "u0", "up", Packet(size_bytes=10_000, flow="update")) for _ in range(20)]
    assert taken == [True] * 9 + [False] * 11  # headers of layer 2 count too
    assert cell.backlog("u0", "up").bytes <= 100_000
    assert cell.offer(0.0, "u0", "up", Packet(size_bytes=64, flow="draft")), "another priority level has a queue of its own"
    assert cell.totals["up", "update"].dropped == 110_000
    cell.advance(5.0)
    assert cell.offer(5.0, "u0", "up", Packet(size_bytes=10 * MB, flow="update")), "an empty queue takes anything"


def test_the_queue_ahead_of_a_packet_lasts_no_longer_than_stated() -> None:
    cell = cell_of(3.0, queue_s=0.05)
    cell.offer(0.0, "u0", "up", Packet(size_bytes=MB, flow="update"))
    cell.advance(0.1)
    while cell.offer(0.1, "u0", "up", Packet(size_bytes=5_000, flow="update")):
        pass
    taken = cell.totals["up", "update"].offered
    assert cell.backlog("u0", "up").delay_s < 0.05 * 1.1 + 0.01 + 8 * MB / 40e6
    cell.advance(10.0)
    assert cell.totals["up", "update"].delivered == taken


def test_utilisation_is_the_share_of_the_resource_blocks_that_were_used() -> None:
    idle, busy, half = cell_of(3.0), cell_of(3.0, 2.0), cell_of(3.0, background=BackgroundLoad(up=0.5, efficiency=3.0))
    served_bytes(busy, "up", from_s=0.0, to_s=4.0, each=20 * MB)
    assert idle.utilisation(4.0, "up") == idle.served_bytes("up") == 0
    assert busy.utilisation(4.0, "up") == pytest.approx(1.0, abs=0.02)
    assert busy.utilisation(4.0, "down") == 0
    assert half.utilisation(30.0, "up") == pytest.approx(0.5, abs=0.06)
    assert half.served_bytes("up") == half.totals["up", "background"].delivered


def test_background_load_competes_and_is_not_handed_out() -> None:
    quiet, busy = cell_of(3.0), cell_of(3.0, background=BackgroundLoad(up=0.6, efficiency=3.0))
    rates: list[float] = []
    for cell in (quiet, busy):
        offers = [(0.5 * n, "u0", "up", Packet(size_bytes=500_000, flow="update")) for n in range(20)]
        found = run(cell, offers, 15.0)
        assert {delivery.station for delivery in found} == {"u0"}
        rates.append(sum(delivery.at_s - offer[0] for delivery, offer in zip(found, offers, strict=True)))
    assert rates[1] > 1.2 * rates[0]
    carried_bps = 8 * busy.totals["up", "background"].delivered / 15.0
    assert carried_bps == pytest.approx(0.6 * 50.6e6, rel=0.15)


def test_idle_users_cost_nothing_and_a_burst_costs_few_steps() -> None:
    cell = cell_of(*[3.0] * 10_000)
    assert cell.next_s() == math.inf
    cell.offer(1000.0, "u7", "down", Packet(size_bytes=MB, flow="model"))
    steps = 0
    found: list[Delivery] = []
    while (next_s := cell.next_s()) < math.inf:
        found += cell.advance(next_s)
        steps += 1
    assert len(found) == 1
    assert steps < 10


def test_a_user_that_leaves_takes_its_packets_along() -> None:
    cell = cell_of(3.0, 3.0)
    for number in range(10):
        cell.offer(0.0, "u0", "up", Packet(size_bytes=100_000, flow="kv", content=number))
    arrived = [delivery.packet.content for delivery in cell.advance(0.1)]
    left = [packet.content for _, packet in cell.detach(0.1, "u0")]
    arrived += [delivery.packet.content for delivery in cell.advance(1.0)]
    assert 0 < len(left) < 10
    assert arrived + left == list(range(10))
    with pytest.raises(KeyError, match="u0"):
        cell.offer(1.0, "u0", "up", Packet(size_bytes=1))


def test_what_is_wrong_is_refused_with_its_name_and_the_fix() -> None:
    cell = cell_of(3.0)
    with pytest.raises(ScenarioInvalid, match="'u0' is in cell 'cell1' already"):
        cell.attach("u0", up=ConstantEfficiency(1), down=ConstantEfficiency(1))
    for bad in (-1.0, math.nan, math.inf):
        with pytest.raises(ScenarioInvalid, match="efficiency is"):
            ConstantEfficiency(bad)
        with pytest.raises(ScenarioInvalid, match="sample 1 of the efficiency trace"):
            SampledEfficiency([1.0, bad], 0.1)
    with pytest.raises(ScenarioInvalid, match="trace is empty"):
        SampledEfficiency([], 0.1)
    with pytest.raises(ScenarioInvalid, match="step of 0 s"):
        SampledEfficiency([1.0], 0)
    with pytest.raises(UsageError, match="unknown scheduler 'proportional'") as caught:
        cell_of(scheduler="proportional")
    assert "did you mean 'proportional-fair'?" in caught.value.hint
    with pytest.raises(UsageError, match="unknown flow 'drafts'") as caught:
        cell.offer(0.0, "u0", "up", Packet(size_bytes=1, flow="drafts"))
    assert "did you mean 'draft'?" in caught.value.hint
    with pytest.raises(ScenarioInvalid, match="no carrier of 33 MHz") as invalid:
        cell_of(bandwidth_mhz=33)
    assert "100 MHz" in invalid.value.hint
    cell.advance(1.0)
    with pytest.raises(UsageError, match="was at 1"):
        cell.offer(0.5, "u0", "up", Packet(size_bytes=1))


@pytest.mark.parametrize(
    ("build", "message"),
    [
        (lambda: Access(sr_period_slots=3), "scheduling request period of 3"),
        (lambda: Access(grant="dynamc"), "unknown grant 'dynamc'"),  # type: ignore[arg-type]
        (lambda: Access(k2_slots=-1), "'k2_slots' is -1"),
        (lambda: Frame(pattern="DDX"), "letters other than"),
        (lambda: Frame(pattern="DDD"), "no slot for uplink"),
        (lambda: Frame(special=(10, 2, 3)), "special slot"),
        (lambda: Frame(numerology=9), "unknown numerology 9"),
        (lambda: Harq(bler=1.0), "'bler' is 1.0"),
        (lambda: Harq(max_transmissions=0), "0 times"),
        (lambda: Drx(on_duration_s=1.0, cycle_s=0.5), "DRX"),
        (lambda: Rrc(inactive_after_s=5, idle_after_s=1), "RRC"),
        (lambda: BackgroundLoad(up=-0.1), "background load"),
        (lambda: CellProfile(id="c", overhead_up=1.0), "'overhead_up' of cell 'c'"),
        (lambda: CellProfile(id="c", queue_bytes=0), "'queue_bytes' of cell 'c'"),
    ],
)
def test_parameters_out_of_range_are_refused(build: object, message: str) -> None:
    assert callable(build)
    with pytest.raises(ScenarioInvalid, match=message):
        build()
