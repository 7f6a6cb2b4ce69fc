"""Whether an answer that a request names keeps the request's own limits, before anything is asked for it. Pure.

`auto` chooses within limits. Where a tier's model, `cascade` or `route` is named, limits say which nodes may take part, and a request that
none of its ways keeps is refused with the nearest choice that does: an answer too late or too dear is of no use to anybody.
"""

from __future__ import annotations

from collections.abc import Sequence

from netgpt.core.errors import DeadlineTooShort, NotSupported
from netgpt.inference.choice import CASCADE, ROUTE
from netgpt.inference.planning import CASCADE as CASCADES
from netgpt.inference.planning import DIRECT, WHOLE, Decision, Limits, Scored, might_keep, refusal, why_chosen
from netgpt.inference.planning import ROUTE as ROUTES
from netgpt.inference.request import ChatRequest

STRATEGY = {CASCADE: CASCADES, ROUTE: ROUTES}  # of plans, by model name


def has_limits(request: ChatRequest) -> bool:
    """Whether the client itself said what an answer may take."""
    return request.deadline_s is not None or request.max_cost is not None or request.max_energy_j is not None


def within_limits(model: str, named: Sequence[str], scored: Sequence[Scored], limits: Limits) -> frozenset[str]:
    """The nodes that may take part in an answer by `model` that keeps the limits, as far as anybody knows.

    Args:
        named: the nodes that it may ask; of a route who reads the prompt first.
        scored: all ways over these nodes and others that `auto` might take, best first.

    Raises:
        DeadlineTooShort, NotSupported: no way of `model` keeps them; the hint has the nearest that does, or what would.
    """
    ways = _ways_of(model, named, scored)
    keeping = [one for one in ways if might_keep(one, limits)]
    if ways and not keeping:
        raise _refused(model, refusal(ways), scored)
    found = frozenset(node for one in keeping for node in one.prediction.candidate.nodes)
    if model == ROUTE and keeping and named[0] not in found:  # who would read the prompt may not take part: nothing is left to be told apart
        return frozenset(keeping[0].prediction.candidate.nodes)
    return found


def _ways_of(model: str, named: Sequence[str], scored: Sequence[Scored]) -> list[Scored]:
    """What might become of a request that names `model`: as models run, and with the whole prompt."""
    of = [(one, one.prediction.candidate) for one in scored]
    plain = [(one, way) for one, way in of if set(way.nodes) <= set(named) and not any(way.variants) and way.fidelity == WHOLE]
    climbing = [one for one, way in plain if way.strategy == CASCADES] if model == CASCADE else []
    return climbing or [one for one, way in plain if way.strategy == DIRECT]


def of_named(model: str, decision: Decision) -> Decision:
    """A plan for a request that names `cascade` or `route`: the ways of that strategy alone, where any is told."""
    ways = [one for one in decision.ranked if one.prediction.candidate.strategy == STRATEGY.get(model)]
    if not ways:
        return decision
    second = ways[1] if len(ways) > 1 else None
    return Decision(chosen=ways[0], ranked=tuple(ways), why=why_chosen(ways[0], second, f"is what {model!r} is expected to come to"))


def _refused(model: str, error: DeadlineTooShort | NotSupported, scored: Sequence[Scored]) -> DeadlineTooShort | NotSupported:
    nearest = next((one.prediction for one in scored if not one.excluded), None)
    if nearest is None:
        return error
    told = f"{nearest.candidate} is expected to take {nearest.total_s:.2g} s, {nearest.energy_j:.2g} J and a cost of {nearest.cost:.2g}"
    return type(error)(f"{model!r}: {error.message}", hint=f"ask 'auto': {told}; or {error.hint}", param=error.param)
