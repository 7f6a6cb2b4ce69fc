"""How well a policy of another package chooses who answers, on the tasks and by the measures of the cascade.

It is asked twice about every task. *After* the smallest model's answer: keep that, or ask a larger one; what it gives the largest model above
what it gives keeping orders the tasks for a deferral curve, and its choices, followed from model to model, have an accuracy and a cost.
*Before* any answer: which model alone. It sees what a door sees: the conversation, sizes, confidence, calibrated chances, and what
the declared machines of the grid of `auto` would take over one link. Calibrations are fitted on other tasks; verdicts it never sees.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import cast

import numpy as np
from numpy.typing import NDArray

from netgpt.bench.auto_cells import MACHINES, Cell, machine, power_w
from netgpt.bench.choose_cascade import calibrations_of
from netgpt.bench.measures import Figures, area_share, deferral_curve, resampled, share_figures
from netgpt.bench.outcomes import TIERS, Outcomes
from netgpt.core.errors import UsageError
from netgpt.inference.confidence import FEATURES, Calibrations, Scene
from netgpt.inference.estimates import Estimates, NodeView
from netgpt.inference.objective import INTERACTIVE
from netgpt.inference.planning import DIRECT, Candidate
from netgpt.inference.planning import Features as Sizes
from netgpt.inference.policy import NamedPolicy, Option, PolicyFailed, Situation, option_of
from netgpt.inference.predicting import predict
from netgpt.network.member import Member, Tier
from netgpt.network.offer import Offer, pace_of

Floats = NDArray[np.float64]
Curve = list[list[float]]
PROBE_BYTES = 1400


@dataclass(frozen=True, kw_only=True)
class Bench:
    """What is known of the models before any of the judged tasks: the smallest model's first, as everywhere here."""

    models: tuple[str, ...]
    costs: tuple[float, ...]
    shares: tuple[float, ...]  # of other tasks that each answers rightly
    views: tuple[NodeView, ...]
    answer_tokens: float


def policy_figures(
    policy: NamedPolicy, fitted_on: Outcomes, judged: Outcomes, costs: Mapping[str, float], cell: Cell
) -> tuple[Figures, dict[str, Curve]]:
    """Judge a policy.

    Args:
        fitted_on: other tasks, for calibrations and shares.
        costs: of a call of each model, as a share of the largest one's.
        cell: how far away edge and cloud are.

    Returns:
        Flat figures `policy_...` (after an answer) and `policy_before_...`, and the deferral curves of both.

    Raises:
        UsageError: the policy fails; names it and the task.
    """
    bench = bench_of(fitted_on, costs, cell)
    calibrations = calibrations_of(fitted_on)
    places = range(len(judged.models) - 1)
    after = [_asked(policy, judged, [after_answer(bench, calibrations, judged, place, i) for i in range(len(judged))]) for place in places]
    before_NM = _asked(policy, judged, [before_answer(bench, judged, i) for i in range(len(judged))])
    at_N, cost_N = _walk(after, bench.costs)
    first_N = before_NM.argmax(1)
    kept = {
        "policy": (after[0][:, -1] - after[0][:, 0], at_N, cost_N),
        "policy_before": (before_NM[:, -1] - before_NM[:, 0], first_N, np.array(bench.costs)[first_N]),
    }
    gain_N = judged.right[judged.models[-1]].astype(np.float64) - judged.right[judged.models[0]]
    figures: Figures = {}
    curves: dict[str, Curve] = {}
    for name, (score_N, answers_N, paid_N) in kept.items():
        figures |= _figures(name, judged, gain_N, score_N, answers_N, paid_N)
        curves[name] = deferral_curve(score_N, gain_N, float(judged.right[judged.models[0]].mean()))
    return figures, curves


def bench_of(fitted_on: Outcomes, costs: Mapping[str, float], cell: Cell) -> Bench:
    """What a door knows of the models, and of nodes of the tiers' declared machines at the distance of `cell`, seen by two probes each."""
    models = fitted_on.models
    tiers = [TIERS[-1] if place == len(models) - 1 else TIERS[min(place, 1)] for place in range(len(models))]
    estimates = Estimates(f"{TIERS[0]}0")
    views = []
    for place, tier in enumerate(tiers):
        declared = machine(tier)
        member = Member(
            id=f"{tier}{place}",
            tier=cast(Tier, tier),
            engine_address="",
            door_url="",
            slots=MACHINES[tier][2],
            offer=Offer(pace=pace_of(declared), power_w=power_w(tier)),
        )
        if place:
            rtt_s = cell.rtt_to(tier)
            estimates.probed(member, rtt_s, 0.0)
            estimates.probed_rate(member, 8 * PROBE_BYTES / cell.up_bps, PROBE_BYTES, 0.0)
        views.append(estimates.view(member, 0.0, own=0))
    return Bench(
        models=models,
        costs=tuple(costs[model] for model in models),
        shares=tuple(float(fitted_on.right[model].mean()) for model in models),
        views=tuple(views),
        answer_tokens=float(np.mean([len(one.logprobs) for one in fitted_on.evidence[models[0]]])),
    )


