"""Alarms: near misses, the solver, and that the surface does not tell the grade."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from netgpt.corpus.book import read_book
from netgpt.corpus.families import alarms
from netgpt.corpus.reading import read_facts
from netgpt.corpus.task import GRADES, LANGUAGES, Task, is_held_out, user


def _tasks(grade: int, language: str, count: int = 17) -> list[Task]:
    return [alarms.draw(np.random.default_rng(seed), grade, language) for seed in range(count)]


@pytest.mark.parametrize("language", LANGUAGES)
@pytest.mark.parametrize("grade", GRADES)
def test_solver_and_own_answer_are_accepted(grade: int, language: str) -> None:
    for task in _tasks(grade, language):
        assert alarms.accepts(task, task.answer)
        assert alarms.accepts(task, alarms.solve(replace(task, answer="", key="", grade=1)))
        assert len(task.question) <= 330


def test_every_class_has_its_causes() -> None:
    assert [len(alarms.causes_of_class(grade)) for grade in GRADES] == list(alarms.CLASS_SIZES)
    assert sum(alarms.CLASS_SIZES) == len(read_facts("alarms.toml")["cause"])


@pytest.mark.parametrize("grade", GRADES)
def test_every_grade_has_held_out_and_trained_keys(grade: int) -> None:
    assert {is_held_out(task) for task in _tasks(grade, "en", 200)} == {True, False}


def test_alarms_are_of_one_cause() -> None:
    facts = read_facts("alarms.toml")
    shown = [alarm for cause in facts["cause"] for alarm in cause["alarms"]] + facts["noise"]
    assert len(set(shown)) == len(shown)
    assert not any(";" in alarm for alarm in shown)


@pytest.mark.parametrize("grade", GRADES)
def test_codes_and_sites_are_as_rare_as_the_grade(grade: int) -> None:
    codes = {code.code: code for code in read_book().codes}
    kinds = set()
    for task in _tasks(grade, "en"):
        subject = task.answer.partition(" = ")[0]
        kinds.add(subject in codes)
        assert (codes[subject] if subject in codes else read_book().by_name[subject]).rarity == grade
    assert kinds == {True, False}


def test_the_alarm_of_the_site_is_in_the_list() -> None:
    task = next(task for task in _tasks(3, "en") if "alarms-site" in task.template)
    steps, letter = task.answer.rsplit(": ", 1)
    assert steps.split(" = ")[1] in task.question
    assert task.question.count(" = ") == len(alarms.LETTERS)
    assert alarms.accepts(task, letter)


def test_near_misses_are_rejected() -> None:
    task = Task(family="alarms", template="x", grade=1, key="x", messages=user("x"), answer="cooling failure: B")
    for reply in ("B", "cooling failure: B.", "cooling failure：B", "A fault of the fans: B"):
        assert alarms.accepts(task, reply), reply
    for reply in ("", "cooling failure", "cooling failure: C", "cooling failure: b", "A, B, C, D", "B or C", "cooling failure: BB", "B: C"):
        assert not alarms.accepts(task, reply), reply
