"""How well `auto` chooses: every cell of the grid (`auto_cells`), against every fixed choice in hindsight.

A pure function of the seed but for the time that a decision takes.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

from netgpt.bench.auto_cells import FIXED, LOADS, Cell, cells
from netgpt.bench.auto_play import MEASURES, CellFigures, judge
from netgpt.bench.auto_steps import STEP_SEEDS, STEPS, decision_ms, reaction_s
from netgpt.bench.cell_log import CellLog, play_all
from netgpt.bench.conditions import tell
from netgpt.inference.policy import policy_named

SEEDS, QUICK_SEEDS = (1001, 1002), (1001,)
REQUESTS, QUICK_REQUESTS = 40, 12
THIN = 5  # every fifth cell, if quick
WAYS = ("auto", *FIXED)


def auto_figures(
    quick: bool, *, processes: int = 2, seeds: Sequence[int] = (), policy: str = "", kept: Path | None = None
) -> tuple[dict[str, float], dict[str, Any]]:
    """Play the grid; some minutes on two cores, under one if `quick` (every fifth cell of one seed, fewer requests).

    Args:
        policy: that is judged beside `auto`, by name.
        kept: folder for cells that are done, until all are.

    Returns:
        Flat names: `regret_...` of auto, `device_regret_...` and so on beside it (median, p95, max over cells; shares of the best fixed choice's
        J), `..._error_median` and `_p95` of predictions over all requests, the first ones too, and of cells of the lowest load,
        `step_change_reaction_s` (the longest), `decision_ms_p99` (processor time). And the cells, one row each.

    Raises:
        UsageError: the policy fails.
    """
    grid = cells(tuple(seeds) or (QUICK_SEEDS if quick else SEEDS), thin=THIN if quick else 1)
    found = judged(grid, QUICK_REQUESTS if quick else REQUESTS, processes=processes, policy=policy, kept=kept)
    tell("auto: step changes, and how long a decision takes")
    reactions_s = [reaction_s(act, seed) for act in STEPS.values() for seed in (STEP_SEEDS[:1] if quick else STEP_SEEDS)]
    timed_ms = decision_ms()
    figures = summary(found) | {"step_change_reaction_s": round(max(reactions_s), 3)}
    figures |= {"decision_ms_p50": round(float(np.median(timed_ms)), 4), "decision_ms_p99": round(float(np.percentile(timed_ms, 99)), 4)}
    return figures, {"cells": [row(one) for one in found]}


def judged(grid: Sequence[Cell], requests: int, *, processes: int, policy: str = "", kept: Path | None = None) -> list[CellFigures]:
    """Every cell, in the grid's order."""
    about = f"{requests} {policy} {policy_named(policy).source() if policy else ''}"
    log = CellLog(kept, "auto", about, encode=asdict, decode=CellFigures.of_row)
    tell(f"auto: {len(grid)} cells, {requests} requests each by {len(WAYS) + bool(policy)} ways to choose")
    return play_all(grid, partial(judge, requests=requests, policy=policy), log, part="auto", processes=processes)


def row(one: CellFigures) -> dict[str, Any]:
    """A cell as results have it."""
    return {
        "rtt_s": one.cell.rtt_s,
        "up_bps": one.cell.up_bps,
        "load": one.cell.load,
        "seed": one.cell.seed,
        "service": one.cell.service,
        "qualities": one.cell.qualities,
        "winner": min(FIXED, key=lambda tier: one.j_s[tier]),
        "regret": round(one.regret("auto"), 4),
        "j_s": {who: float(f"{value:.4g}") for who, value in one.j_s.items()},
        "means": {who: {name: float(f"{means[name]:.4g}") for name in MEASURES} for who, means in one.means.items()},
        "shares": {node: round(share, 3) for node, share in one.shares.items()},
    }


def summary(found: Sequence[CellFigures]) -> dict[str, float]:
    """Figures over cells, and over all requests."""
    figures: dict[str, float] = {"cells": len(found)}
    for who in ("auto", *FIXED, "random", "clairvoyant", *(("policy",) if "policy" in found[0].j_s else ())):
        regrets = [one.regret(who) for one in found]
        prefix = "" if who == "auto" else f"{who}_"
        figures |= {
            f"{prefix}regret_median": round(float(np.median(regrets)), 4),
            f"{prefix}regret_p95": round(float(np.percentile(regrets, 95)), 4),
            f"{prefix}regret_max": round(max(regrets), 4),
        }
    for name in ("ttft", "token", "byte"):
        errors = [error for one in found for error in getattr(one, f"{name}_errors")]
        figures[f"{name}_error_median"] = round(float(np.median(errors)), 4)
        figures[f"{name}_error_p95"] = round(float(np.percentile(errors, 95)), 4)
        calm = [error for one in found if one.cell.load == LOADS[0] for error in getattr(one, f"{name}_errors")]
        figures[f"{name}_error_p95_low_load"] = round(float(np.percentile(calm, 95)), 4)
    winners = [min(FIXED, key=lambda tier: one.j_s[tier]) for one in found]
    return figures | {f"{tier}_wins": winners.count(tier) / len(found) for tier in FIXED}
