"""Handover: the strongest neighbour above the limit, or stay."""

from __future__ import annotations

import pytest

from netgpt.corpus.families.handover import FAMILY
from netgpt.corpus.task import Task, user

TASK = Task(
    family="handover",
    template="handover-en-1",
    grade=2,
    key="",
    messages=user("serving -90 offset 3\nA31 -88\nB12 -85\nC07 -95\nD40 -91\nE66 -99\nF18 -92\nChoose the target cell."),
    answer="-90+3=-87; A31 -88, B12 -85: B12",
)


@pytest.mark.parametrize("reply", ["B12", "b12."])
def test_other_spellings_are_accepted(reply: str) -> None:
    assert FAMILY.accepts(TASK, reply)


@pytest.mark.parametrize("reply", ["", "stay", "A31", "B12 or A31", "-90+3=-87; A31 -88, B12 -85: stay", "-90+3=-87; A31 -88, B12 -85: A31", "B13"])
def test_near_misses_are_rejected(reply: str) -> None:
    assert not FAMILY.accepts(TASK, reply)


def test_the_solver_reads_the_question() -> None:
    assert FAMILY.solve(TASK) == TASK.answer
