"""What radio access costs: small uplink packets beside a slot-by-slot reference, rounds of drafts, and what QoS is worth.

Everything here is simulated with declared parameters: the figures depend on the seed and not on the machine.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from netgpt.bench.conditions import conditions
from netgpt.bench.drawing import figure_class
from netgpt.bench.slot_reference import Fails, Offer, SlotReference, chance_to_fail
from netgpt.core.chance import SeededChance, digest64
from netgpt.network.access import Access
from netgpt.network.background import BackgroundLoad, bursts
from netgpt.network.cell import DIRECTIONS, Cell, CellProfile
from netgpt.network.efficiency import ConstantEfficiency
from netgpt.network.flow import Flow, flow_named, flow_without_qos
from netgpt.network.frame import resource_blocks
from netgpt.network.harq import Draws
from netgpt.network.medium import Delivery, Direction, Packet

SEED = 20261
EFFICIENCY_UP, EFFICIENCY_DOWN = 2.0, 4.0  # bit/s/Hz
BANDWIDTH_MHZ = 40.0  # of rounds and QoS; the uplink cases use `CellProfile`'s defaults
SMALL_BYTES, BURST_BYTES, VERDICT_BYTES = 64, 1_000_000, 48
INTERVALS_S = {"1ms": 0.001, "10ms": 0.01, "100ms": 0.1, "1000ms": 1.0}
PACKETS = {"1ms": 4000, "10ms": 4000, "100ms": 2000, "1000ms": 1000}
BURSTS = 400
ROUND_INTERVALS_S = (0.001, 0.002, 0.005, 0.01, 0.02, 0.05, 0.1, 0.2, 0.5, 1.0, 2.0)
ROUNDS = 1000
ACCESSES = {
    "grant on request": Access(),
    "configured grant": Access(grant="configured"),
    "request every 20 ms": Access(sr_period_slots=40),
}
VERIFY_S = 0.005  # an edge's time for a draft
QOS_USERS, QOS_DRAFTING_S, QOS_BURST_BYTES, QOS_S = 8, 0.02, 30_000, 60.0
QOS_LOAD, QOS_OVERLOAD = 0.9, 1.2  # of what the cell carries
Figures = dict[str, float]


def run(quick: bool) -> dict[str, Any]:
    """Measure; some minutes, or under one if `quick` (an eighth of the packets).

    Returns:
        {"suite": "links_access", "figures": {name: number}, "charts": {name: ...}, "conditions": {...}}; times in ms.
    """
    part = 8 if quick else 1
    about = conditions(packages=("numpy",), seed=SEED, bandwidth_mhz=BANDWIDTH_MHZ, efficiency_up=EFFICIENCY_UP, efficiency_down=EFFICIENCY_DOWN)
    figures, cdfs = measure_uplink(part)
    rounds = measure_rounds(ROUNDS // part)
    figures.update(measure_qos(QOS_S / part))
    return {"suite": "links_access", "figures": figures, "charts": {"uplink_cdf": cdfs, "rounds": rounds}, "conditions": about}


# --- small packets and a burst, beside the reference ---


def measure_uplink(part: int = 1) -> tuple[Figures, dict[str, dict[str, list[float]]]]:
    """One-way delays of 64-byte packets and of 1 MB bursts on an otherwise empty cell, against the slot-by-slot reference.

    Returns:
        Figures such as `uplink_64B_10ms_p50_ms`, `..._reference_p50_ms`, `..._p50_difference_ms` and `..._p99_ratio`;
        and by case the delays' percentiles 1 to 99 in ms, "cell" and "reference".
    """
    figures: Figures = {}
    cdfs: dict[str, dict[str, list[float]]] = {}
    for name, interval_s in INTERVALS_S.items():
        delays = _small_packets(max(PACKETS[name] // part, 100), interval_s)
        cdfs[f"64B_{name}"] = _compare(f"uplink_64B_{name}", *delays, figures)
    cdfs["burst_1MB"] = _compare("uplink_1MB_burst", *_bursts(max(BURSTS // part, 40)), figures)
    return figures, cdfs


def _profile(access: Access) -> CellProfile:
    return CellProfile(id="bench", bandwidth_mhz=BANDWIDTH_MHZ, access=access)


_TRACES = (ConstantEfficiency(EFFICIENCY_UP), ConstantEfficiency(EFFICIENCY_DOWN))


def _small_packets(count: int, interval_s: float) -> tuple[list[float], list[float]]:
    """Delays in the cell and in the reference, s. Packets are jittered by half an interval, at most by 10 ms: no phase of the frame is favoured."""
    jitter_N = SeededChance(SEED).stream(f"jitter {interval_s}").uniform(0, min(interval_s / 2, 0.01), count)
    offers: list[Offer] = [
        (0.05 + n * interval_s + float(jitter_N[n]), "ue", "up", Packet(size_bytes=SMALL_BYTES, flow="draft", content=n)) for n in range(count)
    ]
    return _delays(offers, offers[-1][0] + 0.5, seed=SEED)


def _bursts(count: int) -> tuple[list[float], list[float]]:
    """As `_small_packets`, for bursts, each on a cell of its own at another phase of the frame.

    A burst's time varies with the number of its blocks that fail, by far more than cell and reference should differ: so
    the reference meets the errors that the cell drew, block by block.
    """
    start_N = SeededChance(SEED).stream("bursts").uniform(0.05, 0.06, count)
    pairs = [
        _delays([(float(start_s), "ue", "up", Packet(size_bytes=BURST_BYTES, flow="kv", content=0))], 0.8, seed=SEED + n, same_errors=True)
        for n, start_s in enumerate(start_N)
    ]
    return [cell[0] for cell, _ in pairs], [reference[0] for _, reference in pairs]


def _delays(offers: Sequence[Offer], until_s: float, *, seed: int, same_errors: bool = False) -> tuple[list[float], list[float]]:
    profile = CellProfile(id="bench")
    harq = profile.access.harq
    cell = Cell(profile, seed=seed)
    cell.attach("ue", up=_TRACES[0], down=_TRACES[1])
    for offer in offers:
        assert cell.offer(*offer)
    fails = errors_of(profile, seed) if same_errors else chance_to_fail(harq, SeededChance(seed).stream("reference"))
    reference = SlotReference(profile, {"ue": _TRACES}, fails)
    return _delays_of(offers, cell.advance(until_s)), _delays_of(offers, reference.run(offers, until_s))


def errors_of(profile: CellProfile, seed: int) -> Fails:
    """The errors that `Cell(profile, seed=seed)` draws, for the reference."""
    drawn: dict[tuple[str, Direction], Draws] = {}

    def fails(station: str, direction: Direction, block: int, before: int) -> bool:
        if (station, direction) not in drawn:
            drawn[station, direction] = Draws(digest64(digest64(seed, profile.id), station, direction))
        rounds, attempts = profile.access.harq.outcome(drawn[station, direction].at(block))
        assert not rounds, "so rare that a bench does not meet it"
        return before + 1 < attempts

    return fails


def _delays_of(offers: Sequence[Offer], deliveries: Sequence[Delivery]) -> list[float]:
    assert len(deliveries) == len(offers), "every packet arrives"
    return [delivery.at_s - offers[_number(delivery)][0] for delivery in deliveries]


def _number(delivery: Delivery) -> int:
    assert isinstance(delivery.packet.content, int)
    return delivery.packet.content


def _compare(name: str, cell_s: Sequence[float], reference_s: Sequence[float], figures: Figures) -> dict[str, list[float]]:
    """Add a case's figures; returns its percentiles 1 to 99, ms."""
    cell_P, reference_P = (1e3 * np.percentile(delays, np.arange(1, 100)) for delays in (cell_s, reference_s))
    for percentile in (50, 99):
        figures[f"{name}_p{percentile}_ms"] = _rounded(cell_P[percentile - 1])
        figures[f"{name}_reference_p{percentile}_ms"] = _rounded(reference_P[percentile - 1])
    figures[f"{name}_p50_difference_ms"] = _rounded(cell_P[49] - reference_P[49])
    figures[f"{name}_p99_ratio"] = _rounded(cell_P[98] / reference_P[98])
    return {"cell": [_rounded(value) for value in cell_P], "reference": [_rounded(value) for value in reference_P]}


