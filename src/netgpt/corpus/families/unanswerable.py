"""Questions that the prompt may not answer: a value of a site's unit if it is listed, or else `unknown`.

The lines name units, the question names a site: which unit is there must be known by heart, and the site is the rarer
the higher the grade. Fourteen lines `A31 owner Kim` about four units: a grade counts the lines of the asked one, the
last of which has the asked attribute in two of three tasks; in the others none has. Of the others one unit has as many lines
and two as many as are missing to seven; all have the asked attribute, so that a wrong unit gives a wrong value. The key is the asked place with the
set of lines. The answer reads the unit's lines in turn: `Bekal = K65 owner Kim, K65 tilt 4: 4`, or `... end: unknown`.
"""

from __future__ import annotations

import re

import numpy as np

from netgpt.corpus.book import Site, read_book
from netgpt.corpus.decoys import entries, mirrored
from netgpt.corpus.reading import after_last, words
from netgpt.corpus.task import Family, Task, pick, sample, user
from netgpt.corpus.wording import word

NAME = "unanswerable"
UNKNOWN, UNKNOWN_ONE_IN = "unknown", 3
DECOYS, LINES_OF_TWO = 3, 7  # units beside the asked one; lines of two units that mirror each other
VALUES: dict[str, tuple[str, ...]] = {
    "owner": ("Kim", "Lee", "Ana", "Tom", "Eva", "Max", "Ida", "Leo"),
    "shift": ("early", "late", "night", "day"),
    "rack": ("r1", "r2", "r3", "r4", "r5", "r6"),
    "height": tuple(f"{height}" for height in range(10, 60)),
    "tilt": tuple(f"{tilt}" for tilt in range(1, 10)),
    "power": tuple(f"{power}" for power in range(20, 50)),
    "slice": ("S1", "S2", "S3", "S4", "S5", "S6"),
    "mode": ("open", "closed", "mixed", "manual"),
}
_ATTRIBUTES = "|".join(VALUES)
_LINE = re.compile(rf"^([A-Z]\d\d) ({_ATTRIBUTES}) (\w+)$", re.MULTILINE)
_ASKED = re.compile(rf"([A-Z][a-z]+) ({_ATTRIBUTES})")
_UNIT = re.compile(r"\b[A-Z]\d\d\b")
_BOOK = read_book()


def _attributes(chance: np.random.Generator, count: int, asked: str, *, listed: bool, last: bool = False) -> list[str]:
    """The attributes of a unit's lines in turn, all different; the asked one among them if `listed`, behind the others if `last`."""
    others = sample(chance, [attribute for attribute in VALUES if attribute != asked], count)
    if not listed:
        return others
    found = [*others[: count - 1], asked]
    return found if last else sample(chance, found, count)


def _lines(chance: np.random.Generator, grade: int, unit: str, attribute: str) -> list[str]:
    listed = bool(chance.integers(UNKNOWN_ONE_IN))
    others = sample(chance, [other for other in _BOOK.units if other != unit], DECOYS)
    counts = mirrored(chance, unit, others, grade, LINES_OF_TWO)
    left = {other: _attributes(chance, counts[other], attribute, listed=True) for other in others}
    left[unit] = _attributes(chance, grade, attribute, listed=listed, last=True)
    lines = []
    for each in entries(chance, counts):
        name = left[each].pop(0)
        lines.append(f"{each} {name} {pick(chance, VALUES[name])}")
    return lines


def _answer(site: Site, attribute: str, lines: str) -> str:
    steps, value = list[str](), UNKNOWN
    for unit, name, said in _LINE.findall(lines):
        if unit == site.unit and value == UNKNOWN:
            steps.append(f"{unit} {name} {said}")
            value = said if name == attribute else UNKNOWN
    return f"{site.name} = {', '.join([*steps, *['end'] * (value == UNKNOWN)])}: {value}"


def draw(chance: np.random.Generator, grade: int, language: str) -> Task:
    """A list with `grade` lines of the asked unit; in one of three tasks the asked one is not there."""
    site, attribute = _BOOK.some_site(chance, rarity=grade), pick(chance, tuple(VALUES))
    lines = _lines(chance, grade, site.unit, attribute)
    wording = word(chance, NAME, language)
    return Task(
        family=NAME,
        template=wording.id,
        grade=grade,
        key=f"{site.unit} {attribute}? {'; '.join(sorted(lines))}",
        messages=user(wording.fill(lines="\n".join(lines), asked=f"{site.name} {attribute}")),
        answer=_answer(site, attribute, "\n".join(lines)),
        language=language,
    )


def accepts(task: Task, reply: str) -> bool:
    """True if the reply ends in the value, or in `unknown`, alone, and names no other unit before it."""
    right, named = (set(_UNIT.findall(text)) for text in (task.answer, reply))
    return named <= right and words(after_last(reply.replace("：", ":"))) == words(after_last(task.answer))


def solve(task: Task) -> str:
    """Looks for the line of the asked site's unit with the attribute."""
    site, attribute = [found for found in _ASKED.findall(task.question) if found[0] in _BOOK.by_name][-1]
    return _answer(_BOOK.by_name[site], attribute, task.question)


FAMILY = Family(
    name=NAME,
    summary="looks a value up in a list, and says so if it is not there",
    depth="lines of the asked unit",
    draw=draw,
    accepts=accepts,
    solve=solve,
)
