"""What may be kept, for whom, and for how long: the decisions, without a network."""

from __future__ import annotations

import itertools
from dataclasses import replace
from typing import Any

import pytest

from netgpt.core.errors import InvalidRequest
from netgpt.inference.caching import LONGEST_LIFE_S, NOW_LIFE_S, STATE_LIFE_S, USUAL_LIFE_S, answering_models, flight_of, keepable, plan_of, scope_of
from netgpt.inference.request import CacheWish, ChatRequest, Finish, Span
from netgpt.models.grammar import Form, Grammar

QUESTION = "What is the packet delay budget of 5QI 7?"


def ask(text: str = QUESTION, **fields: Any) -> ChatRequest:
    return ChatRequest(**({"request_id": "r", "model": "netgpt-edge", "messages": (("user", text),), "temperature": 0.0} | fields))


def exact(request: ChatRequest, *, models: tuple[str, ...] = ("m",), **wish: Any) -> bytes:
    plan = plan_of(request, CacheWish(**wish), models=models)
    assert not plan.refused
    return plan.identity.exact


def test_requests_that_may_be_answered_differently_are_different() -> None:
    schema = Grammar(forms=(Form(before="", schema="{}", after=""),), most=1, param="response_format")
    different = [
        exact(ask()),
        exact(ask("What is the packet delay budget of 5QI 8?")),
        exact(ask(), models=("another",)),
        exact(ask(model="cascade")),
        exact(ask(model="cascade"), models=("m", "larger")),
        exact(ask(model="auto")),
        exact(ask(model="auto"), models=("m", "larger")),
        exact(ask(model="auto", service="critical")),
        exact(ask(model="auto", deadline_s=3.0)),
        exact(ask(model="auto", max_cost=1.0)),
        exact(ask(model="auto", max_energy_j=1.0)),
        exact(ask(max_tokens=5)),
        exact(ask(stop=("x",))),
        exact(ask(grammar=schema)),
        exact(ask(presence_penalty=1.0)),
        exact(ask(logit_bias=((5, 1.0),))),
        exact(ask(temperature=1.0, seed=3)),
        exact(ask(temperature=1.0, seed=4)),
        exact(ask(temperature=1.0, seed=4, top_p=0.5)),
        exact(ask(messages=(("system", "Be short."), ("user", QUESTION)))),
        exact(ask(messages=(("user", "Hi"), ("assistant", "Hello"), ("user", QUESTION)))),
        exact(ask(messages=(("user", QUESTION), ("assistant", "100")))),
        exact(ask(messages=(), prompt=QUESTION)),
        exact(ask(messages=(), prompt=(1, 2))),
        exact(ask(), place="cell-7"),
    ]
    assert all(one != other for one, other in itertools.combinations(different, 2))


def test_what_cannot_change_a_greedy_answer_makes_no_difference() -> None:
    same = {
        exact(ask()),
        exact(ask(seed=5)),
        exact(ask(top_p=0.5, top_k=3)),
        exact(ask(f"  {QUESTION}\n")),
        exact(ask(request_id="other", key="k", deadline_s=3.0, privacy="edge-allowed", service="batch")),
        exact(ask(), match="semantic"),
        exact(ask(), shared=True, max_age_s=5.0),
    }
    assert len(same) == 1


@pytest.mark.parametrize(
    ("fields", "wish", "why"),
    [
        ({"privacy": "device-only"}, {}, "stays on its device"),
        ({"temperature": 0.7}, {}, "sampled"),
        ({"logprobs": True}, {}, "log-probabilities"),
        ({"text": "x" * 70_000}, {}, "65536 characters"),
        ({}, {"tools": True}, "call of a tool"),
        ({"text": "How busy is it now?"}, {}, "max_age_s"),
        ({"text": "Which cell is the nearest?"}, {}, "cache.place"),
        ({"text": "现在几点？"}, {"place": "here"}, "max_age_s"),
        ({"text": "What is my name?"}, {"shared": True}, "whoever asks"),
    ],
)
def test_what_may_not_be_kept_is_refused_with_the_reason(fields: dict[str, Any], wish: dict[str, Any], why: str) -> None:
    plan = plan_of(ask(**fields), CacheWish(match="semantic", **wish), models=("m",))
    assert why in plan.refused


def test_how_old_an_answer_may_be_follows_from_the_question_and_the_client() -> None:
    def age_s(text: str, **wish: Any) -> float:
        return plan_of(ask(text), CacheWish(**wish), models=("m",)).max_age_s

    assert age_s(QUESTION) == USUAL_LIFE_S
    assert age_s(QUESTION, max_age_s=80_000.0) == 80_000.0
    assert age_s("What is the status of edge1?") == STATE_LIFE_S
    assert age_s("What is the status of edge1?", max_age_s=5.0) == 5.0
    assert age_s("How many users are there now?", max_age_s=3_000.0) == NOW_LIFE_S
    assert age_s(QUESTION, max_age_s=0.0) == 0.0
    assert plan_of(ask(), CacheWish(max_age_s=0.0), models=("m",)).life_s == LONGEST_LIFE_S, "made anew, and kept"
    assert plan_of(ask(), CacheWish(keep=False), models=("m",)).life_s == 0.0


