"""The planner at a door: it learns from answers, keeps to its budget of trials, previews without a trace, and its battery runs down."""

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

import pytest

from netgpt.core.clock import WallClock
from netgpt.core.errors import InvalidRequest, NotSupported
from netgpt.inference.planner import PLANS_A_TRY, Battery, Planner
from netgpt.inference.prospect import Prospect
from netgpt.inference.request import ChatRequest, Finish, Span
from netgpt.inference.showing import told
from netgpt.models.generation import Sampling, Timings
from netgpt.network.member import Member, Tier
from netgpt.network.offer import Offer, Pace
from netgpt.node.session import Piece, Session

PACE = Pace(layers_s=0.0002, head_s=0.001, read_s=0.02)
REQUEST = ChatRequest(request_id="chatcmpl-1", model="auto", messages=(("user", "secret words " * 20),), max_tokens=20)


def member(name: str, **changes: Any) -> Member:
    tier: Tier = {"d": "device", "e": "edge", "c": "cloud"}[name[0]]  # type: ignore[assignment]
    offer = Offer(pace=PACE, power_w=5.0)
    return replace(Member(id=name, tier=tier, engine_address="-", door_url="-", slots=4, context_tokens=2048, state="ready", offer=offer), **changes)


NODES = (member("device1"), member("edge1"), member("cloud1"))


def answer(node: str, *, first_s: float, token_s: float = 0.02, tokens: int = 20, prefill_s: float = 0.05) -> tuple[Session, Finish]:
    session = Session(id="chatcmpl-1", prompt_ids=(97,) * 270, tokenizer="t", max_tokens=20, sampling=Sampling(), stop_ids=(), deadline_s=99.0)
    timings = Timings(prefill_s=prefill_s, decode_s=token_s * tokens)
    session.hold(Piece(ids=(97,) * tokens, data=b"a" * tokens, origin=node, finish="length", timings=timings))
    session.accept()
    session.count_bytes(node, sent=330, received=300)
    finish = Finish(
        reason="length", prompt_tokens=270, completion_tokens=tokens, cached_tokens=0, strategy="auto", why="",
        origin=(Span(node=node, tokens=tokens),), switches=(), time_to_first_token_s=first_s, duration_s=first_s + token_s * (tokens - 1),
    )  # fmt: skip
    return session, finish


def planned(planner: Planner, now_s: float, nodes: Sequence[Member] = NODES, running: Mapping[str, int] | None = None, **fields: Any) -> str:
    decision = planner.plan(replace(REQUEST, **fields), nodes, running or {}, now_s, deadline_s=60)
    return decision.chosen.prediction.candidate.nodes[0]


def test_what_answers_took_changes_who_is_asked():
    planner = Planner("device1")
    assert planned(planner, 0.0) == "cloud1"
    for second in range(3):
        planner.learn(REQUEST, *answer("cloud1", first_s=4.0), NODES, float(second))
    assert planned(planner, 3.0) == "edge1"


def test_an_answer_of_several_nodes_says_nothing_of_any():
    planner = Planner("device1")
    session, finish = answer("cloud1", first_s=4.0)
    for second in range(3):
        planner.learn(REQUEST, session, replace(finish, switches=("edge1 failed",)), NODES, float(second))
    assert planned(planner, 3.0) == "cloud1"


def test_a_preview_leaves_no_trace():
    planner = Planner("device1")
    for _ in range(3 * PLANS_A_TRY):
        planner.preview(REQUEST, NODES, {}, 0.0, deadline_s=60)
    assert not planner._last
    assert planner.plan(REQUEST, NODES, {}, 0.0, deadline_s=60).explores is False


def test_trials_keep_to_their_budget():
    planner = Planner("device1")
    nodes = (member("edge1", quality=0.9), member("cloud1", quality=0.905))
    explored = []
    for number in range(6 * PLANS_A_TRY):
        decision = planner.plan(REQUEST, nodes, {}, float(number), deadline_s=60)
        explored.append(decision.explores)
        if decision.chosen.prediction.candidate.nodes[0] == "cloud1":
            planner.learn(REQUEST, *answer("cloud1", first_s=0.13, prefill_s=PACE.prefill_s(270)), nodes, number + 0.5)
    assert any(explored)
    assert sum(explored) <= len(explored) / PLANS_A_TRY


def test_a_request_that_is_overdue_sends_the_next_one_elsewhere():
    planner = Planner("device1")
    decision = planner.plan(REQUEST, NODES, {}, 0.0, deadline_s=60)
    prospect = Prospect(planner.estimates, WallClock(), call="r", since_s=0.0, service="interactive")
    prospect.decide(decision)
    with prospect:
        assert planned(planner, 0.2) == "cloud1"
        assert planned(planner, 3.0) == "edge1"
        prospect.heard()
        assert planned(planner, 3.0) == "cloud1"


def test_the_battery_runs_down_with_what_answers_spent():
    planner = Planner("device1", battery=Battery(capacity_j=100.0, level=0.5))
    assert planner.battery == 0.5
    planner.learn(REQUEST, *answer("device1", first_s=0.05, token_s=0.1), NODES, 1.0)
    assert planner.battery == pytest.approx(0.5 - 5.0 * (0.05 + 2.0) / 100)
    assert Planner("device1").battery is None


def test_a_door_on_mains_weighs_no_energy_and_pays_no_radio():
    at_edge, at_device = Planner("edge1", tier="edge"), Planner("device1", tier="device")
    power = (*(replace(node, offer=Offer(pace=PACE, power_w=500.0)) for node in NODES[1:]),)  # a server's
    assert planned(at_edge, 0.0, [replace(node, quality=0.7) for node in power]) == "edge1", "its own machine's energy shortens nobody's day"
    ways = {one.prediction.candidate.nodes: one.prediction for one in at_edge.preview(REQUEST, power, {}, 0.0, deadline_s=60).ranked}
    assert ways["cloud1",].energy_j == 0
    assert ways["edge1",].energy_j > 100, "it is told all the same"
    with pytest.raises(NotSupported):
        at_edge.preview(replace(REQUEST, max_energy_j=1.0), power[:1], {}, 0.0, deadline_s=60)
    assert at_edge.weights("batch").energy_s_per_j == 0
    assert (
        at_device.weights("batch").energy_s_per_j
        == Planner("edge1", tier="edge", battery=Battery(capacity_j=1.0)).weights("batch").energy_s_per_j
        > 0
    )


def test_what_is_told_of_a_decision_holds_no_content():
    shown = told(Planner("device1").plan(REQUEST, NODES, {}, 0.0, deadline_s=60), "interactive")
    assert "secret" not in repr(shown)
    assert shown["chosen"]["nodes"] == ["cloud1"]
    assert shown["runner_up"]["nodes"] == ["edge1"]


@pytest.mark.parametrize(("field", "value"), [("service", "gold"), ("max_cost", -1.0), ("max_energy_j", -0.1)])
def test_wrong_wishes_are_refused_by_name(field: str, value: object):
    with pytest.raises(InvalidRequest) as refused:
        replace(REQUEST, **{field: value})
    assert refused.value.param == field
