"""Spectral-efficiency traces: what each user's link carries over time, in bit/s/Hz.

A sample is what was decoded at the first attempt, for each hertz of the bandwidth and second of the sample: blocks that are lost count as nothing.
One layer; no overhead of control and reference signals is taken off. docs/traces.md says what comes from where.
A seed gives the same trace on every machine, up to the rounding of a rare decision; a shorter trace is the beginning of a longer one.
"""

from __future__ import annotations

import shlex
from dataclasses import asdict, dataclass

import numpy as np
from numpy.typing import NDArray

from netgpt.core.chance import Chance, SeededChance
from netgpt.network.trace import EFFICIENCY, Origin, Series, Trace
from netgpt.radio.adaptation import adapted_efficiency
from netgpt.radio.fading import SURROUNDINGS_MPS, power_gains
from netgpt.radio.interference import activity, candidates_mw, noise_mw, uplink_power_dbm
from netgpt.radio.large_scale import Profile, profile
from netgpt.radio.layout import Layout, Links
from netgpt.radio.mobility import Track, track
from netgpt.radio.plan import Plan

SLOT_S = 1e-3
PLACES_EVERY_S = 0.1  # path loss and shadow fading are interpolated in between
FREQUENCIES = 12  # of the bandwidth, at which fast fading is known
HYSTERESIS_DB, WAIT_PLACES = 3.0, 2  # handover: a neighbour so much better, so many places long (event A3 of TS 38.331)
CAR_LOSS_DB = (9.0, 5.0)  # mean and standard deviation; TR 38.901 clause 7.4.3.2
LIGHT_MPS = 299_792_458.0
SOURCE = "generated: TR 38.901 V19.2 path loss and profiles by Sionna, mobility, interference and link adaptation by NetGPT"


@dataclass(frozen=True, kw_only=True, eq=False)
class Radio:
    """What a plan gives before it becomes a trace, for tests and pictures. Arrays have shape (slots, ues)."""

    sinr_db: NDArray[np.float64]  # effective
    carried: NDArray[np.float64]  # bit/s/Hz
    mcs: NDArray[np.int64]
    decoded: NDArray[np.bool_]
    cells: NDArray[np.int64]


def generate(plan: Plan, command: str = "") -> Trace:
    """The plan's trace; `command` is what makes it again.

    Raises:
        MissingExtra: Sionna is not installed.
    """
    radio, each = simulate(plan), round(plan.every_s / SLOT_S)
    count = radio.carried.shape[0] // each
    means = np.round(radio.carried[: count * each].reshape(count, each, plan.ues).mean(axis=1), 2)
    times_s = np.round(np.arange(count) * plan.every_s, 9)
    series = {
        f"ue{ue}": Series(times_s=times_s, values=means[:, ue], cells=radio.cells[: count * each : each, ue].astype(np.int32))
        for ue in range(plan.ues)
    }
    parameters = asdict(plan) | {"carrier_hz": plan.carrier, "isd_m": plan.isd, "outer_m": plan.radii_m[1]}
    parameters.pop("seed")
    origin = Origin(source=SOURCE, command=command or generate_command(plan), seed=plan.seed, parameters=parameters)
    return Trace(name=plan.model, unit=EFFICIENCY, period_s=count * plan.every_s, series=series, origin=origin)


def generate_command(plan: Plan) -> str:
    """The command line that makes a plan's trace, without --output; `cli.trace` reads it back."""
    words = ["netgpt", "trace", "generate"]
    for name, value in plan.given().items():
        flag = "--" + name.removesuffix("_s").removesuffix("_m").removesuffix("_hz").removesuffix("_mps").replace("_", "-")
        words += [flag] if value is True else [flag, f"{value:g}" if isinstance(value, float) else str(value)]
    return shlex.join(words)


def simulate(plan: Plan) -> Radio:
    """Every slot of every user."""
    chance = SeededChance(plan.seed)
    layout = Layout(plan, chance)
    slots_s = np.arange(round(plan.duration_s / SLOT_S), dtype=np.float64) * SLOT_S
    world = _World(plan, layout, chance, slots_s)
    users = [world.user(ue) for ue in range(plan.ues)]
    sinr_db = np.stack([sinr for sinr, _ in users], axis=1)
    luck = chance.stream("decoding").random(sinr_db.shape)
    carried, mcs, decoded = adapted_efficiency(sinr_db, luck, plan.bler_target)
    return Radio(sinr_db=sinr_db, carried=carried, mcs=mcs, decoded=decoded, cells=np.stack([cells for _, cells in users], axis=1))


