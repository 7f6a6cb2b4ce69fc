"""`route`: one model answers, chosen before any begins, by the smallest model's state of the prompt.

The state is made on the door's own node and does not leave it; the rule is in `routing`. Where the answer's node is lost, the next goes on.
For `auto` a `Reading` has the prompt read and lets the planner say who answers: it knows times, bytes and energy beside chances.
"""

from __future__ import annotations

from collections.abc import AsyncGenerator, Callable, Mapping, Sequence

from netgpt.core.clock import Clock
from netgpt.core.errors import DeadlineExceeded, NotSupported
from netgpt.inference.direct import LOST, direct
from netgpt.inference.planner import Planner
from netgpt.inference.planning import Decision
from netgpt.inference.reading import MOST_READING, Read
from netgpt.inference.request import ChatRequest
from netgpt.inference.routing import Routed, Router, choose_model
from netgpt.inference.steps import Step, Switch
from netgpt.network.member import Member
from netgpt.node.handle import NodeHandle
from netgpt.node.session import Session

PATIENCE, GRACE_S = 3.0, 0.1  # beyond so many times what was expected, and this, a prompt is not read


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


class Reading:
    """Has prompts read for `auto` at one door, where that is what it chose."""

    def __init__(self, *, handle: Callable[[Member], NodeHandle], planner: Planner, clock: Clock) -> None:
        self._handle = handle
        self._planner = planner
        self._clock = clock
        self._at_once = 0

    async def settled(
        self, request: ChatRequest, decision: Decision, nodes: Sequence[Member], session: Session, *, arrival_s: float
    ) -> tuple[Decision, Read]:
        """Who answers, after a choice to read first.

        Args:
            session: of the whole prompt, for the reading alone.
            arrival_s: of the request.

        Raises:
            DeadlineExceeded: it passed meanwhile.
        """
        way, deadline_s, began_s = decision.chosen.prediction, session.deadline_s, self._clock.now_s()
        own = next(node for node in nodes if node.id == way.candidate.nodes[0])
        session.deadline_s = min(deadline_s, began_s + PATIENCE * way.read_s + GRACE_S)
        right, why = await self._right(request, own, nodes, session)
        now_s = self._clock.now_s()
        if now_s >= deadline_s:
            raise DeadlineExceeded(f"no token within {now_s - arrival_s:.3g} s: the prompt was read until then", hint="raise deadline_s")
        took_s = now_s - began_s
        energy_j = own.offer.power_w * took_s if own.offer else 0.0
        read = Read(node=own.id, took_s=took_s, energy_j=energy_j, right=right, why=why, link_bytes=session.link_bytes)
        return self._planner.settle(request, decision, read, nodes, deadline_s=deadline_s - arrival_s), read

    async def _right(self, request: ChatRequest, own: Member, nodes: Sequence[Member], session: Session) -> tuple[Mapping[str, float], str]:
        """Chances by model; none, and why, where the prompt cannot be read in time."""
        router = self._planner.router_for(request, nodes)
        if router is None:
            return {}, "no router knows its model any more"
        if self._at_once >= MOST_READING:
            return {}, f"{MOST_READING} other prompts were being read"
        self._at_once += 1
        try:
            state = await _state(session, self._handle(own)) if router.needs_state else ()
        except (DeadlineExceeded, *LOST) as error:
            return {}, error.code
        finally:
            self._at_once -= 1
        try:
            return router.probabilities(session.messages, state), ""
        except NotSupported as error:
            self._planner.give_up(router)
            return {}, error.message
