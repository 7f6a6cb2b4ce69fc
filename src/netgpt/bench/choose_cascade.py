"""How well escalation works on recorded outcomes: deferral (`measures`), calibration, accuracy against cost."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence

import numpy as np
from numpy.typing import NDArray

from netgpt.bench.choose_climb import climb_figures
from netgpt.bench.choose_consistency import CONSISTENCY, consistency, consistency_figures
from netgpt.bench.choose_kept import first_asked, kept_figures
from netgpt.bench.measures import (
    Figures,
    Floats,
    area_share,
    auroc,
    brier_skill,
    calibration_error,
    deferral_curve,
    resampled,
    rounded,
    share_figures,
)
from netgpt.bench.outcomes import Outcomes, Verdicts, short_name
from netgpt.core.chance import SeededChance
from netgpt.core.errors import UsageError
from netgpt.core.statistics import wilson_interval
from netgpt.inference.boosting import fit_forest
from netgpt.inference.calibration import LEAST_TASKS, fit_calibration, fit_curve
from netgpt.inference.confidence import FEATURES, Calibration, Calibrations, mixed
from netgpt.inference.escalation import PRICES, Outlook, price_for_accuracy
from netgpt.inference.words import Words, fit_words

FOLDS = 5
TARGET_SHARE = 0.97  # of the largest model's accuracy


def calibrations_of(outcomes: Outcomes, price: float = 0.0) -> Calibrations:
    """A calibration of every model but the largest."""
    return Calibrations(price=price, models={model: calibrate(outcomes, model) for model in outcomes.models[:-1]})


def calibrate(outcomes: Outcomes, model: str) -> Calibration:
    larger = outcomes.models[outcomes.models.index(model) + 1 :]
    others = {other: outcomes.right[other] for other in larger}
    agrees = {other: outcomes.agree(model, other) for other in larger}
    words, said = fit_words(outcomes.words), fit_words(outcomes.said[model])
    beside_NG = outcomes.beside(model, words, said, own=1)
    return fit_calibration(model, outcomes.evidence[model], outcomes.right[model], others, agrees, beside_NG=beside_NG, words=words, said=said)


def fitted_price(outcomes: Outcomes, costs: Mapping[str, float], choose: Callable[[Sequence[Outlook]], Outlook] | None = None) -> Outlook:
    """The price to ship: by default the cheapest that keeps `TARGET_SHARE` of the largest model's accuracy. Cross-fitted."""
    target = TARGET_SHARE * float(outcomes.right[outcomes.models[-1]].mean())
    outlooks = cross_fitted_outlooks(outcomes, costs)
    return choose(outlooks) if choose else price_for_accuracy(outlooks, target)


def cross_fitted_outlooks(outcomes: Outcomes, costs: Mapping[str, float]) -> list[Outlook]:
    """What each price gives, every task judged by calibrations of the other folds."""
    fold_N = np.arange(len(outcomes)) % FOLDS
    parts = [(outcomes.only(fold_N == fold), calibrations_of(outcomes.only(fold_N != fold))) for fold in range(FOLDS)]
    found = [walks(part, calibrations, costs) for part, calibrations in parts]
    sizes = np.array([len(part) for part, _ in parts], dtype=np.float64)
    return [_mean_outlook([outlooks[i] for outlooks in found], sizes) for i in range(len(PRICES))]


def _mean_outlook(parts: Sequence[Outlook], sizes: Floats) -> Outlook:
    def mean(read: Callable[[Outlook], float]) -> float:
        return float(np.average([read(one) for one in parts], weights=sizes))

    return Outlook(
        price=parts[0].price,
        accuracy=mean(lambda one: one.accuracy),
        large_share=mean(lambda one: one.large_share),
        cost=mean(lambda one: one.cost),
    )


def walks(outcomes: Outcomes, calibrations: Calibrations, costs: Mapping[str, float]) -> list[Outlook]:
    """What the cascade gives at every price of `PRICES`, failed attempts counted: `escalation.choose_next` for all tasks at once."""
    models = outcomes.models
    right_MN = np.array([outcomes.right[model] for model in models])
    cost_M = np.array([costs[model] for model in models])
    gain_MMN = np.full((len(models), len(models), len(outcomes)), -np.inf)  # of going on from the first to the second
    for place, model in enumerate(models[:-1]):
        expected = outcomes.expected(calibrations.models[model])
        for other in range(place + 1, len(models)):
            gain_MMN[place, other] = expected[models[other]] - expected[model]
    return [_walk(float(price), right_MN, cost_M, gain_MMN) for price in PRICES]


