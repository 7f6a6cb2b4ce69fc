"""What keeping the sure beginning of a doubted answer does, beside starting anew: on outcomes of both. Pure."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
from numpy.typing import NDArray

from netgpt.bench.measures import Figures, resampled, rounded
from netgpt.bench.outcomes import Outcomes
from netgpt.inference.confidence import Calibration


def first_asked(outcomes: Outcomes, calibration: Calibration, costs: Mapping[str, float], price: float) -> NDArray[np.int64]:
    """Which model is asked first after the smallest, by its place in `outcomes.models`; 0 where the answer is kept. Shape (N,)."""
    expected = outcomes.expected(calibration)
    worth_MN = np.array([expected[model] - expected[outcomes.models[0]] - price * costs[model] for model in outcomes.models])
    worth_MN[0] = 0.0
    return worth_MN.argmax(0)


def kept_figures(judged: Outcomes, asked_N: NDArray[np.int64]) -> Figures:
    """What it does to keep the sure beginning of the smallest model's answer, on the tasks that go up from it, at the model that they go to first.

    `cascade_kept_accuracy` beside `cascade_anew_accuracy`, their difference with bounds over tasks, and the share of its tokens that the larger
    model is spared.
    """
    up = np.flatnonzero(asked_N)
    if not len(up):
        return {"cascade_kept_tasks": 0}
    models = [judged.models[asked_N[i]] for i in up]
    kept_N = np.array([judged.continued[model].right[i] for model, i in zip(models, up, strict=True)], dtype=np.float64)
    anew_N = np.array([judged.right[model][i] for model, i in zip(models, up, strict=True)], dtype=np.float64)
    made_N = np.array([judged.continued[model].made[i] for model, i in zip(models, up, strict=True)], dtype=np.float64)
    whole_N = np.array([judged.continued[model].anew[i] for model, i in zip(models, up, strict=True)], dtype=np.float64)
    figures: Figures = {
        "cascade_kept_tasks": len(up),
        "cascade_kept_accuracy": rounded(float(kept_N.mean())),
        "cascade_anew_accuracy": rounded(float(anew_N.mean())),
    }

    def change(places: NDArray[np.int64]) -> float:
        return float((kept_N - anew_N)[places].mean())

    def spared(places: NDArray[np.int64]) -> float:
        return float(1 - made_N[places].sum() / whole_N[places].sum())

    for name, measure in (("cascade_kept_change", change), ("cascade_kept_spared", spared)):
        low, high = resampled(len(up), measure, name=name)
        figures |= {name: rounded(measure(np.arange(len(up)))), f"{name}_low": rounded(low), f"{name}_high": rounded(high)}
    return figures
