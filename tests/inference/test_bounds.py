"""Limits of requests that name a tier's model, a cascade or a route."""

from __future__ import annotations

import pytest

from netgpt.core.errors import DeadlineTooShort, NotSupported
from netgpt.inference.bounds import has_limits, of_named, within_limits
from netgpt.inference.objective import INTERACTIVE, objective_of
from netgpt.inference.planning import CASCADE, DIRECT, Candidate, Decision, Limits, Prediction, Scored, by_cost, score
from netgpt.inference.request import ChatRequest

NAMED = ("device1", "edge1", "cloud1")


def way(*nodes: str, total_s: float, energy_j: float = 1.0, fidelity: str = "whole", variants: tuple[str, ...] = ()) -> Prediction:
    strategy = DIRECT if len(nodes) == 1 else CASCADE
    return Prediction(
        candidate=Candidate(strategy=strategy, nodes=nodes, fidelity=fidelity, variants=variants), ttft_s=total_s / 2, token_s=0.01, total_s=total_s,
        answer_tokens=20, up_bytes=100, down_bytes=200, token_bytes=10, energy_j=energy_j, cost=0.0, quality=0.5, spread=0.1, held_s=0.0,
        wait_s=0.0, fastest_s=total_s / 2, sources={},
    )  # fmt: skip


WAYS = (
    way("device1", total_s=1.0, energy_j=5.0),
    way("edge1", total_s=0.6),
    way("cloud1", total_s=0.8),
    way("device1", "edge1", total_s=1.4, energy_j=5.2),
    way("device1", "cloud1", total_s=1.8, energy_j=5.2),
    way("edge1", "cloud1", total_s=1.2),
    way("edge1", total_s=0.1, energy_j=0.01, variants=("int4",)),
    way("edge1", total_s=0.1, energy_j=0.01, fidelity="compressed"),
)


def scored(limits: Limits) -> list[Scored]:
    return by_cost(score(one, objective_of(INTERACTIVE), limits) for one in WAYS)


def within(model: str, named: tuple[str, ...] = NAMED, **values: float) -> frozenset[str]:
    limits = Limits(**values)
    return within_limits(model, named, scored(limits), limits)


def test_only_nodes_whose_ways_keep_the_limits_take_part() -> None:
    assert within("route", deadline_s=5.0) == set(NAMED)
    assert within("route", max_energy_j=2.0) == {"edge1"}, "the device may not even read: the best of the others answers"
    assert within("cascade", max_energy_j=2.0) == {"edge1", "cloud1"}, "without the device that its first attempt would drain"
    assert within("netgpt-edge", ("edge1",), deadline_s=5.0) == {"edge1"}


def test_what_might_come_in_time_is_asked() -> None:
    assert within("route", deadline_s=0.35) == {"edge1"}


def test_what_no_way_keeps_is_refused_with_what_does() -> None:
    with pytest.raises(NotSupported, match="'netgpt-device': nothing keeps max_energy_j: device1 takes 5 J") as dear:
        within("netgpt-device", ("device1",), max_energy_j=2.0)
    assert dear.value.hint.startswith("ask 'auto': edge1")
    assert dear.value.hint.endswith("or raise max_energy_j to 5.5")
    with pytest.raises(DeadlineTooShort, match=r"cascade edge1 > cloud1 would take 1\.2 s") as late:
        within("cascade", deadline_s=0.55)
    assert "raise deadline_s to 1.4" in late.value.hint
    with pytest.raises(NotSupported) as nobody:
        within("cascade", max_energy_j=0.001)
    assert "ask 'auto'" not in nobody.value.hint, "it would not keep it either"


def test_a_plan_of_a_named_strategy_shows_its_ways_alone() -> None:
    ranked = tuple(scored(Limits()))
    decision = Decision(chosen=ranked[0], ranked=ranked, why="")
    plan = of_named("cascade", decision)
    assert {one.prediction.candidate.strategy for one in plan.ranked} == {CASCADE}
    assert plan.chosen is plan.ranked[0]
    assert plan.why.startswith("cascade edge1 > cloud1 is what 'cascade' is expected to come to: ")
    assert of_named("route", decision) is decision, "nobody can tell"
    assert of_named("auto", decision) is decision


def test_who_set_no_limit_is_not_checked() -> None:
    request = {"request_id": "r", "model": "route", "messages": (("user", "hi"),)}
    assert not has_limits(ChatRequest(**request))
    assert has_limits(ChatRequest(**request, deadline_s=3.0))
    assert has_limits(ChatRequest(**request, max_cost=0.0))
