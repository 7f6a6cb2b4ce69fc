"""KPI totals: a table of cells with a group and a counter; the total of the counter over one group.

A grade counts the rows of the asked group, the summands; the other rows belong to other groups, and their number
makes every table equally long. The key is the rows, whatever their order, with the asked group and counter.
The answer names each row that it adds, with the running total, so that the next one is sought after it, and says when
there is none: `H67 7, F09 7=14, G28 9=23, end: 23`.
"""

from __future__ import annotations

import re
from itertools import accumulate

import numpy as np

from netgpt.corpus.book import BANDS
from netgpt.corpus.reading import after_last
from netgpt.corpus.task import Family, Task, pick, sample, user
from netgpt.corpus.wording import word

NAME = "kpi"
ROWS = 8
LONG_ROWS = (50, 70)
COUNTERS = ("drops", "alarms", "users", "retries", "resets", "calls", "faults", "pings")
NOISE = ("load", "power", "delay")  # columns of long tables that nobody asks for
CELLS = tuple(f"{letter}{number:02d}" for letter in "ABCDEFGHKMNP" for number in range(1, 100))
_ROW = re.compile(r"^([A-Z]\d\d) (n\d+) ([a-z]+) (\d)(?= |$)", re.MULTILINE)
_GROUP = re.compile(r"(?<![A-Za-z0-9])n\d+(?!\w)")


def _rows(chance: np.random.Generator, grade: int, count: int, asked: tuple[str, str], noise: tuple[str, ...]) -> list[str]:
    """`grade` rows of the asked group and others, in random order."""
    group, counter = asked
    others = sample(chance, [band for band in BANDS if band != group], 3)
    groups = [group] * grade + [pick(chance, others) for _ in range(count - grade)]
    rows = []
    for cell, tag in zip(sample(chance, CELLS, count), sample(chance, groups, count), strict=True):
        extra = "".join(f" {name} {int(chance.integers(10, 100))}" for name in noise)
        rows.append(f"{cell} {tag} {counter} {int(chance.integers(1, 10))}{extra}")
    return rows


def _working(added: list[tuple[str, int]]) -> str:
    """Each cell with its value and, from the second on, the running total; the end, and the total."""
    totals = [*accumulate(value for _, value in added)]
    steps = [f"{cell} {value}" + (f"={total}" if i else "") for i, ((cell, value), total) in enumerate(zip(added, totals, strict=True))]
    return f"{', '.join([*steps, 'end'])}: {totals[-1]}"


def _task(chance: np.random.Generator, grade: int, language: str, count: int, noise: tuple[str, ...] = ()) -> Task:
    group, counter = pick(chance, BANDS), pick(chance, COUNTERS)
    rows = _rows(chance, grade, count, (group, counter), noise)
    wording = word(chance, NAME, language)
    question = wording.fill(group=group, counter=counter)
    return Task(
        family=NAME,
        template=wording.id,
        grade=grade,
        key=f"{group} {counter}/{'/'.join(sorted(rows))}",
        messages=user("\n".join([*rows, question])),
        answer=_working([(cell, int(value)) for cell, tag, _, value, *_ in map(str.split, rows) if tag == group]),
        language=language,
    )


def draw(chance: np.random.Generator, grade: int, language: str) -> Task:
    """A table of eight rows."""
    return _task(chance, grade, language, ROWS)


def draw_long(chance: np.random.Generator, grade: int, language: str) -> Task:
    """A table of many rows with two more columns."""
    low, high = LONG_ROWS
    return _task(chance, grade, language, int(chance.integers(low, high + 1)), tuple(sample(chance, NOISE, 2)))


def accepts(task: Task, reply: str) -> bool:
    """True if the reply ends in the right total and in nothing else."""
    return after_last(reply.replace("：", ":")) == after_last(task.answer)


def solve(task: Task) -> str:
    """Adds up the rows that match the question's group and counter."""
    *rows, question = task.question.split("\n")
    group = _GROUP.findall(question)[-1]
    counter = next(name for name in COUNTERS if name in question)
    return _working([(cell, int(value)) for cell, tag, name, value in _ROW.findall("\n".join(rows)) if (tag, name) == (group, counter)])


FAMILY = Family(
    name=NAME,
    summary="adds up a counter over the cells of one band in a table",
    depth="summands",
    draw=draw,
    accepts=accepts,
    solve=solve,
    draw_long=draw_long,
)
