"""Intent: near misses, the solver, the schema check, and that the surface does not tell the grade."""

from __future__ import annotations

import json
from dataclasses import replace
from itertools import permutations

import numpy as np
import pytest

from netgpt.corpus.families import intent
from netgpt.corpus.reading import read_facts
from netgpt.corpus.task import GRADES, LANGUAGES, Task, user


def _tasks(grade: int, language: str, count: int = 17) -> list[Task]:
    return [intent.draw(np.random.default_rng(seed), grade, language) for seed in range(count)]


@pytest.mark.parametrize("language", LANGUAGES)
@pytest.mark.parametrize("grade", GRADES)
def test_solver_and_own_answer_are_accepted(grade: int, language: str) -> None:
    for task in _tasks(grade, language):
        assert intent.accepts(task, task.answer)
        assert intent.solve(replace(task, answer="", key="", grade=1)) == task.answer
        assert len(json.loads(task.answer)) == grade + 2
        assert len(task.question) <= 330


def test_near_misses_are_rejected() -> None:
    answer = '{"sst":2,"area":"mine","latency_ms":10}'
    task = Task(family="intent", template="x", grade=1, key="x", messages=user("x"), answer=answer)
    assert intent.accepts(task, '{"area": "mine", "sst": 2, "latency_ms": 10}')
    for reply in (
        "",
        "[]",
        "[" * 100_000,
        '{"sst":2,"area":"mine"}',
        '{"sst":2,"area":"mine","latency_ms":1}',
        '{"sst":2,"area":"mine","latency_ms":10.0}',
        '{"sst":2,"area":"mine","latency_ms":"10"}',
        '{"sst":2,"area":"mine","latency_ms":10,"priority":1}',
        '{"sst":2,"area":"mine","latency_ms":20,"latency_ms":10}',
        f"{answer} {answer}",
        answer[:-1],
    ):
        assert not intent.accepts(task, reply), reply[:80]


def test_violations_name_the_field() -> None:
    assert intent.violations({"sst": 1, "area": "mine"}) == []
    assert intent.violations([]) == ["not an object"]
    assert intent.violations({"sst": True, "colour": 1}) == ["area is missing", "colour is unknown", "sst has the wrong type"]


def test_fillers_ask_for_nothing_and_names_are_clear() -> None:
    facts = read_facts("intents.toml")
    for language in LANGUAGES:
        services = [name for service in facts["service"] for name in service[language]]
        assert len(facts["filler"][language]) >= 12
        assert len(set(services)) == len(services)
        assert not any(first in second for first, second in permutations(services, 2))
        assert not any(name in filler for name in services for filler in facts["filler"][language])
        assert not any(char.isdigit() for filler in facts["filler"][language] for char in filler)
    assert all(len(values) <= 10 for values in facts["value"].values())
    assert set(facts["value"]) == set(intent.REQUIREMENTS)
