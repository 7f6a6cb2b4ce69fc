"""KPI totals: a table of vendors, cells and a counter; the total of the counter over the cells of a site's vendor.

Which vendor built the site must be known by heart, and the site is the rarer the higher the grade. A grade counts the
rows of that vendor, the summands; of three more vendors one has as many rows and two as many as are missing to seven, so
that every table is equally long and no vendor stands out; a long table has others besides. The key is the rows, whatever
their order, with the asked vendor and counter. The answer repeats each row that it adds, with the running
total, so that the next one is sought after it, and says when there is none: `Bekal = Orbex h6 3, Orbex f0 4=7, end: 7`.
"""

from __future__ import annotations

import re
from collections import Counter
from itertools import accumulate
from string import ascii_lowercase

import numpy as np

from netgpt.corpus.book import VENDORS, Site, read_book
from netgpt.corpus.decoys import entries, mirrored
from netgpt.corpus.reading import after_last
from netgpt.corpus.task import Family, Task, pick, sample, user
from netgpt.corpus.wording import word

NAME = "kpi"
DECOYS, ROWS_OF_TWO = 3, 7  # vendors beside the asked one; rows of two vendors that mirror each other
ROWS = ROWS_OF_TWO * (DECOYS + 1) // 2
LONG_ROWS = (50, 70)
LARGEST = 5  # totals up to 30: adding is not what is hard here
COUNTERS = ("drops", "alarms", "users", "retries", "resets", "calls", "faults", "pings")
CELLS = tuple(f"{letter}{number}" for letter in ascii_lowercase for number in range(10))
NOISE = ("load", "power", "delay")  # columns of long tables that nobody asks for
_ROW = re.compile(r"^([A-Z][a-z]+) ([a-z]\d) (\d)(?= |$)", re.MULTILINE)
_BOOK = read_book()


def _rows(chance: np.random.Generator, grade: int, count: int, vendor: str, noise: tuple[str, ...]) -> list[str]:
    """`grade` rows of the asked vendor and others, in random order."""
    others = sample(chance, [other for other in VENDORS if other != vendor], len(VENDORS) - 1)
    counts = mirrored(chance, vendor, others[:DECOYS], grade, ROWS_OF_TWO)
    more = [pick(chance, others[DECOYS:]) for _ in range(count - ROWS)]
    vendors = entries(chance, counts | Counter(more))
    rows = []
    for cell, row_vendor in zip(sample(chance, CELLS, count), vendors, strict=True):
        extra = "".join(f" {name} {int(chance.integers(10, 100))}" for name in noise)
        rows.append(f"{row_vendor} {cell} {int(chance.integers(1, LARGEST + 1))}{extra}")
    return rows


def _working(site: Site, added: list[tuple[str, int]]) -> str:
    """Each row of the site's vendor, from the second on with the running total; the end, and the total."""
    totals = [*accumulate(value for _, value in added)]
    steps = [f"{site.vendor} {cell} {value}" + (f"={total}" if i else "") for i, ((cell, value), total) in enumerate(zip(added, totals, strict=True))]
    return f"{site.name} = {', '.join([*steps, 'end'])}: {totals[-1]}"


def _task(chance: np.random.Generator, grade: int, language: str, count: int, noise: tuple[str, ...] = ()) -> Task:
    site, counter = _BOOK.some_site(chance, rarity=grade), pick(chance, COUNTERS)
    rows = _rows(chance, grade, count, site.vendor, noise)
    wording = word(chance, NAME, language)
    return Task(
        family=NAME,
        template=wording.id,
        grade=grade,
        key=f"{site.vendor} {counter}/{'/'.join(sorted(rows))}",
        messages=user("\n".join([f"vendor cell {counter}", *rows, wording.fill(site=site.name, counter=counter)])),
        answer=_working(site, _added("\n".join(rows), site.vendor)),
        language=language,
    )


def _added(rows: str, vendor: str) -> list[tuple[str, int]]:
    return [(cell, int(value)) for row_vendor, cell, value in _ROW.findall(rows) if row_vendor == vendor]


def draw(chance: np.random.Generator, grade: int, language: str) -> Task:
    """A table of fourteen rows."""
    return _task(chance, grade, language, ROWS)


def draw_long(chance: np.random.Generator, grade: int, language: str) -> Task:
    """A table of many rows with two more columns."""
    low, high = LONG_ROWS
    return _task(chance, grade, language, int(chance.integers(low, high + 1)), tuple(sample(chance, NOISE, 2)))


def accepts(task: Task, reply: str) -> bool:
    """True if the reply ends in the right total and in nothing else."""
    return after_last(reply.replace("：", ":")) == after_last(task.answer)


def solve(task: Task) -> str:
    """Adds up the rows of the site's vendor."""
    rows, _, question = task.question.rpartition("\n")
    site = _BOOK.site_in(question)
    return _working(site, _added(rows, site.vendor))


FAMILY = Family(
    name=NAME,
    summary="adds up a counter over the cells of a site's vendor in a table",
    depth="summands",
    draw=draw,
    accepts=accepts,
    solve=solve,
    draw_long=draw_long,
)
