"""Single facts of a book, learnt by heart: one step, no search.

Asks: the vendor, region, band, uplink or unit of a site, the cause of a vendor's alarm code, or a vendor's
word for an operation. Grade: the rarity class of the subject; the rarer, the fewer times it was seen. Key:
the fact and the wording, so that a held-out question asks a fact that was trained in other wordings. The
answer repeats the subject: `Kelmon: Orbex`.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import accumulate

import numpy as np

from netgpt.corpus.book import Book, read_book
from netgpt.corpus.families.recall import places_of
from netgpt.corpus.reading import after_last, words
from netgpt.corpus.task import GRADES, Family, Task, pick, user
from netgpt.corpus.wording import family_wordings, word

NAME = "book"
SITE_FORMS = ("vendor", "region", "band", "uplink", "unit")
FORMS = (*SITE_FORMS, "cause", "word")
WORD_CLASS_SIZES = (1, 2, 4, 8, 16, 33)  # (vendor, operation) pairs of rarity class 1 to 6; 64 in all


@dataclass(frozen=True, kw_only=True, slots=True)
class Fact:
    """What fills the question's places, what the answer names again, and the value that is asked."""

    places: tuple[tuple[str, str], ...]
    subject: str
    value: str


def facts_of(book: Book, form: str) -> dict[int, tuple[Fact, ...]]:
    """The facts of a form by their rarity class."""
    if form == "cause":
        return {
            grade: tuple(Fact(places=(("code", c.code), ("vendor", c.vendor)), subject=c.code, value=c.cause) for c in codes)
            for grade, codes in book.codes_by_rarity.items()
        }
    if form == "word":
        return _words_by_rarity(book)
    return {
        grade: tuple(Fact(places=(("site", site.name),), subject=site.name, value=getattr(site, form)) for site in sites)
        for grade, sites in book.by_rarity.items()
    }


def _words_by_rarity(book: Book) -> dict[int, tuple[Fact, ...]]:
    facts = [
        Fact(places=(("vendor", vendor), ("operation", operation)), subject=f"{vendor} {operation}", value=name)
        for (vendor, operation), name in book.dialects.items()
    ]
    ends = [0, *accumulate(WORD_CLASS_SIZES)]
    return {grade: tuple(facts[ends[grade - 1] : ends[grade]]) for grade in GRADES}


def reply_to(fact: Fact) -> str:
    """The wanted answer."""
    return f"{fact.subject}: {fact.value}"


def one_value(reply: str, answer: str, rivals: Sequence[str]) -> bool:
    """True if `reply` ends in the value of `answer` and names none of its rivals besides the subject."""
    subject, _, value = answer.rpartition(": ")
    if after_last(reply).casefold() != value.casefold():
        return False
    before = f" {' '.join(words(reply.rpartition(':')[0]).split())} "
    others = (words(rival) for rival in rivals if rival not in (subject, value))
    return not any(f" {other} " in before for other in others)


def book_family(book: Book, name: str) -> Family:
    """The family of the single facts of a book."""
    facts = {form: facts_of(book, form) for form in FORMS}
    rivals = {form: sorted({fact.value for ranks in facts[form].values() for fact in ranks}) for form in FORMS}

    def draw(chance: np.random.Generator, grade: int, language: str) -> Task:
        form = pick(chance, FORMS)
        fact = pick(chance, facts[form][grade])
        wording = word(chance, NAME, language, form)
        return Task(
            family=name,
            template=wording.id,
            grade=grade,
            key=f"{fact.subject}/{wording.id}",
            messages=user(wording.fill(**dict(fact.places))),
            answer=reply_to(fact),
            language=language,
        )

    def accepts(task: Task, reply: str) -> bool:
        return one_value(reply, task.answer, rivals[task.template.split("-")[1]])

    def solve(task: Task) -> str:
        for form in FORMS:
            for wording in family_wordings(NAME)[task.language, form]:
                places = places_of(wording.text, task.question)
                found = [fact for ranks in facts[form].values() for fact in ranks if dict(fact.places) == places] if places else []
                if found:
                    return reply_to(found[0])
        return ""

    return Family(name=name, summary="single facts of a generated network", depth="rarity", draw=draw, accepts=accepts, solve=solve)


FAMILY = book_family(read_book(), NAME)
