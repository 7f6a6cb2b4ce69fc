"""What the planner decides, as pure functions: predictions move the right way, limits hold, choices stay unless another is clearly better."""

from dataclasses import replace
from typing import Any

import pytest

from netgpt.core.errors import DeadlineTooShort, InvalidRequest, NotSupported
from netgpt.inference.estimates import NodeView
from netgpt.inference.levels import Line
from netgpt.inference.objective import LINK_CLASS, OBJECTIVES, SERVICES, cost_s, objective_of
from netgpt.inference.planning import CASCADE, DIRECT, HYSTERESIS, Candidate, Features, Limits, Prediction, choose
from netgpt.inference.predicting import candidates, predict
from netgpt.network import scenario
from netgpt.network.offer import Offer, Pace

INTERACTIVE = objective_of("interactive")
FEATURES = Features(prompt_tokens=200, answer_tokens=30, short_tokens=5)
NONE = Limits()


def view(name: str = "cloud1", **changes: Any) -> NodeView:
    tier = name.rstrip("123456789")
    own = tier == "device"
    settled = NodeView(
        id=name,
        tier=tier,
        is_entry=own,
        rtt_s=0.0 if own else 0.05,
        byte_s=0.0 if own else 1e-6,
        pace=Pace(layers_s=0.0002, head_s=0.001, read_s=0.02),
        prefill_ratio=1.0,
        step_ratio=1.0,
        running=0.0,
        full=0.0,
        free_s=(),
        held_s=0.0,
        late_s=0.0,
        slots=4,
        queue_s=0.0,
        queue_trust=0.0,
        up=Line(57, 1.5, 300),
        down=Line(60, 12, 50),
        offer=Offer(power_w=5.0),
        quality={"device": 0.5, "edge": 0.7, "cloud": 0.9}[tier],
        quality_from="card",
        pace_from="told",
        way_from="measured",
        network_spread=0.1,
        pace_spread=0.1,
        seen=5,
    )
    return replace(settled, **changes)


def alone(**changes: Any) -> Prediction:
    return predict(Candidate(strategy=DIRECT, nodes=("cloud1",)), FEATURES, {"cloud1": view(**changes)})


def of(name: str, **changes: Any) -> Prediction:
    """A prediction whose figures are given."""
    plain = predict(Candidate(strategy=DIRECT, nodes=(name,)), FEATURES, {name: view(name)})
    return replace(plain, **changes)


@pytest.mark.parametrize(
    "slower",
    [
        {"rtt_s": 0.2},
        {"byte_s": 1e-3},
        {"prefill_ratio": 1.3},
        {"queue_s": 0.5, "queue_trust": 1.0},
        {"running": 3.0},
        {"full": 2.0},
        {"free_s": (0.4, 0.5, 0.6, 0.7)},
        {"held_s": 0.2},
        {"late_s": 1.0},
        {"pace": Pace(layers_s=0.0004, head_s=0.001, read_s=0.03)},
    ],
)
def test_what_is_slower_is_predicted_to_take_longer(slower: dict[str, object]):
    assert alone(**slower).ttft_s > alone().ttft_s
    assert alone(**slower).total_s > alone().total_s


def test_a_longer_prompt_or_answer_takes_longer_and_more_bytes():
    node = {"cloud1": view()}
    way = Candidate(strategy=DIRECT, nodes=("cloud1",))
    short, long = predict(way, FEATURES, node), predict(way, replace(FEATURES, prompt_tokens=800), node)
    wordy = predict(way, replace(FEATURES, answer_tokens=90), node)
    assert long.ttft_s > short.ttft_s
    assert long.up_bytes > short.up_bytes
    assert wordy.ttft_s == pytest.approx(short.ttft_s, rel=0.2)
    assert wordy.total_s > short.total_s
    assert wordy.down_bytes - short.down_bytes == pytest.approx(60 * short.token_bytes)


def test_a_request_crosses_in_its_bytes_over_the_rate_and_one_round_trip():
    idle = alone()
    rest_s = idle.ttft_s - 0.05 - 1e-6 * idle.up_bytes
    assert rest_s == pytest.approx(view().pace.prefill_s(200))


def test_where_a_node_says_when_a_slot_gets_free_nothing_else_counts_of_its_queue():
    ready = alone(free_s=(0.0, 2.0), full=3.0, queue_s=1.0, queue_trust=1.0)
    assert ready.ttft_s == pytest.approx(alone().ttft_s)
    on_the_way_s = 0.05 / 2 + 1e-6 * ready.up_bytes
    assert alone(free_s=(0.5, 2.0)).ttft_s == pytest.approx(ready.ttft_s + 0.5 - on_the_way_s), "a slot that gets free meanwhile is free"
    assert alone(free_s=(on_the_way_s, 2.0)).ttft_s == pytest.approx(ready.ttft_s)


