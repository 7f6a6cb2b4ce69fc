"""Whether reading a prompt first is worth it, and who answers then."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace

import numpy as np
import pytest

from netgpt.inference.calibration_file import shipped_calibrations
from netgpt.inference.objective import INTERACTIVE, objective_of
from netgpt.inference.planner import Planner
from netgpt.inference.planning import Candidate, Decision, Limits, Prediction, score
from netgpt.inference.reading import ENOUGH, Read, Reader, read_first, settled
from netgpt.inference.request import ChatRequest
from netgpt.network.member import Member, Tier
from netgpt.network.offer import Offer, Pace

QUALITY = {"device1": 0.4, "edge1": 0.7, "cloud1": 0.9}
TIER: Mapping[str, Tier] = {"device1": "device", "edge1": "edge", "cloud1": "cloud"}
NODES = {
    node: Member(id=node, tier=tier, engine_address="-", door_url="-", model=f"netgpt-{tier}", slots=4, context_tokens=2048, quality=QUALITY[node])
    for node, tier in TIER.items()
}
WEIGHTS = objective_of(INTERACTIVE)
CHAT = ChatRequest(request_id="r", model="auto", messages=(("user", "What is 5QI 1?"),), max_tokens=20)


def way(node: str, total_s: float, **changes: float) -> Prediction:
    plain = Prediction(
        candidate=Candidate(strategy="direct", nodes=(node,)), ttft_s=total_s / 2, token_s=0.01, total_s=total_s, answer_tokens=20, up_bytes=100,
        down_bytes=200, token_bytes=10, energy_j=1.0, cost=0.0, quality=QUALITY[node], spread=0.1, held_s=0.0, wait_s=0.0, fastest_s=0.1,
        sources={"time": "told"},
    )  # fmt: skip
    return replace(plain, **changes)  # type: ignore[arg-type]


def first(ways: Sequence[Prediction], outlook: Sequence[Mapping[str, float]], took_s: float = 0.05) -> Prediction:
    scored = [score(one, WEIGHTS, Limits()) for one in ways]
    return read_first(scored, NODES, outlook, WEIGHTS, entry="device1", took_s=took_s, energy_j=0.2, spread=0.0)


def j_s(prediction: Prediction) -> float:
    return score(prediction, WEIGHTS, Limits()).cost_s


def test_reading_that_would_change_no_choice_costs_what_it_takes() -> None:
    ways = [way("device1", 1.0), way("edge1", 0.6), way("cloud1", 0.7)]
    found = first(ways, [{"netgpt-device": 0.3, "netgpt-edge": 0.6, "netgpt-cloud": 0.8}] * 3)
    assert j_s(found) == pytest.approx(min(map(j_s, ways)) + 0.05 + WEIGHTS.energy_s_per_j * 0.2)
    assert found.quality == pytest.approx(0.9), "levels are the nodes' own"


def test_reading_is_worth_what_better_choices_save() -> None:
    ways = [way("edge1", 0.4), way("cloud1", 1.0)]
    outlook = [{"netgpt-edge": 0.9, "netgpt-cloud": 0.9}, {"netgpt-edge": 0.5, "netgpt-cloud": 0.9}]
    found = first(ways, outlook, took_s=0.0)
    each = [
        min(j_s(replace(one, quality=one.quality + moved[one.candidate.nodes[0]])) for one in ways)
        for moved in ({"edge1": 0.2, "cloud1": 0.0}, {"edge1": -0.2, "cloud1": 0.0})
    ]
    assert j_s(found) == pytest.approx(np.mean(each) + WEIGHTS.energy_s_per_j * 0.2)
    assert j_s(found) < min(map(j_s, ways))
    assert found.total_s == pytest.approx(0.7), "each is asked every other time"
    assert found.quality == pytest.approx(0.9)
    assert found.candidate == Candidate(strategy="route", nodes=("device1", "edge1", "cloud1"))


def decision_of(ways: Sequence[Prediction]) -> Decision:
    scored = tuple(score(one, WEIGHTS, Limits()) for one in ways)
    return Decision(chosen=scored[0], ranked=scored, why="")


def read_of(**right: float) -> Read:
    return Read(node="device1", took_s=0.1, energy_j=0.5, right={f"netgpt-{tier}": chance for tier, chance in right.items()}, link_bytes={})


def test_after_reading_the_prompts_own_chances_decide_in_variants_too() -> None:
    ways = [way("edge1", 0.4), replace(way("edge1", 0.3, quality=0.35), candidate=Candidate(strategy="direct", nodes=("edge1",), variants=("int4",)))]
    ways += [way("cloud1", 1.0)]
    easy = settled(decision_of(ways), read_of(edge=0.95, cloud=0.95), NODES, WEIGHTS, Limits())
    assert easy.chosen.prediction.candidate.nodes == ("edge1",)
    assert easy.chosen.prediction.candidate.variants == ()
    assert [round(one.prediction.quality, 3) for one in easy.ranked if one.prediction.candidate.variants] == [0.475], "half of it, as it keeps"
    hard = settled(decision_of(ways), read_of(edge=0.1, cloud=0.9), NODES, WEIGHTS, Limits())
    assert hard.chosen.prediction.candidate.nodes == ("cloud1",)
    assert hard.chosen.prediction.total_s == pytest.approx(1.1), "what reading took counts"
    assert "netgpt-edge 10%, netgpt-cloud 90%" in hard.why
    late = settled(decision_of(ways), read_of(edge=0.1, cloud=0.9), NODES, WEIGHTS, Limits(deadline_s=1.05))
    assert late.chosen.prediction.candidate.nodes == ("edge1",), "the cloud would be too late by now"


def test_a_prompt_that_was_not_read_is_answered_as_if_nothing_had_been_asked() -> None:
    ways = [way("edge1", 0.4), way("cloud1", 1.0)]
    found = settled(decision_of(ways), replace(read_of(), why="overloaded"), NODES, WEIGHTS, Limits())
    assert found.chosen.prediction.quality == QUALITY[found.chosen.prediction.candidate.nodes[0]]
    assert found.why.startswith("device1 did not read the prompt (overloaded); ")


def test_what_was_read_lately_stands_for_what_comes_and_before_it_the_routers_own_curve() -> None:
    router = shipped_calibrations().routers["netgpt-device"]
    reader = Reader({"netgpt-device": router})
    before = reader.outlook(router)
    assert [chances["netgpt-cloud"] for chances in before] == [router.shares[2]] * len(before)
    assert np.mean([chances["netgpt-device"] for chances in before]) == pytest.approx(router.shares[0], abs=0.01)
    assert reader.unknown(router) == 1.0
    for number in range(ENOUGH):
        reader.learn(router, read_of(device=0.1 * (number % 2), edge=0.5, cloud=0.9).right)
    assert [chances["netgpt-device"] for chances in reader.outlook(router)] == [0.0, 0.1] * (ENOUGH // 2)
    assert reader.unknown(router) == 0.0


def test_only_a_door_whose_own_model_has_a_router_reads_and_only_texts_for_several_models() -> None:
    router = shipped_calibrations().routers["netgpt-device"]
    reader, all_of = Reader({"netgpt-device": router}), list(NODES.values())
    assert reader.router_for(CHAT, NODES["device1"], all_of) is router
    assert reader.router_for(CHAT, NODES["edge1"], all_of) is None
    assert reader.router_for(CHAT, None, all_of) is None
    assert reader.router_for(CHAT, NODES["device1"], [NODES["device1"]]) is None
    assert reader.router_for(replace(CHAT, messages=(), prompt=(1, 2)), NODES["device1"], all_of) is None
    reader.give_up(router)
    assert reader.router_for(CHAT, NODES["device1"], all_of) is None


def test_a_planner_offers_to_read_first_only_within_the_limits() -> None:
    offer = Offer(pace=Pace(layers_s=0.0002, head_s=0.001, read_s=0.02), power_w=5.0)
    nodes = [replace(NODES[node], state="ready", offer=offer) for node in ("device1", "cloud1")]
    reading, plain = Planner("device1", reader=Reader(shipped_calibrations().routers)), Planner("device1")

    def found(planner: Planner, deadline_s: float = 60.0) -> dict[str, Prediction]:
        decision = planner.preview(CHAT, nodes, {}, 0.0, deadline_s=deadline_s)
        return {str(one.prediction.candidate): one.prediction for one in decision.ranked}

    ways = found(reading)
    assert set(ways) - set(found(plain)) == {"route device1 | cloud1"}, "without a router nobody reads"
    route = ways["route device1 | cloud1"]
    assert offer.pace is not None
    assert route.read_s >= offer.pace.prefill_s(10)
    slower_s = max(ways["device1"].total_s, ways["cloud1"].total_s)
    assert "route device1 | cloud1" in found(reading, slower_s + 2 * route.read_s)
    assert "route device1 | cloud1" not in found(reading, slower_s + route.read_s / 2), "one of them would be too late then"
