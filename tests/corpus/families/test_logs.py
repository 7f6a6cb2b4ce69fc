"""Root causes in logs."""

from __future__ import annotations

from itertools import product

import pytest

from netgpt.core.chance import SeededChance
from netgpt.corpus.families.logs import FAMILY
from netgpt.corpus.task import GRADES, LANGUAGES, Task

TIMES = 20


def tasks(*grades: int) -> list[Task]:
    chance = SeededChance(1).stream("test")
    return [FAMILY.draw(chance, grade, language) for grade, language in product(grades or GRADES, LANGUAGES) for _ in range(TIMES)]


def test_near_misses_are_rejected() -> None:
    for task in tasks():
        steps, _, final = task.answer.rpartition(": ")
        for reply in (
            "",
            steps,
            f"{task.answer}x",
            f"{task.answer} or moon gone",
            f"{steps}: moon gone",
            f"{steps}: moon gone, {final}",
            f"not {final}",
        ):
            assert not FAMILY.accepts(task, reply), (task.answer, reply)


def test_a_full_width_colon_and_a_final_stop_are_read() -> None:
    task = tasks()[0]
    assert FAMILY.accepts(task, task.answer.replace(":", "：") + "。")


@pytest.mark.parametrize("grade", GRADES)
def test_the_steps_of_the_answer_count_the_grade(grade: int) -> None:
    for task in tasks(grade):
        assert task.answer.count("<") == grade
