"""Texts to vectors over the network's nodes: each text is one call with a place of its own in the door's queue, some at once.

So a request of many texts takes its turns like many requests of one: others wait for a text of it, not for all of them, and a text
is not even counted before its turn. All vectors of a request come from one model, since vectors of two have nothing to do with each
other: when a node is lost, only another node with the same model goes on. Who may see the texts was chosen before; the handles check
it again.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Awaitable, Callable, Sequence
from typing import NamedTuple

from netgpt.core.errors import ContextLengthExceeded, NodeUnreachable, Overloaded
from netgpt.core.scheduling import TaskGroup
from netgpt.inference.direct import LOST
from netgpt.inference.fit import SURELY, USUAL_BYTES_A_TOKEN, has_more_tokens
from netgpt.inference.prompt import ids_of
from netgpt.inference.request import EmbedRequest, Span, Vectors
from netgpt.models.generation import GREEDY, Embedding, declared_machines
from netgpt.models.tokenizer import Tokenizer
from netgpt.network.member import Member
from netgpt.node.handle import NodeHandle
from netgpt.node.session import Session

MOST_BYTES_A_CHARACTER = 4  # of UTF-8
AT_ONCE = 8  # places that one request has or wants; the rest of its texts wait at the door


class Embedded(NamedTuple):
    """One text's vector."""

    session: Session
    embedding: Embedding
    node: str  # that made it


def same_model(nodes: Sequence[Member], model: str) -> list[Member]:
    """The nodes, best first, that run the model.

    Raises:
        NodeUnreachable: none does.
    """
    if not (found := [node for node in nodes if node.model == model]):
        raise NodeUnreachable(f"no node with the model {model!r} is up, which made this request's vectors", hint="see which nodes are up: netgpt ps")
    return found


def check_texts(request: EmbedRequest, tokenizer: Tokenizer, node: Member) -> None:
    """Refuse what is wrong with texts before one of them is sent anywhere, as far as it takes no more work than one long prompt does.

    Raises:
        InvalidRequest: an id that the tokenizer does not have.
        ContextLengthExceeded: a text does not fit the node's model.
    """
    left_chars = USUAL_BYTES_A_TOKEN * node.context_tokens
    for place, text in enumerate(request.texts):
        if isinstance(text, str) and len(text) <= node.context_tokens // MOST_BYTES_A_CHARACTER:
            continue  # no token has less than a byte
        if not isinstance(text, str) or len(text) <= left_chars:
            left_chars -= len(text)
            _ids(request, place, tokenizer, node.context_tokens)
        elif has_more_tokens([text], tokenizer, SURELY * node.context_tokens):
            raise _too_long(f"far more than {node.context_tokens}", request, place, node.context_tokens)


def embed_session(request: EmbedRequest, place: int, tokenizer: Tokenizer, *, context_tokens: int, deadline_s: float) -> Session:
    """What a node may see for one text, and until when its vector is of use.

    Raises:
        InvalidRequest: an id that the tokenizer does not have.
        ContextLengthExceeded: the text does not fit the model's context.
    """
    return Session(
        id=f"{request.request_id}-{place}",
        prompt_ids=_ids(request, place, tokenizer, context_tokens),
        tokenizer=tokenizer.hash,
        max_tokens=0,
        sampling=GREEDY,
        stop_ids=(),
        privacy=request.privacy,
        deadline_s=deadline_s,
    )


def _ids(request: EmbedRequest, place: int, tokenizer: Tokenizer, context_tokens: int) -> tuple[int, ...]:
    ids = ids_of(tokenizer, request.texts[place], _param(request, place))
    if len(ids) > context_tokens:
        raise _too_long(str(len(ids)), request, place, context_tokens)
    return ids


def _param(request: EmbedRequest, place: int) -> str:
    return f"input[{place}]" if len(request.texts) > 1 else "input"


def _too_long(tokens: str, request: EmbedRequest, place: int, context_tokens: int) -> ContextLengthExceeded:
    param = _param(request, place)
    what = f"{param} has {tokens} tokens, but {request.model!r} holds {context_tokens}"
    return ContextLengthExceeded(what, hint="cut it into shorter texts", param=param)


async def embed_all(texts: int, embed_one: Callable[[int], Awaitable[Embedded]]) -> list[Embedded]:
    """What `embed_one` makes of each text, by its place.

    A queue that has no room for another place of the request lets it have fewer; it is refused if it has none.

    Raises:
        NodeUnreachable, Overloaded: no node with the model is left, or no place.
        NotSupported: the model's engine makes no vectors.
        And what `embed_one` raises.
    """
    made: dict[int, Embedded] = {}
    waiting = deque(range(texts))
    at_work = min(AT_ONCE, texts)

    async def work() -> None:
        nonlocal at_work
        while waiting:
            place = waiting.popleft()
            try:
                made[place] = await embed_one(place)
            except Overloaded:
                if at_work == 1:
                    raise
                waiting.appendleft(place)
                break
        at_work -= 1

    try:
        async with TaskGroup() as tasks:
            for _ in range(at_work):
                tasks.create_task(work())
    except ExceptionGroup as failures:
        raise failures.exceptions[0] from None
    return [made[place] for place in range(texts)]


async def embed_text(session: Session, nodes: Sequence[NodeHandle]) -> Embedded:
    """The vector of the session's prompt, by the first of the nodes that gives one. Raises what the last of them raises."""
    for node in nodes:
        try:
            return Embedded(session, await node.embed(session), node.id)
        except LOST:
            if node is nodes[-1]:
                raise
    raise AssertionError("there is at least one node")


def vectors_of(made: Sequence[Embedded], *, strategy: str, why: str, duration_s: float) -> Vectors:
    """The answer to a request, and its account."""
    timings = [embedding.timings for _, embedding, _ in made if embedding.timings]
    tokens_by_node: dict[str, int] = {}
    link_bytes: dict[str, dict[str, int]] = {}
    for session, _, node in made:
        tokens_by_node[node] = tokens_by_node.get(node, 0) + len(session.prompt_ids)
        for peer, (sent, received) in session.link_bytes.items():
            count = link_bytes.setdefault(peer, {"sent": 0, "received": 0})
            count["sent"] += sent
            count["received"] += received
    return Vectors(
        vectors=tuple(embedding.values for _, embedding, _ in made),
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
