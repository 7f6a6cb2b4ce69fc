"""State: cells whose states change with time; the state of one cell at one time.

A grade counts the cell's events up to the asked time. The cell has later events too, which are not to be
believed yet, and other cells have theirs; there are always eight lines, sorted by time. The key is the lines with
the asked cell and time. The answer goes on to the cell's first event that is too late: `14 down, 75 > 74: down`.
"""

from __future__ import annotations

import re

import numpy as np

from netgpt.corpus.reading import after_last
from netgpt.corpus.task import Family, Task, pick, sample, user
from netgpt.corpus.wording import word

NAME = "state"
LINES = 8
MOST_LATER = 3
OTHER_CELLS = 2
STATES = ("up", "down", "locked", "blocked", "idle", "busy", "asleep", "faulty")
CELLS = tuple(f"{letter}{number:02d}" for letter in "ABCDEFGHKMNP" for number in range(1, 100))
_LINE = re.compile(r"^([A-Z]\d\d) t=(\d\d) ([a-z]+)$", re.MULTILINE)
_CELL = re.compile(r"[A-Z]\d\d")
_TIME = re.compile(r"t=(\d\d)")


def _cells(chance: np.random.Generator, grade: int, asked: str, others: list[str]) -> tuple[list[str], int]:
    """The cells of the lines, and how many of the lines come before the asked time."""
    later = 1 + int(chance.integers(min(MOST_LATER, LINES - 1 - grade)))
    before = grade + int(chance.integers(LINES - grade - later + 1))
    early = [asked] * grade + [pick(chance, others) for _ in range(before - grade)]
    late = [asked] * later + [pick(chance, others) for _ in range(LINES - before - later)]
    return sample(chance, early, len(early)) + sample(chance, late, len(late)), before


def _states(chance: np.random.Generator, cells: list[str]) -> list[str]:
    """A state for each line, never the one that its cell had before."""
    had: dict[str, str] = {}
    states = []
    for cell in cells:
        had[cell] = pick(chance, [state for state in STATES if state != had.get(cell)])
        states.append(had[cell])
    return states


def _answer(events: list[tuple[int, str]], time: int) -> str:
    """The events up to a time, the first one after it or `end`, and the state at that time."""
    passed = [(at, state) for at, state in events if at <= time]
    stop = next((f"{at} > {time}" for at, _ in events if at > time), "end")
    return f"{', '.join([*(f'{at} {state}' for at, state in passed), stop])}: {passed[-1][1]}"


def draw(chance: np.random.Generator, grade: int, language: str) -> Task:
    """Eight lines; the asked time falls between two of them."""
    asked, *others = sample(chance, CELLS, 1 + OTHER_CELLS)
    cells, before = _cells(chance, grade, asked, others)
    times = sorted(sample(chance, range(10, 100), LINES + 1))
    time = times.pop(before)
    events = [*zip(cells, times, _states(chance, cells), strict=True)]
    lines = [f"{cell} t={at} {state}" for cell, at, state in events]
    wording = word(chance, NAME, language)
    return Task(
        family=NAME,
        template=wording.id,
        grade=grade,
        key=f"{asked} {time}/{'/'.join(lines)}",
        messages=user("\n".join([*lines, wording.fill(cell=asked, time=time)])),
        answer=_answer([(at, state) for cell, at, state in events if cell == asked], time),
        language=language,
    )


def accepts(task: Task, reply: str) -> bool:
    """True if the reply ends in the right state and in nothing else."""
    return after_last(reply.replace("：", ":")) == after_last(task.answer)


def solve(task: Task) -> str:
    """Lists the cell's events until one is later than the asked time."""
    *lines, question = task.question.split("\n")
    asked, time = _CELL.findall(question)[-1], int(_TIME.findall(question)[-1])
    return _answer([(int(at), state) for cell, at, state in _LINE.findall("\n".join(lines)) if cell == asked], time)


FAMILY = Family(
    name=NAME,
    summary="tells the state that a cell had at a given time",
    depth="events",
    draw=draw,
    accepts=accepts,
    solve=solve,
)
