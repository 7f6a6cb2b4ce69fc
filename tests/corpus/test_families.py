"""Families of tasks: generators and graders, held against each other."""

from __future__ import annotations

import json
from itertools import islice

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from netgpt.core.chance import SeededChance
from netgpt.corpus.draw import held_out_tasks, training_tasks
from netgpt.corpus.families import BY_NAME, FAMILIES, intent
from netgpt.corpus.families.recall import read_facts, read_forms
from netgpt.corpus.task import GRADES, Family, Task, is_held_out, user

each_family = pytest.mark.parametrize("family", FAMILIES, ids=lambda family: family.name)
FACT_FILES = ("terms.toml", "parameters.toml")


def drawn(family: Family, count: int, seed: int = 0) -> list[Task]:
    chance = SeededChance(seed).stream("test")
    return [family.draw(chance, GRADES[i % len(GRADES)]) for i in range(count)]


@each_family
@given(seed=st.integers(0, 2**32), grade=st.sampled_from(GRADES))
@settings(max_examples=60, deadline=None)
def test_a_grader_accepts_the_answer_of_its_generator(family: Family, seed: int, grade: int) -> None:
    task = family.draw(SeededChance(seed).stream("test"), grade)
    assert task.family == family.name
    assert task.grade == grade
    assert family.accepts(task, task.answer)
    assert family.accepts(task, f" {task.answer}\n")


@each_family
def test_a_grader_rejects_answers_to_other_questions_of_the_form(family: Family) -> None:
    by_form: dict[str, Task] = {}
    rejected = compared = 0
    for task in drawn(family, 900):
        other = by_form.get(task.form)
        by_form[task.form] = task
        if other is not None and other.answer != task.answer:
            compared += 1
            rejected += not family.accepts(task, other.answer)
    assert compared > 100
    assert rejected / compared > 0.7  # different answers may agree in what is asked for: option B, 60 ms


@each_family
@given(reply=st.text(max_size=60), seed=st.integers(0, 50))
@settings(max_examples=40, deadline=None)
def test_a_grader_never_raises_whatever_the_reply(family: Family, reply: str, seed: int) -> None:
    assert family.accepts(drawn(family, 1, seed)[0], reply) in (True, False)


@pytest.mark.parametrize(
    ("family", "form", "answer", "wrong"),
    [
        ("parameters", "5qi-delay", "100 ms", "10 ms"),
        ("parameters", "5qi-delay", "100 ms", "100 ms or 150 ms"),
        ("parameters", "5qi-resource", "GBR", "non-GBR"),
        ("terms", "expand", "Session Management Function", "Session Management Function or User Plane Function"),
        ("terms", "abbreviate", "SMF", "AMF"),
        ("arithmetic", "received", "38 - 96 = -58 dBm", "38 - 96 = 58 dBm"),
        ("arithmetic", "slots", "24 x 0.5 ms = 12 ms", "24 x 0.5 ms = 12 s"),
        ("kpi", "extreme", "888 Mbit/s: K54", "888 Mbit/s: K54 or M22"),
        ("kpi", "value", "K54: 88 %", "K54: 8 %"),
        ("alarms", "cause", "cell overload: B", "cell overload: C"),
        ("intent", "requirements-1", '{"sst": 1, "area": "mine", "devices": 10}', '{"sst": 1, "area": "mine", "devices": true}'),
        ("intent", "requirements-1", '{"sst": 1, "area": "mine", "devices": 10}', '{"sst": 1, "area": "mine", "devices": 10'),
        ("intent", "requirements-1", '{"sst": 1, "area": "mine", "devices": 10}', '{"sst": 1, "area": "mine", "devices": 10, "colour": "red"}'),
    ],
)
def test_a_near_miss_is_wrong(family: str, form: str, answer: str, wrong: str) -> None:
    task = Task(family=family, form=form, grade=1, key="", messages=user("?"), answer=answer)
    assert BY_NAME[family].accepts(task, answer)
    assert not BY_NAME[family].accepts(task, wrong)


def test_a_right_answer_in_a_sentence_is_accepted() -> None:
    task = Task(family="parameters", form="5qi-delay", grade=1, key="", messages=user("?"), answer="100 ms")
    assert BY_NAME["parameters"].accepts(task, "The packet delay budget is 100 ms.")


def test_training_never_shows_a_held_out_key_or_question() -> None:
    seen = list(islice(training_tasks(SeededChance(5).stream("test")), 20_000))
    questions = {task.question for task in seen}
    keys = {(task.family, task.key) for task in seen}
    for family in FAMILIES:
        held_out = held_out_tasks(family, 150)
        assert len(held_out) == 150
        assert all(map(is_held_out, held_out))
        assert not any(task.question in questions or (task.family, task.key) in keys for task in held_out)


def test_tasks_replay_from_their_seed() -> None:
    streams = [list(islice(training_tasks(SeededChance(9).stream("test")), 200)) for _ in range(2)]
    assert streams[0] == streams[1]
    assert held_out_tasks(FAMILIES[0], 20) == held_out_tasks(FAMILIES[0], 20)


@pytest.mark.parametrize("file_name", FACT_FILES)
def test_every_fact_names_its_source_and_is_trained_in_some_wording(file_name: str) -> None:
    name = file_name.removesuffix(".toml")
    for form in read_forms(file_name):
        assert form.source or all(row["source"] for row in form.rows)
        assert len(set(form.questions)) == len(form.questions)
        for i in range(len(form.rows)):
            wordings = [
                Task(family=name, form=form.name, grade=1, key=f"{form.name}/{i}/{q}", messages=user(""), answer="")
                for q in range(len(form.questions))
            ]
            assert sum(not is_held_out(task) for task in wordings) >= 2


def test_no_question_of_a_facts_file_has_two_answers() -> None:
    for file_name in FACT_FILES:
        answers: dict[str, str] = {}
        for form in read_forms(file_name):
            for row in form.rows:
                for question in form.questions:
                    assert answers.setdefault(question.format(**row), form.answer.format(**row)) == form.answer.format(**row)


def test_an_alarm_points_to_one_cause() -> None:
    facts = read_facts("alarms.toml")
    alarms = [alarm for cause in facts["cause"] for alarm in cause["alarms"]] + facts["noise"]
    assert len(alarms) == len(set(alarms))
    assert all(len(cause["alarms"]) == 5 for cause in facts["cause"])


def test_spectral_efficiency_rises_with_the_mcs_index_as_in_the_standard() -> None:
    rows = next(form.rows for form in read_forms("parameters.toml") if form.name == "mcs-rate")
    efficiency = [row["order"] * row["rate"] / 1024 for row in rows]
    assert len(efficiency) == 29
    assert round(efficiency[0], 4) == 0.2344  # TS 38.214 table 5.1.3.1-1
    assert round(efficiency[28], 4) == 5.5547
    falls = [i for i in range(1, 29) if efficiency[i] < efficiency[i - 1]]
    assert falls == [17]  # 2.5703 to 2.5664, in the standard itself


def test_every_intent_answer_is_a_valid_configuration() -> None:
    for task in drawn(BY_NAME["intent"], 300):
        assert intent.violations(json.loads(task.answer)) == []
    assert intent.violations({"sst": 1}) == ["area is missing"]
    assert intent.violations([]) == ["not an object"]