def test_only_timeless_questions_are_compared_by_meaning() -> None:
    def question(text: str, **wish: Any) -> str:
        return plan_of(ask(text), CacheWish(**wish), models=("m",)).identity.question

    assert question(QUESTION, match="semantic") == QUESTION
    assert question(QUESTION, match="exact") == ""
    assert question("How many users are there now?", match="semantic", max_age_s=10.0) == ""
    assert question("Which cell is nearest?", match="semantic", place="s1") == ""
    assert question("x" * 5_000, match="semantic") == ""


def test_scopes_tell_keys_homes_and_doors_apart() -> None:
    def scope(secret: bytes = b"s", key: str = "k", node: str = "n") -> str:
        return scope_of(secret, key=key, node=node, shared=False)

    assert scope(node="n") == scope(node="m"), "a key is the same at every door of its home"
    assert len({scope(), scope(key="other"), scope(secret=b"t"), scope(key=""), scope(key="", node="m")}) == 5
    assert "key_12ab" not in scope(key="key_12ab")
    assert scope_of(b"s", key="k", node="n", shared=True) == scope_of(b"t", key="l", node="m", shared=True)


def test_only_deterministic_requests_of_one_key_are_merged() -> None:
    wish = CacheWish()
    assert flight_of(ask(request_id="1"), wish) == flight_of(ask(request_id="2"), wish) is not None
    assert flight_of(ask(temperature=1.0), wish) is None
    assert flight_of(ask(temperature=1.0, seed=1), wish) is not None
    others: list[dict[str, Any]] = [
        {"key": "k"}, {"deadline_s": 3.0}, {"privacy": "device-only"}, {"logprobs": True}, {"max_tokens": 3}, {"text": "other"},
        {"service": "batch"}, {"max_cost": 1.0}, {"max_energy_j": 1.0},
    ]  # fmt: skip
    assert len({flight_of(ask(**other), wish) for other in [{}, *others]}) == 10


def test_a_tiers_answer_is_one_models_and_a_strategys_any_of_those_that_it_may_ask() -> None:
    assert answering_models("netgpt-edge", ["b", "a", "b"]) == ("b",)
    assert answering_models("auto", ["b", "a", "b"]) == answering_models("auto", ["a", "b"]) == ("a", "b")
    assert answering_models("cascade", ["a", "b"]) == ("a", "b")


def test_only_whole_answers_of_the_model_that_was_asked_are_kept() -> None:
    finish = Finish(
        reason="stop",
        prompt_tokens=3,
        completion_tokens=2,
        cached_tokens=0,
        strategy="edge",
        why="",
        origin=(Span(node="edge1", tokens=2),),
        switches=(),
    )

    def kept(finish: Finish, text: str = "100 ms", bounded: bool = False, models: tuple[str, ...] = ("m",)) -> bool:
        return keepable(finish, text, bounded=bounded, model_of={"edge1": "m", "device1": "small"}, models=models)

    assert kept(finish)
    assert not kept(finish, text="")
    assert not kept(replace(finish, reason="length"))
    assert kept(replace(finish, reason="length"), bounded=True)
    assert not kept(replace(finish, switches=("edge1 failed",)))
    assert not kept(replace(finish, origin=(Span(node="device1", tokens=2),)))
    assert not kept(replace(finish, origin=()))
    assert not kept(finish, text="x" * 100_000)
    climbed = replace(finish, switches=("device1 was not sure enough",), escalations=1, origin=(Span(node="device1", tokens=1), *finish.origin))
    assert kept(climbed, models=("m", "small"))
    assert not kept(climbed), "the request named one model"
    assert not kept(replace(climbed, switches=(*climbed.switches, "edge1 failed; it stands")), models=("m", "small"))


@pytest.mark.parametrize(
    ("wish", "param"),
    [
        ({"match": "fuzzy"}, "cache.match"),
        ({"max_age_s": -1.0}, "cache.max_age_s"),
        ({"max_age_s": 1e6}, "cache.max_age_s"),
        ({"place": "x" * 200}, "cache.place"),
    ],
)
def test_a_wish_that_cannot_be_is_refused_by_name(wish: dict[str, Any], param: str) -> None:
    with pytest.raises(InvalidRequest) as caught:
        CacheWish(**wish)
    assert caught.value.param == param
    assert caught.value.hint
