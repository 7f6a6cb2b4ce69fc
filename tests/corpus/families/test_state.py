"""States of cells at a time."""

from __future__ import annotations

from itertools import product

import pytest

from netgpt.core.chance import SeededChance
from netgpt.corpus.families.state import FAMILY
from netgpt.corpus.task import GRADES, LANGUAGES, Task
from netgpt.corpus.wording import family_wordings

TIMES = 20


def tasks(*grades: int) -> list[Task]:
    chance = SeededChance(1).stream("test")
    return [FAMILY.draw(chance, grade, language) for grade, language in product(grades or GRADES, LANGUAGES) for _ in range(TIMES)]


def test_the_solver_is_always_accepted() -> None:
    for task in tasks():
        assert FAMILY.solve(task) == task.answer
        assert FAMILY.accepts(task, FAMILY.solve(task))


def test_near_misses_are_rejected() -> None:
    for task in tasks():
        steps, _, final = task.answer.rpartition(": ")
        for reply in ("", f"{steps}:", f"{task.answer}x", f"{task.answer} or lost", f"{steps}: lost", f"{steps}: lost, {final}", f"not {final}"):
            assert not FAMILY.accepts(task, reply), (task.answer, reply)


def test_a_full_width_colon_and_a_final_stop_are_read() -> None:
    task = tasks()[0]
    assert FAMILY.accepts(task, task.answer.replace(":", "：") + "。")


@pytest.mark.parametrize("grade", GRADES)
def test_the_steps_of_the_answer_count_the_grade(grade: int) -> None:
    for task in tasks(grade):
        assert task.answer.count(",") + 1 == grade


def test_the_prompt_is_as_long_for_all_grades() -> None:
    lengths = {grade: sum(len(content) for task in tasks(grade) for _, content in task.messages) for grade in (1, 6)}
    assert lengths[6] == pytest.approx(lengths[1], rel=0.1)
    assert max(sum(len(content) for _, content in task.messages) for task in tasks()) <= 330


def test_there_are_enough_wordings() -> None:
    wordings = family_wordings("state")
    assert len(wordings["en", "question"]) >= 5
    assert len(wordings["zh", "question"]) >= 4


def test_keys_differ_within_a_grade() -> None:
    for grade in GRADES:
        assert len({task.key for task in tasks(grade)}) == TIMES * len(LANGUAGES)
