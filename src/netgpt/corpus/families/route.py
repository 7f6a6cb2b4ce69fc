"""Routes to gateways, by facts learnt by heart: from uplink to uplink without a map.

Asks: which gateway serves a site, or which vendor built that gateway. Grade: the hops from the site to its
gateway; in the pretraining book a site is as rare as it is far. Key: the site and the wording, so that every site is trained
in some wordings and held out in others. The answer writes the chain, then the result: `Gishak > Kashin > Rartuk: Rartuk`,
or `Gishak > Kashin > Rartuk = Orbex: Orbex`.
"""

from __future__ import annotations

import numpy as np

from netgpt.corpus.book import Book, read_book
from netgpt.corpus.families.recall import places_of
from netgpt.corpus.reading import after_last
from netgpt.corpus.task import Family, Task, pick, user
from netgpt.corpus.wording import family_wordings, word

NAME = "route"
FORMS = ("question", "vendor")  # the gateway itself, or its vendor


def same_result(reply: str, answer: str) -> bool:
    """True if `reply` gives one result, after at most one colon, and it is that of `answer`."""
    return reply.count(":") <= 1 and after_last(reply).casefold() == after_last(answer).casefold()


def _reply(book: Book, form: str, site: str) -> str:
    chain = book.chain(site)
    steps = " > ".join(chain)
    if form == "question":
        return f"{steps}: {chain[-1]}"
    vendor = book.by_name[chain[-1]].vendor
    return f"{steps} = {vendor}: {vendor}"


def route_family(book: Book, name: str) -> Family:
    """The family of the routes of a book."""

    def draw(chance: np.random.Generator, grade: int, language: str) -> Task:
        form = pick(chance, FORMS)
        site = book.some_site_at(chance, grade)
        wording = word(chance, NAME, language, form)
        return Task(
            family=name,
            template=wording.id,
            grade=grade,
            key=f"{site.name}/{wording.id}",
            messages=user(wording.fill(site=site.name)),
            answer=_reply(book, form, site.name),
            language=language,
        )

    def accepts(task: Task, reply: str) -> bool:
        return same_result(reply, task.answer)

    def solve(task: Task) -> str:
        for form in FORMS:
            for wording in family_wordings(NAME)[task.language, form]:
                site = (places_of(wording.text, task.question) or {}).get("site", "")
                if site in book.by_name:
                    return _reply(book, form, site)
        return ""

    return Family(
        name=name, summary="the gateway of a site, and its vendor, over several hops", depth="hops", draw=draw, accepts=accepts, solve=solve
    )


FAMILY = route_family(read_book(), NAME)
