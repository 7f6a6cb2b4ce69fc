"""Handover by event A3: the strongest of six neighbours if it beats the serving cell by more than the offset.

Otherwise the answer is `stay`. A grade counts the neighbours above the serving cell, among six. The answer
states the limit, then each neighbour above the serving cell that is stronger than all before it, then the
choice. The key is the serving level, the offset and the neighbours with their levels, without their order.

Equation: A3 is met if neighbour > serving + offset (TS 38.331 5.5.4.4, hysteresis and cell offsets zero).
"""

from __future__ import annotations

import re
from collections.abc import Mapping

import numpy as np

from netgpt.corpus.reading import after_last, words
from netgpt.corpus.task import Family, Task, pick, sample, user
from netgpt.corpus.wording import word

NAME = "handover"
STAY, NEIGHBOURS, STAY_ONE_IN = "stay", 6, 3
CELL_LETTERS = "ABCDEFGHKM"
SERVING_LEVELS, OFFSETS, LARGEST_LEAD, WEAKEST = range(-90, -79), range(3, 7), 8, -99
_SERVING = re.compile(r"\bserving (-\d\d) offset (\d)\b")
_NEIGHBOUR = re.compile(r"^([A-Z]\d\d) (-\d\d)$", re.MULTILINE)


def decide(serving: int, offset: int, levels: Mapping[str, int]) -> str:
    """The worked answer: the limit, the stronger and stronger neighbours, the choice."""
    limit, best, name, steps = serving + offset, serving, STAY, list[str]()
    for cell, level in levels.items():
        if level > best:
            best, name = level, cell
            steps.append(f"{cell} {level}")
    return f"{serving}+{offset}={limit}; {', '.join(steps)}: {name if best > limit else STAY}"


def _levels(chance: np.random.Generator, serving: int, offset: int, above: int) -> list[int]:
    """Levels of six neighbours, `above` of them stronger than the serving cell, the strongest alone at its level."""
    stays = int(chance.integers(STAY_ONE_IN)) == 0
    lead = int(chance.integers(2, offset + 1) if stays else chance.integers(offset + 1, offset + LARGEST_LEAD + 1))
    others = [serving + int(chance.integers(1, lead)) for _ in range(above - 1)]
    return [serving + lead, *others, *(int(chance.integers(WEAKEST, serving)) for _ in range(NEIGHBOURS - above))]


def draw(chance: np.random.Generator, grade: int, language: str) -> Task:
    """Six neighbours, `grade` of them above the serving cell."""
    serving, offset = pick(chance, SERVING_LEVELS), pick(chance, OFFSETS)
    cells = [f"{letter}{int(chance.integers(100)):02d}" for letter in sample(chance, CELL_LETTERS, NEIGHBOURS)]
    levels = dict(zip(cells, sample(chance, _levels(chance, serving, offset, grade), NEIGHBOURS), strict=True))
    lines = [f"{cell} {level}" for cell, level in levels.items()]
    wording = word(chance, NAME, language)
    return Task(
        family=NAME,
        template=wording.id,
        grade=grade,
        key=f"{serving}+{offset}: {', '.join(sorted(lines))}",
        messages=user(wording.fill(lines="\n".join((f"serving {serving} offset {offset}", *lines)))),
        answer=decide(serving, offset, levels),
        language=language,
    )


def accepts(task: Task, reply: str) -> bool:
    """True if the reply ends in the right cell, or in `stay`, alone."""
    return words(after_last(reply.replace("：", ":"))) == words(after_last(task.answer))


def solve(task: Task) -> str:
    """Applies the event's condition to the lines."""
    serving = _SERVING.search(task.question)
    if not serving:
        return ""
    return decide(int(serving[1]), int(serving[2]), {cell: int(level) for cell, level in _NEIGHBOUR.findall(task.question)})


FAMILY = Family(
    name=NAME,
    summary="event A3: the neighbour to hand over to, or stay",
    depth="neighbours above the serving cell",
    draw=draw,
    accepts=accepts,
    solve=solve,
)
