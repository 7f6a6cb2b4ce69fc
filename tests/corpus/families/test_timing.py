"""Timing: halvings of slots, strict numbers and units."""

from __future__ import annotations

import pytest

from netgpt.corpus.families.timing import FAMILY
from netgpt.corpus.task import Task, user

TASK = Task(
    family="timing",
    template="timing-en-1",
    grade=2,
    key="",
    messages=user("A31 60 kHz 480\nB12 30 kHz 500\nHow long are the slots of A31?"),
    answer="60 kHz 480/2=240/2=120: 120 ms",
)


@pytest.mark.parametrize("reply", ["120 ms", "120 ms."])
def test_other_spellings_are_accepted(reply: str) -> None:
    assert FAMILY.accepts(TASK, reply)


@pytest.mark.parametrize("reply", ["", "120", "240 ms", "120 s", "60 kHz 480/2=240: 240 ms", "120 ms or 240 ms", "240 or 120 ms"])
def test_near_misses_are_rejected(reply: str) -> None:
    assert not FAMILY.accepts(TASK, reply)


def test_the_solver_reads_the_question() -> None:
    assert FAMILY.solve(TASK) == TASK.answer
