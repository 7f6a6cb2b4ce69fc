"""Logs: lines that name a unit's fault and the unit whose fault caused it, in random order; the root cause at one site.

The lines name units, the question names a site: which unit is there must be known by heart, and the site is the rarer
the higher the grade. A grade counts the hops from the asked unit to the root. The other lines are effects and roots
beside that chain; every log has as many lines and as many roots as any other. The key is the lines, whatever their
order, with the asked unit. The answer repeats each line, so that the next unit is copied from the one before, and goes on to
the root: `Bekal = K65 fan failed < D38 mast tilted < none: mast tilted`.
"""

from __future__ import annotations

import re

import numpy as np

from netgpt.corpus.book import Site, read_book
from netgpt.corpus.reading import after_last
from netgpt.corpus.task import Family, Task, pick, sample, user
from netgpt.corpus.wording import word

NAME = "logs"
LINES = 10  # the deepest chain has seven
OTHER_ROOTS = 3  # a guess among the roots is right one time in four
LONG_EVENTS = (12, 18)
LONG_NOISE = (33, 42)
NO_CAUSE = "none"
TEXTS = (
    *("fan failed", "PTP lost", "link down", "cell down", "power low", "clock drift", "port down", "board reset", "fibre cut", "path lost"),
    *("sync lost", "unit hot", "beam failed", "disk full", "route lost", "tunnel down", "sector off", "battery low", "queue full", "mast tilted"),
)
_LINE = re.compile(r"([A-Z]\d\d) ([^<\n]+) < ([A-Z]\d\d|none)$", re.MULTILINE)
_BOOK = read_book()


def _links(chance: np.random.Generator, grade: int, asked: str, count: int) -> list[tuple[str, str]]:
    """Units with those that cause their faults: the chain from the asked unit on, then the others."""
    units = [asked, *sample(chance, [unit for unit in _BOOK.units if unit != asked], count - 1)]
    chain, others = units[: grade + 1], units[grade + 1 :]
    links = [*zip(chain, [*chain[1:], NO_CAUSE], strict=True)]
    for i, unit in enumerate(others):
        links.append((unit, NO_CAUSE if i < OTHER_ROOTS else pick(chance, [*chain[1:], *others[:i]])))
    return links


def _stamped(chance: np.random.Generator, lines: list[str]) -> list[str]:
    """The lines with the times at which they were logged."""
    second = int(chance.integers(3600, 36000))
    stamped = []
    for line in lines:
        second += int(chance.integers(1, 60))
        stamped.append(f"{second // 3600:02d}:{second // 60 % 60:02d}:{second % 60:02d} {line}")
    return stamped


def _noise(chance: np.random.Generator) -> str:
    """A line that has nothing to do with any fault."""
    unit = pick(chance, _BOOK.units)
    load, users, drops = (int(value) for value in chance.integers(10, 100, 3))
    return f"{unit} load {load} users {users} drops {drops}"


def _answer(site: Site, links: list[tuple[str, str]]) -> str:
    """The units of the chain with what the log says of them, then what it says of the root."""
    return f"{site.name} = {' < '.join([*(f'{unit} {text}' for unit, text in links), NO_CAUSE])}: {links[-1][1]}"


def _task(chance: np.random.Generator, grade: int, language: str, *, events: int, noise: int | None = None) -> Task:
    site = _BOOK.some_site(chance, rarity=grade)
    links = _links(chance, grade, site.unit, events)
    texts = dict(zip((unit for unit, _ in links), sample(chance, TEXTS, events), strict=True))
    lines = [f"{unit} {texts[unit]} < {cause}" for unit, cause in links]
    shown = sample(chance, lines + [_noise(chance) for _ in range(noise or 0)], events + (noise or 0))
    wording = word(chance, NAME, language)
    return Task(
        family=NAME,
        template=wording.id,
        grade=grade,
        key=f"{site.unit}/{'/'.join(sorted(lines))}",
        messages=user("\n".join([*(shown if noise is None else _stamped(chance, shown)), wording.fill(site=site.name)])),
        answer=_answer(site, [(unit, texts[unit]) for unit, _ in links[: grade + 1]]),
        language=language,
    )


def draw(chance: np.random.Generator, grade: int, language: str) -> Task:
    """A log of ten lines."""
    return _task(chance, grade, language, events=LINES)


def draw_long(chance: np.random.Generator, grade: int, language: str) -> Task:
    """A log with times and many lines that are no faults."""
    events, noise = (int(chance.integers(low, high + 1)) for low, high in (LONG_EVENTS, LONG_NOISE))
    return _task(chance, grade, language, events=events, noise=noise)


def accepts(task: Task, reply: str) -> bool:
    """True if the reply ends in the root's text and in nothing else."""
    return after_last(reply.replace("：", ":")) == after_last(task.answer)


def solve(task: Task) -> str:
    """Follows the causes from the site's unit to the one without."""
    *lines, question = task.question.split("\n")
    found = {unit: (text, cause) for unit, text, cause in _LINE.findall("\n".join(lines))}
    site = _BOOK.site_in(question)
    chain, unit = list[tuple[str, str]](), site.unit
    while unit != NO_CAUSE:
        text, cause = found[unit]
        chain.append((unit, text))
        unit = cause
    return _answer(site, chain)


FAMILY = Family(
    name=NAME,
    summary="follows the causes of a site's fault through a shuffled log to the root cause",
    depth="hops",
    draw=draw,
    accepts=accepts,
    solve=solve,
    draw_long=draw_long,
)
