"""Trouble tickets in order: the open ones by severity, highest first, and the first to handle.

Six lines `T41 7 open` with different severities. A grade counts the open tickets; the others are done. The
key is the set of lines.
"""

from __future__ import annotations

import re
from collections.abc import Mapping

import numpy as np

from netgpt.corpus.reading import after_last, words
from netgpt.corpus.task import Family, Task, sample, user
from netgpt.corpus.wording import word

NAME = "priority"
TICKETS = 6
NUMBERS, SEVERITIES = range(10, 100), range(1, 10)
_OPEN = re.compile(r"^(T\d\d) (\d) open$", re.MULTILINE)
_TICKET = re.compile(r"T\d\d")


def in_order(severities: Mapping[str, int]) -> str:
    """The tickets by severity and the first of them: `T41 > T12: T41`."""
    tickets = sorted(severities, key=severities.__getitem__, reverse=True)
    return f"{' > '.join(tickets)}: {tickets[0]}"


def draw(chance: np.random.Generator, grade: int, language: str) -> Task:
    """Six tickets, `grade` of them open."""
    tickets = [f"T{number}" for number in sample(chance, NUMBERS, TICKETS)]
    severities = dict(zip(tickets, sample(chance, SEVERITIES, TICKETS), strict=True))
    still_open = set(sample(chance, tickets, grade))
    lines = [f"{ticket} {severity} {'open' if ticket in still_open else 'done'}" for ticket, severity in severities.items()]
    wording = word(chance, NAME, language)
    return Task(
        family=NAME,
        template=wording.id,
        grade=grade,
        key="; ".join(sorted(lines)),
        messages=user(wording.fill(lines="\n".join(lines))),
        answer=in_order({ticket: severities[ticket] for ticket in still_open}),
        language=language,
    )


def accepts(task: Task, reply: str) -> bool:
    """True if the reply lists the open tickets in order and ends in the first of them alone."""
    plain = reply.replace("：", ":")
    return _TICKET.findall(plain) == _TICKET.findall(task.answer) and words(after_last(plain)) == words(after_last(task.answer))


def solve(task: Task) -> str:
    """Sorts the open tickets of the lines."""
    return in_order({ticket: int(severity) for ticket, severity in _OPEN.findall(task.question)})


FAMILY = Family(
    name=NAME,
    summary="orders the open trouble tickets by severity",
    depth="open tickets",
    draw=draw,
    accepts=accepts,
    solve=solve,
)
