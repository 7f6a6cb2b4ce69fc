"""The cell against the slot-by-slot reference, and what the access bench reports."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from netgpt.bench import links_access
from netgpt.bench.links_access import SEED, draw_pictures, errors_of, measure_qos, measure_rounds
from netgpt.bench.slot_reference import Fails, Offer, SlotReference, chance_to_fail
from netgpt.core.chance import SeededChance
from netgpt.network.access import Access, Drx
from netgpt.network.cell import Cell, CellProfile
from netgpt.network.efficiency import ConstantEfficiency
from netgpt.network.frame import Frame
from netgpt.network.harq import Harq
from netgpt.network.medium import Direction, Packet

ACCESSES = {
    "request": Access(),
    "configured": Access(grant="configured"),
    "FDD": Access(frame=Frame(0, "")),
    "long pattern": Access(frame=Frame(1, "DDDDDDDSUU"), sr_period_slots=20, sr_offset_slots=8),
    "DRX": Access(drx=Drx(inactivity_s=0.01, on_duration_s=0.005, cycle_s=0.04)),
}


def delays_ms(access: Access, offers: list[Offer], fails: Fails | None = None) -> tuple[np.ndarray, np.ndarray]:
    """Of each packet in the cell and in the reference, which meets the cell's errors unless it is given its own."""
    profile = CellProfile(id="c", bandwidth_mhz=40, access=access, queue_bytes=10**9)
    trace = ConstantEfficiency(3.0)
    cell = Cell(profile, seed=SEED)
    cell.attach("ue", up=trace, down=trace)
    for offer in offers:
        assert cell.offer(*offer)
    until_s = offers[-1][0] + 2.0
    found = []
    for deliveries in (cell.advance(until_s), SlotReference(profile, {"ue": (trace, trace)}, fails or errors_of(profile, SEED)).run(offers, until_s)):
        at_s = {links_access._number(delivery): delivery.at_s for delivery in deliveries}
        found.append(1e3 * np.array([at_s[number] - offer[0] for number, offer in enumerate(offers)]))
    return found[0], found[1]


@pytest.mark.parametrize("direction", ["up", "down"])
@pytest.mark.parametrize("name", ACCESSES)
def test_small_packets_take_as_long_as_slot_by_slot(name: str, direction: Direction) -> None:
    jitter_N = SeededChance(SEED).stream("test").uniform(0, 0.008, 200)
    offers: list[Offer] = [
        (0.02 + 0.012 * n + float(jitter_N[n]), "ue", direction, Packet(size_bytes=64, flow="token", content=n)) for n in range(200)
    ]
    cell, reference = delays_ms(ACCESSES[name], offers)
    assert np.isclose(cell, reference).mean() > 0.98
    assert np.percentile(cell, (50, 99)) == pytest.approx(np.percentile(reference, (50, 99)), abs=0.5)


def test_errors_of_its_own_give_the_reference_the_same_delays_on_average() -> None:
    """Most blocks are repeated, and some fail at every attempt: acknowledged RLC sends those anew."""
    access = Access(harq=Harq(bler=0.4, retransmission_bler=0.3, max_transmissions=3, rlc_recovery_s=0.02))
    offers: list[Offer] = [(0.02 + 0.0403 * n, "ue", "up", Packet(size_bytes=64, flow="token", content=n)) for n in range(250)]
    cell, reference = delays_ms(access, offers, chance_to_fail(access.harq, SeededChance(SEED).stream("reference")))
    assert np.median(cell) == pytest.approx(np.median(reference), abs=1.5)
    assert cell.mean() == pytest.approx(reference.mean(), rel=0.15)
    assert (cell > 20).mean() == pytest.approx((reference > 20).mean(), abs=0.04)


def test_a_burst_takes_as_long_as_slot_by_slot_with_the_same_errors() -> None:
    cell_s, reference_s = links_access._bursts(6)
    assert min(cell_s) > 0.2
    assert cell_s == pytest.approx(reference_s, rel=0.02)
    assert np.median(cell_s) == pytest.approx(np.median(reference_s), abs=0.003)


def test_users_beside_each_other_get_what_they_get_slot_by_slot() -> None:
    """One user with small packets, one with files now and then, one who never stops."""
    chance = SeededChance(SEED).stream("mixed")
    plain = [(0.1 + 0.02 * n + float(chance.uniform(0, 0.01)), "small", 64) for n in range(60)]
    plain += [(0.1 + 0.3 * n + float(chance.uniform(0, 0.1)), "files", 100_000) for n in range(4)]
    plain += [(0.1, "bulk", 2_000_000)]
    plain.sort()
    offers: list[Offer] = [(at_s, name, "up", Packet(size_bytes=size, flow="kv", content=n)) for n, (at_s, name, size) in enumerate(plain)]
    profile = CellProfile(id="c", bandwidth_mhz=40)
    traces = {name: (ConstantEfficiency(value), ConstantEfficiency(value)) for name, value in (("small", 3.0), ("files", 2.0), ("bulk", 4.0))}
    cell = Cell(profile, seed=SEED)
    for name, (up, down) in traces.items():
        cell.attach(name, up=up, down=down)
    for offer in offers:
        cell.offer(*offer)
    means: list[dict[str, float]] = []
    for deliveries in (cell.advance(4.0), SlotReference(profile, traces, errors_of(profile, SEED)).run(offers, 4.0)):
        assert len(deliveries) == len(offers)
        delays = {name: [d.at_s - offers[links_access._number(d)][0] for d in deliveries if d.station == name] for name in traces}
        means.append({name: float(np.mean(values)) for name, values in delays.items()})
    for name in traces:
        assert means[0][name] == pytest.approx(means[1][name], rel=0.15), name


def test_qos_halves_the_rounds_tail_and_costs_the_background_little() -> None:
    figures = measure_qos(3.0)
    assert figures["qos_round_p95_ratio"] <= 0.5
    assert abs(figures["qos_background_throughput_loss"]) < 0.05
    assert figures["qos_with_background_mbps"] > 30


def test_rounds_and_pictures(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    pytest.importorskip("matplotlib")
    monkeypatch.setattr(links_access, "ROUND_INTERVALS_S", (0.01, 0.5))
    rounds = measure_rounds(30)
    by_access = {name: rows[0]["p50_ms"] for name, rows in rounds.items()}
    assert by_access["configured grant"] < by_access["grant on request"]
    assert by_access["grant on request"] < by_access["request every 20 ms"]
    percentiles = {"cell": list(range(1, 100)), "reference": list(range(1, 100))}
    report = {"charts": {"rounds": rounds, "uplink_cdf": {"64B_1ms": percentiles, "burst_1MB": percentiles}}}
    paths = draw_pictures(report, tmp_path)
    assert all(path.stat().st_size > 5_000 for path in paths)
