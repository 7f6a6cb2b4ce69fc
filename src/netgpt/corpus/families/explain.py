"""Free descriptions of sites of the pretraining book: two facts in sentences, one of many right ones.

The question says which two of vendor, band, region and uplink are wanted. A grade is the site's rarity
class. The facts are learnt by heart, so the key is site, wanted attributes and the question's wording: a
held-out task asks known facts in a way in which they were never asked. The wanted answer is drawn from
skeletons and phrases and keeps the question's order; the grader accepts any text with the facts and no rival of any.
"""

from __future__ import annotations

import re
from functools import cache

import numpy as np

from netgpt.corpus.book import BANDS, REGIONS, VENDORS, Site, read_book
from netgpt.corpus.reading import words
from netgpt.corpus.task import Family, Task, pick, sample, user
from netgpt.corpus.wording import family_wordings, word

NAME = "explain"
ATTRIBUTES = ("vendor", "band", "region", "uplink")
ASKED = 2
_BETWEEN_SCRIPTS = re.compile(r"(?<=[\u3400-\u9fff])(?=[A-Za-z0-9])|(?<=[A-Za-z0-9])(?=[\u3400-\u9fff])")
_WORD = re.compile(r"[A-Za-z]+")


def fact(site: Site, attribute: str) -> str:
    """The site's value of one of `ATTRIBUTES`."""
    return {"vendor": site.vendor, "band": site.band, "region": site.region, "uplink": site.uplink}[attribute]


@cache
def _all_values() -> frozenset[str]:
    """Every vendor, band, region and site name, in lower case."""
    return frozenset(value.casefold() for value in (*VENDORS, *BANDS, *REGIONS, *read_book().by_name))


def draw(chance: np.random.Generator, grade: int, language: str) -> Task:
    """A site of rarity class `grade` and two of its attributes, described in one of many ways."""
    site = pick(chance, read_book().by_rarity[grade])
    asked = sample(chance, ATTRIBUTES, ASKED)
    wording, skeleton = word(chance, NAME, language), word(chance, NAME, language, "answer")
    phrases = [word(chance, NAME, language, a).fill(value=fact(site, a)) for a in asked]
    return Task(
        family=NAME,
        template=wording.id,
        grade=grade,
        key=f"{site.name}/{','.join(sorted(asked))}/{wording.id}",
        messages=user(wording.fill(site=site.name, asked=", ".join(asked))),
        answer=skeleton.fill(site=site.name, first=phrases[0], second=phrases[1]),
        language=language,
        required=tuple(fact(site, a) for a in asked),
    )


def _subject(task: Task) -> Site | None:
    sites = read_book().by_name
    return next((sites[name] for name in _WORD.findall(task.question) if name in sites), None)


def accepts(task: Task, reply: str) -> bool:
    """True for a text that states all required facts and no vendor, band, region or site beside the subject's own."""
    site = _subject(task)
    if site is None:
        return False
    said = set(words(_BETWEEN_SCRIPTS.sub(" ", reply)).split())
    own = {site.name.casefold(), *(fact(site, a).casefold() for a in ATTRIBUTES)}
    return {value.casefold() for value in task.required} <= said and not (said & _all_values()) - own


def solve(task: Task) -> str:
    """Looks the asked facts up in the book and states them with the first wordings."""
    site = _subject(task)
    if site is None:
        return ""
    forms = family_wordings(NAME)
    asked = [name for name in _WORD.findall(task.question) if name in ATTRIBUTES]
    phrases = [forms[task.language, a][0].fill(value=fact(site, a)) for a in asked]
    return forms[task.language, "answer"][0].fill(site=site.name, first=phrases[0], second=phrases[1])


FAMILY = Family(
    name=NAME,
    summary="describes a site of the book in free sentences that state two facts",
    depth="rarity",
    draw=draw,
    accepts=accepts,
    solve=solve,
    free_text=True,
)
