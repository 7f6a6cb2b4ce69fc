"""Unanswerable questions: the value if it is listed, or else unknown."""

from __future__ import annotations

import pytest

from netgpt.corpus.families.unanswerable import FAMILY
from netgpt.corpus.task import Task, user

TASK = Task(
    family="unanswerable",
    template="unanswerable-en-1",
    grade=2,
    key="",
    messages=user("A31 vendor Orbex\nA37 owner Lee\nB02 band n1\nC10 tilt 3\nD44 power 30\nE05 tilt 4\nF61 region west\nWhat is A31 owner?"),
    answer="A31 owner: unknown",
)


@pytest.mark.parametrize("reply", ["unknown", "a31 owner: Unknown."])
def test_other_spellings_are_accepted(reply: str) -> None:
    assert FAMILY.accepts(TASK, reply)


@pytest.mark.parametrize("reply", ["", "A31 owner: Lee", "A31 owner: unknown or Lee", "A31 owner: not unknown", "A37 owner: unknown", "A31 owner"])
def test_near_misses_are_rejected(reply: str) -> None:
    assert not FAMILY.accepts(TASK, reply)


def test_the_solver_reads_the_question() -> None:
    assert FAMILY.solve(TASK) == TASK.answer
