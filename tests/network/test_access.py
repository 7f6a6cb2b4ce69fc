"""The grid, the access states and the errors of transport blocks, each by itself; flows and schedulers; what the radio spends."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from netgpt.core.errors import UsageError
from netgpt.network.access import Access, Drx, Rrc
from netgpt.network.cell import Cell, CellProfile
from netgpt.network.efficiency import ConstantEfficiency
from netgpt.network.energy import FITS, LISTENING, bandwidth_factor, sending_units, silent_states, spent
from netgpt.network.flow import FLOWS, flow_named, flow_without_qos, flows_with
from netgpt.network.frame import Frame, Opportunities, resource_blocks
from netgpt.network.harq import BLOCKS_DRAWN, Draws, Harq
from netgpt.network.medium import Packet
from netgpt.network.schedulers import SCHEDULERS, Claim, proportional_fair, scheduler_named

# --- the grid ---


@given(st.lists(st.integers(0, 14), min_size=1, max_size=12).filter(any), st.integers(0, 500), st.integers(1, 40))
def test_opportunities_are_the_slots_with_symbols(symbols: list[int], slot: int, count: int) -> None:
    opportunities = Opportunities(symbols)
    listed = [place for place in range(slot + count * len(symbols) + len(symbols)) if symbols[place % len(symbols)]]
    assert opportunities.next(slot) == next(place for place in listed if place >= slot)
    number = opportunities.number(slot)
    assert listed[number] == opportunities.slot(number)
    slots_N, symbols_N = opportunities.range(number, count)
    assert slots_N.tolist() == listed[number : number + count]
    assert symbols_N.tolist() == [symbols[place % len(symbols)] for place in slots_N]
    assert opportunities.symbols(number) == symbols_N[0]


def test_the_grid_is_that_of_the_standard() -> None:
    frame = Frame(1, "DDDSU")
    assert (frame.slot_s, frame.period) == (0.0005, 5)
    assert [frame.symbols("down", slot) for slot in range(6)] == [14, 14, 14, 10, 0, 14]
    assert [frame.symbols("up", slot) for slot in range(6)] == [0, 0, 0, 0, 14, 0]
    assert [resource_blocks(0, 20), resource_blocks(1, 100), resource_blocks(2, 100), resource_blocks(3, 400)] == [106, 273, 135, 264]
    assert all(frame.slot_of(slot * frame.slot_s) == slot for slot in range(100_000))


# --- access states ---


@pytest.mark.parametrize(
    ("known", "slot"),
    [(0, 4), (1, 4), (2, 4), (3, 9), (4, 9), (7, 9), (8, 14)],  # DDDSU, k2 = 2: the last grant for U in slot 4 goes out in slot 2
)
def test_a_grant_reaches_k2_slots_ahead(known: int, slot: int) -> None:
    assert Access().granted_slot(known) == slot


@given(st.sampled_from(["DSU", "DDDSU", "DDSUU", ""]), st.integers(1, 20), st.integers(0, 9), st.integers(0, 200))
def test_a_configured_grant_that_falls_on_no_uplink_slot_is_the_next_one(pattern: str, period: int, offset: int, slot: int) -> None:
    access = Access(frame=Frame(1, pattern), grant="configured", configured_period_slots=period, sr_offset_slots=offset)
    nominals = range(offset - 20 * period, slot + 20 * period, period)
    assert access.configured_slot(slot) == min(up for nominal in nominals if (up := access.frame.opportunities["up"].next(nominal)) >= slot)


def test_retransmissions_wait_for_feedback_and_a_slot() -> None:
    access = Access()
    assert access.retransmission_slots["up"] == (0, 0, 0, 0, 5)  # heard of in slot 7, granted there, sent in slot 9
    # PDSCH in slot 0: HARQ-ACK from slot 2 on, in slot 3 (S), heard in slot 6. In slot 1: also slot 3. In slots 2, 3: slot 4 or 8.
    assert access.retransmission_slots["down"] == (6, 5, 5, 8, 0)
    frequency_division = Access(frame=Frame(0, ""), k1_slots=4)
    assert frequency_division.retransmission_slots == {"up": (5,), "down": (7,)}


def test_a_drx_user_listens_after_traffic_and_in_each_cycle() -> None:
    drx = Drx(on_duration_s=0.01, inactivity_s=0.1, cycle_s=0.16)
    assert drx.awake_from_s(1.05, last_active_s=1.0) == 1.05
    assert drx.awake_from_s(1.285, last_active_s=1.0) == 1.285  # cycle 8 begins at 1.28
    assert drx.awake_from_s(1.3, last_active_s=1.0) == pytest.approx(1.44)


def test_a_user_resumes_or_sets_up_by_how_long_it_was_silent() -> None:
    rrc = Rrc(inactive_after_s=10, idle_after_s=60, resume_s=0.03, setup_s=0.12, paging_cycle_s=0.32)
    assert rrc.connected_from_s("up", 10.0, 0.0) == 10.0
    assert rrc.connected_from_s("up", 11.0, 0.0) == pytest.approx(11.03)
    assert rrc.connected_from_s("up", 61.0, 0.0) == pytest.approx(61.12)
    assert rrc.connected_from_s("down", 11.0, 0.0) == pytest.approx(11.2 + 0.03)


def test_blocks_fail_and_repeat_as_often_as_said() -> None:
    harq = Harq(bler=0.3, retransmission_bler=0.5, max_transmissions=3)
    outcomes = [harq.outcome(draw) for draw in np.random.default_rng(1).uniform(size=100_000)]
    attempts = np.array([rounds * 3 + attempts for rounds, attempts in outcomes])
    rounds = np.array([rounds for rounds, _ in outcomes])
    assert (attempts > 1).mean() == pytest.approx(0.3, rel=0.02)
    assert (attempts > 2).mean() == pytest.approx(0.15, rel=0.03)
    assert (rounds > 0).mean() == pytest.approx(harq.residual, rel=0.04)
    assert (attempts > 4).mean() == pytest.approx(harq.residual * 0.3, rel=0.08), "RLC sends it as anew"
    assert attempts.mean() == pytest.approx(harq.expected_transmissions, rel=0.01)
    assert harq.outcome(0.0)[0] > 10
    assert Harq(bler=0.0).outcome(0.0) == (0, 1)


@given(st.integers(0, 3 * BLOCKS_DRAWN), st.integers(1, 2 * BLOCKS_DRAWN))
def test_draws_depend_on_their_number_alone(block: int, count: int) -> None:
    drawn = Draws(7).range(block, count)
    assert drawn.shape == (count,)
    assert drawn[-1] == Draws(7).at(block + count - 1)
    assert Draws(8).at(block) != drawn[0]


# --- flows and schedulers ---


def test_urgent_flows_come_first() -> None:
    order = ["heartbeat", "verdict", "draft", "token", "activation", "prompt", "kv", "model"]
    levels = [flow_named(name).priority for name in order]
    assert levels == sorted(set(levels))
    assert {flow_without_qos(name).priority for name in FLOWS} == {90}
    assert flow_without_qos("draft").rlc == flow_named("draft").rlc
    assert levels[1] < flows_with({"activation": 89})["activation"].priority < flow_named("token").priority, "TS 23.501: 25"


def claim(slot_bytes: float = 100.0, wanted: float = math.inf, average: float = 50.0, priority: int = 90, waited_s: float = 0.01) -> Claim:
    return Claim(slot_bytes, wanted, average, priority, 0.1, 1e-3, waited_s)


claims = st.lists(
    st.builds(
        claim,
        st.floats(1, 1e5),
        st.one_of(st.floats(0.001, 50), st.just(math.inf)),
        st.floats(0, 1e5),
        st.sampled_from((19, 68, 90)),
        st.floats(0, 2),
    ),
    min_size=1,
    max_size=12,
)


@pytest.mark.parametrize("name", SCHEDULERS)
@given(claims, st.integers(1, 300), st.floats(10, 1000))
def test_a_scheduler_gives_what_there_is_to_those_who_want_it(name: str, claimed: list[Claim], slots: int, window: float) -> None:
    shares = scheduler_named(name)(claimed, slots, window)
    assert len(shares) == len(claimed)
    assert all(0 <= share <= one.wanted_slots / slots + 1e-9 for share, one in zip(shares, claimed, strict=True))
    assert sum(shares) == pytest.approx(min(1.0, sum(one.wanted_slots / slots for one in claimed)), rel=1e-6)


@given(claims, st.floats(10, 1000))
def test_proportional_fairness_maximises_the_sum_of_logarithms(claimed: list[Claim], window: float) -> None:
    """No small transfer between two users helps: the condition of a maximum of a concave sum."""
    slots = 20
    shares = proportional_fair(claimed, slots, window)
    gained = 1 - math.exp(-slots / window)
    gains = [
        gained * c.slot_bytes / ((1 - gained) * c.average_bytes + gained * share * c.slot_bytes + 1e-12)
        for c, share in zip(claimed, shares, strict=True)
    ]
    givers = [gain for gain, share in zip(gains, shares, strict=True) if share > 1e-6]
    takers = [gain for gain, share, c in zip(gains, shares, claimed, strict=True) if share < c.wanted_slots / slots - 1e-6]
    if givers and takers:
        assert max(takers) <= min(givers) * (1 + 1e-3)


def test_one_slot_of_proportional_fairness_is_the_classic_rule() -> None:
    """The best ratio of rate to average takes the slot."""
    assert proportional_fair([claim(100, average=60), claim(300, average=100), claim(50, average=30)], 1, 1000) == pytest.approx([0, 1, 0])


def test_strict_priority_and_delay_order_users() -> None:
    urgent, bulk = claim(wanted=0.2, priority=19), claim(priority=90)
    assert SCHEDULERS["strict-priority"]([bulk, urgent], 1, 100) == pytest.approx([0.8, 0.2])
    late, early = claim(waited_s=0.09), claim(waited_s=0.01)
    shares = SCHEDULERS["delay-aware"]([late, early], 50, 100)
    assert shares[0] > shares[1]


def test_an_installed_package_can_bring_a_scheduler(monkeypatch: pytest.MonkeyPatch) -> None:
    class Entry:
        name = "mine"

        def load(self) -> object:
            return proportional_fair

    monkeypatch.setattr("netgpt.network.schedulers.entry_points", lambda group: [Entry()] if group == "netgpt.schedulers" else [])
    assert scheduler_named("mine") is proportional_fair
    with pytest.raises(UsageError, match="unknown scheduler 'mien'") as caught:
        scheduler_named("mien")
    assert "did you mean 'mine'?" in caught.value.hint


# --- energy ---


def test_relative_power_is_that_of_the_report() -> None:
    assert [sending_units(0), sending_units(23)] == [250, 700]
    assert [bandwidth_factor(20), bandwidth_factor(100)] == [0.4, 1.0]
    assert FITS["low-band"].watts_per_unit == pytest.approx(0.0042, rel=0.02)  # (200 * 1.357 + 600 * 2.351) / (200^2 + 600^2)


def test_a_user_without_drx_listens_all_the_time() -> None:
    cell = Cell(CellProfile(id="c"), seed=1)
    cell.attach("ue", up=ConstantEfficiency(3), down=ConstantEfficiency(3))
    energy = spent(cell.activity(5.0, "ue"), cell.profile.access, 5.0)
    assert energy.joules == pytest.approx(5.0 * LISTENING * energy.watts_per_unit)
    assert energy.shared_joules == energy.joules


def test_sleep_saves_and_sending_costs_its_flow() -> None:
    found = {}
    for name, drx in (("awake", None), ("drx", Drx())):
        access = Access(drx=drx, harq=Harq(bler=0.0))
        cell = Cell(CellProfile(id="c", access=access), seed=1)
        cell.attach("ue", up=ConstantEfficiency(3), down=ConstantEfficiency(3))
        cell.offer(1.0, "ue", "up", Packet(size_bytes=1_000_000, flow="kv"))
        cell.advance(2.0)
        cell.offer(2.0, "ue", "down", Packet(size_bytes=64, flow="token"))
        cell.advance(8.0)
        found[name] = spent(cell.activity(8.0, "ue"), access, 8.0)
    awake, drx = found["awake"], found["drx"]
    assert drx.joules < 0.5 * awake.joules
    assert set(awake.flow_joules) == {("up", "kv"), ("down", "token")}
    sent_s = 1_000_008 / (273 * 12 * 14 * 0.92 * 3 / 8) * 0.0005
    assert awake.seconds["sending"] == pytest.approx(sent_s, rel=0.05)
    assert awake.flow_joules["up", "kv"] == pytest.approx(sent_s * (700 - 100) * awake.watts_per_unit, rel=0.05)
    for energy in found.values():
        assert sum(seconds for state, seconds in energy.seconds.items() if state != "waking") == pytest.approx(8.0, abs=0.001)


@given(st.floats(0, 2000), st.sampled_from((None, Drx(), Drx(on_duration_s=0.004, cycle_s=0.01), Drx(on_duration_s=0.01, cycle_s=0.012))))
def test_a_silence_is_spent_in_its_states(silence_s: float, drx: Drx | None) -> None:
    states = silent_states(silence_s, Access(drx=drx))
    assert sum(seconds for state, seconds in states.items() if state != "waking") == pytest.approx(silence_s)
    assert all(seconds >= 0 for seconds in states.values())
