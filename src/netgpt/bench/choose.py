"""Who should answer: how well NetGPT's policies choose, beside random, baselines and the oracle. Several parts make one result.

`cascade`: policies are fitted on held-out tasks that are not judged (`outcomes.calibration_tasks`) and judged on the frozen mix; with a
recording, on one half of its tasks and on the other. Answers are decoded greedily, once for each model; every policy is judged on these.
`cache` is in `choose_cache`, `auto` in `choose_auto`, `foresight` in `choose_foresight`, `fidelity` in `choose_fidelity`, `emulated` in
`choose_emulated`. A policy of another package is judged by `choose_policy`.
"""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from netgpt.bench.auto_steps import STEP_CELL
from netgpt.bench.choose_auto import auto_figures
from netgpt.bench.choose_cascade import cascade_figures, confidence_figures
from netgpt.bench.choose_ceiling import ceiling_figures
from netgpt.bench.choose_emulated import emulated_figures
from netgpt.bench.choose_foresight import foresight_figures
from netgpt.bench.choose_pictures import draw_auto
from netgpt.bench.choose_policy import policy_figures
from netgpt.bench.choose_route import route_figures
from netgpt.bench.conditions import conditions, tell
from netgpt.bench.drawing import figure_class
from netgpt.bench.outcomes import Outcomes, calibration_tasks, installed_costs, installed_outcomes, recorded_outcomes, short_name
from netgpt.core.chance import digest64
from netgpt.corpus.draw import judged_tasks, read_mix
from netgpt.inference.policy import check_policy, policy_named
from netgpt.models.recording import read_recording

DEFAULT_PARTS = ("cascade", "cache", "auto", "foresight", "fidelity")
PARTS = (*DEFAULT_PARTS, "emulated")
QUICK_ONE_IN, QUICK_A_GRADE = 12, 6
SAMPLES = 5  # answers of the smallest model that self-consistency compares
MOST_FALSE_HITS = 0.005  # upper 95 % bound of the cache's share
COLOURS = {
    "oracle": "black",
    "cascade": "tab:red",
    "likelihood": "tab:blue",
    "self_consistency": "tab:cyan",
    "route": "tab:purple",
    "random": "tab:gray",
    "policy": "tab:green",
}


def run(
    quick: bool,
    *,
    parts: Sequence[str] = DEFAULT_PARTS,
    recording: Path | None = None,
    models: Sequence[str] = (),
    policy: str = "",
    kept: Path | None = None,
) -> dict[str, Any]:
    """Judge the policies: some 40 minutes on two cores, in all about three if `quick`; `emulated`, which must be asked for, takes 11 more.

    Args:
        parts: some of `PARTS`: who answers after the smallest model has (`cascade`), kept answers (`cache`), who answers before (`auto`), how well
            first tokens can be foretold at all (`foresight`), asking with less (`fidelity`), `auto` over processes and shaped links (`emulated`).
        recording: for `cascade`: outcomes of other models, named by `models`, the smallest first, whose calls cost the same.
        policy: of another package, by name, judged beside NetGPT's own by `cascade` and `auto`.
        kept: folder where grids keep the cells that are done, so that a run that was cut off goes on; empty again at its end.

    Returns:
        {"suite": "choose", "figures": {name: number}, "tables": {...}, "conditions": {...}, "failures": [...]}: flat names of all parts.

    Raises:
        ModelNotFound: a tier's model is not installed.
        NetgptError: a network of `emulated` does not start, or lost a request.
        UsageError: the recording cannot be used; the policy is unknown, or fails.
    """
    check_policy(policy)
    facts = {"parts": list(parts), "quick": quick, **({"policy": policy} if policy else {})}
    source = recording.name if recording else "installed models"
    about = conditions(packages=("numpy", "grpcio", "uvloop"), source=source, mix=read_mix().digest, **facts)
    report: dict[str, Any] = {"suite": "choose", "figures": {}, "tables": {}, "conditions": about, "failures": []}
    for place, part in enumerate(parts, 1):
        tell(f"part {place} of {len(parts)}: {part}")
        match part:
            case "cascade":
                made = *_cascade_part(quick, recording, models, policy), []
            case "cache":
                made = *_cache_part(quick), []
            case "auto":
                made = *auto_figures(quick, processes=len(os.sched_getaffinity(0)), policy=policy, kept=kept), []
            case "foresight":
                made = foresight_figures(quick, processes=len(os.sched_getaffinity(0)), kept=kept), {}, []
            case "fidelity":
                made = *_fidelity_part(quick), []
            case _:
                made = emulated_figures(quick, kept=kept)
        figures, tables, worthless = made
        report["figures"] |= figures
        report["tables"] |= tables
        report["failures"] += worthless
    if not quick:
        report["failures"] += missed(report["figures"])
    return report


