"""Statuses of tickets over several turns."""

from __future__ import annotations

from collections import Counter
from itertools import product

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from netgpt.core.chance import SeededChance
from netgpt.corpus.book import read_book
from netgpt.corpus.families.tickets import FAMILY, STATUSES
from netgpt.corpus.task import GRADES, LANGUAGES, Task

TIMES = 20


def tasks(*grades: int) -> list[Task]:
    chance = SeededChance(1).stream("test")
    return [FAMILY.draw(chance, grade, language) for grade, language in product(grades or GRADES, LANGUAGES) for _ in range(TIMES)]


def test_near_misses_are_rejected() -> None:
    for task in tasks():
        steps, _, final = task.answer.rpartition(": ")
        for reply in ("", f"{steps}:", f"{task.answer}x", f"{task.answer} or lost", f"{steps}: lost", f"{steps}: lost, {final}", f"not {final}"):
            assert not FAMILY.accepts(task, reply), (task.answer, reply)


def test_a_full_width_colon_and_a_final_stop_are_read() -> None:
    task = tasks()[0]
    assert FAMILY.accepts(task, task.answer.replace(":", "：") + "。")


@given(seed=st.integers(0, 2**32), grade=st.sampled_from(GRADES), language=st.sampled_from(LANGUAGES))
@settings(max_examples=60, deadline=None)
def test_an_update_too_many_or_too_few_is_refused(seed: int, grade: int, language: str) -> None:
    task = FAMILY.draw(SeededChance(seed).stream("test"), grade, language)
    site, _, worked = task.answer.partition(": ")[0].partition(" = ")
    *steps, end = worked.split(" > ")
    vendor, statuses = steps[0].split()[0], [step.split()[1] for step in steps]
    assert (vendor, end) == (read_book().by_name[site].vendor, "end")
    assert FAMILY.accepts(task, f"{' > '.join(statuses)}: {statuses[-1]}")
    for other in {*STATUSES} - {statuses[-1]}:
        assert not FAMILY.accepts(task, f"{' > '.join([*steps, f'{vendor} {other}', end])}: {other}")
    if grade > 1:
        assert not FAMILY.accepts(task, f"{' > '.join([*steps[:-1], end])}: {statuses[-2]}")
    assert not FAMILY.accepts(task, f"{' > '.join([*steps, end])}: {end}")


@pytest.mark.parametrize("grade", GRADES)
def test_the_steps_of_the_answer_count_the_grade(grade: int) -> None:
    for task in tasks(grade):
        assert task.answer.count(" > ") == grade


def test_the_frequency_of_a_vendor_does_not_tell_that_it_is_asked() -> None:
    for task in tasks():
        updates = [update for role, said in task.messages[:-1] if role == "user" for update in said.split("; ")]
        counts = Counter(update.split()[0] for update in updates)
        assert counts[read_book().site_in(task.question).vendor] == task.grade
        assert sorted(counts.values()) == sorted([task.grade, 7 - task.grade] * 3)
