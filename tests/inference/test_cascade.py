"""`cascade` over real engines: a door, handles, engine services, with only the wire a function call."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping, Sequence
from contextlib import AsyncExitStack
from dataclasses import dataclass, field, replace
from functools import partial
from typing import cast

import pytest

from netgpt.core.chance import SeededChance
from netgpt.core.clock import WallClock
from netgpt.core.compute import ThreadCompute
from netgpt.core.errors import NodeUnreachable
from netgpt.corpus.draw import judged_tasks
from netgpt.engine.contract import Engine
from netgpt.engine.hash_engine import HashEngine
from netgpt.engine.torch_engine import TorchEngine
from netgpt.inference.cache import AnswerCache
from netgpt.inference.calibration_file import shipped_calibrations
from netgpt.inference.cascade import Policy, cascade
from netgpt.inference.confidence import Evidence, Scene
from netgpt.inference.door import Door
from netgpt.inference.escalation import Choice
from netgpt.inference.judge import Judge
from netgpt.inference.request import CacheWish, ChatRequest, Delta, Finish
from netgpt.models.card import weightless_card
from netgpt.models.hf_tokenizer import load_tokenizer
from netgpt.models.store import find_model, search_path
from netgpt.models.tokenizer import ByteTokenizer, Tokenizer
from netgpt.network.member import Member, Tier
from netgpt.node.handle import NodeHandle
from netgpt.node.service import EngineService
from netgpt.telemetry.metrics import Metrics
from netgpt.wire.messages import PROTOCOL_VERSION

from .near_nodes import Connection, ask

CLOCK = WallClock()
TIERS = ("device", "edge", "cloud")


@dataclass(frozen=True)
class Doubter:
    """A policy: which models' answers are never trusted."""

    doubted: tuple[str, ...]
    to: str = ""  # the model that is asked instead; empty: the next larger one
    blind: tuple[str, ...] = ()  # nodes that it cannot judge
    sure: int = 0  # leading tokens of doubted answers that stay
    reads_states: bool = False
    learnt: list[tuple[str, str, bool]] = field(default_factory=list)
    scenes: list[Scene | None] = field(default_factory=list)

    def needs_state(self, model: str) -> bool:
        return self.reads_states

    def next_after(self, model: str, evidence: Evidence | None, larger: Sequence[NodeHandle], scene: Scene | None = None) -> Choice:
        assert not larger or evidence is not None
        self.scenes.append(scene)
        doubts = bool(larger) and model in self.doubted
        return Choice(model=(self.to or larger[0].member.model) if doubts else "", gain=0.5)

    def sure_tokens(self, evidence: Evidence) -> int:
        return self.sure

    def can_judge(self, node: NodeHandle) -> bool:
        return node.id not in self.blind

    def learn(self, evidence: Evidence | None, smaller: NodeHandle, larger: NodeHandle, *, agreed: bool) -> None:
        self.learnt.append((smaller.id, larger.id, agreed))


def member(engine: Engine, tier: str, node: str = "") -> Member:
    card = engine.card
    return Member(
        id=node or f"{tier}1",
        tier=cast(Tier, tier),
        engine_address=tier,
        door_url="-",
        model=card.id,
        tokenizer=card.tokenizer,
        parameters=card.parameters,
        state="ready",
        slots=8,
        context_tokens=card.context_tokens,
        protocol_version=PROTOCOL_VERSION,
    )


def hash_engine(tier: str) -> Engine:
    card = weightless_card(f"hash-{tier}", tier=tier, parameters=10 ** (TIERS.index(tier) + 1), context_tokens=512, tokenizer=ByteTokenizer())
    return HashEngine(card, CLOCK)


def make_door(members: Sequence[Member], connections: Mapping[str, Connection], tokenizer: Tokenizer, policy: Policy) -> Door:
    return Door(
        entry=lambda: members[0],
        members=lambda: members,
        handle=lambda one: NodeHandle(one, connections[one.id], tokenizer, CLOCK, is_entry=one is members[0]),
        tokenizer=tokenizer,
        clock=CLOCK,
        chance=SeededChance(1),
        metrics=Metrics(),
        record=lambda *_, **__: None,
        strategies={"cascade": partial(cascade, policy=policy)},
    )


HELLO = ChatRequest(request_id="r", model="cascade", messages=(("user", "hello"),), max_tokens=12, temperature=0, seed=5)


