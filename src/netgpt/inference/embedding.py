"""Texts to vectors over the network's nodes: each text is one call, some calls run at once.

All vectors of a request come from one model, since vectors of two have nothing to do with each other:
when a node is lost, only another node with the same model goes on. Who may see the texts was chosen
before; the handles check it again.
"""

from __future__ import annotations

from collections.abc import Sequence

from netgpt.core.errors import ContextLengthExceeded
from netgpt.core.scheduling import TaskGroup
from netgpt.inference.direct import LOST
from netgpt.inference.prompt import ids_of
from netgpt.inference.request import EmbedRequest, Span, Vectors
from netgpt.models.generation import GREEDY, Embedding, declared_machines
from netgpt.models.tokenizer import Tokenizer
from netgpt.network.member import Member
from netgpt.node.handle import NodeHandle
from netgpt.node.session import Session

AT_ONCE = 8  # calls of one request; the rest of its texts wait at the door


def same_model(nodes: Sequence[Member]) -> list[Member]:
    """The nodes, best first, that run the first one's model."""
    return [node for node in nodes if node.model == nodes[0].model]


def embed_sessions(request: EmbedRequest, tokenizer: Tokenizer, *, context_tokens: int, deadline_s: float) -> list[Session]:
    """One session for each text: what a node may see, and until when its vector is of use.

    Raises:
        InvalidRequest: a text has no token, or an id that the tokenizer does not have.
        ContextLengthExceeded: a text does not fit the model's context.
    """
    sessions: list[Session] = []
    for place, text in enumerate(request.texts):
        param = f"input[{place}]" if len(request.texts) > 1 else "input"
        ids = ids_of(tokenizer, text, param)
        if len(ids) > context_tokens:
            raise ContextLengthExceeded(
                f"{param} has {len(ids)} tokens, but {request.model!r} holds {context_tokens}", hint="cut it into shorter texts", param=param
            )
        sessions.append(
            Session(
                id=f"{request.request_id}-{place}",
                prompt_ids=ids,
                tokenizer=tokenizer.hash,
                max_tokens=0,
                sampling=GREEDY,
                stop_ids=(),
                privacy=request.privacy,
                deadline_s=deadline_s,
            )
        )
    return sessions


async def embed_all(sessions: Sequence[Session], nodes: Sequence[NodeHandle]) -> list[tuple[Embedding, str]]:
    """The vector of each session's prompt, in order, and the node that made it.

    Raises:
        NodeUnreachable, Overloaded: no node with the model is left.
        NotSupported: the model's engine makes no vectors.
    """
    made: dict[int, tuple[Embedding, str]] = {}
    waiting = iter(enumerate(sessions))

    async def work() -> None:
        for place, session in waiting:
            made[place] = await _embed(session, nodes)

    try:
        async with TaskGroup() as tasks:
            for _ in range(min(AT_ONCE, len(sessions))):
                tasks.create_task(work())
    except ExceptionGroup as failures:
        raise failures.exceptions[0] from None
    return [made[place] for place in range(len(sessions))]


async def _embed(session: Session, nodes: Sequence[NodeHandle]) -> tuple[Embedding, str]:
    for node in nodes:
        try:
            return await node.embed(session), node.id
        except LOST:
            if node is nodes[-1]:
                raise
    raise AssertionError("there is at least one node")


def vectors_of(sessions: Sequence[Session], made: Sequence[tuple[Embedding, str]], *, strategy: str, why: str, duration_s: float) -> Vectors:
    """The answer to a request, and its account."""
    timings = [embedding.timings for embedding, _ in made if embedding.timings]
    tokens_by_node: dict[str, int] = {}
    link_bytes: dict[str, dict[str, int]] = {}
    for session, (_, node) in zip(sessions, made, strict=True):
        tokens_by_node[node] = tokens_by_node.get(node, 0) + len(session.prompt_ids)
        for peer, (sent, received) in session.link_bytes.items():
            count = link_bytes.setdefault(peer, {"sent": 0, "received": 0})
            count["sent"] += sent
            count["received"] += received
    return Vectors(
        vectors=tuple(embedding.values for embedding, _ in made),
        prompt_tokens=sum(tokens_by_node.values()),
        strategy=strategy,
        why=why,
        origin=tuple(Span(node=node, tokens=tokens) for node, tokens in tokens_by_node.items()),
        link_bytes=link_bytes,
        queue_s=max((timing.queue_s for timing in timings), default=0.0),
        duration_s=duration_s,
        modelled=any(timing.modelled for timing in timings),
        declared=declared_machines(timings),
        overruns=sum(timing.overruns for timing in timings),
    )
