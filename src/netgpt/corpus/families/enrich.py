"""A terse prompt made whole with local knowledge: what an edge does for its user before it asks others.

The context says what `here`, `me`, `site` ... mean; the terse prompt has six slots, some with such a word
and the others with a plain value that is not in the context. What `band` means is not said: it is that of the site in the
context, which must be known by heart, and the site is the rarer the higher the grade. A grade counts the words to resolve,
`band` always among them. The key is the context and the six slots, without their order and their wording. The answer
tells the site's band, then the whole prompt: `Bekal = n41: check A31 for u77 on n41 and ...`.
"""

from __future__ import annotations

import re

import numpy as np

from netgpt.corpus.book import BANDS, read_book
from netgpt.corpus.reading import words
from netgpt.corpus.task import Family, Task, pick, sample, user
from netgpt.corpus.wording import word

NAME = "enrich"
BAND, SITE = "band", "site"
KEYS = ("here", "me", SITE, BAND, "slice", "time")
SAID = tuple(key for key in KEYS if key != BAND)  # by the context
CELL_LETTERS = "ABCDEFGHKM"
_CONSONANTS, _VOWELS = "bdfghjklmnprstvz", "aeiou"
_FIELD = re.compile(r"\b(here|me|site|slice|time)=([\w:]+)")
_RECALLED = re.compile(r"^\s*[A-Z][a-z]+ = n\d+: ")
_BOOK = read_book()
_DEICTIC = re.compile(r"(?<![\w=])(here|me|site|band|slice|time)(?![\w=])")


def _number(chance: np.random.Generator, limit: int = 100) -> str:
    return f"{int(chance.integers(limit)):02d}"


def _site(chance: np.random.Generator) -> str:
    """A name that ends in a vowel, as no site of a book does."""
    return "".join(pick(chance, _CONSONANTS) + pick(chance, _VOWELS) for _ in range(3)).capitalize()


def _value(chance: np.random.Generator, key: str) -> str:
    """A random value of the kind that `key` stands for."""
    if key == SITE:
        return _site(chance)
    if key == BAND:
        return pick(chance, BANDS)
    if key == "time":
        return f"{_number(chance, 24)}:{_number(chance, 60)}"
    return {"here": pick(chance, CELL_LETTERS), "me": "u", "slice": "S"}[key] + _number(chance)


def _two_values(chance: np.random.Generator, key: str) -> tuple[str, str]:
    first = second = _value(chance, key)
    while second == first:
        second = _value(chance, key)
    return first, second


def _answer(site: str, band: str, prompt: str) -> str:
    return f"{site} = {band}: {prompt}"


def draw(chance: np.random.Generator, grade: int, language: str) -> Task:
    """A terse prompt of six slots, `grade` of them words that the context or the site resolves."""
    site = _BOOK.some_site(chance, rarity=grade)
    known, plain = {}, {}
    for key in KEYS:
        known[key], plain[key] = _two_values(chance, key)
    known |= {SITE: site.name, BAND: site.band}
    deictic = {BAND, *sample(chance, SAID, grade - 1)}
    slots = {key: key if key in deictic else plain[key] for key in KEYS}
    terse, wording = word(chance, NAME, language, "terse"), word(chance, NAME, language)
    context = "; ".join(f"{key}={known[key]}" for key in sample(chance, SAID, len(SAID)))
    return Task(
        family=NAME,
        template=wording.id,
        grade=grade,
        key=" ".join(f"{key}={known[key]}/{slots[key]}" for key in KEYS),
        messages=user(wording.fill(context=context, terse=terse.fill(**slots))),
        answer=_answer(site.name, site.band, terse.fill(**{key: known[key] if key in deictic else plain[key] for key in KEYS})),
        language=language,
    )


def accepts(task: Task, reply: str) -> bool:
    """True for the whole prompt, whatever its blanks and case, with the site's band told before or not."""
    said, wanted = (words(_RECALLED.sub("", text)).split() for text in (reply, task.answer))
    return said == wanted


def solve(task: Task) -> str:
    """Puts the context's value for each word of the last line, and the site's band for `band`."""
    known = dict(_FIELD.findall(task.question))
    known[BAND] = _BOOK.by_name[known[SITE]].band
    return _answer(known[SITE], known[BAND], _DEICTIC.sub(lambda found: known[found[1]], task.question.splitlines()[-1]))


FAMILY = Family(
    name=NAME,
    summary="makes a terse prompt whole with what the edge knows locally",
    depth="words to resolve",
    draw=draw,
    accepts=accepts,
    solve=solve,
)
