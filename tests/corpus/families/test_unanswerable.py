"""Unanswerable questions: the value if it is listed, or else unknown."""

from __future__ import annotations

from collections import Counter
from dataclasses import replace
from itertools import product

import pytest

from netgpt.core.chance import SeededChance
from netgpt.corpus.book import read_book
from netgpt.corpus.families.unanswerable import FAMILY
from netgpt.corpus.task import GRADES, Task, user

SITE = read_book().sites[20]
UNIT = SITE.unit
NEAR = f"{UNIT[:2]}{(int(UNIT[2]) + 1) % 10}"
LINES = f"{UNIT} rack r2\n{NEAR} owner Lee\nB02 height 12\n{UNIT} tilt 3"
TASK = Task(
    family="unanswerable",
    template="unanswerable-en-1",
    grade=2,
    key="",
    messages=user(f"{LINES}\nWhat is {SITE.name} owner?"),
    answer=f"{SITE.name} = {UNIT} rack r2, {UNIT} tilt 3, end: unknown",
)


@pytest.mark.parametrize("reply", ["unknown", f"{UNIT} owner: Unknown.", TASK.answer])
def test_other_spellings_are_accepted(reply: str) -> None:
    assert FAMILY.accepts(TASK, reply)


@pytest.mark.parametrize(
    "reply", ["", f"{UNIT} owner: Lee", f"{UNIT} owner: unknown or Lee", f"{UNIT} owner: not unknown", f"{NEAR} owner: unknown", f"{UNIT} owner"]
)
def test_near_misses_are_rejected(reply: str) -> None:
    assert not FAMILY.accepts(TASK, reply)


def test_the_answer_stops_at_the_line_that_is_asked_for() -> None:
    listed = replace(TASK, messages=user(f"{LINES}\n{UNIT} owner Kim\nWhat is {SITE.name} tilt?"))
    assert FAMILY.solve(listed) == f"{SITE.name} = {UNIT} rack r2, {UNIT} tilt 3: 3"


def test_every_other_unit_has_the_asked_attribute_and_no_number_of_lines_stands_out() -> None:
    chance, unknown = SeededChance(1).stream("test"), 0
    for grade, _ in product(GRADES, range(40)):
        task = FAMILY.draw(chance, grade, "en")
        lines = [line.split() for line in task.key.partition("? ")[2].split("; ")]
        unit, attribute = task.key.partition("?")[0].split()
        counts = Counter(line[0] for line in lines)
        assert counts[unit] == grade
        assert sorted(counts.values()) == sorted([grade, 7 - grade] * 2)
        assert counts.keys() - {unit} <= {line[0] for line in lines if line[1] == attribute}
        unknown += task.answer.endswith("end: unknown")
    assert 0.2 < unknown / 240 < 0.5


def test_the_solver_reads_the_question() -> None:
    assert FAMILY.solve(TASK) == TASK.answer
