"""What each way to answer would take, from views of its nodes: pure.

`candidates` are the ways that nodes allow, `predict` says what one would take. Candidates that privacy or capabilities forbid are never made:
`choice.serving_nodes` has left their nodes out. No clock, no node and no text here. Who is chosen is `planning`'s.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import replace
from itertools import combinations

from netgpt.inference.estimates import OTHERS_ANSWER, OTHERS_PROMPT, NodeView, token_time_s, utilisation
from netgpt.inference.planning import CASCADE, COMPRESSED, DIRECT, WHOLE, Candidate, Features, Prediction, Shortened
from netgpt.models.quality import compressed_quality, precision_quality
from netgpt.network.energy import LISTENING, RECEIVING, SENDING_23_DBM, fit_named

TIERS = ("device", "edge", "cloud")
RADIO_FIT = "low-band"
ASSUMED_DOWN_BPS, ASSUMED_UP_BPS = 50e6, 10e6  # while radio sends or receives, for energy alone


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
        rare=features.rare,
    )


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
        rare=features.rare,
    )
