"""Questions that the prompt may not answer: a value of a site's unit if it is listed, or else `unknown`.

The lines name units, the question names a site: which unit is there must be known by heart, and the site is the rarer
the higher the grade. Seven lines `A31 owner Kim`: one is the line asked for, or in half of the tasks a far one
instead. A grade counts the near misses among the other six: the same unit with another attribute, or one that differs
in one digit with the same attribute; all other lines share neither letter nor attribute with the asked place. The key
is the asked place with the set of lines. The answer: `Bekal = K65 tilt: 4`.
"""

from __future__ import annotations

import re
from collections.abc import Mapping

import numpy as np

from netgpt.corpus.book import UNIT_LETTERS, Site, read_book
from netgpt.corpus.reading import after_last, words
from netgpt.corpus.task import Family, Task, pick, sample, user
from netgpt.corpus.wording import word

NAME = "unanswerable"
UNKNOWN, OTHER_LINES = "unknown", 6
VALUES: dict[str, tuple[str, ...]] = {
    "owner": ("Kim", "Lee", "Ana", "Tom", "Eva", "Max", "Ida", "Leo"),
    "shift": ("early", "late", "night", "day"),
    "rack": ("r1", "r2", "r3", "r4", "r5", "r6"),
    "height": tuple(f"{height}" for height in range(10, 60)),
    "tilt": tuple(f"{tilt}" for tilt in range(1, 10)),
    "power": tuple(f"{power}" for power in range(20, 50)),
}
_LINE = re.compile(r"^([A-Z]\d\d) (owner|shift|rack|height|tilt|power) (\w+)$", re.MULTILINE)
_ASKED = re.compile(r"([A-Z][a-z]+) (owner|shift|rack|height|tilt|power)")

_UNIT = re.compile(r"\b[A-Z]\d\d\b")
_BOOK = read_book()

Place = tuple[str, str]  # (unit, attribute)


def _near(unit: str, attribute: str) -> list[Place]:
    """All places that miss the asked one by the attribute or by one digit of the unit."""
    units = {unit[:i] + digit + unit[i + 1 :] for i in (1, 2) for digit in "0123456789"} - {unit}
    return [(unit, other) for other in VALUES if other != attribute] + [(other, attribute) for other in sorted(units)]


def _near_misses(chance: np.random.Generator, unit: str, attribute: str, count: int) -> list[Place]:
    """`count` near misses, of either kind equally often as long as there are such."""
    near = _near(unit, attribute)
    kinds = [sample(chance, near[: len(VALUES) - 1], count), sample(chance, near[len(VALUES) - 1 :], count)]
    chosen: list[Place] = []
    while len(chosen) < count:
        kind = pick(chance, [kind for kind in kinds if kind])
        chosen.append(kind.pop())
    return chosen


def _far(chance: np.random.Generator, unit: str, attribute: str, count: int) -> list[Place]:
    """`count` different places whose letter and attribute are other ones."""
    letters, attributes = [letter for letter in UNIT_LETTERS if letter != unit[0]], [a for a in VALUES if a != attribute]
    places: dict[Place, None] = {}
    while len(places) < count:
        places[f"{pick(chance, letters)}{int(chance.integers(100)):02d}", pick(chance, attributes)] = None
    return list(places)


def _answer(site: Site, attribute: str, values: Mapping[Place, str]) -> str:
    return f"{site.name} = {site.unit} {attribute}: {values.get((site.unit, attribute), UNKNOWN)}"


def draw(chance: np.random.Generator, grade: int, language: str) -> Task:
    """A list with `grade` near misses, and in every other task the line asked for."""
    site = _BOOK.some_site(chance, rarity=grade)
    attribute, listed = pick(chance, tuple(VALUES)), bool(chance.integers(2))
    places = _near_misses(chance, site.unit, attribute, grade) + [(site.unit, attribute)] * listed
    places += _far(chance, site.unit, attribute, OTHER_LINES + 1 - len(places))
    values = {place: pick(chance, VALUES[place[1]]) for place in sample(chance, places, len(places))}
    lines = [f"{unit} {name} {value}" for (unit, name), value in values.items()]
    wording = word(chance, NAME, language)
    return Task(
        family=NAME,
        template=wording.id,
        grade=grade,
        key=f"{site.unit} {attribute}? {'; '.join(sorted(lines))}",
        messages=user(wording.fill(lines="\n".join(lines), asked=f"{site.name} {attribute}")),
        answer=_answer(site, attribute, values),
        language=language,
    )


def accepts(task: Task, reply: str) -> bool:
    """True if the reply ends in the value, or in `unknown`, alone, and names no other unit before it."""
    right, named = (set(_UNIT.findall(text)) for text in (task.answer, reply))
    return named <= right and words(after_last(reply.replace("：", ":"))) == words(after_last(task.answer))


def solve(task: Task) -> str:
    """Looks for the line of the asked site's unit with the attribute."""
    values = {(unit, attribute): value for unit, attribute, value in _LINE.findall(task.question)}
    site, attribute = [found for found in _ASKED.findall(task.question) if found[0] in _BOOK.by_name][-1]
    return _answer(_BOOK.by_name[site], attribute, values)


FAMILY = Family(
    name=NAME,
    summary="looks a value up in a short list, and says so if it is not there",
    depth="near misses",
    draw=draw,
    accepts=accepts,
    solve=solve,
)
