"""Questions that the prompt may not answer: a value of a cell if it is listed, or else `unknown`.

Seven lines `A31 owner Kim`: one is the line asked for, or in half of the tasks a far one instead. A grade
counts the near misses among the other six: the same cell with another attribute, or a cell that differs
in one digit with the same attribute; all other lines share neither letter nor attribute with the question.
The key is the question with the set of lines.
"""

from __future__ import annotations

import re

import numpy as np

from netgpt.corpus.reading import after_last, words
from netgpt.corpus.task import Family, Task, pick, sample, user
from netgpt.corpus.wording import word

NAME = "unanswerable"
UNKNOWN, OTHER_LINES = "unknown", 6
CELL_LETTERS = "ABCDEFGHKM"
VALUES: dict[str, tuple[str, ...]] = {
    "owner": ("Kim", "Lee", "Ana", "Tom", "Eva", "Max", "Ida", "Leo"),
    "vendor": ("Orbex", "Talvio", "Kymera", "Sondal", "Vexnor", "Lumara"),
    "region": ("north", "south", "east", "west", "coast", "hills"),
    "band": ("n1", "n3", "n7", "n28", "n41", "n78"),
    "tilt": tuple(f"{tilt}" for tilt in range(1, 10)),
    "power": tuple(f"{power}" for power in range(20, 50)),
}
_LINE = re.compile(r"^([A-Z]\d\d) (owner|vendor|region|band|tilt|power) (\w+)$", re.MULTILINE)
_ASKED = re.compile(r"([A-Z]\d\d) (owner|vendor|region|band|tilt|power)(?! \w+$)", re.MULTILINE)

Place = tuple[str, str]  # (cell, attribute)


def _near(cell: str, attribute: str) -> list[Place]:
    """All places that miss the asked one by the attribute or by one digit of the cell."""
    cells = {cell[:i] + digit + cell[i + 1 :] for i in (1, 2) for digit in "0123456789"} - {cell}
    return [(cell, other) for other in VALUES if other != attribute] + [(other, attribute) for other in sorted(cells)]


def _near_misses(chance: np.random.Generator, cell: str, attribute: str, count: int) -> list[Place]:
    """`count` near misses, of either kind equally often as long as there are such."""
    near = _near(cell, attribute)
    kinds = [sample(chance, near[: len(VALUES) - 1], count), sample(chance, near[len(VALUES) - 1 :], count)]
    chosen: list[Place] = []
    while len(chosen) < count:
        kind = pick(chance, [kind for kind in kinds if kind])
        chosen.append(kind.pop())
    return chosen


def _far(chance: np.random.Generator, cell: str, attribute: str, count: int) -> list[Place]:
    """`count` different places whose letter and attribute are other ones."""
    letters, attributes = [c for c in CELL_LETTERS if c != cell[0]], [a for a in VALUES if a != attribute]
    places: dict[Place, None] = {}
    while len(places) < count:
        places[f"{pick(chance, letters)}{int(chance.integers(100)):02d}", pick(chance, attributes)] = None
    return list(places)


def draw(chance: np.random.Generator, grade: int, language: str) -> Task:
    """A list with `grade` near misses, and in every other task the line asked for."""
    cell = f"{pick(chance, CELL_LETTERS)}{int(chance.integers(100)):02d}"
    attribute, listed = pick(chance, tuple(VALUES)), bool(chance.integers(2))
    places = _near_misses(chance, cell, attribute, grade) + [(cell, attribute)] * listed
    places += _far(chance, cell, attribute, OTHER_LINES + 1 - len(places))
    values = {place: pick(chance, VALUES[place[1]]) for place in sample(chance, places, len(places))}
    lines = [f"{c} {a} {value}" for (c, a), value in values.items()]
    wording = word(chance, NAME, language)
    return Task(
        family=NAME,
        template=wording.id,
        grade=grade,
        key=f"{cell} {attribute}? {'; '.join(sorted(lines))}",
        messages=user(wording.fill(lines="\n".join(lines), asked=f"{cell} {attribute}")),
        answer=f"{cell} {attribute}: {values.get((cell, attribute), UNKNOWN)}",
        language=language,
    )


def accepts(task: Task, reply: str) -> bool:
    """True if the reply ends in the value, or in `unknown`, alone, and names no other cell before it."""
    cells = set(re.findall(r"\b[A-Z]\d\d\b", reply))
    return cells <= {task.answer[:3]} and words(after_last(reply.replace("：", ":"))) == words(after_last(task.answer))


def solve(task: Task) -> str:
    """Looks for the line of the asked cell and attribute."""
    known = {(cell, attribute): value for cell, attribute, value in _LINE.findall(task.question)}
    asked = _ASKED.findall(task.question)[-1]
    return f"{asked[0]} {asked[1]}: {known.get(asked, UNKNOWN)}"


FAMILY = Family(
    name=NAME,
    summary="looks a value up in a short list, and says so if it is not there",
    depth="near misses",
    draw=draw,
    accepts=accepts,
    solve=solve,
)
