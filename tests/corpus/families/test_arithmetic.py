"""Link budgets and data rates: worked answers, strict numbers and units."""

from __future__ import annotations

import pytest

from netgpt.corpus.book import VENDORS, read_book
from netgpt.corpus.families.arithmetic import FAMILY
from netgpt.corpus.task import Task, user

SITE = read_book().sites[20]
OTHER = next(vendor for vendor in VENDORS if vendor != SITE.vendor)
TASK = Task(
    family="arithmetic",
    template="arithmetic-en-1",
    grade=2,
    key="",
    messages=user(
        f"dBm: {OTHER} 30, {SITE.vendor} 31; cable -3; wall off; antenna +8; mixer off; filter off; jumper off;\n"
        f"What is the output power at {SITE.name}?"
    ),
    answer=f"{SITE.name} = {SITE.vendor} 31-3=28+8=36: 36 dBm",
)


@pytest.mark.parametrize("reply", ["36 dBm", "it is 36 dbm."])
def test_other_spellings_are_accepted(reply: str) -> None:
    assert FAMILY.accepts(TASK, reply)


@pytest.mark.parametrize("reply", ["", "36", "36 dB", "37 dBm", "-36 dBm", "36 or 37 dBm", "37 dBm or 36 dBm", "31-3=28+8=36: 28 dBm", "36 Mbit"])
def test_near_misses_are_rejected(reply: str) -> None:
    assert not FAMILY.accepts(TASK, reply)


def test_the_solver_reads_the_question() -> None:
    assert FAMILY.solve(TASK) == TASK.answer
