"""Link adaptation: which modulation and coding a slot gets, whether it is decoded, and the outer loop.

Thresholds were measured with Sionna's LDPC code over AWGN: one block of 2,000 bits, 20 iterations, 384 words a point, so ±0.1 dB;
Sionna's own interpolated table is up to 0.9 dB optimistic. Between and below the measured ones, the distance to Shannon's bound is interpolated.
"""

from __future__ import annotations

from statistics import NormalDist

import numpy as np
from numpy.typing import NDArray

# TS 38.214 table 5.1.3.1-1: bits a symbol, code rate times 1024.
MCS_TABLE: tuple[tuple[int, int], ...] = (
    (2, 120), (2, 157), (2, 193), (2, 251), (2, 308), (2, 379), (2, 449), (2, 526), (2, 602), (2, 679),
    (4, 340), (4, 378), (4, 434), (4, 490), (4, 553), (4, 616), (4, 658),
    (6, 438), (6, 466), (6, 517), (6, 567), (6, 616), (6, 666), (6, 719), (6, 772), (6, 822), (6, 873), (6, 910), (6, 948),
)  # fmt: skip
MEASURED_DB: dict[int, tuple[float, float]] = {  # by MCS: Es/N0 at which 10 % and 1 % of blocks are lost
    3: (-2.7, -2.6), 5: (-0.5, -0.3), 7: (1.4, 1.6), 10: (3.5, 3.8), 13: (6.0, 6.3), 14: (7.0, 7.3), 16: (8.7, 8.9), 18: (9.8, 10.1),
    20: (11.7, 12.0), 21: (12.7, 13.0), 24: (15.6, 15.9), 28: (19.6, 19.9),
}  # fmt: skip
EFFICIENCY = np.array([bits * rate / 1024 for bits, rate in MCS_TABLE])  # bit/s/Hz, (29,)

WATERFALL_DB = 0.27  # from 10 % to 1 %: the mean of the measured ones, each to a tenth of a decibel
_SPREAD_DB = WATERFALL_DB / (NormalDist().inv_cdf(0.99) - NormalDist().inv_cdf(0.9))
REPORT_SLOTS = 5  # between two reports of the channel
REPORT_DELAY_SLOTS = 4  # until the first slot that uses it
STEP_DB = 0.5  # of the outer loop, for one lost block
BACKOFF_DB = (-3.0, 10.0)  # its range


def _thresholds_db() -> NDArray[np.float64]:
    """Es/N0 at which each MCS loses 10 % of its blocks, (29,)."""
    measured = sorted(MEASURED_DB)
    bound_db = 10 * np.log10(2**EFFICIENCY - 1)
    gaps = [MEASURED_DB[mcs][0] - bound_db[mcs] for mcs in measured]
    return np.maximum.accumulate(bound_db + np.interp(EFFICIENCY, EFFICIENCY[measured], gaps))  # 10 and 17 would undercut the ones before


THRESHOLDS_DB = _thresholds_db()


def block_error_rate(mcs: NDArray[np.int64], sinr_db: NDArray[np.float64]) -> NDArray[np.float64]:
    """The share of blocks lost: a normal distribution's tail through the measured points."""
    from math import erfc, sqrt

    margin = (sinr_db - THRESHOLDS_DB[mcs]) / _SPREAD_DB + NormalDist().inv_cdf(0.9)
    return 0.5 * np.vectorize(erfc)(margin / sqrt(2))


_GRID_DB = np.linspace(-2.0, 2.0, 401)  # around the threshold; beyond, all or nothing
_BLER_ON_GRID = block_error_rate(np.zeros(_GRID_DB.size, np.int64), THRESHOLDS_DB[0] + _GRID_DB)


def adapted_efficiency(
    sinr_db: NDArray[np.float64], luck: NDArray[np.float64], bler_target: float
) -> tuple[NDArray[np.float64], NDArray[np.int64], NDArray[np.bool_]]:
    """What every slot carries.

    The sender knows the effective SINR of the last report, less the outer loop's back-off, and takes the highest MCS that holds there; below
    the lowest it tries the lowest. A lost block raises the back-off by STEP_DB (1 - target), a decoded one lowers it by
    STEP_DB x target, so that at rest the target's share is lost (Sampath et al., VTC 1997).

    Args:
        sinr_db: effective, of each slot and UE, shape (n, ues).
        luck: uniform draws, the same shape.

    Returns:
        bit/s/Hz that were decoded at the first attempt, the MCS, and whether the block was decoded; each of shape (n, ues).
    """
    slots, ues = sinr_db.shape
    carried, chosen, decoded = np.zeros((slots, ues)), np.zeros((slots, ues), np.int64), np.zeros((slots, ues), bool)
    backoff, low, high = np.zeros(ues), *BACKOFF_DB
    up, down = STEP_DB * (1 - bler_target), STEP_DB * bler_target
    for slot in range(slots):
        report = max(0, (slot - REPORT_DELAY_SLOTS) // REPORT_SLOTS * REPORT_SLOTS)
        mcs = np.searchsorted(THRESHOLDS_DB, sinr_db[report] - backoff, side="right") - 1
        forced = mcs < 0
        np.maximum(mcs, 0, out=mcs)
        ok = luck[slot] >= np.interp(sinr_db[slot] - THRESHOLDS_DB[mcs], _GRID_DB, _BLER_ON_GRID)
        backoff = np.clip(backoff + np.where(ok, -down, np.where(forced, 0.0, up)), low, high)
        chosen[slot], decoded[slot], carried[slot] = mcs, ok, EFFICIENCY[mcs] * ok
    return carried, chosen, decoded
