"""Tickets: a conversation with updates of trouble tickets over several turns; the present status of a site's ticket.

A ticket bears the code of the unit that it is about, the question names the site: which unit is there must be known
by heart, and the site is the rarer the higher the grade. A grade counts the updates of the asked ticket; there are
always six updates in three turns, the others about other units. The key is the updates in their order with the asked
unit. The answer names the unit at every step, as other tickets have the same statuses: `Bekal = K65 open > K65 fixed
> end: fixed`.
"""

from __future__ import annotations

import re

import numpy as np

from netgpt.corpus.book import Site, read_book
from netgpt.corpus.reading import after_last
from netgpt.corpus.task import Family, Task, pick, sample
from netgpt.corpus.wording import word

NAME = "tickets"
UPDATES = 6
PER_TURN = 2
OTHER_UNITS = 3
REPLY = "ok"
STATUSES = ("open", "assigned", "waiting", "fixed", "tested", "paused", "closed", "blocked")
_UPDATE = re.compile(r"([A-Z]\d\d) ([a-z]+)")
_BOOK = read_book()


def _updates(chance: np.random.Generator, grade: int, asked: str, others: list[str]) -> list[tuple[str, str]]:
    """Units with the new statuses of their tickets, in the order of the conversation; none has a status twice."""
    units = sample(chance, [asked] * grade + [pick(chance, others) for _ in range(UPDATES - grade)], UPDATES)
    left = {unit: sample(chance, STATUSES, len(STATUSES)) for unit in (asked, *others)}
    return [(unit, left[unit].pop()) for unit in units]


def _answer(site: Site, statuses: list[str]) -> str:
    return f"{site.name} = {' > '.join([*(f'{site.unit} {status}' for status in statuses), 'end'])}: {statuses[-1]}"


def draw(chance: np.random.Generator, grade: int, language: str) -> Task:
    """Three turns of two updates, then the question."""
    site = _BOOK.some_site(chance, rarity=grade)
    others = sample(chance, [unit for unit in _BOOK.units if unit != site.unit], OTHER_UNITS)
    updates = _updates(chance, grade, site.unit, others)
    texts = [f"{unit} {status}" for unit, status in updates]
    wording = word(chance, NAME, language)
    messages: list[tuple[str, str]] = []
    for start in range(0, UPDATES, PER_TURN):
        messages += [("user", "; ".join(texts[start : start + PER_TURN])), ("assistant", REPLY)]
    return Task(
        family=NAME,
        template=wording.id,
        grade=grade,
        key=f"{site.unit}/{'/'.join(texts)}",
        messages=(*messages, ("user", wording.fill(site=site.name))),
        answer=_answer(site, [status for unit, status in updates if unit == site.unit]),
        language=language,
    )


def accepts(task: Task, reply: str) -> bool:
    """True if the reply ends in the present status and in nothing else."""
    return after_last(reply.replace("：", ":")) == after_last(task.answer)


def solve(task: Task) -> str:
    """Lists the updates of the site's unit."""
    site = _BOOK.site_in(task.question)
    said = "\n".join(content for role, content in task.messages[:-1] if role == "user")
    return _answer(site, [status for unit, status in _UPDATE.findall(said) if unit == site.unit])


FAMILY = Family(
    name=NAME,
    summary="keeps the status of a site's ticket over the turns of a conversation",
    depth="updates",
    draw=draw,
    accepts=accepts,
    solve=solve,
)
