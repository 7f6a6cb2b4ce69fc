"""`cascade`: the smallest model answers; where it was not sure enough, a larger one does.

Nothing is shown before it is trusted. Confidence escalation over device, edge and cloud: FrugalGPT (arXiv 2305.05176) with the evidence of
arXiv 2404.10136; the rule is in `escalation`.
"""

from __future__ import annotations

from collections.abc import AsyncGenerator, Sequence
from typing import Protocol

from netgpt.inference.confidence import TOP_TOKENS, Evidence, evidence_of
from netgpt.inference.direct import LOST
from netgpt.inference.escalation import Choice
from netgpt.inference.steps import Accept, Hold, Step, Switch
from netgpt.node.handle import NodeHandle
from netgpt.node.session import Piece, Session


class Policy(Protocol):
    """What decides about an answer."""

    def next_after(self, model: str, evidence: Evidence | None, larger: Sequence[NodeHandle]) -> Choice:
        """Keep the answer of `model`, or ask a model of `larger`."""
        ...

    def can_judge(self, node: NodeHandle) -> bool:
        """Whether an answer of that node gives evidence that it understands."""
        ...

    def learn(self, evidence: Evidence | None, smaller: NodeHandle, larger: NodeHandle, *, agreed: bool) -> None:
        """Take note of whether two models said the same."""
        ...


async def cascade(session: Session, nodes: Sequence[NodeHandle], policy: Policy) -> AsyncGenerator[Step, None]:
    """Answer on the smallest model that is sure enough; climb where it is not.

    Args:
        nodes: the smallest model's first; of equal ones the second stands in for the first.

    Raises:
        NodeUnreachable, Overloaded: no node gave an answer.
    """
    waiting = [node for node in nodes if policy.can_judge(node) or node.member.parameters == nodes[-1].member.parameters]
    doubted: list[Piece] = []  # the last answer that was not trusted
    doubter: tuple[NodeHandle, Evidence | None] | None = None
    while waiting:
        node = waiting.pop(0)
        larger = [other for other in waiting if other.member.parameters > node.member.parameters]
        answer: list[Piece] = []
        shown = False
        pieces = node.generate(session, top_logprobs=TOP_TOKENS if larger else 0)
        try:
            async for piece in pieces:
                answer.append(piece)
                shown = not larger
                yield Hold(piece) if larger else Accept(piece)
        except LOST as error:
            if waiting:
                yield Switch(reason=f"{node.id} failed ({error.code}); {waiting[0].id} goes on")
                continue
            if shown or not doubted:
                raise
            yield Switch(reason=f"{node.id} failed ({error.code}); what {doubted[-1].origin} said stands, unsure as it was")
            for piece in doubted:
                yield Hold(piece)
            yield Accept()
            return
        finally:
            await pieces.aclose()
        evidence = evidence_of(answer) if larger else None
        if doubter is not None:
            policy.learn(doubter[1], doubter[0], node, agreed=_text(answer) == _text(doubted))
        choice = policy.next_after(node.member.model, evidence, larger)
        if not choice.model:
            if larger:
                yield Accept()
            return
        doubted, doubter = answer, (node, evidence)
        waiting = [other for other in larger if other.member.model == choice.model] + [other for other in larger if other.member.model != choice.model]
        yield Switch(reason=f"{node.id} was not sure enough: {waiting[0].id} is expected to be right more often by {choice.gain:.0%}")


def _text(pieces: Sequence[Piece]) -> bytes:
    return b"".join(piece.data for piece in pieces).strip()