def test_nothing_of_the_doors_own_node_crosses_a_link_and_its_machine_draws_power():
    own = predict(Candidate(strategy=DIRECT, nodes=("device1",)), FEATURES, {"device1": view("device1")})
    assert (own.up_bytes, own.down_bytes, own.sources["way"]) == (0, 0, "none")
    assert own.energy_j == pytest.approx(5.0 * own.total_s, rel=0.1)
    assert 0 < alone().energy_j < own.energy_j


def test_every_tier_alone_is_a_candidate_and_cascades_climb_where_the_door_has_them():
    views = [view("cloud1"), view("edge1"), view("device1")]
    assert [str(one) for one in candidates(views)] == ["cloud1", "edge1", "device1"]
    chains = [one.nodes for one in candidates(views, (DIRECT, CASCADE)) if one.strategy == CASCADE]
    assert chains == [("device1", "edge1"), ("device1", "cloud1"), ("edge1", "cloud1")]
    judged = [one.nodes for one in candidates(views, (DIRECT, CASCADE), ["edge1", "cloud1"]) if one.strategy == CASCADE]
    assert judged == [("edge1", "cloud1")], "nobody here can tell how sure device1 was"
    worse = [view("edge1", quality=0.4), view("device1")]
    assert all(one.strategy == DIRECT for one in candidates(worse, (DIRECT, CASCADE))), "nothing is gained by going up"


def test_a_cascade_takes_the_first_answer_and_its_share_of_the_next():
    views = {"device1": view("device1"), "cloud1": view("cloud1")}
    lower, upper = (predict(Candidate(strategy=DIRECT, nodes=(name,)), FEATURES, views) for name in views)
    chain = predict(Candidate(strategy=CASCADE, nodes=("device1", "cloud1")), FEATURES, views, escalation=lambda *_: (0.25, 0.8))
    assert chain.total_s == pytest.approx(lower.total_s + 0.25 * upper.total_s)
    assert chain.ttft_s == pytest.approx(lower.total_s + 0.25 * upper.ttft_s)
    assert chain.quality == 0.8
    assert chain.up_bytes == pytest.approx(0.25 * upper.up_bytes)
    by_chance = predict(Candidate(strategy=CASCADE, nodes=("device1", "cloud1")), FEATURES, views)
    assert by_chance.quality == pytest.approx(0.5 + 0.5 * 0.4), "half go up at random, and gain what the models differ by"


def test_somebody_who_knows_the_request_goes_before_the_models_own_quality():
    judged = predict(Candidate(strategy=DIRECT, nodes=("cloud1",)), FEATURES, {"cloud1": view()}, judged={"cloud1": 0.2})
    assert (judged.quality, judged.sources["quality"]) == (0.2, "judged")


def test_the_candidate_that_costs_least_is_chosen_and_the_decision_says_why():
    decision = choose([of("device1"), of("cloud1")], INTERACTIVE, NONE)
    assert decision.chosen.prediction.candidate.nodes == ("cloud1",)
    assert decision.runner_up is not None
    assert decision.runner_up.prediction.candidate.nodes == ("device1",)
    assert "cloud1 costs least" in decision.why
    assert "device1" in decision.why


@pytest.mark.parametrize("service", SERVICES)
def test_a_choice_is_kept_until_another_is_clearly_better(service: str):
    objective, held = objective_of(service), Candidate(strategy=DIRECT, nodes=("edge1",))
    old, new = of("edge1"), of("cloud1", quality=0.7, ttft_s=of("edge1").ttft_s, total_s=of("edge1").total_s, energy_j=of("edge1").energy_j)
    slightly = replace(new, quality=0.705)
    clearly = replace(new, quality=1.0)
    assert choose([old, slightly], objective, NONE, previous=held).chosen.prediction is old
    assert choose([old, clearly], objective, NONE, previous=held).chosen.prediction is clearly
    assert choose([old, slightly], objective, NONE).chosen.prediction is slightly
    assert 0 < HYSTERESIS < 0.1


def test_limits_leave_out_what_breaks_them():
    dear, slow, cheap = of("cloud1", cost=2.0), of("edge1", total_s=9.0, quality=0.95, ttft_s=0.1), of("device1", energy_j=20.0)
    assert choose([dear, slow, cheap], INTERACTIVE, Limits(max_cost=1.0, deadline_s=5)).chosen.prediction is cheap
    assert choose([dear, slow, cheap], INTERACTIVE, Limits(max_energy_j=10, deadline_s=5)).chosen.prediction is dear
    assert choose([dear, slow, cheap], INTERACTIVE, Limits(max_energy_j=10, max_cost=1)).chosen.prediction is slow
    excluded = {str(one.prediction.candidate): one.excluded for one in choose([dear, cheap], INTERACTIVE, Limits(max_cost=1)).ranked}
    assert "above max_cost 1" in excluded["cloud1"]
    assert excluded["device1"] == ""


