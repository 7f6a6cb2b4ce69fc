"""`route`: what it decides from, and a door that asks it over real engines."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, Mapping, Sequence
from contextlib import AsyncExitStack, aclosing
from dataclasses import dataclass, field, replace
from functools import partial
from typing import cast

import numpy as np
import pytest

from netgpt.core.chance import SeededChance
from netgpt.core.clock import WallClock
from netgpt.core.compute import ThreadCompute
from netgpt.core.errors import NodeUnreachable, NotSupported
from netgpt.core.transport import Call
from netgpt.corpus.draw import judged_tasks
from netgpt.engine.contract import Engine
from netgpt.engine.hash_engine import HashEngine, embed_tokens
from netgpt.engine.torch_engine import TorchEngine
from netgpt.inference.boosting import fit_forest
from netgpt.inference.calibration import LEAST_TASKS, fit_nearest, fit_router
from netgpt.inference.calibration_file import shipped_calibrations
from netgpt.inference.door import Door
from netgpt.inference.request import ChatRequest, Delta, Finish
from netgpt.inference.route import route
from netgpt.inference.routing import Router, choose_model
from netgpt.inference.surface import SURFACE, surface_of
from netgpt.inference.words import Words, fit_words, words_of
from netgpt.models.card import ModelCard
from netgpt.models.hf_tokenizer import load_tokenizer
from netgpt.models.store import find_model, search_path
from netgpt.models.tokenizer import ByteTokenizer, Tokenizer, render_chat
from netgpt.network.member import Member, Tier
from netgpt.node.handle import NodeHandle
from netgpt.node.service import EngineService
from netgpt.telemetry.metrics import Metrics
from netgpt.wire.messages import PROTOCOL_VERSION

CLOCK = WallClock()
TIERS = ("device", "edge", "cloud")
EASY, HARD = "echo the word", "prove the theorem"


def test_boosted_trees_find_what_no_line_can() -> None:
    stream = SeededChance(1).stream("forest")
    features_NF = stream.normal(size=(4000, 4))
    right_N = np.abs(features_NF[:, 0]) < 0.7
    forest = fit_forest(features_NF[:3000], right_N[:3000])
    said_N = forest.probabilities(features_NF[3000:])
    assert ((said_N > 0.5) == right_N[3000:]).mean() > 0.9
    again = fit_forest(features_NF[:3000], right_N[:3000])
    assert (again.probabilities(features_NF[3000:]) == said_N).all(), "the same trees of the same tasks"


def test_trees_on_noise_say_the_share() -> None:
    stream = SeededChance(2).stream("noise")
    features_NF, right_N = stream.normal(size=(4000, 5)), stream.random(4000) < 0.3
    said_N = fit_forest(features_NF, right_N).probabilities(stream.normal(size=(500, 5)))
    assert said_N.mean() == pytest.approx(0.3, abs=0.03)


def test_trees_survive_features_that_never_vary() -> None:
    features_NF = np.zeros((400, 3))
    right_N = np.arange(400) % 4 == 0
    assert fit_forest(features_NF, right_N).probabilities(np.ones((1, 3)))[0] == pytest.approx(0.25, abs=0.02)


def test_nearest_prompts_tell_what_became_of_them() -> None:
    stream = SeededChance(3).stream("near")
    places_NF = np.concatenate((stream.normal(-2, 0.5, (600, 3)), stream.normal(2, 0.5, (600, 3))))
    right_NO = np.stack((np.arange(1200) < 600, np.ones(1200, dtype=np.bool_)), axis=1)
    order = stream.permutation(1200)
    nearest = fit_nearest(places_NF[order], right_NO[order])
    said_NO = nearest.probabilities(np.array([[-2.0, -2, -2], [2, 2, 2]]))
    familiar = nearest.familiarity(np.array([[-2.0, -2, -2], [9.0, -9, 9]]))
    assert familiar[0] > 0.9
    assert familiar[1] == 0.0, "nothing known is like that"
    assert said_NO[0, 0] > 0.95
    assert said_NO[1, 0] < 0.05
    assert (said_NO[:, 1] > 0.95).all()


def test_the_model_is_chosen_that_gains_more_than_it_costs() -> None:
    costs = {"small": 0.04, "middle": 0.12, "large": 1.0}
    expected = {"small": 0.5, "middle": 0.6, "large": 0.9}
    assert choose_model(expected, costs, 0.0).model == "large"
    assert choose_model(expected, costs, 0.4).model == "middle"
    assert choose_model(expected, costs, 2.0).model == "small"
    assert choose_model({"small": 0.5}, costs, 0.0).right == 1.0, "the best is expected of a model that nothing is known of"
    assert choose_model(dict.fromkeys(costs, 0.5), costs, 0.0).model == "small"


def test_the_surface_counts_and_takes_any_text() -> None:
    found = dict(zip(SURFACE, surface_of([("system", "Be brief."), ("user", "Add 12, 12 and 7.\nÄ?")]), strict=True))
    assert (found["messages"], found["numbers"], found["distinct_numbers"], found["longest_number"]) == (2, 3, 2, 2)
    assert (found["question_lines"], found["beyond_ascii"], found["mark ,"]) == (1, 1, 1)
    assert not surface_of([]).any()
    assert surface_of([("user", "")])[0] == 1


def test_a_router_refuses_states_of_other_weights_and_too_few_tasks() -> None:
    with pytest.raises(NotSupported, match="states of 128 values, not of 3"):
        hash_router().probabilities((("user", EASY),), (1.0, 2.0, 3.0))
    with pytest.raises(Exception, match="too few"):
        fit_router(np.zeros((LEAST_TASKS - 1, 30)), {"m": np.zeros(LEAST_TASKS - 1, dtype=np.bool_)})


def test_of_unlike_prompts_rare_words_are_believed_and_only_of_the_smallest_model() -> None:
    stream = SeededChance(5).stream("names")
    names = [f"Bek{chr(97 + n // 26)}{chr(97 + n % 26)}" for n in range(400)]
    asked = [names[int(400 * u**3)] for u in stream.random(3000)]  # a few are asked about often
    prompts = [words_of((("user", f"where is {name}"),)) for name in asked]
    often = np.array([asked.count(name) > 20 for name in asked])
    words = fit_words(prompts)
    state_NS = stream.normal(size=(3000, 4))
    features_NF = np.concatenate((np.zeros((3000, len(SURFACE))), words.features(prompts, own=1), state_NS), axis=1)
    router = fit_router(features_NF, {"small": often, "large": stream.random(3000) < 0.8}, words=words)
    strange = 40 * "?"
    said = [
        router.probabilities((("user", f"where is {name}{strange}"),), tuple(state_NS[0]))["small"]
        for name in (asked[int(often.argmax())], "Unheard")
    ]
    assert said[0] > 0.7 > 0.3 > said[1], "what it knows of words holds for strange prompts too"
    of_strange = router.probabilities((("user", f"where is it{strange}"),), tuple(state_NS[0]))
    assert of_strange["large"] == pytest.approx(router.shares[1], abs=1e-6), "of the larger model then only its share is known"


def hash_router(kind: str = "boosted", price: float = 0.5) -> Router:
    """Of the models without weights: the device's is right about `EASY` prompts, the edge's never, the cloud's always."""
    stream, tokenizer = SeededChance(4).stream("prompts"), ByteTokenizer()
    rows: list[np.ndarray] = []
    easy: list[bool] = []
    for i in range(600):
        words = f"{EASY if i % 2 else HARD} {stream.integers(1000, 9999)}"
        messages = (("user", words),)
        ids = render_chat(tokenizer, messages)
        known = Words().features([words_of(messages)])[0]  # of no word is it known how often it was met
        rows.append(np.concatenate((surface_of(messages), known, embed_tokens("hash-device", ids), embed_tokens("hash-device", ids[-1:]))))
        easy.append(bool(i % 2))
    features_NF = np.array(rows)
    right = np.array(easy)
    fitted = fit_router(features_NF, {"hash-device": right, "hash-edge": ~right & right, "hash-cloud": right | ~right}, kind=kind, price=price)
    return fitted


