"""The cells of a scenario as one medium: who is served where, and what a handover takes along."""

import math
from dataclasses import replace

import numpy as np
import pytest

from netgpt.network.energy import spent
from netgpt.network.medium import Delivery, Direction, Packet
from netgpt.network.radio import Radio, cell_profile
from netgpt.network.scenario import Scenario
from netgpt.network.scenario_file import load_scenario
from netgpt.network.trace_file import load_trace

NODES = """
name = "two-cells"
description = "a test"
default_node = "car1"

[[node]]
id = "edge1"
tier = "edge"
model = "netgpt-edge"
profile = "edge-server"

[[node]]
id = "edge2"
tier = "edge"
model = "netgpt-edge"
profile = "edge-server"

[[node]]
id = "car"
tier = "device"
count = 2
model = "netgpt-device"
profile = "phone"

[[link]]
between = ["edge1", "edge2"]
up = "1Gbps"
down = "1Gbps"
delay = "1ms"
"""
CELLS = """
[[cell]]
id = "west"
at = "edge1"
bandwidth = "{bandwidth}"
tdd = "DDDSU"
{west}

[[cell]]
id = "east"
at = "edge2"
bandwidth = "100MHz"
tdd = "DDDSU"

[[attach]]
node = "car"
cell = "west"
{attach}
"""
CONSTANT = "efficiency_up = 2.0\nefficiency_down = 4.0"


def scenario(tmp_path, *, attach: str = CONSTANT, west: str = "", bandwidth: str = "100MHz") -> Scenario:
    path = tmp_path / "two-cells.toml"
    path.write_text(NODES + CELLS.format(attach=attach, west=west, bandwidth=bandwidth))
    return load_scenario(str(path))


def delivered(radio: Radio, until_s: float) -> list[Delivery]:
    """All that arrives, driven as a driver does: at `next_s`, never later."""
    found: list[Delivery] = []
    while (next_s := radio.next_s()) <= until_s:
        found += radio.advance(next_s)
    return found + radio.advance(until_s)


def sent(size_bytes: int, content: object = None, flow: str = "token") -> Packet:
    return Packet(size_bytes=size_bytes, flow=flow, content=content)


def time_of_upload(radio: Radio, device: str, size_bytes: int) -> float:
    radio.offer(0.0, device, "up", sent(size_bytes))
    return next(one.at_s for one in delivered(radio, 60.0) if one.station == device)


def test_neighbours_of_one_cell_compete(tmp_path):
    alone_s = time_of_upload(Radio(scenario(tmp_path), seed=1), "car1", 4_000_000)
    radio = Radio(scenario(tmp_path), seed=1)
    radio.offer(0.0, "car2", "up", sent(40_000_000))

    assert time_of_upload(radio, "car1", 4_000_000) == pytest.approx(2 * alone_s, rel=0.05)


def test_what_does_not_fit_into_the_queue_of_the_next_cell_is_told_as_lost(tmp_path):
    made = scenario(tmp_path, attach='efficiency_up = 0.5\nefficiency_down = 0.5\nhandover = [{ at = "1s", to = "east" }]')
    west, east = made.cells
    radio = Radio(replace(made, cells=(west, replace(east, queue_s=0.05))), seed=1)
    count = 1000
    for number in range(count):
        assert radio.offer(0.001, "car1", "up", sent(2_000, number))
    found = delivered(radio, 20.0)
    lost = [one.packet.content for one in found if one.lost]
    assert 0 < len(lost) < count
    assert {one.at_s for one in found if one.lost} == {1.0}
    assert sorted([*lost, *(one.packet.content for one in found if not one.lost)]) == [*range(count)]


def test_what_a_device_gets_is_halved_by_a_neighbour(tmp_path):
    radio = Radio(scenario(tmp_path), seed=1)
    alone_bps = radio.rate_bps("car1", "up")
    radio.offer(0.0, "car1", "up", sent(10_000_000))
    radio.offer(0.0, "car2", "up", sent(10_000_000))
    radio.advance(0.5)
    assert radio.rate_bps("car1", "up") == pytest.approx(alone_bps / 2, rel=0.2)
    assert radio.rate_bps("car1", "down") == pytest.approx(radio.rate_bps("car2", "down"))


def test_a_handover_takes_along_what_waits_and_keeps_the_order(tmp_path):
    moving = 'efficiency_up = 0.5\nefficiency_down = 0.5\nhandover = [{ at = "1s", to = "east" }]'
    radio = Radio(scenario(tmp_path, attach=moving), seed=1)
    assert (radio.cell_of("car1"), radio.site("car1")) == ("west", "edge1")
    count = 1000  # of 2 MB together: about two seconds
    for number in range(count):
        assert radio.offer(0.001, "car1", "up", sent(2_000, number))
    before = delivered(radio, 0.999)
    after = delivered(radio, 20.0)

    assert (radio.cell_of("car1"), radio.site("car1"), radio.handovers) == ("east", "edge2", 2)
    assert before
    assert after
    assert [one.packet.content for one in (*before, *after)] == [*range(count)], "nothing is lost, nothing overtakes"
    gap_s = next(one.at_s for one in after if one.at_s > 1.03) - 1.0
    assert gap_s > cell_profile(scenario(tmp_path).cells[1]).access.handover_interruption_s
    assert [stay.cell for stay in radio.stays(20.0, "car1")] == ["west", "east"]
    assert radio.stays(20.0, "car1")[0].until_s == 1.0


def test_no_call_is_late_for_a_handover(tmp_path):
    moving = CONSTANT + '\nhandover = [{ at = "1s", to = "east" }]'
    radio = Radio(scenario(tmp_path, attach=moving), seed=1)

    assert radio.next_s() == 1.0
    radio.offer(5.0, "car1", "down", sent(100))
    assert radio.site("car1") == "edge2"
    assert radio.next_s() > 5.0