def ask_hashes(
    policy: Policy, request: ChatRequest = HELLO, *, busy: tuple[str, ...] = (), **breaks: int
) -> tuple[str, Finish, dict[str, Connection]]:
    """One request to three models without weights; `breaks` says after how many replies a node is gone, `busy` which have no free slot."""

    async def main() -> tuple[str, Finish, dict[str, Connection]]:
        engines = {f"{tier}1": hash_engine(tier) for tier in TIERS}
        members = [replace(member(engine, node[:-1]), running=8 if node in busy else 0) for node, engine in engines.items()]
        connections = {node: Connection(EngineService(node, engine, lambda _: ""), breaks.get(node)) for node, engine in engines.items()}
        text, finish, _ = await ask(make_door(members, connections, ByteTokenizer(), policy), request)
        return text, finish, connections

    return asyncio.run(main())


def alone(tier: str) -> str:
    return ask_hashes(Doubter(()), replace(HELLO, model=f"netgpt-{tier}"))[0]


def test_the_smallest_model_that_is_trusted_answers() -> None:
    text, finish, connections = ask_hashes(Doubter(()))
    assert text == alone("device")
    assert [span.node for span in finish.origin] == ["device1"]
    assert finish.strategy == "cascade"
    assert not finish.switches
    assert not connections["edge1"].calls + connections["cloud1"].calls


def test_what_is_not_trusted_is_not_shown_and_the_next_model_answers_anew() -> None:
    policy = Doubter(("hash-device",))
    text, finish, connections = ask_hashes(policy)
    assert text == alone("edge")
    assert [span.node for span in finish.origin] == ["edge1"]
    assert "device1 was not sure enough" in finish.switches[0]
    assert not connections["cloud1"].calls
    assert policy.learnt == [("device1", "edge1", alone("device") == alone("edge"))]


def test_a_reply_says_whether_the_last_model_was_sure_or_the_largest() -> None:
    reasons = [ask_hashes(policy)[1].why for policy in (Doubter(()), Doubter(("hash-device", "hash-edge")), Doubter((), blind=("device1", "edge1")))]
    assert reasons[0] == "device1 was sure enough"
    assert reasons[1] == "cloud1 runs the largest model that may answer, and no smaller one was sure enough"
    assert reasons[2] == "cloud1 runs the largest model that may answer, and no smaller one gave an answer that can be judged"
    stands = ask_hashes(Doubter(("hash-device", "hash-edge")), cloud1=0)[1]
    assert stands.why == "edge1 gave the best answer that could be had: not every node could be reached"
    own = ask_hashes(Doubter(()), replace(HELLO, privacy="device-only"))[1]
    assert own.why == "device1: all nodes that may answer run one model"


def test_a_tier_can_be_skipped() -> None:
    text, finish, connections = ask_hashes(Doubter(("hash-device",), to="hash-cloud"))
    assert text == alone("cloud")
    assert len(finish.switches) == 1
    assert not connections["edge1"].calls


def test_the_largest_model_is_always_trusted() -> None:
    text, finish, _ = ask_hashes(Doubter(("hash-device", "hash-edge", "hash-cloud")))
    assert text == alone("cloud")
    assert len(finish.switches) == 2


def test_where_no_larger_model_can_be_reached_the_doubted_answer_stands() -> None:
    text, finish, _ = ask_hashes(Doubter(("hash-device", "hash-edge")), cloud1=0)
    assert text == alone("edge")
    assert [span.node for span in finish.origin] == ["edge1"]
    assert finish.completion_tokens == 12
    assert "stands, unsure as it was" in finish.switches[-1]


def test_what_was_sure_stays_and_only_the_rest_goes_up() -> None:
    text, finish, connections = ask_hashes(Doubter(("hash-device", "hash-edge"), sure=5))
    assert text.startswith(alone("device")[:5])
    assert [(span.node, span.tokens) for span in finish.origin] == [("device1", 5), ("cloud1", 7)]
    assert connections["edge1"].calls == ["generate"]


def test_where_nobody_can_be_reached_after_the_sure_part_the_doubted_rest_stands() -> None:
    text, finish, _ = ask_hashes(Doubter(("hash-device",), sure=5), edge1=0, cloud1=0)
    assert text == alone("device")
    assert [(span.node, span.tokens) for span in finish.origin] == [("device1", 12)]


def test_a_lost_model_is_passed_over() -> None:
    text, finish, _ = ask_hashes(Doubter(()), device1=3)
    assert text == alone("edge")
    assert "device1 failed" in finish.switches[0]