@dataclass
class Connection:
    """To a handler in the same process, or to nobody. It counts the calls of each method."""

    service: EngineService
    lost: tuple[str, ...] = ()  # methods that find nobody
    calls: list[str] = field(default_factory=list)
    near: bool = False

    async def call(self, method: str, payload: bytes, *, deadline_s: float, qos: str = "standard") -> AsyncGenerator[bytes, None]:
        self.calls.append(method)
        if method in self.lost:
            raise NodeUnreachable("gone", hint="-")
        async with aclosing(self.service.handle(Call(method=method, payload=payload))) as replies:
            async for reply in replies:
                yield reply

    async def close(self) -> None: ...


def member(engine: Engine, tier: str) -> Member:
    card = engine.card
    return Member(
        id=f"{tier}1",
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
    card = ModelCard(
        id=f"hash-{tier}",
        tier=tier,
        parameters=10 ** (TIERS.index(tier) + 1),
        layers=0,
        bytes=0,
        context_tokens=512,
        vocabulary=ByteTokenizer.vocabulary,
        tokenizer=ByteTokenizer.hash,
    )
    return HashEngine(card, CLOCK)


def make_door(
    engines: Mapping[str, Engine], connections: Mapping[str, Connection], tokenizer: Tokenizer, routers: Mapping[str, Router], entry: str
) -> Door:
    members = [member(engine, tier) for tier, engine in engines.items()]
    own = next(one for one in members if one.tier == entry)
    return Door(
        entry=lambda: own,
        members=lambda: members,
        handle=lambda one: NodeHandle(one, connections[one.id], tokenizer, CLOCK, is_entry=one is own),
        tokenizer=tokenizer,
        clock=CLOCK,
        chance=SeededChance(1),
        metrics=Metrics(),
        record=lambda *_, **__: None,
        strategies={"route": partial(route, routers=routers)},
    )


async def ask(door: Door, request: ChatRequest) -> tuple[str, Finish]:
    answers = [answer async for answer in door.chat(request)]
    assert isinstance(answers[-1], Finish)
    return "".join(answer.text for answer in answers if isinstance(answer, Delta)), answers[-1]


def ask_hashes(
    text: str,
    routers: Mapping[str, Router],
    *,
    model: str = "route",
    tiers: Sequence[str] = TIERS,
    entry: str = "device",
    lost: Mapping[str, tuple[str, ...]] | None = None,
) -> tuple[str, Finish, dict[str, Connection]]:
    """One request to models without weights."""

    async def main() -> tuple[str, Finish, dict[str, Connection]]:
        engines = {tier: hash_engine(tier) for tier in tiers}
        connections = {
            f"{tier}1": Connection(EngineService(f"{tier}1", engine, lambda _: ""), (lost or {}).get(tier, ())) for tier, engine in engines.items()
        }
        door = make_door(engines, connections, ByteTokenizer(), routers, entry)
        request = ChatRequest(request_id="r", model=model, messages=(("user", text),), max_tokens=12, temperature=0, seed=5)
        said, finish = await ask(door, request)
        return said, finish, connections

    return asyncio.run(main())


@pytest.mark.parametrize("kind", ["boosted", "knn"])
def test_one_model_answers_and_no_other_is_asked(kind: str) -> None:
    routers = {"hash-device": hash_router(kind)}
    for text, tier in ((f"{EASY} 5000", "device"), (f"{HARD} 5000", "cloud")):
        said, finish, connections = ask_hashes(text, routers)
        assert said == ask_hashes(text, {}, model=f"netgpt-{tier}")[0]
        assert [span.node for span in finish.origin] == [f"{tier}1"]
        assert (finish.strategy, finish.switches) == ("route", ())
        assert "for what it costs" in finish.why
        calls = {node: connection.calls for node, connection in connections.items()}
        assert calls["device1"].count("embed") == 1, "its own node reads the prompt"
        assert [node for node, made in calls.items() if "generate" in made] == [f"{tier}1"]
        assert "embed" not in calls["edge1"] + calls["cloud1"]


def test_a_price_that_no_model_is_worth_keeps_everything_on_the_device() -> None:
    _, finish, _ = ask_hashes(f"{HARD} 5000", {"hash-device": hash_router(price=5.0)})
    assert [span.node for span in finish.origin] == ["device1"]


def test_where_the_chosen_node_is_lost_the_next_goes_on() -> None:
    _, finish, _ = ask_hashes(f"{HARD} 5000", {"hash-device": hash_router()}, lost={"cloud": ("generate",)})
    assert [span.node for span in finish.origin] == ["device1"]
    assert "cloud1 failed" in finish.switches[0]


def test_where_the_prompt_cannot_be_read_the_largest_answers() -> None:
    _, finish, connections = ask_hashes(f"{EASY} 5000", {"hash-device": hash_router()}, lost={"device": ("embed",)})
    assert [span.node for span in finish.origin] == ["cloud1"]
    assert "did not read the prompt" in finish.switches[0]
    assert "generate" not in connections["device1"].calls


def test_a_single_model_needs_no_router() -> None:
    said, finish, connections = ask_hashes(EASY, {}, tiers=("device",))
    assert [span.node for span in finish.origin] == ["device1"]
    assert said
    assert connections["device1"].calls == ["generate"]


@pytest.mark.parametrize("entry", ["device", "edge"])
def test_a_network_that_no_router_knows_is_refused_with_the_next_step(entry: str) -> None:
    routers = {} if entry == "device" else {"hash-device": hash_router()}
    with pytest.raises(NotSupported, match="no router for hash-") as refused:
        ask_hashes(EASY, routers, entry=entry)
    assert "netgpt calibrate" in refused.value.hint
    assert "cascade" in refused.value.hint


def test_the_shipped_router_sends_some_prompts_of_the_shipped_models_up_and_each_answer_is_one_models() -> None:
    tasks = judged_tasks()[::180]

    async def main() -> None:
        async with AsyncExitStack() as stack:
            folders = {tier: find_model(f"netgpt-{tier}", search_path(None)) for tier in TIERS}
            engines: dict[str, Engine] = {}
            for tier, folder in folders.items():
                engine = TorchEngine.from_folder(folder, compute=ThreadCompute(tier), clock=CLOCK, threads=1)
                stack.push_async_callback(engine.close)
                engines[tier] = engine
            connections = {f"{tier}1": Connection(EngineService(f"{tier}1", engine, lambda _: "")) for tier, engine in engines.items()}
            door = make_door(engines, connections, load_tokenizer(folders["device"]), shipped_calibrations().routers, "device")
            origins: list[str] = []
            for place, task in enumerate(tasks):
                request = ChatRequest(request_id=f"r{place}", model="route", messages=task.messages, max_tokens=80, temperature=0)
                said, finish = await ask(door, request)
                (span,) = finish.origin
                origins.append(span.node)
                direct, _ = await ask(door, replace(request, request_id=f"d{place}", model=f"netgpt-{span.node[:-1]}"))
                assert said == direct
            assert len(set(origins)) > 1
            assert connections["device1"].calls.count("embed") == len(tasks)

    asyncio.run(main())
