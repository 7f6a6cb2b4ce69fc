"""Who should answer this request, and how: what each way would take, and the choice among them. Pure.

A `Candidate` is a strategy with its nodes; `predict` says what it would take from views of those nodes, `choose` takes the one
that costs least (`objective.cost_s`) among those that keep the limits, stays with the last choice unless another is clearly better, and
now and then tries one of which too little is known. Candidates that privacy or capabilities forbid are never made: `choice.serving_nodes`
has left their nodes out. No clock, no node and no text here.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from dataclasses import replace
from itertools import combinations

from netgpt.core.errors import DeadlineTooShort, NotSupported
from netgpt.core.value import value
from netgpt.inference.estimates import OTHERS_ANSWER, OTHERS_PROMPT, NodeView, token_time_s, utilisation
from netgpt.inference.objective import Objective, cost_s
from netgpt.models.quality import compressed_quality, precision_quality
from netgpt.network.energy import LISTENING, RECEIVING, SENDING_23_DBM, fit_named

DIRECT, CASCADE, ROUTE = "direct", "cascade", "route"
TIERS = ("device", "edge", "cloud")
WHOLE, COMPRESSED = "whole", "compressed"  # the prompt as it is, or without what tells least
WAIT_SHARE = 0.1  # of a first token's time
HYSTERESIS = 0.03  # what another choice must save to be taken
RADIO_FIT = "low-band"
ASSUMED_DOWN_BPS, ASSUMED_UP_BPS = 50e6, 10e6  # while radio sends or receives, for energy alone


@value
class Candidate:
    """One way to answer."""

    strategy: str
    nodes: tuple[str, ...]  # in the order in which they are asked; of a route first who reads the prompt, then who else may answer
    variants: tuple[str, ...] = ()  # of the model at each of them, empty: as it runs there; none: all as they run there
    fidelity: str = WHOLE

    def __str__(self) -> str:
        way = (" | " if self.strategy == ROUTE else " > ").join(self.places)
        return (way if self.strategy == DIRECT else f"{self.strategy} {way}") + (f", {self.fidelity}" if self.fidelity != WHOLE else "")

    @property
    def places(self) -> tuple[str, ...]:
        """Nodes with their variants, for people."""
        return tuple(f"{node}@{variant}" if variant else node for node, variant in self.variant_of.items())

    @property
    def variant_of(self) -> dict[str, str]:
        """By node, in the order in which they are asked."""
        return dict(zip(self.nodes, self.variants or ("",) * len(self.nodes), strict=True))


@value
class Shortened:
    """What leaving out of the prompt would mean."""

    tokens: float  # that stay
    left_out: float  # share
    took_s: float  # of the entry node, before anybody is asked
    energy_j: float  # of it


@value
class Features:
    """What is known of a request before it is answered: sizes, no content."""

    prompt_tokens: int
    answer_tokens: float  # expected
    short_tokens: float  # so short one answer in ten is
    shortened: Shortened | None = None  # None: the prompt stays whole
    mobile: bool = True  # the entry node is a device: what it asks of others goes over its radio


@value
class Prediction:
    """What a candidate would take."""

    candidate: Candidate
    ttft_s: float
    token_s: float
    total_s: float
    answer_tokens: float
    up_bytes: float
    down_bytes: float
    token_bytes: float  # that one token more would bring
    energy_j: float  # of the entry node
    cost: float  # in the unit of the nodes' prices
    quality: float
    spread: float  # share: how far off the times may be
    held_s: float  # how much of it the door itself holds the request back,
    wait_s: float  # and how much it waits for others there
    fastest_s: float  # the whole answer, if all goes well
    sources: Mapping[str, str]  # where each figure comes from
    ttft_p95_s: float = 0.0  # so late the first token comes one time in twenty, from what this door told lately; 0: nobody has looked
    guessed: bool = False  # some node's pace is neither told nor learnt
    prompt_tokens: float = 0.0  # as it is asked
    read_s: float = 0.0  # how much of it the entry node reads the prompt, to tell who is to answer


@value
class Scored:
    """A prediction and what it costs."""

    prediction: Prediction
    cost_s: float  # J
    excluded: str = ""  # which limit it breaks; empty: none


@value
class Limits:
    """What a request may take."""

    deadline_s: float | None = None
    max_cost: float | None = None
    max_energy_j: float | None = None
    battery: float | None = None  # share that the entry node has left; None: it has no battery
    reserve: float = 0.05  # share of the battery that is kept: below it the entry node computes only if nobody else can


@value
class Decision:
    """A choice, and why."""

    chosen: Scored
    ranked: tuple[Scored, ...]  # all candidates, best first; those that break a limit last
    why: str
    explores: bool = False

    @property
    def runner_up(self) -> Scored | None:
        return next((one for one in self.ranked if one.prediction.candidate != self.chosen.prediction.candidate and not one.excluded), None)


# How often the answer of a node is passed on to another, and the quality of what comes out: of (node, next node, their qualities).
Escalation = Callable[[str, str, float, float], tuple[float, float]]


def candidates(
    views: Sequence[NodeView],
    strategies: Sequence[str] = (DIRECT,),
    judged: Collection[str] | None = None,
    fidelities: Sequence[str] = (WHOLE,),
) -> list[Candidate]:
    """All ways that these nodes allow, with each fidelity: each variant of each node's model alone, then, if the door can, cascades of
    one and a better one of a higher tier.

    Args:
        judged: nodes whose answers the door can judge: a cascade goes on from no others; None: all.
    """
    places = [(view, name) for view in views for name in ("", *(variant.name for variant in view.offer.variants))]
    found = [_candidate(DIRECT, (place,)) for place in places]
    if CASCADE in strategies:
        rising = sorted(((as_variant(*place), place) for place in places), key=lambda seen: (TIERS.index(seen[0].tier), seen[0].quality, seen[0].id))
        pairs = [(lower, upper) for lower, upper in combinations(rising, 2) if lower[0].tier != upper[0].tier and lower[0].quality < upper[0].quality]
        able = [pair for pair in pairs if judged is None or pair[0][0].id in judged]
        found += [_candidate(CASCADE, tuple(place for _, place in pair)) for pair in able]
    return [way if fidelity == WHOLE else replace(way, fidelity=fidelity) for fidelity in fidelities for way in found]


def _candidate(strategy: str, places: Sequence[tuple[NodeView, str]]) -> Candidate:
    variants = tuple(name for _, name in places)
    return Candidate(strategy=strategy, nodes=tuple(view.id for view, _ in places), variants=variants if any(variants) else ())


def as_variant(view: NodeView, name: str) -> NodeView:
    """A node as it is if its model is asked for in that variant; empty: as it runs there."""
    variant = next((one for one in view.offer.variants if one.name == name), None)
    if variant is None:
        return view
    quality, source = view.quality * precision_quality(view.tier, name), f"{view.quality_from}, {name} as measured"
    asked = replace(view, pace=variant.pace or view.pace, quality=quality, quality_from=source)
    if (known := view.corrections.get(name)) is None:
        return replace(asked, pace_from="told" if variant.pace else "assumed")
    return replace(asked, prefill_ratio=known.prefill, step_ratio=known.step, pace_spread=known.spread, pace_from="learnt")


def chance_escalation(node: str, upper_node: str, lower: float, upper: float) -> tuple[float, float]:
    """An `Escalation` that knows nothing of confidence: as many answers go up as the lower model gets wrong, whichever they are."""
    share = 1 - lower
    return share, lower + share * (upper - lower)


def predict(
    candidate: Candidate,
    features: Features,
    views: Mapping[str, NodeView],
    *,
    escalation: Escalation = chance_escalation,
    judged: Mapping[str, float] | None = None,
) -> Prediction:
    """What `candidate` would take.

    Args:
        views: of its nodes at least.
        judged: the chance that a node's answer to this very request is right, by node, where somebody knows; else the models' own quality.
    """
    shortened = features.shortened if candidate.fidelity == COMPRESSED else None
    asked = features if shortened is None else replace(features, prompt_tokens=shortened.tokens)
    judged = judged or {}
    first, *rest = [_alone(candidate, asked, views[node], variant, judged.get(node)) for node, variant in candidate.variant_of.items()]
    found = first
    if rest:
        lower, upper = candidate.nodes
        share, quality = escalation(lower, upper, first.quality, rest[0].quality)
        found = _escalated(candidate, asked, first, rest[0], share, quality)
    return found if shortened is None else _after_reading(found, shortened)


def _after_reading(prediction: Prediction, shortened: Shortened) -> Prediction:
    """The entry node reads the prompt first; what the door holds the request back for anyway costs nothing."""
    late_s = max(shortened.took_s - prediction.held_s, 0.0)
    return replace(
        prediction,
        ttft_s=prediction.ttft_s + late_s,
        total_s=prediction.total_s + late_s,
        fastest_s=prediction.fastest_s + late_s,
        energy_j=prediction.energy_j + shortened.energy_j,
    )


def _alone(candidate: Candidate, features: Features, of_node: NodeView, variant: str, judged: float | None) -> Prediction:
    view = as_variant(of_node, variant)
    pace, answer = view.pace, features.answer_tokens
    up_bytes = max(view.up.at(features.prompt_tokens), 1.0)
    down_bytes = max(view.down.at(answer), 1.0)
    context = features.prompt_tokens + answer / 2
    prefill_s = pace.prefill_s(features.prompt_tokens) * view.prefill_ratio
    token_s = token_time_s(pace, view.running, context) * view.step_ratio
    way_s = view.rtt_s + view.byte_s * up_bytes
    wait_s = node_wait_s(view, way_s - view.rtt_s / 2)
    ttft_s = view.held_s + way_s + wait_s + prefill_s + view.late_s
    total_s = ttft_s + token_s * max(answer - 1, 0)
    quality, source = (view.quality, view.quality_from) if judged is None else (judged * view.quality / of_node.quality, "judged")
    if candidate.fidelity == COMPRESSED and features.shortened is not None:
        quality, source = quality * compressed_quality(view.tier, features.shortened.left_out), f"{source}, compressed as measured"
    return Prediction(
        candidate=candidate,
        ttft_s=ttft_s,
        token_s=token_s,
        total_s=total_s,
        prompt_tokens=features.prompt_tokens,
        answer_tokens=answer,
        up_bytes=0.0 if view.is_entry else up_bytes,
        down_bytes=0.0 if view.is_entry else down_bytes,
        token_bytes=0.0 if view.is_entry else view.down.slope,
        energy_j=_energy_j(features, view, prefill_s + token_s * answer, total_s, up_bytes, down_bytes),
        cost=view.offer.cost(features.prompt_tokens, answer),
        quality=quality,
        spread=0.0 if view.late_s else max(view.pace_spread, view.network_spread * min(view.rtt_s / max(ttft_s, 1e-9), 1.0)),
        held_s=view.held_s,
        wait_s=wait_s,
        fastest_s=(1 - min(view.pace_spread, 0.9)) * (prefill_s + token_s * max(features.short_tokens - 1, 0))
        + max(1 - view.network_spread, 0.0) * view.rtt_s,
        sources={"time": view.pace_from, "way": "none" if view.is_entry else view.way_from, "quality": source, "bytes": "learnt line"},
        guessed=view.pace_from == "assumed",
    )


def waits(prediction: Prediction) -> bool:
    """Whether a first token is told to wait for others: chance has more of a say then."""
    return prediction.held_s + prediction.wait_s > WAIT_SHARE * prediction.ttft_s


def node_wait_s(view: NodeView, until_s: float) -> float:
    """Until the node begins with a prompt that arrives after `until_s`: as its slots get free, where it says when; else as is usual there."""
    if view.free_s:
        return max(view.free_s[0] - until_s, 0.0)
    busy = utilisation(view.pace, view.running)
    modelled_s = busy / (2 * (1 - busy)) * view.pace.prefill_s(OTHERS_PROMPT) * view.prefill_ratio  # behind other prompts (M/D/1)
    behind_s = view.queue_trust * view.queue_s + (1 - view.queue_trust) * modelled_s
    if not view.full:
        return behind_s
    others_s = view.pace.prefill_s(OTHERS_PROMPT) * view.prefill_ratio + OTHERS_ANSWER * token_time_s(view.pace, view.running, OTHERS_PROMPT)
    return behind_s + view.full * others_s / (view.slots + 1)  # the first of so many that end


def _energy_j(features: Features, view: NodeView, working_s: float, total_s: float, up_bytes: float, down_bytes: float) -> float:
    """Of the entry node: its machine's if it computes, else its radio's, if it has one."""
    if view.is_entry:
        return view.offer.power_w * working_s
    return radio_energy_j(total_s, up_bytes, down_bytes) if features.mobile else 0.0


def radio_energy_j(total_s: float, up_bytes: float, down_bytes: float) -> float:
    """What a device's radio spends on an answer from elsewhere.

    It listens while it waits and is at full power while it sends (TR 38.840's units, `network.energy`); its rates are assumed.
    """
    watts = fit_named(RADIO_FIT).watts_per_unit
    sending_s, receiving_s = 8 * up_bytes / ASSUMED_UP_BPS, 8 * down_bytes / ASSUMED_DOWN_BPS
    return watts * (LISTENING * total_s + (SENDING_23_DBM - LISTENING) * sending_s + (RECEIVING - LISTENING) * receiving_s)


def _escalated(candidate: Candidate, features: Features, lower: Prediction, upper: Prediction, share: float, quality: float) -> Prediction:
    """The lower answer is held until it is trusted, and shown at once then; else the upper one is asked."""
    ttft_s = lower.total_s + share * upper.ttft_s
    total_s = lower.total_s + share * upper.total_s
    return Prediction(
        candidate=candidate,
        ttft_s=ttft_s,
        token_s=(total_s - ttft_s) / max(features.answer_tokens - 1, 1),
        total_s=total_s,
        prompt_tokens=features.prompt_tokens,
        answer_tokens=features.answer_tokens,
        up_bytes=lower.up_bytes + share * upper.up_bytes,
        down_bytes=lower.down_bytes + share * upper.down_bytes,
        token_bytes=lower.token_bytes + share * upper.token_bytes,
        energy_j=lower.energy_j + share * upper.energy_j,
        cost=lower.cost + share * upper.cost,
        quality=quality,
        spread=max(lower.spread, upper.spread),
        held_s=lower.held_s,
        wait_s=lower.wait_s,
        fastest_s=lower.fastest_s,
        sources={**upper.sources, "quality": "calibration"},
        guessed=lower.guessed or upper.guessed,
    )


def score(prediction: Prediction, objective: Objective, limits: Limits) -> Scored:
    """J of a prediction, and which limit it breaks."""
    j_s = cost_s(
        objective,
        ttft_s=prediction.ttft_s,
        total_s=prediction.total_s,
        payload_bytes=prediction.up_bytes + prediction.down_bytes,
        energy_j=prediction.energy_j,
        quality=prediction.quality,
        battery=limits.battery,
    )
    return Scored(prediction=prediction, cost_s=j_s, excluded=_broken(prediction, limits))


def by_cost(scored: Iterable[Scored]) -> list[Scored]:
    """Best first, those that break a limit last."""
    return sorted(scored, key=lambda one: (bool(one.excluded), one.cost_s))


def _broken(prediction: Prediction, limits: Limits) -> str:
    if limits.max_cost is not None and prediction.cost > limits.max_cost:
        return f"costs {prediction.cost:.3g}, above max_cost {limits.max_cost:g}"
    if limits.max_energy_j is not None and prediction.energy_j > limits.max_energy_j:
        return f"takes {prediction.energy_j:.3g} J, above max_energy_j {limits.max_energy_j:g}"
    if limits.deadline_s is not None and prediction.total_s > limits.deadline_s:
        return f"takes {prediction.total_s:.3g} s, beyond the deadline of {limits.deadline_s:g} s"
    return ""


def choose(
    predictions: Sequence[Prediction],
    objective: Objective,
    limits: Limits,
    *,
    previous: Candidate | None = None,
    entry: str = "",
    may_explore: bool = False,
) -> Decision:
    """The candidate that costs least within the limits.

    Args:
        previous: the last choice for such requests; it is kept unless another saves more than `HYSTERESIS`.
        entry: the door's own node: with its battery at the reserve it computes only if nobody else can.
        may_explore: whether a candidate may be taken because it might be better than what is known of it.

    Raises:
        DeadlineTooShort, NotSupported: none keeps the limits; the hint has the nearest one.
    """
    scored = by_cost(score(one, objective, limits) for one in predictions)
    kept = [one for one in _spare_battery(scored, limits, entry) if not one.excluded] or [_last_resort(scored, limits)]
    best = kept[0]
    if may_explore and (bold := _worth_a_try(kept)) is not None:
        return Decision(chosen=bold, ranked=tuple(scored), why=why_chosen(bold, best, "might be better and little is known of it"), explores=True)
    held = next((one for one in kept if one.prediction.candidate == previous), None)
    if held is not None and held is not best and best.cost_s > held.cost_s * (1 - HYSTERESIS):
        return Decision(chosen=held, ranked=tuple(scored), why=why_chosen(held, best, "was chosen last and nothing is clearly better"))
    second = next((one for one in kept if one is not best), None)
    return Decision(chosen=best, ranked=tuple(scored), why=why_chosen(best, second, _only(scored) if second is None else "costs least"))


def _spare_battery(scored: Sequence[Scored], limits: Limits, entry: str) -> Sequence[Scored]:
    if limits.battery is None or limits.battery > limits.reserve:
        return scored
    others = [one for one in scored if entry not in one.prediction.candidate.nodes and not one.excluded]
    return others or scored


def _worth_a_try(kept: Sequence[Scored]) -> Scored | None:
    """The candidate that would be the best if its times were as far off as they may be, unless that is the best anyway."""

    def hopeful_s(one: Scored) -> float:
        return one.cost_s - one.prediction.spread * one.prediction.total_s / 2

    best = kept[0]
    bold = min(kept, key=hopeful_s)
    worse = bold.cost_s / best.cost_s if best.cost_s > 0 else 2.0
    return bold if bold is not best and bold.prediction.spread > best.prediction.spread and worse < 1.3 else None


def _last_resort(scored: Sequence[Scored], limits: Limits) -> Scored:
    """What might keep the limits if all goes well, or whose times nobody knows; else the refusal."""
    hopeful = [one for one in scored if one.excluded and might_keep(one, limits)]
    if hopeful:
        return min(hopeful, key=lambda one: one.prediction.total_s)
    raise refusal(scored)


def might_keep(one: Scored, limits: Limits) -> bool:
    """Whether a way keeps the limits as far as anybody knows: it does, or it misses the deadline alone and might keep it if all goes well."""
    late = limits.deadline_s is not None and "deadline" in one.excluded
    return not one.excluded or (late and (one.prediction.guessed or one.prediction.fastest_s <= (limits.deadline_s or 0.0)))


def refusal(scored: Sequence[Scored]) -> DeadlineTooShort | NotSupported:
    """Of a request of which none of these ways keeps the limits: it names the nearest."""
    late = [one for one in scored if "deadline" in one.excluded]
    if late:
        nearest = min(late, key=lambda one: one.prediction.total_s)
        total_s = nearest.prediction.total_s
        message = f"nothing answers in time: {nearest.prediction.candidate} would take {total_s:.3g} s, the least of all"
        return DeadlineTooShort(message, hint=f"raise deadline_s to {1.2 * total_s:.2g}, or lower max_tokens", param="deadline_s")
    dear = [one for one in scored if "max_cost" in one.excluded]
    param = "max_cost" if dear else "max_energy_j"
    nearest = min(dear or scored, key=lambda one: one.prediction.cost if dear else one.prediction.energy_j)
    least = nearest.prediction.cost if dear else nearest.prediction.energy_j
    message = f"nothing keeps {param}: {nearest.prediction.candidate} {nearest.excluded}, the least of all"
    return NotSupported(message, hint=f"raise {param} to {least * 1.1:.3g}", param=param)


def _only(scored: Sequence[Scored]) -> str:
    return "is the only one that can answer" if len(scored) == 1 else "is the only one that keeps the limits"


def why_chosen(chosen: Scored, other: Scored | None, why: str) -> str:
    """A choice for people, with what it costs beside another."""
    of = chosen.prediction
    text = f"{of.candidate} {why}: first token in {of.ttft_s:.2g} s, {of.total_s:.2g} s in all, J {chosen.cost_s:.3g} s"
    return text if other is None else f"{text}, against {other.cost_s:.3g} s of {other.prediction.candidate}"
