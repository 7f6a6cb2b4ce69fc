"""Enriched prompts: every word resolved, nothing else changed."""

from __future__ import annotations

import pytest

from netgpt.corpus.families.enrich import FAMILY
from netgpt.corpus.task import Task, user

TASK = Task(
    family="enrich",
    template="enrich-en-1",
    grade=2,
    key="",
    messages=user(
        "here=A31; me=u12; site=Norvik; band=n78; slice=S04; time=14:20\nComplete the prompt:\ncheck here for u77 on n1 and S11 near site since 10:10"
    ),
    answer="check A31 for u77 on n1 and S11 near Norvik since 10:10",
)


@pytest.mark.parametrize("reply", ["Check A31 for u77 on n1  and S11 near norvik since 10:10."])
def test_other_spellings_are_accepted(reply: str) -> None:
    assert FAMILY.accepts(TASK, reply)


@pytest.mark.parametrize(
    "reply",
    [
        "",
        "check here for u77 on n1 and S11 near Norvik since 10:10",
        "check A31 for u12 on n1 and S11 near Norvik since 10:10",
        "check A31 for u77 on n1 and S11 near Norvik",
        "check A31 A31 for u77 on n1 and S11 near Norvik since 10:10",
    ],
)
def test_near_misses_are_rejected(reply: str) -> None:
    assert not FAMILY.accepts(TASK, reply)


def test_the_solver_reads_the_question() -> None:
    assert FAMILY.solve(TASK) == TASK.answer
