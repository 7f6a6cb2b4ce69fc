"""`cascade`: the smallest model answers; where it was not sure enough, a larger one does.

Nothing is shown before it is trusted; of an answer that is not, the sure beginning is. Confidence escalation over device, edge and
cloud: FrugalGPT (arXiv 2305.05176) with the evidence of arXiv 2404.10136; the rule is in `escalation`.
"""

from __future__ import annotations

from collections.abc import AsyncGenerator, Sequence
from dataclasses import dataclass
from typing import Protocol

from netgpt.core.errors import NetgptError
from netgpt.inference.confidence import TOP_TOKENS, Evidence, Scene, evidence_of, spoken
from netgpt.inference.direct import LOST
from netgpt.inference.escalation import Choice
from netgpt.inference.steps import Accept, Hold, Step, Switch
from netgpt.node.handle import NodeHandle
from netgpt.node.session import Piece, Session


class Policy(Protocol):
    """What decides about an answer."""

    def next_after(self, model: str, evidence: Evidence | None, larger: Sequence[NodeHandle], scene: Scene | None = None) -> Choice:
        """Keep the answer of `model`, or ask a model of `larger`. Without a scene the evidence alone says."""
        ...

    def needs_state(self, model: str) -> bool:
        """Whether the scene of an answer of `model` should have the model's state."""
        ...

    def sure_tokens(self, evidence: Evidence) -> int:
        """How many leading tokens of an answer that is not kept were sure, and stay."""
        ...

    def can_judge(self, node: NodeHandle) -> bool:
        """Whether an answer of that node gives evidence that it understands."""
        ...

    def learn(self, evidence: Evidence | None, smaller: NodeHandle, larger: NodeHandle, *, agreed: bool) -> None:
        """Take note of whether two models said the same."""
        ...


@dataclass
class _Doubted:
    """The last answer that was not trusted. Its sure beginning is accepted, the rest of it waits in case nobody can do better."""

    node: NodeHandle
    evidence: Evidence | None
    kept: list[Piece]
    rest: list[Piece]


async def cascade(session: Session, nodes: Sequence[NodeHandle], policy: Policy) -> AsyncGenerator[Step, None]:
    """Answer on the smallest model that is sure enough; climb where it is not, with what was sure.

    Args:
        nodes: the smallest model's first; of equal ones the second stands in for the first.

    Raises:
        NodeUnreachable, Overloaded: no node gave an answer.
    """
    waiting = [node for node in nodes if policy.can_judge(node) or node.member.parameters == nodes[-1].member.parameters]
    doubted: _Doubted | None = None
    while waiting:
        node = waiting.pop(0)
        larger = [other for other in waiting if other.member.parameters > node.member.parameters]
        answer: list[Piece] = []
        pieces = node.generate(session, top_logprobs=TOP_TOKENS if larger else 0)
        try:
            async for piece in pieces:
                answer.append(piece)
                yield Hold(piece) if larger else Accept(piece)
        except LOST as error:
            for step in _after_loss(error, node, waiting, doubted, begun=bool(answer)):
                yield step
            if not waiting:
                return
            continue
        finally:
            await pieces.aclose()
        kept = doubted.kept if doubted else []
        if doubted is not None:
            policy.learn(doubted.evidence, doubted.node, node, agreed=_text([*kept, *answer]) == _text([*kept, *doubted.rest]))
        evidence = evidence_of([*kept, *answer]) if larger else None
        scene = await _scene(session, node, [*kept, *answer], policy) if evidence else None
        choice = policy.next_after(node.member.model, evidence, larger, scene)
        if not choice.model:
            if larger:
                yield Accept()
            return
        waiting = [other for other in larger if other.member.model == choice.model] + [
            other for other in larger if other.member.model != choice.model
        ]
        reason = f"{node.id} was not sure enough: {waiting[0].id} is expected to be right more often by {choice.gain:.0%}"
        yield Switch(reason=reason, escalates=True)
        sure = _sure_pieces([*kept, *answer], policy.sure_tokens(evidence)) if evidence and _continues(waiting, session) else []
        for piece in sure[len(kept) :]:
            yield Accept(piece)
        kept = [*kept, *sure[len(kept) :]]
        doubted = _Doubted(node, evidence, kept, [*(doubted.kept if doubted else ()), *answer][len(kept) :])


def _after_loss(error: NetgptError, node: NodeHandle, waiting: Sequence[NodeHandle], doubted: _Doubted | None, *, begun: bool) -> list[Step]:
    """What to do when `node` failed: the next goes on; where there is none, what was doubted stands. Raises `error` where there is nothing."""
    if waiting:
        return [Switch(reason=f"{node.id} failed ({error.code}); {waiting[0].id} goes on")]
    if begun or doubted is None:
        raise error
    reason = f"{node.id} failed ({error.code}); what {doubted.node.id} said stands, unsure as it was"
    return [Switch(reason=reason), *(Accept(piece) for piece in doubted.rest)]


async def _scene(session: Session, node: NodeHandle, pieces: Sequence[Piece], policy: Policy) -> Scene | None:
    """What is known beside the answer; None where the policy wants the model's state and it cannot be had, as on another's node."""
    said = _text(pieces).decode("utf-8", errors="replace")
    if not policy.needs_state(node.member.model):
        return Scene(messages=session.messages, answer=said)
    answer = spoken([i for piece in pieces for i in piece.ids], session.stop_ids)
    if not node.is_entry or any(piece.recoded for piece in pieces):
        return None
    try:
        state = await node.states(session, (*session.prompt_ids, *answer), (len(session.prompt_ids), len(answer)))
    except LOST:
        return None
    return Scene(messages=session.messages, answer=said, state=state.values)


def _sure_pieces(pieces: Sequence[Piece], tokens: int) -> list[Piece]:
    """The leading pieces that make up at most so many tokens."""
    sure: list[Piece] = []
    for piece in pieces:
        tokens -= piece.size
        if tokens < 0 or piece.recoded or piece.finish:
            break
        sure.append(piece)
    return sure


def _continues(nodes: Sequence[NodeHandle], session: Session) -> bool:
    """Whether all of them go on from another model's tokens as if they were their own."""
    return all(node.member.tokenizer == session.tokenizer for node in nodes)


def _text(pieces: Sequence[Piece]) -> bytes:
    return b"".join(piece.data for piece in pieces).strip()