def before_answer(bench: Bench, judged: Outcomes, task: int) -> Situation:
    """Of a task that nobody has answered."""
    options = [_option(bench, judged, task, place, share) for place, share in enumerate(bench.shares)]
    return _situation(bench, judged, task, "", {}, options)


def after_answer(bench: Bench, calibrations: Calibrations, judged: Outcomes, place: int, task: int) -> Situation:
    """Of a task that the model at `place` has answered: the first option keeps that."""
    model = bench.models[place]
    evidence = judged.evidence[model][task]
    state = () if place else judged.states[task].tolist()  # a larger model's states stay on its node
    scene = Scene(messages=judged.messages[task], answer=judged.texts[model][task], state=state)
    said = calibrations.models[model].judge(evidence, scene)
    view = bench.views[place]
    keep = Option(
        nodes=(view.id,),
        model=model,
        tier=view.tier,
        strategy="keep",
        quality=said.right,
        cost=0.0,
        ttft_s=0.0,
        total_s=0.0,
        energy_j=0.0,
        payload_bytes=0.0,
        rtt_s=view.rtt_s,
        up_bps=0.0,
        running=0.0,
    )
    larger = range(place + 1, len(bench.models))
    options = [keep, *(_option(bench, judged, task, other, said.others[bench.models[other]]) for other in larger)]
    return _situation(bench, judged, task, model, dict(zip(FEATURES, map(float, evidence.features()), strict=True)), options)


def _option(bench: Bench, judged: Outcomes, task: int, place: int, quality: float) -> Option:
    view = bench.views[place]
    sizes = Sizes(prompt_tokens=int(judged.prompt_tokens[task]), answer_tokens=bench.answer_tokens, short_tokens=bench.answer_tokens)
    prediction = predict(Candidate(strategy=DIRECT, nodes=(view.id,)), sizes, {view.id: view}, judged={view.id: quality})
    return option_of(prediction, view, model=bench.models[place], cost=bench.costs[place])


def _situation(bench: Bench, judged: Outcomes, task: int, answered: str, confidence: Mapping[str, float], options: Sequence[Option]) -> Situation:
    return Situation(
        messages=judged.messages[task],
        prompt_tokens=int(judged.prompt_tokens[task]),
        answer_tokens=bench.answer_tokens,
        service=INTERACTIVE,
        battery=None,
        answered=answered,
        confidence=confidence,
        options=tuple(options),
    )


def _asked(policy: NamedPolicy, judged: Outcomes, situations: Sequence[Situation]) -> Floats:
    """What the policy gives the options of each situation: shape (N, options)."""
    rows = []
    for task, situation in enumerate(situations):
        try:
            rows.append(policy.weigh(situation))
        except PolicyFailed as error:
            question = next((content for _, content in reversed(judged.messages[task])), "")[:60]
            asked = f"after {situation.answered}'s answer" if situation.answered else "before any answer"
            hint = f"it was asked {asked} about {question!r}"
            raise UsageError(str(error), hint=hint, param="policy") from error
    return np.array(rows)


def _walk(after: Sequence[Floats], costs: Sequence[float]) -> tuple[NDArray[np.int64], Floats]:
    """Whose answer stands for each task, and what all calls cost, failed attempts too: shapes (N,), (N,)."""
    count = len(after[0])
    at_N, cost_N = np.zeros(count, dtype=np.int64), np.full(count, costs[0])
    for place, worth_NK in enumerate(after):
        onward_N = np.where(at_N == place, worth_NK.argmax(1), 0)
        cost_N = cost_N + np.where(onward_N > 0, np.array(costs)[place + onward_N], 0.0)
        at_N = at_N + onward_N
    return at_N, cost_N


def _figures(name: str, judged: Outcomes, gain_N: Floats, score_N: Floats, at_N: NDArray[np.int64], cost_N: Floats) -> Figures:
    groups_N = np.unique(judged.families, return_inverse=True)[1]
    right_N = np.array([judged.right[model] for model in judged.models])[at_N, np.arange(len(judged))]
    measures = {
        "area": lambda places: area_share(score_N[places], gain_N[places]),
        "area_within": lambda places: area_share(score_N[places], gain_N[places], groups_N[places]),
        "cost": lambda places: float(cost_N[places].mean()),
        "large_share": lambda places: float((at_N[places] == len(judged.models) - 1).mean()),
    }
    figures: Figures = {}
    everything = np.arange(len(judged))
    for what, measure in measures.items():
        low, high = resampled(len(judged), measure, name=f"{name} {what}")
        figures |= _bounded(f"{name}_{what}", measure(everything), low, high)
    return figures | share_figures(f"{name}_accuracy", right_N)


def _bounded(name: str, whole: float, low: float, high: float) -> Figures:
    return {name: round(whole, 4), f"{name}_low": round(low, 4), f"{name}_high": round(high, 4)}
