"""The totals of KPI tables."""

from __future__ import annotations

from collections import Counter
from itertools import product

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from netgpt.core.chance import SeededChance
from netgpt.corpus.book import read_book
from netgpt.corpus.families.kpi import FAMILY
from netgpt.corpus.task import GRADES, LANGUAGES, Task

TIMES = 20


def tasks(*grades: int) -> list[Task]:
    chance = SeededChance(1).stream("test")
    return [FAMILY.draw(chance, grade, language) for grade, language in product(grades or GRADES, LANGUAGES) for _ in range(TIMES)]


def test_near_misses_are_rejected() -> None:
    for task in tasks():
        steps, _, final = task.answer.rpartition(": ")
        for reply in ("", f"{steps}:", f"{task.answer}x", f"{task.answer} or 99", f"{steps}: 99", f"{steps}: 99, {final}", f"not {final}"):
            assert not FAMILY.accepts(task, reply), (task.answer, reply)


def test_a_full_width_colon_and_a_final_stop_are_read() -> None:
    task = tasks()[0]
    assert FAMILY.accepts(task, task.answer.replace(":", "：") + "。")


def row_sets(task: Task) -> tuple[list[tuple[str, int]], list[tuple[str, int]]]:
    """The rows, as cell and value, that the answer adds, and the others."""
    rows = [(row.split()[1], int(row.split()[2])) for row in task.question.split("\n")[1:-1]]
    return [row for row in rows if row[0] in task.answer], [row for row in rows if row[0] not in task.answer]


def said(task: Task, rows: list[tuple[str, int]]) -> str:
    site = read_book().site_in(task.question)
    totals = [sum(value for _, value in rows[: i + 1]) for i in range(len(rows))]
    steps = [f"{site.vendor} {cell} {value}" + (f"={total}" if i else "") for i, ((cell, value), total) in enumerate(zip(rows, totals, strict=True))]
    return f"{site.name} = {', '.join(steps)}, end: {sum(value for _, value in rows)}"


@given(seed=st.integers(0, 2**32), grade=st.sampled_from(GRADES), language=st.sampled_from(LANGUAGES), data=st.data())
@settings(max_examples=60, deadline=None)
def test_a_row_too_many_or_too_few_is_refused(seed: int, grade: int, language: str, data: st.DataObject) -> None:
    task = FAMILY.draw(SeededChance(seed).stream("test"), grade, language)
    added, others = row_sets(task)
    assert said(task, added) == task.answer
    assert FAMILY.accepts(task, f"{'+'.join(str(value) for _, value in added)}: {sum(value for _, value in added)}")
    assert not FAMILY.accepts(task, said(task, [*added, data.draw(st.sampled_from(others))]))
    assert not FAMILY.accepts(task, said(task, added[:-1]))
    assert not FAMILY.accepts(task, task.answer.partition(", end")[0])


@pytest.mark.parametrize("grade", GRADES)
def test_the_steps_of_the_answer_count_the_grade(grade: int) -> None:
    for task in tasks(grade):
        assert task.answer.count(", ") == grade


def test_the_frequency_of_a_vendor_does_not_tell_that_it_is_asked() -> None:
    for task in tasks():
        counts = Counter(row.split()[0] for row in task.question.split("\n")[1:-1])
        asked = read_book().site_in(task.question).vendor
        assert counts[asked] == task.grade
        assert sorted(counts.values()) == sorted([task.grade, 7 - task.grade] * 2)
