"""`route`: one model answers, chosen before any begins, by the smallest model's state of the prompt.

The state is made on the door's own node and does not leave it; the rule is in `routing`. Where the answer's node is lost, the next goes on.
"""

from __future__ import annotations

from collections.abc import AsyncGenerator, Mapping, Sequence

from netgpt.core.errors import NotSupported
from netgpt.inference.direct import LOST, direct
from netgpt.inference.routing import Routed, Router, choose_model
from netgpt.inference.steps import Step, Switch
from netgpt.node.handle import NodeHandle
from netgpt.node.session import Session


async def route(session: Session, nodes: Sequence[NodeHandle], routers: Mapping[str, Router]) -> AsyncGenerator[Step, None]:
    """Decide, then answer on the node that was chosen.

    Args:
        nodes: the smallest model's first.
        routers: by the model whose state they read.

    Raises:
        NotSupported: several models may answer, and no router can tell them apart from here.
        NodeUnreachable, Overloaded: no node gave an answer.
    """
    if len({node.member.model for node in nodes}) > 1:
        reader, router = _reader(session, nodes, routers)
        try:
            state = await _state(session, reader) if router.needs_state else ()
        except LOST as error:
            nodes = _first(nodes, nodes[-1].member.model)
            yield Switch(reason=f"{reader.id} did not read the prompt ({error.code}); {nodes[0].id} answers, the largest")
        else:
            nodes = _first(nodes, decide(router, session.messages, state, nodes).model)
    async for step in direct(session, nodes):
        yield step


def decide(router: Router, messages: Sequence[tuple[str, str]], state: Sequence[float], nodes: Sequence[NodeHandle]) -> Routed:
    """Whose model of `nodes` is to answer; what it costs is its share of the largest one's parameters."""
    most = max(node.member.parameters for node in nodes)
    costs = {node.member.model: node.member.parameters / most if most else 1.0 for node in nodes}
    return choose_model(router.probabilities(messages, state), costs, router.price)


def _reader(session: Session, nodes: Sequence[NodeHandle], routers: Mapping[str, Router]) -> tuple[NodeHandle, Router]:
    """The node that reads the prompt: the door's own, whose state a router knows."""
    for node in nodes:
        router = routers.get(node.member.model)
        if router is not None and (not router.needs_state or (node.is_entry and node.member.tokenizer == session.tokenizer)):
            return node, router
    models = ", ".join(dict.fromkeys(node.member.model for node in nodes))
    raise NotSupported(
        f"no router for {models} reads prompts at this door's own node",
        hint="ask 'cascade' or 'auto' here; or a device's door; or fit one to your models: netgpt calibrate --recording FILE --models SMALL LARGE",
        param="model",
    )


async def _state(session: Session, node: NodeHandle) -> tuple[float, ...]:
    return (await node.states(session, session.prompt_ids, (len(session.prompt_ids),))).values


def _first(nodes: Sequence[NodeHandle], model: str) -> list[NodeHandle]:
    """That model's nodes first, then the larger ones that stand in for it, then the smaller; the smallest of each first."""
    size = next(node.member.parameters for node in nodes if node.member.model == model)
    return sorted(nodes, key=lambda node: (node.member.model != model, node.member.parameters < size))
