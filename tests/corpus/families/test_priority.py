"""Priority: the open tickets in order, the first at the end."""

from __future__ import annotations

import pytest

from netgpt.corpus.families.priority import FAMILY
from netgpt.corpus.task import Task, user

TASK = Task(
    family="priority",
    template="priority-en-1",
    grade=2,
    key="",
    messages=user("T41 7 open\nT12 3 open\nT60 9 done\nT13 8 done\nT43 5 done\nT54 1 done\nOrder the open tickets by severity."),
    answer="T41 > T12: T41",
)


@pytest.mark.parametrize("reply", ["T41, T12: T41", "T41 > T12: T41."])
def test_other_spellings_are_accepted(reply: str) -> None:
    assert FAMILY.accepts(TASK, reply)


@pytest.mark.parametrize("reply", ["", "T41", "T12 > T41: T12", "T12 > T41: T41", "T41 > T12: T12", "T60 > T41 > T12: T60", "T41 > T12: T41 T12"])
def test_near_misses_are_rejected(reply: str) -> None:
    assert not FAMILY.accepts(TASK, reply)


def test_the_solver_reads_the_question() -> None:
    assert FAMILY.solve(TASK) == TASK.answer
