"""Where there is nothing to choose, a request goes before it is foretold; what is told and watched of it is the same."""

import asyncio
from contextlib import aclosing
from dataclasses import replace
from typing import Any

import pytest
from tests.inference.near_nodes import Connection, ask

from netgpt.core.chance import SeededChance
from netgpt.core.clock import VirtualClock, run_virtual
from netgpt.core.transport import Call
from netgpt.engine.hash_engine import HashEngine
from netgpt.inference.door import Door
from netgpt.inference.planner import Planner
from netgpt.inference.planning import Decision
from netgpt.inference.prospect import Prospect
from netgpt.inference.request import ChatRequest
from netgpt.models.card import weightless_card
from netgpt.models.tokenizer import ByteTokenizer
from netgpt.network.member import Member
from netgpt.network.offer import Offer, Pace
from netgpt.node.handle import NodeHandle
from netgpt.node.service import EngineService
from netgpt.telemetry.metrics import Metrics

CLOCK = VirtualClock()
NODE = Member(
    id="edge1", tier="edge", engine_address="-", door_url="-", model="hash-edge", tokenizer=ByteTokenizer.hash, parameters=1, state="ready",
    slots=1, context_tokens=512, offer=Offer(pace=Pace(layers_s=0.0002, head_s=0.001, read_s=0.02)),
)  # fmt: skip
REQUEST = ChatRequest(request_id="r1", model="auto", messages=(("user", "Hello"),), max_tokens=20, temperature=0)


class Told(Planner):
    """It notes when it plans: how many calls its node had got by then."""

    def __init__(self, calls: list[str]) -> None:
        super().__init__("edge1", tier="edge")
        self.after: list[int] = []
        self._calls = calls

    def plan(self, *args: Any, **kwargs: Any) -> Decision:
        self.after.append(len(self._calls))
        return super().plan(*args, **kwargs)

    @property
    def watched(self) -> int:
        known = self.estimates.of(NODE)
        return len(known.asked) + len(known.ends_s)


class Node(Connection):
    """Its replies take 10 ms each."""

    async def call(self, method: str, payload: bytes, *, deadline_s: float, qos: str = "standard") -> Any:
        self.calls.append(method)
        async with aclosing(self.service.handle(Call(method=method, payload=payload))) as replies:
            async for reply in replies:
                await asyncio.sleep(0.01)
                yield reply


class Network:
    """One node, and a door beside it."""

    def __init__(self) -> None:
        card = weightless_card("hash-edge", tier="edge", parameters=1, context_tokens=512, tokenizer=ByteTokenizer())
        node = Node(EngineService("edge1", HashEngine(card, CLOCK), lambda call: "edge1"))
        self.planner = Told(node.calls)
        self.events: list[tuple[str, dict[str, Any]]] = []
        self.door = Door(
            entry=lambda: NODE,
            members=lambda: [NODE],
            handle=lambda one: NodeHandle(one, node, ByteTokenizer(), CLOCK, is_entry=True),
            tokenizer=ByteTokenizer(),
            clock=CLOCK,
            chance=SeededChance(1),
            metrics=Metrics(),
            record=lambda kind, node, **data: self.events.append((kind, data)),
            planner=self.planner,
        )


def test_a_request_that_has_but_one_way_goes_before_it_is_foretold() -> None:
    async def main() -> None:
        network = Network()
        first = await ask(network.door, REQUEST)
        second = await ask(network.door, replace(REQUEST, request_id="r2"))
        assert network.planner.after == [0, 2], "the second was planned after its own call, the first before"
        assert first[0] == second[0]
        assert second[1].plan["chosen"]["nodes"] == ["edge1"]
        assert first[1].plan.keys() == second[1].plan.keys()
        await asyncio.sleep(1)
        assert [(kind, data["request"]) for kind, data in network.events] == [
            ("request.planned", "r1"), ("request.finished", "r1"), ("request.planned", "r2"), ("request.finished", "r2"),
        ]  # fmt: skip
        assert network.events[2][1]["chosen"] == second[1].plan["chosen"]
        assert network.planner.watched == 0

    run_virtual(main())


def test_it_is_watched_while_its_node_works_and_not_after_its_client_left() -> None:
    async def main() -> None:
        network = Network()
        await ask(network.door, REQUEST)
        task = asyncio.ensure_future(ask(network.door, replace(REQUEST, request_id="r2")))
        await asyncio.sleep(0.005)
        assert network.planner.watched == 2
        task.cancel()
        await asyncio.wait([task])
        assert network.planner.watched == 0
        early = asyncio.ensure_future(ask(network.door, replace(REQUEST, request_id="r3")))
        await asyncio.sleep(0)
        early.cancel()
        await asyncio.wait([early])
        await asyncio.sleep(1)
        assert network.planner.watched == 0

    run_virtual(main())


def test_one_that_waits_for_others_is_foretold_first() -> None:
    async def main() -> None:
        network = Network()
        await ask(network.door, REQUEST)
        running = [asyncio.ensure_future(ask(network.door, replace(REQUEST, request_id=name))) for name in ("r2", "r3")]  # all that has room
        await asyncio.sleep(0.005)
        waiting = asyncio.ensure_future(ask(network.door, replace(REQUEST, request_id="r4")))
        await asyncio.sleep(0)
        assert network.planner.after == [0, 3, 3, 3], "it was planned without a call of its own"
        await asyncio.wait(running)
        _, finish, _ = await waiting
        assert finish.plan["chosen"]["nodes"] == ["edge1"]

    run_virtual(main())


@pytest.mark.parametrize(
    ("nodes", "changes", "deadline_s"),
    [
        ([NODE, replace(NODE, id="edge2")], {}, 60.0),
        ([replace(NODE, id="edge2")], {}, 60.0),
        ([NODE], {"max_energy_j": 100.0}, 60.0),
        ([NODE], {"max_cost": 1.0}, 60.0),
        ([NODE], {"compress": 0.5}, 60.0),
        ([NODE], {"max_tokens": None}, 1.0),
        ([NODE], {}, 0.01),
        ([NODE], {"messages": (("user", "word " * 500),)}, 1.0),
    ],
)
def test_what_is_to_be_chosen_or_refused_is_planned_first(nodes: list[Member], changes: dict[str, Any], deadline_s: float) -> None:
    planner = Planner("edge1", tier="edge")
    assert not planner.is_foregone(REQUEST, [NODE], 60.0), "nothing is known yet"
    planner.plan(REQUEST, [NODE], {}, 0.0, deadline_s=60.0)
    assert planner.is_foregone(REQUEST, [NODE], 60.0)
    assert not planner.is_foregone(replace(REQUEST, **changes), nodes, deadline_s)


def test_a_prospect_without_a_decision_tells_and_watches_nothing() -> None:
    planner = Planner("edge1")
    with Prospect(planner.estimates, CLOCK, call="r", since_s=0.0, service="interactive") as prospect:
        prospect.heard()
    assert prospect.told() == {}