class _World:
    """What all users of a plan share."""

    def __init__(self, plan: Plan, layout: Layout, chance: Chance, slots_s: NDArray[np.float64]) -> None:
        self._plan, self._layout, self._chance, self._slots_s = plan, layout, chance, slots_s
        self._places_s = np.arange(0, slots_s[-1] + 2 * PLACES_EVERY_S, PLACES_EVERY_S)
        self._who = activity(plan, chance.stream("activity"), layout.cells, slots_s)
        self._noise_mw = noise_mw(plan)
        self._candidates_mw = candidates_mw(plan, layout, chance.stream("candidates")) if plan.direction == "up" else None
        self._profiles: dict[bool, Profile] = {}
        half = plan.bandwidth_hz / 2
        self._frequencies_hz = np.linspace(-half, half, FREQUENCIES, endpoint=False) + half / FREQUENCIES

    def user(self, ue: int) -> tuple[NDArray[np.float64], NDArray[np.int64]]:
        """The effective SINR (dB) and the serving cell in every slot."""
        plan = self._plan
        way = track(plan, self._chance.stream(f"way/{ue}"), self._places_s)
        car_db = max(0.0, self._chance.stream(f"car/{ue}").normal(*CAR_LOSS_DB)) if plan.in_car else 0.0
        links = self._layout.links(way.positions_m)
        gains_db = self._layout.cell_gains_db(way.positions_m, links.gain_db - car_db)  # (cells, places)
        place = np.minimum((self._slots_s / PLACES_EVERY_S + 1e-9).astype(np.int64), self._places_s.size - 2)
        part = self._slots_s / PLACES_EVERY_S - place
        slot_db = gains_db[:, place] * (1 - part) + gains_db[:, place + 1] * part  # (cells, slots)
        cells = serving_cells(gains_db)[place]
        own_db = np.take_along_axis(slot_db, cells[None], axis=0)[0]
        mean = 10 ** (self._signal_dbm(own_db) / 10) / (self._noise_mw + self._interference_mw(slot_db, cells))
        fade = self._fades(ue, way, links, cells, place)
        effective = 2 ** np.log2(1 + mean[:, None] * fade).mean(axis=1) - 1  # the SINR of equal capacity
        return 10 * np.log10(np.maximum(effective, 1e-6)), cells

    def _signal_dbm(self, own_db: NDArray[np.float64]) -> NDArray[np.float64]:
        power_dbm = uplink_power_dbm(self._plan, own_db) if self._plan.direction == "up" else self._plan.station_dbm
        return power_dbm + own_db

    def _interference_mw(self, slot_db: NDArray[np.float64], cells: NDArray[np.int64]) -> NDArray[np.float64]:
        total = np.zeros(cells.size)
        for cell in range(self._layout.cells):
            who = self._who[cell]
            if self._candidates_mw is None:
                heard = 10 ** ((self._plan.station_dbm + slot_db[cell]) / 10)
            else:
                heard = self._candidates_mw[cell, np.maximum(who, 0), cells]
            total += np.where((who >= 0) & (cells != cell), heard, 0.0)
        return total

    def _fades(self, ue: int, way: Track, links: Links, cells: NDArray[np.int64], place: NDArray[np.int64]) -> NDArray[np.float64]:
        """Channel power of the serving link, shape (slots, FREQUENCIES); each cell and state fades by itself."""
        plan, sites = self._plan, cells // self._layout.sectors.size
        wavelength_m = LIGHT_MPS / plan.carrier
        direct = np.interp(self._slots_s, self._places_s, way.travelled_m) / wavelength_m
        turns = direct + self._slots_s * SURROUNDINGS_MPS / wavelength_m
        los, k = links.los[sites, place], links.k[sites, place]
        fade = np.empty((cells.size, FREQUENCIES))
        for key in np.unique(2 * cells + los):
            cell, state = int(key) // 2, bool(key % 2)
            here = np.flatnonzero((cells == cell) & (los == state))
            stream = self._chance.stream(f"fading/{ue}/{cell}/{state}")
            lines = self._profile(links, los=state)
            fade[here] = power_gains(stream, lines, k[here] if state else None, turns[here], direct[here], plan.antennas, self._frequencies_hz)
        return fade

    def _profile(self, links: Links, *, los: bool) -> Profile:
        if los not in self._profiles:
            state, name = (links.model.los, "D") if los else (links.model.nlos, self._plan.deployment.nlos_profile)
            self._profiles[los] = profile(name, state.delay_spread_s, self._plan.carrier)
        return self._profiles[los]


def serving_cells(gains_db: NDArray[np.float64]) -> NDArray[np.int64]:
    """The cell that serves at each place of a way, from gains of shape (cells, places): hysteresis and a time to trigger."""
    best = gains_db.argmax(axis=0)
    serving, waited, result = int(best[0]), 0, np.empty(best.size, np.int64)
    for place, candidate in enumerate(best.tolist()):
        better = gains_db[candidate, place] > gains_db[serving, place] + HYSTERESIS_DB
        waited = waited + 1 if better else 0
        if waited >= WAIT_PLACES:
            serving, waited = candidate, 0
        result[place] = serving
    return result
