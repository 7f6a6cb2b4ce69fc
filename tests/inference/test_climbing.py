"""`auto` and cascades: what a cascade is expected to do, when it is chosen, and that it then runs over the nodes that were chosen."""

from __future__ import annotations

import asyncio
from dataclasses import replace
from functools import partial
from types import SimpleNamespace
from typing import cast

import pytest

from netgpt.cli.plan import shown
from netgpt.core.chance import SeededChance
from netgpt.inference.calibration_file import shipped_calibrations
from netgpt.inference.cascade import cascade
from netgpt.inference.climbing import expected
from netgpt.inference.confidence import Calibrations, Evidence
from netgpt.inference.door import Door
from netgpt.inference.judge import Judge
from netgpt.inference.planner import Planner
from netgpt.inference.request import ChatRequest, Finish
from netgpt.inference.showing import row
from netgpt.models.quality import shipped_quality
from netgpt.models.tokenizer import ByteTokenizer
from netgpt.network.member import Member
from netgpt.network.offer import Offer, Pace
from netgpt.node.handle import NodeHandle
from netgpt.node.service import EngineService
from netgpt.telemetry.metrics import Metrics

from .test_cascade import CLOCK, TIERS, Connection, ask, hash_engine, member

DEVICE = shipped_calibrations().models["netgpt-device"]
CURVES = (DEVICE.right.pools, DEVICE.others["netgpt-cloud"].pools)
FAST, SLOW = Pace(layers_s=0.0001, read_s=0.01), Pace(layers_s=0.0005, read_s=0.3)
REQUEST = ChatRequest(request_id="r", model="auto", messages=(("user", "hello"),), max_tokens=12, temperature=0, seed=5, service="critical")


def test_the_dearer_a_call_the_fewer_answers_climb_and_the_fewer_are_right():
    outlooks = [expected(*CURVES, worth, 0.0, 0.4, 0.8) for worth in (0.0, 0.2, 0.4, 1.0)]
    shares, qualities = zip(*outlooks, strict=True)
    assert shares == tuple(sorted(shares, reverse=True))
    assert (shares[0], shares[-1]) == (pytest.approx(1.0, abs=0.2), 0.0)
    assert qualities[-1] == pytest.approx(0.4, abs=0.01), "nothing climbs: the smaller model's own"
    assert all(0.39 < quality < 0.85 for quality in qualities)
    assert qualities[1] > 0.4 + shares[1] * 0.35, "who climbs is chosen: it gains more than answers drawn by lot"


def test_models_that_fail_more_often_than_they_were_calibrated_for_climb_more_often():
    assert expected(*CURVES, 0.3, -1.0, 0.4, 0.8)[0] > expected(*CURVES, 0.3, 0.0, 0.4, 0.8)[0]


def test_the_shipped_models_are_expected_to_climb_about_as_often_as_they_do():
    """Of these two alone 79 % reach the cloud and 85 % are right on the judged tasks, at the shipped price."""
    judge = Judge(shipped_calibrations())
    told = shipped_quality("netgpt-device"), shipped_quality("netgpt-cloud")
    share, quality = judge.expect(shipped("device"), shipped("cloud"), *told)
    assert share == pytest.approx(0.79, abs=0.1)
    assert quality == pytest.approx(0.85, abs=0.03)


def shipped(tier: str) -> Member:
    return replace(member(hash_engine(tier), tier), model=f"netgpt-{tier}", tokenizer="t", quality=shipped_quality(f"netgpt-{tier}"))


def test_a_plan_shows_cascades_of_models_that_can_be_judged():
    planner = Planner("device1", climbing=Judge(shipped_calibrations()))
    nodes = [shipped("cloud"), shipped("edge"), shipped("device")]
    decision = planner.preview(REQUEST, nodes, {}, 0.0, deadline_s=60)
    rows = {str(shown(row(one))[0]): row(one) for one in decision.ranked}
    assert set(rows) == {"cloud1", "edge1", "device1", "cascade device1 > edge1", "cascade device1 > cloud1", "cascade edge1 > cloud1"}
    climbing = rows["cascade edge1 > cloud1"]
    assert climbing["sources"]["quality"] == "calibration"
    assert rows["edge1"]["quality"] < climbing["quality"] < rows["cloud1"]["quality"]
    assert climbing["ttft_s"] > rows["edge1"]["total_s"], "the answer is held until it is judged"
    assert rows["edge1"]["up_bytes"] < climbing["up_bytes"] < rows["edge1"]["up_bytes"] + rows["cloud1"]["up_bytes"]
    deaf = [nodes[0], replace(nodes[1], lacks=("logprobs",)), nodes[2]]
    ways = {str(one.prediction.candidate) for one in planner.preview(REQUEST, deaf, {}, 0.0, deadline_s=60).ranked}
    assert "cascade edge1 > cloud1" not in ways
    assert "cascade device1 > cloud1" in ways