def _rounded(value: float) -> float:
    return float(f"{value:.4g}")


# --- rounds: draft up, verification, verdict down ---


def measure_rounds(count: int = ROUNDS) -> dict[str, list[dict[str, float]]]:
    """Round time against the interval between drafts, for each kind of access: rows of `interval_ms`, `p50_ms`, `p95_ms`."""
    found: dict[str, list[dict[str, float]]] = {}
    for name, access in ACCESSES.items():
        found[name] = []
        for interval_s in ROUND_INTERVALS_S:
            times_s = _round_times(access, interval_s, count)
            p50, p95 = np.percentile(times_s, (50, 95))
            found[name].append({"interval_ms": 1e3 * interval_s, "p50_ms": _rounded(1e3 * p50), "p95_ms": _rounded(1e3 * p95)})
    return found


def _round_times(access: Access, interval_s: float, count: int) -> list[float]:
    """A draft every interval, whether the verdict on the last has come or not; s from each draft to its verdict."""
    cell = Cell(_profile(access), seed=SEED)
    cell.attach("ue", up=_TRACES[0], down=_TRACES[1])
    jitter_N = SeededChance(SEED).stream("rounds").uniform(0, min(interval_s / 2, 0.2), count)
    starts_s = [0.05 + n * interval_s + float(jitter_N[n]) for n in range(count)]
    todo = Todo((start_s, "ue", "up", Packet(size_bytes=SMALL_BYTES, flow="draft", content=n)) for n, start_s in enumerate(starts_s))
    times_s: list[float] = []

    def arrived(delivery: Delivery) -> None:
        if delivery.direction == "up":
            verdict = Packet(size_bytes=VERDICT_BYTES, flow="verdict", content=delivery.packet.content)
            todo.add((delivery.at_s + VERIFY_S, "ue", "down", verdict))
        else:
            times_s.append(delivery.at_s - starts_s[_number(delivery)])

    drive(cell, todo, arrived, math.inf)
    return times_s