def test_each_of_a_group_has_its_own_series_of_a_trace(tmp_path):
    rows = "".join(f"{time},{ue},{value}\n" for time in (0, 1) for ue, value in (("a", 1.0), ("b", 4.0)))
    (tmp_path / "walk.csv").write_text("# unit: bps/Hz\n# period_s: 2\ntime_s,ue,value\n" + rows)
    attach = 'up_trace = "./walk.csv"\ndown_trace = "./walk.csv"'

    def lasts_s(device: str) -> float:
        radio = Radio(scenario(tmp_path, attach=attach), seed=1)
        return time_of_upload(radio, device, 2_000_000)

    assert lasts_s("car1") == pytest.approx(4 * lasts_s("car2"), rel=0.1)


def test_a_cell_delivers_what_a_generated_trace_says_is_decoded(tmp_path):
    """The trace counts lost blocks as nothing; the cell loses and repeats them itself, and must not pay for them twice."""
    attach = 'up_trace = "rural-edge-up"\nefficiency_down = 3.0'
    radio = Radio(scenario(tmp_path, attach=attach), seed=1)
    delivered_bytes = 0
    for quarter in range(120):
        while radio.offer(quarter / 4, "car1", "up", sent(20_000)):
            pass
        delivered_bytes += sum(one.packet.size_bytes for one in delivered(radio, (quarter + 1) / 4))
    trace = load_trace("rural-edge-up")
    decoded = float(trace.at(np.arange(0, 30, 0.02), "ue0").mean())
    resources = 273 * 12 * 14 * (1 - 0.08) / 0.0025  # of uplink data in a second: one U in five slots of 0.5 ms
    assert radio.backlog("car1", "up").bytes, "it has sent all: offer more often"
    assert delivered_bytes == pytest.approx(decoded * resources * 30 / 8, rel=0.03)


def test_an_outage_of_a_cell_holds_what_waits(tmp_path):
    radio = Radio(scenario(tmp_path), seed=1)
    radio.outage(0.0, "west", 3.0)
    radio.offer(0.5, "car1", "down", sent(100))
    found = delivered(radio, 10.0)

    assert [one.lost for one in found] == [False]
    assert 3.0 < found[0].at_s < 3.1


@pytest.mark.parametrize("direction", ["up", "down"])
def test_what_is_dropped_never_arrives(tmp_path, direction: Direction):
    radio = Radio(scenario(tmp_path), seed=1)
    radio.offer(0.0, "car1", direction, sent(10_000_000))
    radio.drop(0.01, "car1")
    radio.offer(0.02, "car1", direction, sent(100, "after"))

    assert [one.packet.content for one in delivered(radio, 60.0)] == ["after"]
    assert radio.backlog("car1", direction).bytes == 0


def test_a_stay_tells_the_energy_of_a_radio(tmp_path):
    busy, idle = (Radio(scenario(tmp_path), seed=1) for _ in range(2))
    busy.offer(0.0, "car1", "up", sent(4_000_000))
    delivered(busy, 10.0)
    joules = [
        sum(spent(stay.activity, radio.cells[stay.cell].profile.access, 10.0).joules for stay in radio.stays(10.0, "car1")) for radio in (busy, idle)
    ]

    assert joules[0] > joules[1] > 0


def test_a_scenario_says_what_differs_from_the_access_model(tmp_path):
    west = """
    scheduler = "delay-aware"
    flows = { draft = 82 }
    sr_period = "2.5ms"
    configured_grant = "5ms"
    configured_grant_bytes = 255
    k1 = 4
    k2 = 3
    harq_bler = 0.2
    harq_attempts = 8
    rlc_recovery = "20ms"
    drx_cycle = "40ms"
    drx_on = "4ms"
    rrc_inactivity = "5s"
    rrc_resume = "20ms"
    handover_interruption = "30ms"
    queue = "200ms"
    background_up = "30%"
    """
    west_spec, east_spec = scenario(tmp_path, west=west).cells
    told, left = cell_profile(west_spec), cell_profile(east_spec)
    access = told.access

    assert (access.frame.pattern, access.frame.numerology, told.bandwidth_mhz) == ("DDDSU", 1, 100.0)
    assert (access.grant, access.configured_period_slots, access.configured_bytes) == ("configured", 10, 255)
    assert (access.sr_period_slots, access.k1_slots, access.k2_slots) == (5, 4, 3)
    assert (access.harq.bler, access.harq.max_transmissions, access.harq.rlc_recovery_s) == (0.2, 8, 0.02)
    assert access.drx is not None
    assert (access.drx.cycle_s, access.drx.on_duration_s, access.drx.inactivity_s) == (0.04, 0.004, 0.1)
    assert (access.rrc.inactive_after_s, access.rrc.resume_s, access.handover_interruption_s) == (5.0, 0.02, 0.03)
    assert (told.scheduler, told.queue_s, told.background.up, told.background.down) == ("delay-aware", 0.2, 0.3, 0.0)
    assert (left.access.grant, left.access.drx, left.queue_s, left.scheduler) == ("dynamic", None, math.inf, "proportional-fair")


def test_a_5qi_of_the_scenario_changes_who_goes_first(tmp_path):
    def first(west: str) -> str:
        radio = Radio(scenario(tmp_path, west=west), seed=1)
        for name in ("model", "token"):
            radio.offer(0.0, "car1", "down", sent(3_000_000, name, flow=name))
        return str(delivered(radio, 10.0)[0].packet.content)

    assert first("") == "token"
    assert first("flows = { model = 82 }") == "model"