def judge_of_hashes() -> Judge:
    """A judge that knows hash models by the curves of the shipped ones."""
    curves = shipped_calibrations()
    models = {
        f"hash-{tier}": replace(
            curves.models[f"netgpt-{tier}"],
            model=f"hash-{tier}",
            others={name.replace("netgpt", "hash"): curve for name, curve in curves.models[f"netgpt-{tier}"].others.items()},
        )
        for tier in ("device", "edge")
    }
    return Judge(Calibrations(price=0.3, models=models))


def answered(request: ChatRequest, **breaks: int) -> tuple[Finish, dict[str, Connection], Planner]:
    """One request to a fast device and a slow cloud, of which both alone cost more than a cascade of them."""

    async def main() -> tuple[Finish, dict[str, Connection], Planner]:
        judge = judge_of_hashes()
        told = {"device": (0.6, FAST), "cloud": (0.95, SLOW)}
        engines = {f"{tier}1": hash_engine(tier) for tier in TIERS if tier in told}
        members = [
            replace(member(engine, node[:-1]), quality=told[node[:-1]][0], offer=Offer(pace=told[node[:-1]][1])) for node, engine in engines.items()
        ]
        connections = {node: Connection(EngineService(node, engine, lambda _: ""), breaks.get(node)) for node, engine in engines.items()}
        planner = Planner("device1", climbing=judge)
        door = Door(
            entry=lambda: members[0],
            members=lambda: members,
            handle=lambda one: NodeHandle(one, connections[one.id], ByteTokenizer(), CLOCK, is_entry=one is members[0]),
            tokenizer=ByteTokenizer(),
            clock=CLOCK,
            chance=SeededChance(1),
            metrics=Metrics(),
            record=lambda *_, **__: None,
            strategies={"cascade": partial(cascade, policy=judge)},
            planner=planner,
        )
        _, finish, _ = await ask(door, request)
        return finish, connections, planner

    return asyncio.run(main())


def test_a_cascade_that_costs_least_is_chosen_and_runs():
    finish, connections, planner = answered(REQUEST)
    assert (finish.plan["chosen"]["strategy"], finish.plan["chosen"]["nodes"]) == ("cascade", ["device1", "cloud1"])
    assert finish.why.startswith("cascade device1 > cloud1 costs least")
    assert connections["device1"].calls.count("generate") == 1
    assert connections["cloud1"].calls.count("generate") == finish.escalations == len(finish.switches)
    assert planner.estimates._nodes["device1"].rtt.count == 0, "an answer that was held tells nothing of the way"


def test_a_cascade_whose_first_node_is_lost_goes_on_with_the_next():
    finish, _, _ = answered(REQUEST, device1=2)
    assert [span.node for span in finish.origin] == ["cloud1"]
    assert "device1 failed" in finish.switches[0]


def test_who_is_slow_for_nobody_is_asked_alone():
    finish, connections, _ = answered(replace(REQUEST, service="interactive"))
    assert finish.plan["chosen"]["strategy"] == "direct"
    assert sum(connection.calls.count("generate") for connection in connections.values()) == 1


def test_drift_is_shown_in_the_metrics_and_rings_where_it_is_more_than_chance():
    metrics = Metrics()
    judge = Judge(shipped_calibrations(), metrics=metrics)
    device, cloud = (
        cast(NodeHandle, SimpleNamespace(member=replace(member(hash_engine(tier), tier), model=f"netgpt-{tier}"))) for tier in ("device", "cloud")
    )
    sure = Evidence(logprobs=(-0.01,) * 8, runners_up=(-6.0,) * 8)
    shift, alarm = (family.labels("netgpt-device", "netgpt-cloud") for family in (metrics.calibration_shift, metrics.calibration_alarm))
    judge.learn(sure, device, cloud, agreed=True)
    assert shift.value > 0
    assert alarm.value == 0
    for _ in range(40):
        judge.learn(sure, device, cloud, agreed=False)
    assert shift.value == judge.drifts["netgpt-device", "netgpt-cloud"].shift < -0.5
    assert alarm.value == 1
    assert b"netgpt_calibration_alarm" in metrics.render()
