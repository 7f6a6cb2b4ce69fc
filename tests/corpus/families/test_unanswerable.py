"""Unanswerable questions: the value if it is listed, or else unknown."""

from __future__ import annotations

import pytest

from netgpt.corpus.book import read_book
from netgpt.corpus.families.unanswerable import FAMILY
from netgpt.corpus.task import Task, user

SITE = read_book().sites[20]
UNIT = SITE.unit
NEAR = f"{UNIT[:2]}{(int(UNIT[2]) + 1) % 10}"
TASK = Task(
    family="unanswerable",
    template="unanswerable-en-1",
    grade=2,
    key="",
    messages=user(
        f"{UNIT} rack r2\n{NEAR} owner Lee\nB02 height 12\nC10 tilt 3\nD44 power 30\nE05 tilt 4\nF61 shift late\nWhat is {SITE.name} owner?"
    ),
    answer=f"{SITE.name} = {UNIT} owner: unknown",
)


@pytest.mark.parametrize("reply", ["unknown", f"{UNIT} owner: Unknown."])
def test_other_spellings_are_accepted(reply: str) -> None:
    assert FAMILY.accepts(TASK, reply)


@pytest.mark.parametrize(
    "reply", ["", f"{UNIT} owner: Lee", f"{UNIT} owner: unknown or Lee", f"{UNIT} owner: not unknown", f"{NEAR} owner: unknown", f"{UNIT} owner"]
)
def test_near_misses_are_rejected(reply: str) -> None:
    assert not FAMILY.accepts(TASK, reply)


def test_the_solver_reads_the_question() -> None:
    assert FAMILY.solve(TASK) == TASK.answer