def _walk(price: float, right_MN: NDArray[np.bool_], cost_M: Floats, gain_MMN: Floats) -> Outlook:
    count = right_MN.shape[1]
    at_N = np.zeros(count, dtype=np.int64)
    cost = cost_M[0] * count
    for place in range(len(cost_M) - 1):
        worth_MN = gain_MMN[place] - price * cost_M[:, None]
        best_N = worth_MN.argmax(0)
        goes_on_N = (at_N == place) & (worth_MN.max(0) > 0)
        cost += cost_M[best_N[goes_on_N]].sum()
        at_N[goes_on_N] = best_N[goes_on_N]
    last = len(cost_M) - 1
    right = right_MN[at_N, np.arange(count)]
    return Outlook(price=price, accuracy=float(right.mean()), large_share=float((at_N == last).mean()), cost=float(cost / count))


def held_out_family_probabilities(fitted_on: Outcomes, judged: Outcomes, model: str) -> Floats:
    """Of each judged task that `model` is right, by a fit that saw no task of its family: shape (N,)."""
    families, of_fit = np.array(judged.families), np.array(fitted_on.families)
    probability_N = np.zeros(len(judged))
    for family in np.unique(families):
        others = of_fit != family
        if others.sum() < LEAST_TASKS:
            raise UsageError(
                f"without family {family!r} {others.sum()} tasks are left to fit on", hint=f"record {LEAST_TASKS} or more of other families"
            )
        seen, right_N = fitted_on.only(others), fitted_on.right[model][others]
        words, said = fit_words(seen.words), fit_words(seen.said[model])
        seen_NF, asked_NF = _with_scene(seen, model, words, said, own=1), _with_scene(judged.only(families == family), model, words, said)
        forest, curve = fit_forest(seen_NF, right_N), fit_curve(seen_NF[:, : len(FEATURES)], right_N)
        probability_N[families == family] = mixed(forest, curve, asked_NF)
    return probability_N


def _with_scene(outcomes: Outcomes, model: str, words: Words, said: Words, *, own: int = 0) -> Floats:
    return np.concatenate((np.array([one.features() for one in outcomes.evidence[model]]), outcomes.beside(model, words, said, own=own)), axis=1)


def confidence_figures(fitted_on: Outcomes, judged: Outcomes) -> Figures:
    """Calibration on families that were held out of it; `ece`, `auroc`, `brier_skill` are the smallest model's."""
    figures: Figures = {}
    for model in judged.models[:-1]:
        prefix = "" if model == judged.models[0] else f"{short_name(model)}_"
        figures |= _probability_figures(prefix, held_out_family_probabilities(fitted_on, judged, model), judged.right[model])
    return figures


def _probability_figures(prefix: str, probability_N: Floats, right_N: Verdicts) -> Figures:
    figures: Figures = {}
    for name, measure in (("ece", calibration_error), ("auroc", auroc), ("brier_skill", brier_skill)):

        def of_places(places: NDArray[np.int64], measure: Callable[[Floats, Verdicts], float] = measure) -> float:
            return measure(probability_N[places], right_N[places])

        low, high = resampled(len(right_N), of_places, name=name, resamples=200)
        whole = rounded(measure(probability_N, right_N))
        figures |= {f"{prefix}{name}": whole, f"{prefix}{name}_low": rounded(low), f"{prefix}{name}_high": rounded(high)}
    return figures


