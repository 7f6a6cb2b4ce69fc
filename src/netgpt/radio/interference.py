"""What a receiver hears besides its own link: thermal noise and the neighbouring cells, which send at a load.

A cell sends or is silent in bursts of `BURST_S`; a share `load` of them is sent. Downlink: a cell that sends does so at
full power. Uplink: one of `CANDIDATES` users of that cell sends, drawn anew for each burst, with power control towards its own
cell. Neighbours' fast fading is left out: only its mean counts.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from netgpt.radio.layout import Layout
from netgpt.radio.plan import Plan

BURST_S = 0.02
CANDIDATES = 8  # users a cell whom the uplink interference is drawn from
THERMAL_DBM_HZ = -174.0
NOISE_FIGURE_DB = {"up": 5.0, "down": 9.0}  # TR 38.901 table 7.8-1 (UT), ITU-R M.2412 (BS)
UT_POWER_DBM = 23.0
P0_DBM, ALPHA = -76.0, 0.8  # open-loop power control, a resource block of 180 kHz (TS 38.213 clause 7.1.1; values ours)
RESOURCE_BLOCK_HZ = 180e3


def noise_mw(plan: Plan) -> float:
    """In the whole bandwidth, the receiver's own included."""
    return 10 ** ((THERMAL_DBM_HZ + 10 * np.log10(plan.bandwidth_hz) + NOISE_FIGURE_DB[plan.direction]) / 10)


def uplink_power_dbm(plan: Plan, gain_db: NDArray[np.float64]) -> NDArray[np.float64]:
    """What a user sends with over the whole bandwidth, by the gain (negative) of its link."""
    return np.minimum(UT_POWER_DBM, P0_DBM + 10 * np.log10(plan.bandwidth_hz / RESOURCE_BLOCK_HZ) - ALPHA * gain_db)


def activity(plan: Plan, chance: np.random.Generator, cells: int, slots_s: NDArray[np.float64]) -> NDArray[np.int64]:
    """Who sends in each cell at each time, shape (cells, n): the number of a candidate, or -1 for silence."""
    bursts = int(slots_s[-1] / BURST_S) + 2
    starts = chance.random((cells, 1))  # cells are not in step
    draws = chance.random((bursts, 2 * cells)).T  # burst after burst: a shorter trace is the beginning of a longer one
    who = np.where(draws[:cells] < plan.load, (draws[cells:] * CANDIDATES).astype(np.int64), -1)
    burst = (slots_s / BURST_S + starts).astype(np.int64)
    return np.take_along_axis(who, burst, axis=1)


def candidates_mw(plan: Plan, layout: Layout, chance: np.random.Generator) -> NDArray[np.float64]:
    """Power that each candidate of each cell brings to each cell: shape (cells, CANDIDATES, cells), from, who, to.

    Users are dropped evenly over the layout and belong to the cell that they hear best.
    """
    gain_db = layout.gains_db(layout.dropped_places(chance, 6 * CANDIDATES * layout.cells))  # (cells, n)
    own = gain_db.argmax(axis=0)
    power_dbm = uplink_power_dbm(plan, gain_db.max(axis=0))
    received = 10 ** ((power_dbm + gain_db) / 10)
    result = np.zeros((layout.cells, CANDIDATES, layout.cells))
    for cell in range(layout.cells):
        members = np.flatnonzero(own == cell)
        if members.size:  # a cell that nobody hears best is silent
            result[cell] = received[:, members[np.arange(CANDIDATES) % members.size]].T
    return result
