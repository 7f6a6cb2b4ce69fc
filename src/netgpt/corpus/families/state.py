"""State: regions whose states change with time; the state around one site at one time.

The lines name regions, the question names a site: in which region it lies must be known by heart, and the site is the
rarer the higher the grade. A grade counts the region's events up to the asked time. It has one or two later events
too, which are not to be believed yet. Of three more regions one has as many events and two as many as are missing to
ten, so that there are always twenty lines, sorted by time, and no region stands out. The key is the lines with the
asked region and time. The answer names the region at every step and goes on to its first event that is too late:
`Bekal = coast 14 down, coast 75 > 74: down`.
"""

from __future__ import annotations

import re

import numpy as np

from netgpt.corpus.book import REGIONS, Site, read_book
from netgpt.corpus.decoys import entries, mirrored
from netgpt.corpus.reading import after_last
from netgpt.corpus.task import Family, Task, pick, sample, user
from netgpt.corpus.wording import word

NAME = "state"
DECOYS, EVENTS_OF_TWO = 3, 10  # regions beside the asked one; events of two regions that mirror each other
LINES = EVENTS_OF_TWO * (DECOYS + 1) // 2
MOST_LATER = 2
STATES = ("up", "down", "locked", "blocked", "idle", "busy", "asleep", "faulty")
_LINE = re.compile(r"^([a-z]+) (\d\d) ([a-z]+)$", re.MULTILINE)
_TIME = re.compile(r"t=(\d\d)")
_BOOK = read_book()


def _regions(chance: np.random.Generator, grade: int, asked: str) -> tuple[list[str], int]:
    """The regions of the lines, and how many of the lines come before the asked time."""
    others = sample(chance, [region for region in REGIONS if region != asked], DECOYS)
    regions = entries(chance, mirrored(chance, asked, others, grade + 1 + int(chance.integers(MOST_LATER)), EVENTS_OF_TWO))
    places = [i for i, region in enumerate(regions) if region == asked]
    return regions, 1 + places[grade - 1] + int(chance.integers(places[grade] - places[grade - 1]))


def _states(chance: np.random.Generator, regions: list[str]) -> list[str]:
    """A state for each line, never the one that its region had before."""
    had: dict[str, str] = {}
    states = []
    for region in regions:
        had[region] = pick(chance, [state for state in STATES if state != had.get(region)])
        states.append(had[region])
    return states


def _answer(site: Site, events: list[tuple[int, str]], time: int) -> str:
    """The region's events up to a time, the first one after it or `end`, and the state at that time."""
    passed = [(at, state) for at, state in events if at <= time]
    stop = next((f"{site.region} {at} > {time}" for at, _ in events if at > time), "end")
    return f"{site.name} = {', '.join([*(f'{site.region} {at} {state}' for at, state in passed), stop])}: {passed[-1][1]}"


def draw(chance: np.random.Generator, grade: int, language: str) -> Task:
    """Twenty lines; the asked time falls between two of them."""
    site = _BOOK.some_site(chance, rarity=grade)
    regions, before = _regions(chance, grade, site.region)
    times = sorted(sample(chance, range(10, 100), LINES + 1))
    time = times.pop(before)
    events = [*zip(regions, times, _states(chance, regions), strict=True)]
    lines = [f"{region} {at} {state}" for region, at, state in events]
    wording = word(chance, NAME, language)
    return Task(
        family=NAME,
        template=wording.id,
        grade=grade,
        key=f"{site.region} {time}/{'/'.join(lines)}",
        messages=user("\n".join([*lines, wording.fill(site=site.name, time=time)])),
        answer=_answer(site, [(at, state) for region, at, state in events if region == site.region], time),
        language=language,
    )


def accepts(task: Task, reply: str) -> bool:
    """True if the reply ends in the right state and in nothing else."""
    return after_last(reply.replace("：", ":")) == after_last(task.answer)


def solve(task: Task) -> str:
    """Lists the events of the site's region until one is later than the asked time."""
    *lines, question = task.question.split("\n")
    site, time = _BOOK.site_in(question), int(_TIME.findall(question)[-1])
    return _answer(site, [(int(at), state) for region, at, state in _LINE.findall("\n".join(lines)) if region == site.region], time)


FAMILY = Family(
    name=NAME,
    summary="tells the state that a site's region had at a given time",
    depth="events",
    draw=draw,
    accepts=accepts,
    solve=solve,
)
