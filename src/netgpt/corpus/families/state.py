"""State: radio units whose states change with time; the state of one site at one time.

The lines name units, the question names a site: which unit is there must be known by heart, and the site is the rarer
the higher the grade. A grade counts the unit's events up to the asked time. It has later events too, which are not to
be believed yet, and other units have theirs; there are always eight lines, sorted by time. The key is the lines with
the asked unit and time. The answer names the unit and goes on to its first event that is too late: `Bekal = K65, 14
down, 75 > 74: down`.
"""

from __future__ import annotations

import re

import numpy as np

from netgpt.corpus.book import Site, read_book
from netgpt.corpus.reading import after_last
from netgpt.corpus.task import Family, Task, pick, sample, user
from netgpt.corpus.wording import word

NAME = "state"
LINES = 8
MOST_LATER = 3
OTHER_UNITS = 2
STATES = ("up", "down", "locked", "blocked", "idle", "busy", "asleep", "faulty")
_LINE = re.compile(r"^([A-Z]\d\d) t=(\d\d) ([a-z]+)$", re.MULTILINE)
_TIME = re.compile(r"t=(\d\d)")
_BOOK = read_book()


def _units(chance: np.random.Generator, grade: int, asked: str, others: list[str]) -> tuple[list[str], int]:
    """The units of the lines, and how many of the lines come before the asked time."""
    later = 1 + int(chance.integers(min(MOST_LATER, LINES - 1 - grade)))
    before = grade + int(chance.integers(LINES - grade - later + 1))
    early = [asked] * grade + [pick(chance, others) for _ in range(before - grade)]
    late = [asked] * later + [pick(chance, others) for _ in range(LINES - before - later)]
    return sample(chance, early, len(early)) + sample(chance, late, len(late)), before


def _states(chance: np.random.Generator, units: list[str]) -> list[str]:
    """A state for each line, never the one that its unit had before."""
    had: dict[str, str] = {}
    states = []
    for unit in units:
        had[unit] = pick(chance, [state for state in STATES if state != had.get(unit)])
        states.append(had[unit])
    return states


def _answer(site: Site, events: list[tuple[int, str]], time: int) -> str:
    """The site's unit, the events up to a time, the first one after it or `end`, and the state at that time."""
    passed = [(at, state) for at, state in events if at <= time]
    stop = next((f"{at} > {time}" for at, _ in events if at > time), "end")
    return f"{site.name} = {', '.join([site.unit, *(f'{at} {state}' for at, state in passed), stop])}: {passed[-1][1]}"


def draw(chance: np.random.Generator, grade: int, language: str) -> Task:
    """Eight lines; the asked time falls between two of them."""
    site = _BOOK.some_site(chance, rarity=grade)
    others = sample(chance, [unit for unit in _BOOK.units if unit != site.unit], OTHER_UNITS)
    units, before = _units(chance, grade, site.unit, others)
    times = sorted(sample(chance, range(10, 100), LINES + 1))
    time = times.pop(before)
    events = [*zip(units, times, _states(chance, units), strict=True)]
    lines = [f"{unit} t={at} {state}" for unit, at, state in events]
    wording = word(chance, NAME, language)
    return Task(
        family=NAME,
        template=wording.id,
        grade=grade,
        key=f"{site.unit} {time}/{'/'.join(lines)}",
        messages=user("\n".join([*lines, wording.fill(site=site.name, time=time)])),
        answer=_answer(site, [(at, state) for unit, at, state in events if unit == site.unit], time),
        language=language,
    )


def accepts(task: Task, reply: str) -> bool:
    """True if the reply ends in the right state and in nothing else."""
    return after_last(reply.replace("：", ":")) == after_last(task.answer)


def solve(task: Task) -> str:
    """Lists the events of the site's unit until one is later than the asked time."""
    *lines, question = task.question.split("\n")
    site, time = _BOOK.site_in(question), int(_TIME.findall(question)[-1])
    return _answer(site, [(int(at), state) for unit, at, state in _LINE.findall("\n".join(lines)) if unit == site.unit], time)


FAMILY = Family(
    name=NAME,
    summary="tells the state that a site's unit had at a given time",
    depth="events",
    draw=draw,
    accepts=accepts,
    solve=solve,
)
