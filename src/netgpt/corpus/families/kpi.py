"""KPI totals: a table of bands, cells and a counter; the total of the counter over the band of one site.

Which band the site has must be known by heart, and the site is the rarer the higher the grade. A grade counts the
rows of that band, the summands; the other rows belong to other bands, and their number makes every table equally
long. The key is the rows, whatever their order, with the asked band and counter. The answer names each row that it
adds, with the running total, so that the next one is sought after it, and says when there is none: `Bekal = n41, H67
7, F09 7=14, end: 14`.
"""

from __future__ import annotations

import re
from itertools import accumulate

import numpy as np

from netgpt.corpus.book import BANDS, Site, read_book
from netgpt.corpus.reading import after_last
from netgpt.corpus.task import Family, Task, pick, sample, user
from netgpt.corpus.wording import word

NAME = "kpi"
ROWS = 8
LONG_ROWS = (50, 70)
COUNTERS = ("drops", "alarms", "users", "retries", "resets", "calls", "faults", "pings")
NOISE = ("load", "power", "delay")  # columns of long tables that nobody asks for
_ROW = re.compile(r"^(n\d+) ([A-Z]\d\d) ([a-z]+) (\d)(?= |$)", re.MULTILINE)
_BOOK = read_book()


def _rows(chance: np.random.Generator, grade: int, count: int, asked: tuple[str, str], noise: tuple[str, ...]) -> list[str]:
    """`grade` rows of the asked band and others, in random order."""
    band, counter = asked
    others = sample(chance, [other for other in BANDS if other != band], 3)
    bands = [band] * grade + [pick(chance, others) for _ in range(count - grade)]
    rows = []
    for cell, row_band in zip(sample(chance, _BOOK.units, count), sample(chance, bands, count), strict=True):
        extra = "".join(f" {name} {int(chance.integers(10, 100))}" for name in noise)
        rows.append(f"{row_band} {cell} {counter} {int(chance.integers(1, 10))}{extra}")
    return rows


def _working(site: Site, added: list[tuple[str, int]]) -> str:
    """The site's band; each cell with its value and, from the second on, the running total; the end, and the total."""
    totals = [*accumulate(value for _, value in added)]
    steps = [f"{cell} {value}" + (f"={total}" if i else "") for i, ((cell, value), total) in enumerate(zip(added, totals, strict=True))]
    return f"{site.name} = {', '.join([site.band, *steps, 'end'])}: {totals[-1]}"


def _task(chance: np.random.Generator, grade: int, language: str, count: int, noise: tuple[str, ...] = ()) -> Task:
    site, counter = _BOOK.some_site(chance, rarity=grade), pick(chance, COUNTERS)
    rows = _rows(chance, grade, count, (site.band, counter), noise)
    wording = word(chance, NAME, language)
    question = wording.fill(site=site.name, counter=counter)
    return Task(
        family=NAME,
        template=wording.id,
        grade=grade,
        key=f"{site.band} {counter}/{'/'.join(sorted(rows))}",
        messages=user("\n".join([*rows, question])),
        answer=_working(site, [(cell, int(value)) for band, cell, _, value, *_ in map(str.split, rows) if band == site.band]),
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
    """Adds up the rows that match the site's band and the counter."""
    *rows, question = task.question.split("\n")
    site = _BOOK.site_in(question)
    counter = next(name for name in COUNTERS if name in question)
    added = [(cell, int(value)) for band, cell, name, value in _ROW.findall("\n".join(rows)) if (band, name) == (site.band, counter)]
    return _working(site, added)


FAMILY = Family(
    name=NAME,
    summary="adds up a counter over the cells of a site's band in a table",
    depth="summands",
    draw=draw,
    accepts=accepts,
    solve=solve,
    draw_long=draw_long,
)
