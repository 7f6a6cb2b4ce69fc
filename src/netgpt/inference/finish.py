"""The end of an answer: what its pieces and their account add up to. Pure."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from netgpt.inference.choice import AUTO, CASCADE, ROUTE, TIER_OF_MODEL
from netgpt.inference.reading import Read
from netgpt.inference.request import ChatRequest, Compression, Finish, Span
from netgpt.inference.telling import Telling
from netgpt.models.generation import declared_machines
from netgpt.network.member import Member
from netgpt.node.session import Piece, Session


def finish_of(
    request: ChatRequest,
    session: Session,
    telling: Telling,
    nodes: Sequence[Member],
    plan: Mapping[str, Any],
    compression: Compression | None = None,
    read: Read | None = None,
    *,
    duration_s: float,
) -> Finish:
    """The end of the session's answer.

    Args:
        nodes: those that could answer, in the order in which they were to be asked.
        plan: what `auto` chose (`showing.told`); empty where the request names a tier.
        compression: what became of a wish to shorten the prompt.
        read: that it was read before it was chosen who answers.
        duration_s: from the request's arrival.
    """
    counted = [piece for piece in session.accepted if piece.timings is not None or piece.prompt_tokens or piece.cached]  # of many pieces the last one
    timings = [piece.timings for piece in counted if piece.timings is not None]
    spans = telling.spans
    foreign_tokens = _foreign_prompt_tokens(session, counted)
    return Finish(
        reason="stop" if telling.text.stopped else session.finished or "stop",
        prompt_tokens=foreign_tokens or len(session.prompt_ids),
        completion_tokens=session.answer_tokens,
        cached_tokens=max((piece.cached for piece in counted), default=0),
        strategy=TIER_OF_MODEL.get(request.model, request.model),
        why=plan["why"] if plan else why(request.model, nodes, spans, climbs=telling.escalations, switches=len(telling.switches)),
        origin=spans,
        switches=tuple(telling.switches),
        escalations=telling.escalations,
        link_bytes=_link_bytes(session.link_bytes, *(one.link_bytes for one in (compression, read) if one)),
        queue_s=telling.queue_s + sum(timing.queue_s for timing in timings),
        time_to_first_token_s=telling.first_token_s if telling.first_token_s is not None else duration_s,
        duration_s=duration_s,
        modelled=any(timing.modelled for timing in timings),
        declared=declared_machines(timings),
        overruns=sum(timing.overruns for timing in timings),
        seed=session.sampling.seed if request.seed is None else request.seed,
        counted_by=_counted_by(session, spans, foreign_prompt=bool(foreign_tokens)),
        plan=plan,
        compression=compression,
    )


def _link_bytes(*counts: Mapping[str, tuple[int, int]]) -> dict[str, dict[str, int]]:
    """Payload bytes to and from each node, of the answer and of a reading before it."""
    found: dict[str, dict[str, int]] = {}
    for count in counts:
        for node, (sent, received) in count.items():
            both = found.setdefault(node, {"sent": 0, "received": 0})
            both["sent"] += sent
            both["received"] += received
    return found


def _foreign_prompt_tokens(session: Session, counted: Sequence[Piece]) -> int:
    """How many tokens the prompt has where the answer began, if that node counts otherwise than the door; else 0."""
    first = session.accepted[0].origin if session.accepted else ""
    return next((piece.prompt_tokens for piece in counted if piece.origin == first and piece.prompt_tokens), 0)


def _counted_by(session: Session, spans: Sequence[Span], *, foreign_prompt: bool) -> Mapping[str, tuple[str, ...]]:
    """Whose tokens the usage counts, where they are not all the door's own."""
    if not any(piece.recoded for piece in session.accepted):
        return {}
    nodes = tuple(dict.fromkeys(span.node for span in spans))
    return {"prompt_tokens": nodes[:1] if foreign_prompt else ("door",), "completion_tokens": nodes}


def why(model: str, nodes: Sequence[Member], spans: Sequence[Span] | None = None, *, climbs: int = 0, switches: int = 0) -> str:
    """Why these nodes answered, where nothing was chosen for the request.

    Args:
        spans: who made what of a text; None: nothing says.
        climbs: how often an answer was passed on to a larger model,
        switches: and how often to another at all.
    """
    if model in (CASCADE, ROUTE) and spans is not None:
        last = next((node for node in nodes if spans and node.id == spans[-1].node), nodes[0])
        if len({node.model for node in nodes}) == 1:
            return f"{last.id}: all nodes that may answer run one model"
        return _why_climbed(last, nodes, climbs, switches) if model == CASCADE else f"{last.id} was expected to be right most often for what it costs"
    if model == AUTO:
        return f"{nodes[0].id} runs the largest model that is up"  # vectors of different models cannot be compared: no choice is made anew
    return f"the request names {model}"


def _why_climbed(last: Member, nodes: Sequence[Member], climbs: int, switches: int) -> str:
    if last.parameters < max(node.parameters for node in nodes):
        return (
            f"{last.id} gave the best answer that could be had: not every node could be reached"
            if switches > climbs
            else f"{last.id} was sure enough"
        )
    if climbs:
        return f"{last.id} runs the largest model that may answer, and no smaller one was sure enough"
    return f"{last.id} runs the largest model that may answer, and no smaller one gave an answer that can be judged"
