"""Who should answer: how well NetGPT's policies choose, beside random, baselines and the oracle.

Policies are fitted on held-out tasks that are not judged (`outcomes.calibration_tasks`) and judged on the frozen mix; with a recording, on
one half of its tasks and on the other. Answers are decoded greedily, once for each model; every policy is judged on these.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from netgpt.bench.choose_cascade import cascade_figures, confidence_figures
from netgpt.bench.choose_route import route_figures
from netgpt.bench.conditions import conditions, tell
from netgpt.bench.outcomes import Outcomes, calibration_tasks, installed_costs, installed_outcomes, recorded_outcomes
from netgpt.core.chance import digest64
from netgpt.core.errors import MissingExtra
from netgpt.corpus.draw import judged_tasks, read_mix
from netgpt.models.recording import read_recording

QUICK_ONE_IN, QUICK_A_GRADE = 12, 6
COLOURS = {"oracle": "black", "cascade": "tab:red", "likelihood": "tab:blue", "route": "tab:purple", "random": "tab:gray"}


def run(quick: bool, *, recording: Path | None = None, models: Sequence[str] = ()) -> dict[str, Any]:
    """Judge the policies; some 9 minutes on two cores, most of it decoding; under a minute if `quick`.

    Args:
        recording: outcomes of other models, named by `models`, the smallest first, whose calls cost the same.

    Returns:
        {"suite": "choose", "figures": {name: number}, "tables": {"curves": ...}, "conditions": {...}}.

    Raises:
        ModelNotFound: a tier's model is not installed.
        UsageError: the recording cannot be used.
    """
    about = conditions(packages=("numpy",), source=recording.name if recording else "installed models", mix=read_mix().digest)
    fitted_on, judged, costs = _recorded(recording, models) if recording else _installed(quick)
    figures, curves = cascade_figures(fitted_on, judged, costs)
    figures |= confidence_figures(fitted_on, judged)
    routed, route_curves = route_figures(fitted_on, judged, costs)
    figures, curves = figures | routed, curves | route_curves
    figures |= {f"cost_{model.removeprefix('netgpt-')}": round(cost, 4) for model, cost in costs.items()}
    return {"suite": "choose", "figures": figures, "tables": {"curves": curves}, "conditions": about}


def _installed(quick: bool) -> tuple[Outcomes, Outcomes, Mapping[str, float]]:
    fitted_on = installed_outcomes(calibration_tasks(QUICK_A_GRADE) if quick else calibration_tasks(), say=tell)
    judged = installed_outcomes(judged_tasks()[:: QUICK_ONE_IN if quick else 1], say=tell)
    return fitted_on, judged, installed_costs()


def _recorded(recording: Path, models: Sequence[str]) -> tuple[Outcomes, Outcomes, Mapping[str, float]]:
    outcomes = recorded_outcomes(read_recording(recording), models)
    first = np.array([digest64("choose", messages) % 2 == 0 for messages in outcomes.messages])
    return outcomes.only(first), outcomes.only(~first), dict.fromkeys(models, 1.0)


def draw_pictures(report: Mapping[str, Any], folder: Path) -> list[Path]:
    """`deferral.png`: accuracy over the share of requests that the largest model answers, and over the cost of the cascade.

    Raises:
        MissingExtra: matplotlib is not installed.
    """
    try:
        from matplotlib.figure import Figure
    except ImportError as error:
        raise MissingExtra("pictures need matplotlib", hint="pip install 'netgpt[plot]'") from error
    folder.mkdir(parents=True, exist_ok=True)
    curves = report["tables"]["curves"]
    figure = Figure(figsize=(11, 4.2), layout="constrained")
    left, right = figure.subplots(1, 2, sharey=True)
    for name, colour in COLOURS.items():
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
    return [path]
