"""How well `route` chooses before any model answers: its lead over random mixing as a share of the oracle's, calibration, and its time.

By boosted trees and by nearest prompts; on families that the fit has seen, and on families that were held out of it.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from netgpt.bench.choose_cascade import FOLDS, TARGET_SHARE
from netgpt.bench.measures import Figures, Floats, area_share, auroc, calibration_error, deferral_curve, resampled, rounded
from netgpt.bench.outcomes import Outcomes
from netgpt.inference.calibration import fit_router
from netgpt.inference.escalation import PRICES, Outlook
from netgpt.inference.routing import BOOSTED, KINDS, KNN, Router, choose_model
from netgpt.inference.words import fit_words

UNSEEN_GROUPS = 6  # of families, each held out of a fit of its own
TIMED = 400  # decisions whose time is taken
KIND_PREFIX = {BOOSTED: "route", KNN: "route_knn"}


def router_of(outcomes: Outcomes, *, kind: str = BOOSTED, price: float = 0.0) -> Router:
    """A router between all models of the outcomes."""
    words = fit_words(outcomes.words)
    verdicts = {model: outcomes.right[model] for model in outcomes.models}
    return fit_router(outcomes.prompts(words, own=1), verdicts, kind=kind, price=price, words=words)


def route_outlooks(outcomes: Outcomes, expected_NO: Floats, costs: Mapping[str, float]) -> list[Outlook]:
    """What each price of `PRICES` gives: `routing.choose_model` for all tasks at once."""
    right_NO = np.stack([outcomes.right[model] for model in outcomes.models], axis=1)
    cost_O = np.array([costs[model] for model in outcomes.models])
    found: list[Outlook] = []
    for price in PRICES:
        chosen_N = (expected_NO - price * cost_O).argmax(1)
        right = float(right_NO[np.arange(len(outcomes)), chosen_N].mean())
        large_share = float((chosen_N == len(cost_O) - 1).mean())
        found.append(Outlook(price=float(price), accuracy=right, large_share=large_share, cost=float(cost_O[chosen_N].mean())))
    return found


def fitted_route_price(outcomes: Outcomes, costs: Mapping[str, float], choose: Callable[[list[Outlook]], Outlook], *, kind: str = BOOSTED) -> Outlook:
    """The outlook that is wanted, every task judged by a router of the other folds."""
    fold_N = np.arange(len(outcomes)) % FOLDS
    expected_NO = np.zeros((len(outcomes), len(outcomes.models)))
    for fold in range(FOLDS):
        router = router_of(outcomes.only(fold_N != fold))
        expected_NO[fold_N == fold] = router.expected(outcomes.only(fold_N == fold).prompts(router.words), kind)
    return choose(route_outlooks(outcomes, expected_NO, costs))


def route_figures(fitted_on: Outcomes, judged: Outcomes, costs: Mapping[str, float]) -> tuple[Figures, dict[str, list[list[float]]]]:
    """Routing between all models, and between the smallest and the largest, by a fit to other tasks.

    Args:
        costs: of a call of each model, as a share of the largest one's.

    Returns:
        Flat figures; and curves: (share sent to the largest model, accuracy) of each kind, (cost, accuracy) over all models.
    """
    small, large = judged.right[judged.models[0]], judged.right[judged.models[-1]]
    gain_N = large.astype(np.float64) - small
    router = router_of(fitted_on)
    figures: Figures = {}
    curves: dict[str, list[list[float]]] = {}
    unseen, group_N = _unseen(fitted_on, judged)
    together_N = np.zeros_like(group_N)
    for kind in KINDS:
        prefix = KIND_PREFIX[kind]
        expected_NO = router.expected(judged.prompts(router.words), kind)
        for name, found_NO, groups_N in (("lead", expected_NO, together_N), ("unseen_lead", unseen[kind], group_N)):
            figures |= _lead_figures(f"{prefix}_{name}", found_NO[:, -1] - found_NO[:, 0], gain_N, groups_N)
        figures[f"{prefix}_auroc"] = rounded(auroc(expected_NO[:, 0], small))
        figures[f"{prefix}_ece"] = rounded(calibration_error(expected_NO[:, 0], small))
        figures[f"{prefix}_unseen_auroc"] = rounded(auroc(unseen[kind][:, 0], small))
        figures[f"{prefix}_unseen_ece"] = rounded(calibration_error(unseen[kind][:, 0], small))
        figures[f"{prefix}_decision_ms_p99"] = rounded(_decision_ms(router, judged, costs, kind))
        outlooks = route_outlooks(judged, expected_NO, costs)
        enough = [one for one in outlooks if one.accuracy >= TARGET_SHARE * float(large.mean())]
        at = min(enough, key=lambda one: one.cost, default=max(outlooks, key=lambda one: one.accuracy))
        figures |= {f"{prefix}_large_share_at_97": rounded(at.large_share), f"{prefix}_cost_at_97": rounded(at.cost)}
        curves[prefix] = deferral_curve(expected_NO[:, -1] - expected_NO[:, 0], gain_N, float(small.mean()))
        curves[f"{prefix}_walk"] = [[rounded(one.cost), rounded(one.accuracy)] for one in outlooks]
    return figures, curves


def _lead_figures(name: str, score_N: Floats, gain_N: Floats, groups_N: NDArray[np.int64]) -> Figures:
    low, high = resampled(len(gain_N), lambda places: area_share(score_N[places], gain_N[places], groups_N[places]), name=name)
    return {name: rounded(area_share(score_N, gain_N, groups_N)), f"{name}_low": rounded(low), f"{name}_high": rounded(high)}


def _unseen(fitted_on: Outcomes, judged: Outcomes) -> tuple[dict[str, Floats], NDArray[np.int64]]:
    """What each kind expects of tasks whose whole family was left out of its fit, and which tasks have the same router, shape (N,).

    Scores of two routers are not comparable, for each lacks what the other has seen: tasks are ordered within these groups alone.
    """
    families, of_fit = np.array(judged.families), np.array(fitted_on.families)
    group = {family: place % UNSEEN_GROUPS for place, family in enumerate(np.unique(families))}
    group_N, group_of_fit = np.array([group[family] for family in families]), np.array([group.get(family, -1) for family in of_fit])
    found = {kind: np.zeros((len(judged), len(judged.models))) for kind in KINDS}
    for place in np.unique(group_N):
        router = router_of(fitted_on.only(group_of_fit != place))
        for kind in KINDS:
            found[kind][group_N == place] = router.expected(judged.only(group_N == place).prompts(router.words), kind)
    return found, group_N


def _decision_ms(router: Router, judged: Outcomes, costs: Mapping[str, float], kind: str) -> float:
    """99th percentile of the time of a decision, from the state on: reading the prompt with the smallest model is not in it."""
    took_ms: list[float] = []
    width = judged.states.shape[1] // 2
    of_kind = replace(router, kind=kind, price=0.1)
    for place in range(min(TIMED, len(judged))):
        state = judged.states[place, :width].tolist()
        began_s = time.perf_counter()
        choose_model(of_kind.probabilities(judged.messages[place], state), costs, of_kind.price)
        took_ms.append(1000 * (time.perf_counter() - began_s))
    return float(np.percentile(took_ms, 99))
