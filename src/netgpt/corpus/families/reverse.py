"""Routes that begin with a fact read backwards: from a unit's code to its site, then up to the gateway.

Asks: which gateway serves a radio unit. The book's facts are learnt as site to unit, so the first step
inverts what was learnt. Grade: the hops from the unit's site to its gateway. Key: the unit and the wording,
so that every unit is trained in some wordings and held out in others. The answer writes all steps:
`K65 = Gishak > Kashin > Rartuk: Rartuk`.
"""

from __future__ import annotations

import numpy as np

from netgpt.corpus.book import Book, Site, read_book
from netgpt.corpus.families.recall import places_of
from netgpt.corpus.families.route import same_result
from netgpt.corpus.task import Family, Task, user
from netgpt.corpus.wording import family_wordings, word

NAME = "reverse"


def _reply(book: Book, site: Site) -> str:
    chain = book.chain(site.name)
    return f"{site.unit} = {' > '.join(chain)}: {chain[-1]}"


def reverse_family(book: Book, name: str) -> Family:
    """The family of the routes of a book that begin at a unit."""

    def draw(chance: np.random.Generator, grade: int, language: str) -> Task:
        site = book.some_site_at(chance, grade)
        wording = word(chance, NAME, language)
        return Task(
            family=name,
            template=wording.id,
            grade=grade,
            key=f"{site.unit}/{wording.id}",
            messages=user(wording.fill(unit=site.unit)),
            answer=_reply(book, site),
            language=language,
        )

    def accepts(task: Task, reply: str) -> bool:
        return same_result(reply, task.answer)

    def solve(task: Task) -> str:
        for wording in family_wordings(NAME)[task.language, "question"]:
            unit = (places_of(wording.text, task.question) or {}).get("unit", "")
            if unit in book.by_unit:
                return _reply(book, book.by_unit[unit])
        return ""

    return Family(
        name=name, summary="the gateway of a radio unit: a fact read backwards, then hops", depth="hops", draw=draw, accepts=accepts, solve=solve
    )


FAMILY = reverse_family(read_book(), NAME)
