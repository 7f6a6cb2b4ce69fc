"""Paths over the views of several agents."""

from __future__ import annotations

from itertools import pairwise, product

import pytest

from netgpt.core.chance import SeededChance
from netgpt.corpus.families.views import FAMILY
from netgpt.corpus.task import GRADES, LANGUAGES, Task

TIMES = 20


def tasks(*grades: int) -> list[Task]:
    chance = SeededChance(1).stream("test")
    return [FAMILY.draw(chance, grade, language) for grade, language in product(grades or GRADES, LANGUAGES) for _ in range(TIMES)]


def test_near_misses_are_rejected() -> None:
    for task in tasks():
        steps, _, final = task.answer.rpartition(": ")
        for reply in ("", f"{steps}:", f"{task.answer}x", f"{task.answer} or S00", f"{steps}: S00", f"{steps}: S00, {final}", f"not {final}"):
            assert not FAMILY.accepts(task, reply), (task.answer, reply)


def test_a_full_width_colon_and_a_final_stop_are_read() -> None:
    task = tasks()[0]
    assert FAMILY.accepts(task, task.answer.replace(":", "：") + "。")


@pytest.mark.parametrize("grade", GRADES)
def test_the_steps_of_the_answer_count_the_grade(grade: int) -> None:
    for task in tasks(grade):
        assert task.answer.count(">") == grade


def test_no_agent_sees_the_whole_path_of_several_hops() -> None:
    for task in tasks(2, 3, 4, 5, 6):
        path = task.answer.partition(":")[0].partition(" = ")[2].split(" > ")
        links = {f"{start} -> {end}" for start, end in pairwise(path)}
        assert not any(links <= set(view.split("\n")) for _, view in task.views)


def test_the_prompt_shows_all_views() -> None:
    for task in tasks():
        assert [agent for agent, _ in task.views] == ["ue", "ran", "core"]
        assert all(f"{agent}:\n{view}" in task.question for agent, view in task.views)