def test_a_deadline_that_nothing_meets_is_refused_with_the_nearest_choice():
    with pytest.raises(DeadlineTooShort, match="edge1 would take 2 s") as refused:
        choose([of("cloud1", total_s=4.0, fastest_s=3.0), of("edge1", total_s=2.0, fastest_s=1.5)], INTERACTIVE, Limits(deadline_s=0.5))
    assert "raise deadline_s to 2.4" in refused.value.hint
    assert refused.value.status == 400, "nothing has run, and nothing failed"


def test_a_deadline_that_may_be_met_or_of_which_nothing_is_known_is_tried():
    lucky = of("edge1", total_s=2.0, fastest_s=0.4)
    assert choose([of("cloud1", total_s=4.0, fastest_s=3.0), lucky], INTERACTIVE, Limits(deadline_s=0.5)).chosen.prediction is lucky
    unknown = of("edge1", total_s=2.0, fastest_s=1.9, guessed=True)
    assert choose([unknown], INTERACTIVE, Limits(deadline_s=0.5)).chosen.prediction is unknown


@pytest.mark.parametrize(("limits", "param", "least"), [(Limits(max_cost=0.5), "max_cost", "1.1"), (Limits(max_energy_j=1), "max_energy_j", "2.2")])
def test_a_budget_that_nothing_keeps_is_refused_with_the_least(limits: Limits, param: str, least: str):
    with pytest.raises(NotSupported, match="nothing keeps " + param) as refused:
        choose([of("cloud1", cost=3.0, energy_j=4.0), of("edge1", cost=1.0, energy_j=2.0)], INTERACTIVE, limits)
    assert refused.value.param == param
    assert f"raise {param} to {least}" in refused.value.hint


def test_a_low_battery_spares_the_device_and_an_empty_one_uses_it_only_if_nobody_else_can():
    own, far = of("device1", quality=0.9, energy_j=10.0), of("cloud1", quality=0.85, energy_j=0.5)
    assert (
        choose([own, far], INTERACTIVE, Limits(battery=1.0), entry="device1").chosen.cost_s < choose([own, far], INTERACTIVE, NONE).chosen.cost_s + 1
    )
    full, low = (choose([own], INTERACTIVE, Limits(battery=level)).chosen.cost_s for level in (1.0, 0.2))
    assert low - full == pytest.approx(INTERACTIVE.energy_s_per_j * 10.0 * 4)
    better = replace(own, quality=1.0, ttft_s=0.0, total_s=0.0)
    assert choose([better, far], INTERACTIVE, Limits(battery=0.5), entry="device1").chosen.prediction is better
    assert choose([better, far], INTERACTIVE, Limits(battery=0.04), entry="device1").chosen.prediction is far
    assert choose([better], INTERACTIVE, Limits(battery=0.04), entry="device1").chosen.prediction is better


def test_what_little_is_known_of_is_tried_when_it_might_be_better_and_costs_little():
    known, unknown = of("cloud1", spread=0.02), of("edge1", quality=0.88, spread=0.6)
    tried = choose([known, unknown], INTERACTIVE, NONE, may_explore=True)
    assert tried.explores
    assert tried.chosen.prediction is unknown
    assert not choose([known, unknown], INTERACTIVE, NONE).explores
    hopeless = replace(unknown, quality=0.1)
    assert not choose([known, hopeless], INTERACTIVE, NONE, may_explore=True).explores


def test_scenarios_and_links_know_the_classes():
    assert scenario.SERVICES == SERVICES
    assert set(LINK_CLASS) == set(SERVICES)
    assert set(LINK_CLASS.values()) <= set(scenario.QOS_CLASSES)


def test_the_classes_weigh_differently_and_all_state_their_reason():
    def j_s(service: str, **more: float) -> float:
        figures = {"ttft_s": 0.2, "total_s": 1.2, "payload_bytes": 1000.0, "energy_j": 2.0, "quality": 0.8} | more
        return cost_s(objective_of(service), **figures)

    rest = {service: j_s(service, total_s=2.2) - j_s(service) for service in SERVICES}
    assert rest["batch"] < rest["interactive"] < rest["critical"]
    wrong = {service: j_s(service, quality=0.7) - j_s(service) for service in SERVICES}
    assert wrong["interactive"] < wrong["batch"] < wrong["critical"]
    energy = {service: j_s(service, energy_j=3.0) - j_s(service) for service in SERVICES}
    assert energy["critical"] == 0 < energy["interactive"] < energy["batch"]
    assert all(one.reason for one in OBJECTIVES.values())
    with pytest.raises(InvalidRequest, match="unknown class of service 'interaktive'"):
        objective_of("interaktive")
