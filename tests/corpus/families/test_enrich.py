"""Enriched prompts: every word resolved, nothing else changed."""

from __future__ import annotations

import pytest

from netgpt.corpus.book import read_book
from netgpt.corpus.families.enrich import FAMILY
from netgpt.corpus.task import Task, user

SITE = read_book().sites[20]
OTHER_BAND = "n78" if SITE.band == "n77" else "n77"
WANTED = f"check A31 for u77 on {SITE.band} and S11 near {SITE.name} since 10:10"
TASK = Task(
    family="enrich",
    template="enrich-en-1",
    grade=2,
    key="",
    messages=user(
        f"here=A31; me=u12; site={SITE.name}; slice=S04; time=14:20\nComplete the prompt:\ncheck here for u77 on band and S11 near site since 10:10"
    ),
    answer=f"{SITE.name} = {SITE.band}: {WANTED}",
)


@pytest.mark.parametrize("reply", [WANTED, f"{WANTED.upper()}.", WANTED.replace(" and", "  and")])
def test_other_spellings_are_accepted(reply: str) -> None:
    assert FAMILY.accepts(TASK, reply)


@pytest.mark.parametrize(
    "reply",
    [
        "",
        WANTED.replace("A31", "here"),
        WANTED.replace("u77", "u12"),
        WANTED.replace(SITE.band, OTHER_BAND),
        WANTED.partition(" since")[0],
        WANTED.replace("A31", "A31 A31"),
        f"{SITE.name} = {SITE.band}",
        f"{SITE.name} = {SITE.band}, {WANTED}",
    ],
)
def test_near_misses_are_rejected(reply: str) -> None:
    assert not FAMILY.accepts(TASK, reply)


def test_the_solver_reads_the_question() -> None:
    assert FAMILY.solve(TASK) == TASK.answer