def _cascade_part(quick: bool, recording: Path | None, models: Sequence[str], policy: str) -> tuple[dict[str, Any], dict[str, Any]]:
    fitted_on, judged, costs = _recorded(recording, models) if recording else _installed(quick)
    figures, curves = cascade_figures(fitted_on, judged, costs)
    figures |= confidence_figures(fitted_on, judged)
    routed, route_curves = route_figures(fitted_on, judged, costs)
    figures, curves = figures | routed | ceiling_figures(fitted_on, judged), curves | route_curves
    figures |= {f"cost_{short_name(model)}": round(cost, 4) for model, cost in costs.items()}
    if policy:
        tell(f"cascade: policy {policy!r}")
        more, lines = policy_figures(policy_named(policy), fitted_on, judged, costs, STEP_CELL)
        figures, curves = figures | more, curves | lines
    return figures, {"curves": curves}


def _cache_part(quick: bool) -> tuple[dict[str, Any], dict[str, Any]]:
    from netgpt.bench.choose_cache import cache_figures  # loads torch

    figures, tables = cache_figures(quick)
    return figures, {f"cache_{name}": table for name, table in tables.items()}


def _fidelity_part(quick: bool) -> tuple[dict[str, Any], dict[str, Any]]:
    from netgpt.bench.choose_fidelity import fidelity_figures  # loads torch

    figures, tables = fidelity_figures(quick)
    return {f"fidelity_{name}": value for name, value in figures.items()}, {f"fidelity_{name}": table for name, table in tables.items()}


def missed(figures: Mapping[str, Any]) -> list[str]:
    """What is not as it must be."""
    bound = figures.get("cache_false_hits_upper_95")
    return [f"upper 95 % bound of the cache's false hits is {bound}, target {MOST_FALSE_HITS}"] if bound and bound > MOST_FALSE_HITS else []


def _installed(quick: bool) -> tuple[Outcomes, Outcomes, Mapping[str, float]]:
    fitted_on = installed_outcomes(calibration_tasks(QUICK_A_GRADE) if quick else calibration_tasks(), say=tell)
    judged = installed_outcomes(judged_tasks()[:: QUICK_ONE_IN if quick else 1], samples=SAMPLES, continues=True, say=tell)
    return fitted_on, judged, installed_costs()


def _recorded(recording: Path, models: Sequence[str]) -> tuple[Outcomes, Outcomes, Mapping[str, float]]:
    outcomes = recorded_outcomes(read_recording(recording), models)
    first = np.array([digest64("choose", messages) % 2 == 0 for messages in outcomes.messages])
    return outcomes.only(first), outcomes.only(~first), dict.fromkeys(models, 1.0)


def draw_pictures(report: Mapping[str, Any], folder: Path) -> list[Path]:
    """What the report's parts allow: `deferral.png`, `winners.png`, `pareto.png`.

    Raises:
        MissingExtra: matplotlib is not installed.
    """
    Figure = figure_class(folder)
    tables = report["tables"]
    drawn = draw_auto(Figure, tables["cells"], folder) if "cells" in tables else []
    return [*drawn, _draw_deferral(Figure, report, folder)] if "curves" in tables else drawn


def _draw_deferral(Figure: Any, report: Mapping[str, Any], folder: Path) -> Path:
    """Accuracy over the share of requests that the largest model answers, and over the cost of the cascade."""
    curves = report["tables"]["curves"]
    figure = Figure(figsize=(11, 4.2), layout="constrained")
    left, right = figure.subplots(1, 2, sharey=True)
    for name, colour in ((name, colour) for name, colour in COLOURS.items() if name in curves):
        left.plot(*zip(*curves[name], strict=True), color=colour, label=name)
    left.set(xlabel="share of requests answered by the largest model", ylabel="share right", title="deferral, smallest to largest model")
    left.legend(fontsize="small")
    walk = sorted(curves["walk"])
    right.plot(*zip(*walk, strict=True), color="tab:red", marker=".", label="cascade over all models")
    right.plot(*zip(*sorted(curves["route_walk"]), strict=True), color="tab:purple", marker=".", label="route over all models")
    for name, cost in ((key.removeprefix("cost_"), value) for key, value in report["figures"].items() if key.startswith("cost_")):
        if (accuracy := report["figures"].get(f"accuracy_{name}")) is not None:
            right.plot([cost], [accuracy], "s", label=f"{name} alone")
    right.set(xlabel="cost a request, in calls of the largest model; failed attempts count", title="accuracy against cost")
    right.legend(fontsize="small")
    for axis in (left, right):
        axis.grid(alpha=0.3)
    path = folder / "deferral.png"
    figure.savefig(path, dpi=80)
    return path
