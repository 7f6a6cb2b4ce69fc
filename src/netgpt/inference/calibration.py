"""Fits what `confidence` and `routing` read: logistic regression on an answer's evidence, then isotonic regression on its score; boosted
trees on that and what is known beside it; known prompts for the nearest to be found among.

Sources: isotonic regression by pooling adjacent violators, Ayer et al., Ann. Math. Stat. 26 (1955); calibration on it, Zadrozny and
Elkan, KDD 2002. Pure; numpy alone.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from netgpt.core.errors import UsageError
from netgpt.inference.boosting import Forest, fit_forest
from netgpt.inference.confidence import Calibration, Evidence
from netgpt.inference.curve import Curve
from netgpt.inference.routing import BOOSTED, WIDEST, Nearest, Router, lasting_features, mean_of_nearest, text_features
from netgpt.inference.words import Words

RIDGE = 3.0  # of standardised weights
NEWTON_STEPS = 30
BIN_TASKS = 40  # averaged before isotonic regression: its ends would else be 0 and 1
LEAST_TASKS = 5 * BIN_TASKS
KEPT_PROMPTS, KEPT_DIRECTIONS = 4000, 16  # of a router by nearest prompts
PROBES = 1000  # of these, by which it is found how far known prompts lie apart;
LIKE, UNLIKE = 0.95, 0.999  # up to the first share of them are like the others, from the second on not

Verdicts = NDArray[np.bool_]


def fit_calibration(
    model: str,
    evidence: Sequence[Evidence],
    right: Verdicts,
    others: Mapping[str, Verdicts],
    agrees: Mapping[str, Verdicts],
    *,
    beside_NG: NDArray[np.float64] | None = None,
    words: Words | None = None,
    said: Words | None = None,
) -> Calibration:
    """What `model`'s evidence says.

    Args:
        evidence: of its answer to each task.
        right: whether that was right, shape (tasks,).
        others: of each larger model, whether its answer to the same task was.
        agrees: of each larger model, whether it gave the same answer, word for word.
        beside_NG: `Scene.features` of each answer, of one width, its own prompt and itself not among the words met; None: no trees.
        words, said: those that `beside_NG` was made with; None: nothing is known of any.

    Raises:
        UsageError: too few tasks.
    """
    if len(evidence) < LEAST_TASKS:
        raise UsageError(f"{len(evidence)} answers of {model!r} are too few to calibrate it", hint=f"record {LEAST_TASKS} tasks or more")
    features = np.array([one.features() for one in evidence])
    return Calibration(
        model=model,
        tasks=len(evidence),
        right=fit_curve(features, right),
        others={name: fit_curve(features, verdicts) for name, verdicts in others.items()},
        agrees={name: fit_curve(features, verdicts) for name, verdicts in agrees.items()},
        forests={} if beside_NG is None else _forests(np.concatenate((features, beside_NG), axis=1), {model: right, **others}),
        words=words or Words(),
        said=said or Words(),
    )


def _forests(features_NF: NDArray[np.float64], verdicts: Mapping[str, Verdicts]) -> dict[str, Forest]:
    return {name: fit_forest(features_NF, right_N) for name, right_N in verdicts.items()}


def fit_router(
    features_NF: NDArray[np.float64], verdicts: Mapping[str, Verdicts], *, kind: str = BOOSTED, price: float = 0.0, words: Words | None = None
) -> Router:
    """How to choose by prompts.

    Args:
        features_NF: of each task's prompt the surface, how usual its words are (without itself), and the state.
        verdicts: of each model, the smallest first, whether it was right.
        words: those that `features_NF` was made with; None: nothing is known of any.

    Raises:
        UsageError: too few tasks.
    """
    if len(features_NF) < LEAST_TASKS:
        raise UsageError(f"{len(features_NF)} tasks are too few for a router", hint=f"record {LEAST_TASKS} tasks or more")
    forests = _forests(features_NF, verdicts)
    return Router(
        tasks=len(features_NF),
        models=tuple(verdicts),
        kind=kind,
        price=price,
        forests=tuple(forests.values()),
        nearest=fit_nearest(text_features(features_NF), np.stack(list(verdicts.values()), axis=1)),
        plain=fit_curve(lasting_features(features_NF), next(iter(verdicts.values()))),
        shares=tuple(round(float(right_N.mean()), 4) for right_N in verdicts.values()),
        words=words or Words(),
    )


def fit_nearest(features_NF: NDArray[np.float64], right_NO: Verdicts) -> Nearest:
    """Known prompts in the directions in which they differ most, one byte a coordinate. Of many, evenly spread ones are kept."""
    mean_F, scale_F = (np.array(_tuple(values)) for values in (features_NF.mean(0), features_NF.std(0) + 1e-6))
    kept = np.unique(np.linspace(0, len(features_NF) - 1, KEPT_PROMPTS).astype(np.int64))
    standard_MF = np.clip((features_NF[kept] - mean_F) / scale_F, -WIDEST, WIDEST)
    directions_KF = np.linalg.svd(standard_MF, full_matrices=False)[2][:KEPT_DIRECTIONS]
    axes_FK = np.round(directions_KF.T.astype(np.float64), 4)
    places_MK = standard_MF @ axes_FK
    step = float(f"{np.abs(places_MK).max() / 127:.6g}")
    points_MK = np.clip(np.round(places_MK / step), -127, 127).astype(np.int8)
    blind = Nearest(mean_F=mean_F, scale_F=scale_F, axes_FK=axes_FK, points_MK=points_MK, step=step, right_MO=right_NO[kept], near=0.0, far=1.0)
    probes = np.linspace(0, len(kept) - 1, PROBES).astype(np.int64)
    away_N = mean_of_nearest(blind.away(features_NF[kept][probes]), but=1)  # each from the others
    near, far = (float(f"{value:.5g}") for value in np.quantile(away_N, (LIKE, UNLIKE)))
    return replace(blind, near=near, far=far)


def fit_curve(features: NDArray[np.float64], right: Verdicts) -> Curve:
    """From features, shape (N, F), to the probability of `right`, shape (N,)."""
    mean, scale = features.mean(0), features.std(0) + 1e-9
    weights = fit_logistic((features - mean) / scale, right)
    scores = (features - mean) / scale @ weights[1:] + weights[0]
    knots, heights, counts = isotonic(scores, right)
    linear = {"mean": _tuple(mean), "scale": _tuple(scale), "weights": _tuple(weights[1:]), "bias": float(weights[0])}
    return Curve(**linear, knots=knots, heights=heights, counts=counts)


def fit_logistic(features: NDArray[np.float64], right: Verdicts, ridge: float = RIDGE) -> NDArray[np.float64]:
    """Ridge-penalised maximum likelihood by Newton's method: shape (F + 1,), the bias first and not penalised."""
    rows = np.c_[np.ones(len(features)), features]
    penalty = ridge * np.eye(rows.shape[1])
    penalty[0, 0] = 1e-6
    weights = np.zeros(rows.shape[1])
    for _ in range(NEWTON_STEPS):
        probability = 1 / (1 + np.exp(-np.clip(rows @ weights, -30, 30)))
        curvature = (rows.T * (probability * (1 - probability))) @ rows + penalty
        weights = weights - np.linalg.solve(curvature, rows.T @ (probability - right) + penalty @ weights)
    return weights