def test_an_answer_of_the_largest_that_breaks_off_goes_on_elsewhere_and_keeps_what_was_shown() -> None:
    text, finish, _ = ask_hashes(Doubter(("hash-device",), to="hash-cloud"), cloud1=4)
    assert text.startswith(alone("cloud")[:4])
    assert [(span.node, span.tokens) for span in finish.origin] == [("cloud1", 4), ("edge1", 8)]


def test_all_lost_is_an_error() -> None:
    with pytest.raises(NodeUnreachable):
        ask_hashes(Doubter(()), device1=0, edge1=0, cloud1=0)


def test_a_model_that_cannot_be_judged_is_not_asked_unless_it_is_the_largest() -> None:
    _, finish, connections = ask_hashes(Doubter(("hash-device",), blind=("edge1", "cloud1")))
    assert [span.node for span in finish.origin] == ["cloud1"]
    assert not connections["edge1"].calls


BATCH = replace(HELLO, service="batch")


def test_what_nobody_waits_for_goes_to_the_largest_model_at_once() -> None:
    text, finish, connections = ask_hashes(Doubter(("hash-device",)), BATCH)
    assert text == alone("cloud")
    assert [span.node for span in finish.origin] == ["cloud1"]
    assert not finish.switches
    assert not connections["device1"].calls + connections["edge1"].calls, "no failed attempt is paid for"
    assert "nobody waits for a batch request" in finish.why
    assert finish.plan["chosen"]["strategy"] == "direct"


@pytest.mark.parametrize(
    ("changed", "busy", "answered"),
    [
        ({"privacy": "device-only"}, (), "device1"),
        ({"privacy": "edge-allowed"}, (), "edge1"),  # the largest that may see it
        ({"deadline_s": 0.05}, (), "device1"),  # which nobody foresees to keep: the cascade tries
        ({"max_energy_j": 0.0}, (), "device1"),
        ({}, ("cloud1",), "device1"),  # no free slot: the cascade spares it
        ({"service": "critical"}, (), "device1"),
    ],
)
def test_the_cascade_runs_as_ever_where_the_largest_model_may_not_cannot_or_has_no_room(
    changed: dict[str, object], busy: tuple[str, ...], answered: str
) -> None:
    _, finish, _ = ask_hashes(Doubter(()), replace(BATCH, **changed), busy=busy)
    assert [span.node for span in finish.origin] == [answered]


def test_of_a_batch_request_whose_largest_model_breaks_off_the_next_largest_makes_the_rest() -> None:
    text, finish, _ = ask_hashes(Doubter(()), BATCH, cloud1=4)
    assert text.startswith(alone("cloud")[:4])
    assert [(span.node, span.tokens) for span in finish.origin] == [("cloud1", 4), ("edge1", 8)]


def test_states_are_read_on_the_doors_own_node_alone_and_cross_no_link() -> None:
    policy = Doubter(("hash-device", "hash-edge"), reads_states=True)
    text, finish, connections = ask_hashes(policy)
    assert text == alone("cloud")
    of_device, of_edge = policy.scenes
    assert of_device is not None
    assert len(of_device.state) == 4 * 64, "prompt and answer, the mean and the last state of each"
    assert (of_device.messages, of_device.answer) == (HELLO.messages, alone("device"))
    assert of_edge is None, "the edge's states stay there"
    assert [connections[node].calls.count("embed") for node in ("device1", "edge1", "cloud1")] == [1, 0, 0]
    plain = ask_hashes(Doubter(("hash-device", "hash-edge")))[1]
    assert {node: finish.link_bytes[node] for node in ("edge1", "cloud1")} == {node: plain.link_bytes[node] for node in ("edge1", "cloud1")}


def ask_and_keep(policy: Policy, requests: Sequence[ChatRequest], **breaks: int) -> tuple[list[tuple[str, Finish]], dict[str, Connection]]:
    """Requests one after the other, to three models of which the edge's node keeps answers."""

    async def main() -> tuple[list[tuple[str, Finish]], dict[str, Connection]]:
        engines = {f"{tier}1": hash_engine(tier) for tier in TIERS}
        members = [replace(member(engine, node[:-1]), keeps=node == "edge1") for node, engine in engines.items()]
        keepers = {"edge1": AnswerCache(CLOCK, entries=9)}
        services = {node: EngineService(node, engine, lambda _: "", keeper=keepers.get(node)) for node, engine in engines.items()}
        connections = {node: Connection(service, breaks.get(node)) for node, service in services.items()}
        door = make_door(members, connections, ByteTokenizer(), policy)
        answers: list[tuple[str, Finish]] = []
        for request in requests:
            answers.append((await ask(door, request))[:2])
            while door._recalling._keeping:  # it is sent after its user has it
                await asyncio.sleep(0.001)
        await door.close()
        return answers, connections

    return asyncio.run(main())