def cascade_figures(fitted_on: Outcomes, judged: Outcomes, costs: Mapping[str, float]) -> tuple[Figures, dict[str, list[list[float]]]]:
    """Deferral from the smallest to the largest model, and the whole cascade, by calibrations of other tasks.

    Args:
        costs: of a call of each model, as a share of the largest one's.

    Returns:
        Flat figures; and the curves: (share deferred, accuracy) of each way to defer, (cost, accuracy) of the cascade.
    """
    small, large = judged.models[0], judged.models[-1]
    gain_N = judged.right[large].astype(np.float64) - judged.right[small]
    groups_N = np.unique(judged.families, return_inverse=True)[1]
    scores = deferral_scores(fitted_on, judged, small, large)
    figures: Figures = {"tasks": len(judged), "calibration_tasks": len(fitted_on), **_accuracies(judged)}
    for name, score_N in scores.items():
        figures[f"{name}_area"] = rounded(area_share(score_N, gain_N))
        figures[f"{name}_area_within"] = rounded(area_share(score_N, gain_N, groups_N))
    score_N = scores["cascade"]
    low, high = resampled(len(judged), lambda places: area_share(score_N[places], gain_N[places]), name="area")
    figures |= {"cascade_area_low": rounded(low), "cascade_area_high": rounded(high)}
    low, high = resampled(len(judged), lambda places: area_share(score_N[places], gain_N[places], groups_N[places]), name="within")
    figures |= {"cascade_area_within_low": rounded(low), "cascade_area_within_high": rounded(high)}
    if CONSISTENCY in scores:
        figures |= consistency_figures(judged, scores, costs, TARGET_SHARE)
    calibrations = calibrations_of(fitted_on)
    outlooks = walks(judged, calibrations, costs)
    price = fitted_price(fitted_on, costs).price
    figures |= _priced_figures(price, judged, outlooks) | climb_figures(judged, calibrations, price)
    if judged.continued:
        figures |= kept_figures(judged, first_asked(judged, calibrations.models[small], costs, price))
    curves = {name: deferral_curve(score_N, gain_N, float(judged.right[small].mean())) for name, score_N in (*scores.items(), ("oracle", gain_N))}
    curves["walk"] = [[rounded(one.cost), rounded(one.accuracy)] for one in outlooks]
    return figures, curves


def deferral_scores(fitted_on: Outcomes, judged: Outcomes, small: str, large: str) -> dict[str, Floats]:
    """What to defer first, by each way: the cascade's expected gain, and the baselines."""
    calibration = calibrate(fitted_on, small)
    expected = judged.expected(calibration)
    features = np.array([one.features() for one in judged.evidence[small]])
    plain = calibration.expected(features, None)
    likelihood_N = np.array([float(np.mean(one.logprobs)) for one in judged.evidence[small]])
    drawn = {CONSISTENCY: -consistency(judged.texts[small], judged.samples)} if judged.samples else {}
    return {
        "cascade": expected[large] - expected[small],
        "evidence": plain[large] - plain[small] + 1e-6 * (calibration.others[large].scores(features) - calibration.right.scores(features)),
        "likelihood": -likelihood_N,  # length-normalised
        "margin": -np.array([float(one.margins.min()) for one in judged.evidence[small]]),
        **drawn,
        "random": SeededChance(0).stream("random deferral").random(len(judged)),
    }


def _priced_figures(price: float, judged: Outcomes, outlooks: Sequence[Outlook]) -> Figures:
    """At the price that was fitted for 97 % of the largest model's accuracy, and at the one that hindsight would take."""
    at = min(outlooks, key=lambda one: abs(one.price - price))
    best = float(judged.right[judged.models[-1]].mean())
    hindsight = price_for_accuracy(outlooks, TARGET_SHARE * best)
    low, high = wilson_interval(round(at.large_share * len(judged)), len(judged))
    return {
        "cascade_price": rounded(price),
        "cascade_accuracy": rounded(at.accuracy),
        "cascade_accuracy_share_of_large": rounded(at.accuracy / best),
        "cascade_large_share": rounded(at.large_share),
        "cascade_large_share_low": rounded(low),
        "cascade_large_share_high": rounded(high),
        "cascade_cost": rounded(at.cost),
        "large_share_at_97": rounded(hindsight.large_share),
        "cost_at_97": rounded(hindsight.cost),
    }


def _accuracies(outcomes: Outcomes) -> Figures:
    figures: Figures = {}
    for model in outcomes.models:
        figures |= share_figures(f"accuracy_{short_name(model)}", outcomes.right[model])
    return figures
