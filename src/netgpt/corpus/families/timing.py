"""Slots to milliseconds by repeated halving: a slot lasts 1 ms at 15 kHz and half as long at twice the spacing.

Six lines `A31 120 kHz 640`, one for each spacing from 30 to 960 kHz, with a count of slots of three digits;
one cell is asked for. A grade counts the halvings, 1 at 30 kHz to 6 at 960 kHz. The key is the asked cell
with the set of lines: the calculations alone are too few at high spacings.

Equation: slot = 1/2^mu ms at 15 * 2^mu kHz (TS 38.211 4.3.2).
"""

from __future__ import annotations

import re

import numpy as np

from netgpt.corpus.families.arithmetic import ends_in_quantity
from netgpt.corpus.task import GRADES, Family, Task, sample, user
from netgpt.corpus.wording import word

NAME = "timing"
CELL_LETTERS = "ABCDEFGHKM"
FEWEST_SLOTS, MOST_SLOTS, FIRST_SPACING = 100, 999, 15
_LINE = re.compile(r"^([A-Z]\d\d) (\d+) kHz (\d+)$", re.MULTILINE)
_CELL = re.compile(r"[A-Z]\d\d(?! \d)")


def worked(spacing: int, slots: int) -> str:
    """The halvings of a count of slots: `60 kHz 480/2=240/2=120: 120 ms`."""
    steps, value = f"{spacing} kHz {slots}", slots
    while spacing > FIRST_SPACING:
        spacing, value = spacing // 2, value // 2
        steps += f"/2={value}"
    return f"{steps}: {value} ms"


def _slots(chance: np.random.Generator, halvings: int) -> int:
    """A count of slots that lasts whole milliseconds."""
    unit = 2**halvings
    return unit * int(chance.integers(-(-FEWEST_SLOTS // unit), MOST_SLOTS // unit + 1))


def draw(chance: np.random.Generator, grade: int, language: str) -> Task:
    """Six cells with a spacing each; asks the one that takes `grade` halvings."""
    cells = [f"{letter}{int(chance.integers(100)):02d}" for letter in sample(chance, CELL_LETTERS, len(GRADES))]
    order = sample(chance, GRADES, len(GRADES))
    slots = [_slots(chance, halvings) for halvings in order]
    lines = [f"{cell} {FIRST_SPACING * 2**halvings} kHz {count}" for cell, halvings, count in zip(cells, order, slots, strict=True)]
    asked = order.index(grade)
    wording = word(chance, NAME, language)
    return Task(
        family=NAME,
        template=wording.id,
        grade=grade,
        key=f"{cells[asked]}? {'; '.join(sorted(lines))}",
        messages=user(wording.fill(lines="\n".join(lines), cell=cells[asked])),
        answer=worked(FIRST_SPACING * 2**grade, slots[asked]),
        language=language,
    )


def solve(task: Task) -> str:
    """Reads the asked cell's line and halves its slots."""
    lines = {cell: (int(spacing), int(slots)) for cell, spacing, slots in _LINE.findall(task.question)}
    return worked(*lines[_CELL.findall(task.question)[-1]])


FAMILY = Family(
    name=NAME,
    summary="slots at a subcarrier spacing to ms by repeated halving",
    depth="halvings",
    draw=draw,
    accepts=lambda task, reply: ends_in_quantity(reply, task.answer),
    solve=solve,
)