AGAIN = [replace(HELLO, request_id=f"r{place}", cache=CacheWish()) for place in range(2)]


def test_an_answer_that_climbed_is_kept_and_given_again_as_the_cascades() -> None:
    answers, connections = ask_and_keep(Doubter(("hash-device", "hash-edge"), sure=5), AGAIN)
    (first, made), (second, given) = answers
    assert first == second
    assert made.cache is not None
    assert made.cache.result == "miss"
    assert len(made.switches) == made.escalations == 2
    assert given.cache is not None
    assert (given.cache.result, given.strategy) == ("hit", "cascade")
    assert [span.kept for span in given.origin] == [True]
    assert "the answer of device1, cloud1" in given.why
    assert [connections[node].calls.count("generate") for node in ("device1", "edge1", "cloud1")] == [1, 1, 1]


def test_a_doubted_answer_that_stands_because_nobody_larger_could_be_reached_is_not_kept() -> None:
    answers, _ = ask_and_keep(Doubter(("hash-device", "hash-edge")), AGAIN, cloud1=0)
    assert "stands, unsure as it was" in answers[0][1].switches[-1]
    assert [finish.cache.result for _, finish in answers if finish.cache] == ["miss", "miss"]


def test_an_answer_of_auto_is_kept_for_the_same_limits_alone() -> None:
    auto = [replace(request, model="auto") for request in AGAIN]
    answers, connections = ask_and_keep(Doubter(()), [*auto, replace(auto[0], service="critical")])
    assert [finish.cache.result for _, finish in answers if finish.cache] == ["miss", "hit", "miss"]
    assert answers[0][0] == answers[1][0]
    assert answers[1][1].strategy == "auto"
    assert [bool(finish.plan) for _, finish in answers] == [True, False, True]
    assert sum(connection.calls.count("generate") for connection in connections.values()) == 2


def test_log_probabilities_are_those_that_were_asked_for() -> None:
    async def main(top_logprobs: int) -> list[Delta]:
        engines = {f"{tier}1": hash_engine(tier) for tier in TIERS}
        members = [member(engine, node[:-1]) for node, engine in engines.items()]
        connections = {node: Connection(EngineService(node, engine, lambda _: "")) for node, engine in engines.items()}
        door = make_door(members, connections, ByteTokenizer(), Doubter(()))
        return (await ask(door, replace(HELLO, logprobs=True, top_logprobs=top_logprobs)))[2]

    for wanted in (0, 1):
        deltas = asyncio.run(main(wanted))
        assert sum(len(delta.logprobs) for delta in deltas) == 12
        assert all(len(top.logprobs) == wanted for delta in deltas for top in delta.top)


def test_the_shipped_models_climb_where_they_are_unsure_and_are_right_more_often_for_it() -> None:
    """Of every 60th judged task: each answer of one model is word for word that model's own."""
    tasks = judged_tasks()[::60]

    async def main() -> None:
        async with AsyncExitStack() as stack:
            folders = {tier: find_model(f"netgpt-{tier}", search_path(None)) for tier in TIERS}
            engines: dict[str, Engine] = {}
            for tier, folder in folders.items():
                engines[f"{tier}1"] = TorchEngine.from_folder(folder, compute=ThreadCompute(tier), clock=CLOCK, threads=1)
                stack.push_async_callback(engines[f"{tier}1"].close)
            members = [member(engine, node[:-1]) for node, engine in engines.items()]
            connections = {node: Connection(EngineService(node, engine, lambda _: "")) for node, engine in engines.items()}
            door = make_door(members, connections, load_tokenizer(folders["device"]), Judge(shipped_calibrations()))
            origins: list[str] = []
            for place, task in enumerate(tasks):
                request = ChatRequest(request_id=f"r{place}", model="cascade", messages=task.messages, max_tokens=80, temperature=0)
                said, finish, _ = await ask(door, request)
                origins.append(finish.origin[-1].node)
                assert (finish.origin[-1].node == "device1") == (not finish.switches)
                if len(finish.origin) == 1:
                    direct, _, _ = await ask(door, replace(request, request_id=f"d{place}", model=f"netgpt-{origins[-1][:-1]}"))
                    assert said == direct
                assert finish.link_bytes["device1"]["received"] > 0
            assert "device1" in origins
            assert "cloud1" in origins

    asyncio.run(main())
