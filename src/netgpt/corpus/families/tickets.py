"""Tickets: a conversation with updates of vendors' tickets over several turns; the present status of the ticket of a site's vendor.

A ticket bears the name of the vendor that works on it, the question names a site: which vendor built it must be known
by heart, and the site is the rarer the higher the grade. A grade counts the updates of the asked ticket; of five more
vendors two have as many and three as many as are missing to seven, so that there are always 21 updates in three turns
and no vendor stands out. The key is the updates in their order with the asked vendor. The answer names the vendor at
every step, as other tickets have the same statuses: `Bekal = Orbex open > Orbex fixed > end: fixed`.
"""

from __future__ import annotations

import re

import numpy as np

from netgpt.corpus.book import VENDORS, Site, read_book
from netgpt.corpus.decoys import entries, mirrored
from netgpt.corpus.reading import after_last
from netgpt.corpus.task import Family, Task, sample
from netgpt.corpus.wording import word

NAME = "tickets"
DECOYS, UPDATES_OF_TWO = 5, 7  # vendors beside the asked one; updates of two vendors that mirror each other
PER_TURN = 7
REPLY = "ok"
STATUSES = ("open", "assigned", "waiting", "fixed", "tested", "paused", "closed", "blocked")
_UPDATE = re.compile(r"([A-Z][a-z]+) ([a-z]+)")
_BOOK = read_book()


def _updates(chance: np.random.Generator, grade: int, asked: str) -> list[tuple[str, str]]:
    """Vendors with the new statuses of their tickets, in the order of the conversation; none has a status twice."""
    others = sample(chance, [vendor for vendor in VENDORS if vendor != asked], DECOYS)
    counts = mirrored(chance, asked, others, grade, UPDATES_OF_TWO)
    left = {vendor: sample(chance, STATUSES, len(STATUSES)) for vendor in counts}
    return [(vendor, left[vendor].pop()) for vendor in entries(chance, counts)]


def _answer(site: Site, statuses: list[str]) -> str:
    return f"{site.name} = {' > '.join([*(f'{site.vendor} {status}' for status in statuses), 'end'])}: {statuses[-1]}"


def draw(chance: np.random.Generator, grade: int, language: str) -> Task:
    """Three turns of updates, then the question."""
    site = _BOOK.some_site(chance, rarity=grade)
    updates = _updates(chance, grade, site.vendor)
    texts = [f"{vendor} {status}" for vendor, status in updates]
    wording = word(chance, NAME, language)
    messages: list[tuple[str, str]] = []
    for start in range(0, len(texts), PER_TURN):
        messages += [("user", "; ".join(texts[start : start + PER_TURN])), ("assistant", REPLY)]
    return Task(
        family=NAME,
        template=wording.id,
        grade=grade,
        key=f"{site.vendor}/{'/'.join(texts)}",
        messages=(*messages, ("user", wording.fill(site=site.name))),
        answer=_answer(site, [status for vendor, status in updates if vendor == site.vendor]),
        language=language,
    )


def accepts(task: Task, reply: str) -> bool:
    """True if the reply ends in the present status and in nothing else."""
    return after_last(reply.replace("：", ":")) == after_last(task.answer)


def solve(task: Task) -> str:
    """Lists the updates of the vendor of the site."""
    site = _BOOK.site_in(task.question)
    said = "\n".join(content for role, content in task.messages[:-1] if role == "user")
    return _answer(site, [status for vendor, status in _UPDATE.findall(said) if vendor == site.vendor])


FAMILY = Family(
    name=NAME,
    summary="keeps the status of the ticket of a site's vendor over the turns of a conversation",
    depth="updates",
    draw=draw,
    accepts=accepts,
    solve=solve,
)