def isotonic(
    scores: NDArray[np.float64], right: Verdicts, bin_tasks: int = BIN_TASKS
) -> tuple[tuple[float, ...], tuple[float, ...], tuple[int, ...]]:
    """(knots, heights, counts) of the rising curve nearest to the outcomes: means of neighbouring bins, those that fall pooled."""
    order = np.argsort(scores, kind="stable")
    bins = np.array_split(order, max(len(order) // bin_tasks, 1))
    pools: list[tuple[float, float, int]] = []  # sums of scores and outcomes, and how many
    for one in bins:
        pools.append((float(scores[one].sum()), float(right[one].sum()), len(one)))
        while len(pools) > 1 and pools[-2][1] / pools[-2][2] >= pools[-1][1] / pools[-1][2]:
            last = pools.pop()
            pools[-1] = (pools[-1][0] + last[0], pools[-1][1] + last[1], pools[-1][2] + last[2])
    heights = np.maximum.accumulate([(hits + 0.5) / (count + 1) for _, hits, count in pools])
    return _tuple(np.array([score / count for score, _, count in pools])), _tuple(heights), tuple(count for _, _, count in pools)


def _tuple(values: NDArray[np.float64]) -> tuple[float, ...]:
    return tuple(float(f"{value:.7g}") for value in values)