class Todo:
    """Offers still to be made: a stream in order of time, and more that come up on the way."""

    def __init__(self, stream: Iterator[Offer]) -> None:
        self._stream = stream
        self._next = next(stream, None)
        self._added: list[Offer] = []

    def add(self, offer: Offer) -> None:
        self._added.append(offer)
        self._added.sort(key=lambda one: -one[0])

    def next_s(self) -> float:
        return min(self._next[0] if self._next else math.inf, self._added[-1][0] if self._added else math.inf)

    def pop(self) -> Offer:
        if self._next and (not self._added or self._next[0] <= self._added[-1][0]):
            offer, self._next = self._next, next(self._stream, None)
            return offer
        return self._added.pop()


def drive(cell: Cell, todo: Todo, arrived: Callable[[Delivery], None], until_s: float) -> None:
    """Make all offers and hand out all deliveries in the order of time."""
    while True:
        offer_s, look_s = todo.next_s(), cell.next_s()
        if min(offer_s, look_s) > until_s or min(offer_s, look_s) == math.inf:
            return
        if offer_s <= look_s:
            cell.offer(*todo.pop())
        else:
            for delivery in cell.advance(look_s):
                arrived(delivery)


# --- QoS ---


def measure_qos(duration_s: float = QOS_S) -> Figures:
    """Rounds of eight users whose other traffic fills 90 % of the cell, with QoS flows and strict priority, and all on one bearer.

    Returns:
        p50 and p95 of the round time with and without, their ratio (`qos_round_p95_ratio`), and what the background loses:
        of its throughput (`qos_background_throughput_loss`, a share; `..._overload_...` where it would take more than there is),
        and the time a burst takes more (`qos_background_delay_ratio`, p50).
    """
    figures: Figures = {}
    means: dict[str, tuple[float, float]] = {}
    overload_bps: dict[str, float] = {}
    for name, scheduler, flow_of in (("with", "strict-priority", flow_named), ("without", "proportional-fair", flow_without_qos)):
        rounds_s, background_bps, burst_s = _loaded_rounds(scheduler, flow_of, QOS_LOAD, duration_s)
        overload_bps[name] = _loaded_rounds(scheduler, flow_of, QOS_OVERLOAD, duration_s / 4)[1]
        p50, p95 = np.percentile(rounds_s, (50, 95))
        figures[f"qos_{name}_round_p50_ms"], figures[f"qos_{name}_round_p95_ms"] = _rounded(1e3 * p50), _rounded(1e3 * p95)
        figures[f"qos_{name}_rounds"] = float(len(rounds_s))
        figures[f"qos_{name}_background_mbps"] = _rounded(background_bps / 1e6)
        means[name] = (background_bps, burst_s)
    figures["qos_round_p95_ratio"] = _rounded(figures["qos_with_round_p95_ms"] / figures["qos_without_round_p95_ms"])
    figures["qos_background_throughput_loss"] = _rounded(1 - means["with"][0] / means["without"][0])
    figures["qos_overload_background_throughput_loss"] = _rounded(1 - overload_bps["with"] / overload_bps["without"])
    figures["qos_background_delay_ratio"] = _rounded(means["with"][1] / means["without"][1])
    return figures


