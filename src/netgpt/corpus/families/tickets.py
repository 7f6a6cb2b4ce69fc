"""Tickets: a conversation with updates of trouble tickets over several turns; the present status of one of them.

A grade counts the updates of the asked ticket; there are always six updates in three turns, the others about other
tickets. The key is the updates in their order with the asked ticket.
The answer names the ticket at every step, as other tickets have the same statuses: `T60 open > T60 fixed > end: fixed`.
"""

from __future__ import annotations

import re

import numpy as np

from netgpt.corpus.reading import after_last
from netgpt.corpus.task import Family, Task, pick, sample
from netgpt.corpus.wording import word

NAME = "tickets"
UPDATES = 6
PER_TURN = 2
OTHER_TICKETS = 3
REPLY = "ok"
STATUSES = ("open", "assigned", "waiting", "fixed", "tested", "paused", "closed", "blocked")
TICKETS = tuple(f"T{number:02d}" for number in range(1, 100))
_UPDATE = re.compile(r"(T\d\d) ([a-z]+)")
_TICKET = re.compile(r"T\d\d")


def _updates(chance: np.random.Generator, grade: int, asked: str, others: list[str]) -> list[tuple[str, str]]:
    """Tickets with their new statuses, in the order of the conversation; no ticket has a status twice."""
    tickets = sample(chance, [asked] * grade + [pick(chance, others) for _ in range(UPDATES - grade)], UPDATES)
    left = {ticket: sample(chance, STATUSES, len(STATUSES)) for ticket in (asked, *others)}
    return [(ticket, left[ticket].pop()) for ticket in tickets]


def _answer(ticket: str, statuses: list[str]) -> str:
    return f"{' > '.join([*(f'{ticket} {status}' for status in statuses), 'end'])}: {statuses[-1]}"


def draw(chance: np.random.Generator, grade: int, language: str) -> Task:
    """Three turns of two updates, then the question."""
    asked, *others = sample(chance, TICKETS, 1 + OTHER_TICKETS)
    updates = _updates(chance, grade, asked, others)
    texts = [f"{ticket} {status}" for ticket, status in updates]
    wording = word(chance, NAME, language)
    messages: list[tuple[str, str]] = []
    for start in range(0, UPDATES, PER_TURN):
        messages += [("user", "; ".join(texts[start : start + PER_TURN])), ("assistant", REPLY)]
    return Task(
        family=NAME,
        template=wording.id,
        grade=grade,
        key=f"{asked}/{'/'.join(texts)}",
        messages=(*messages, ("user", wording.fill(ticket=asked))),
        answer=_answer(asked, [status for ticket, status in updates if ticket == asked]),
        language=language,
    )


def accepts(task: Task, reply: str) -> bool:
    """True if the reply ends in the present status and in nothing else."""
    return after_last(reply.replace("：", ":")) == after_last(task.answer)


def solve(task: Task) -> str:
    """Lists the updates of the asked ticket."""
    asked = _TICKET.findall(task.question)[-1]
    said = "\n".join(content for role, content in task.messages[:-1] if role == "user")
    return _answer(asked, [status for ticket, status in _UPDATE.findall(said) if ticket == asked])


FAMILY = Family(
    name=NAME,
    summary="keeps the status of a ticket over the turns of a conversation",
    depth="updates",
    draw=draw,
    accepts=accepts,
    solve=solve,
)