def _loaded_rounds(scheduler: str, flow_of: Callable[[str], Flow], load: float, duration_s: float) -> tuple[list[float], float, float]:
    """(round times in s, background goodput in bit/s, median time of a background burst in s)."""
    profile = CellProfile(id="bench", bandwidth_mhz=BANDWIDTH_MHZ, scheduler=scheduler, queue_bytes=10**9)
    cell = Cell(profile, seed=SEED, flow_of=flow_of)
    users = [f"ue{n}" for n in range(QOS_USERS)]
    for user in users:
        cell.attach(user, up=_TRACES[0], down=_TRACES[1])
    todo = Todo(_background(profile, users, load, duration_s))
    for n, user in enumerate(users):
        todo.add((0.05 + 0.0031 * n, user, "up", Packet(size_bytes=SMALL_BYTES, flow="draft", content=0.05 + 0.0031 * n)))
    rounds_s: list[float] = []
    bursts_s: list[float] = []
    carried = 0

    def arrived(delivery: Delivery) -> None:
        nonlocal carried
        packet, began_s = delivery.packet, delivery.packet.content
        assert isinstance(began_s, float)
        if packet.flow == "background":
            carried += packet.size_bytes
            bursts_s.append(delivery.at_s - began_s)
        elif packet.flow == "draft":
            todo.add((delivery.at_s + VERIFY_S, delivery.station, "down", Packet(size_bytes=VERDICT_BYTES, flow="verdict", content=began_s)))
        else:
            rounds_s.append(delivery.at_s - began_s)
            again_s = delivery.at_s + QOS_DRAFTING_S
            todo.add((again_s, delivery.station, "up", Packet(size_bytes=SMALL_BYTES, flow="draft", content=again_s)))

    drive(cell, todo, arrived, duration_s)
    return rounds_s, 8 * carried / duration_s, float(np.median(bursts_s))


def _background(profile: CellProfile, users: Sequence[str], share: float, duration_s: float) -> Iterator[Offer]:
    """Bursts of the users' other traffic, both ways, in order of time."""
    found: list[Offer] = []
    frame, blocks = profile.access.frame, resource_blocks(profile.access.frame.numerology, profile.bandwidth_mhz)
    for way, efficiency in zip(DIRECTIONS, (EFFICIENCY_UP, EFFICIENCY_DOWN), strict=True):
        slots = frame.opportunities[way]
        elements = 12 * blocks * slots.mean_symbols * slots.share / frame.slot_s * (1 - profile.overhead(way))  # a second
        capacity_bps = elements * efficiency / profile.access.harq.expected_transmissions
        load = BackgroundLoad(up=share, down=share, users=len(users), burst_bytes=QOS_BURST_BYTES)
        for at_s, user, size_bytes in bursts(load, way, capacity_bps, SeededChance(SEED).stream(f"background {way}")):
            if at_s > duration_s:
                break
            found.append((at_s, users[user], way, Packet(size_bytes=size_bytes, flow="background", content=at_s)))
    return iter(sorted(found, key=lambda offer: offer[0]))


# --- pictures ---


def draw_pictures(report: Mapping[str, Any], folder: Path) -> list[Path]:
    """`access_uplink.png`, delay distributions beside the reference; `access_rounds.png`, draft interval against round time.

    Raises:
        MissingExtra: matplotlib is not installed.
    """
    Figure = figure_class(folder)
    cdfs: dict[str, dict[str, list[float]]] = report["charts"]["uplink_cdf"]
    figure = Figure(figsize=(12, 2.8), layout="constrained")
    for axis, (name, case) in zip(figure.subplots(1, len(cdfs), sharey=True), cdfs.items(), strict=True):
        axis.plot(case["reference"], np.arange(1, 100) / 100, color="black", linestyle=":", label="slot by slot")
        axis.plot(case["cell"], np.arange(1, 100) / 100, color="tab:blue", alpha=0.7, label="cell")
        axis.set(title=name.replace("_", ", "), xlabel="one-way delay, ms")
        axis.grid(alpha=0.3)
    figure.axes[0].set_ylabel("share of packets")
    figure.axes[0].legend(fontsize="small")
    paths = [folder / "access_uplink.png", folder / "access_rounds.png"]
    figure.savefig(paths[0], dpi=70)
    figure = Figure(figsize=(7, 4), layout="constrained")
    axis = figure.subplots()
    for colour, (name, rows) in zip(("tab:blue", "tab:green", "tab:orange"), report["charts"]["rounds"].items(), strict=True):
        intervals = [row["interval_ms"] for row in rows]
        axis.plot(intervals, [row["p50_ms"] for row in rows], marker=".", color=colour, label=f"{name}, p50")
        axis.plot(intervals, [row["p95_ms"] for row in rows], linestyle=":", color=colour, label="p95")
    axis.set(xscale="log", ylim=(0, None), xlabel="interval between drafts, ms", ylabel=f"round time, ms ({1e3 * VERIFY_S:g} ms of it verification)")
    axis.grid(alpha=0.3, which="both")
    axis.legend(fontsize="small", ncols=3, loc="lower right")
    figure.savefig(paths[1], dpi=80)
    return paths
