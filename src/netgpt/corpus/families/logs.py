"""Logs: lines that name an event and the event that caused it, in random order; the root cause of one event.

A grade counts the hops from the asked event to its root. The other lines are effects and roots beside that chain;
every log has as many lines and as many roots as any other. The key is the lines, whatever their order, with the
asked event. The answer goes on to what the log says at the root: `E82 < E67 < none: mast tilted`.
"""

from __future__ import annotations

import re

import numpy as np

from netgpt.corpus.reading import after_last
from netgpt.corpus.task import Family, Task, pick, sample, user
from netgpt.corpus.wording import word

NAME = "logs"
LINES = 10  # the deepest chain has seven
OTHER_ROOTS = 3  # a guess among the roots is right one time in four
LONG_EVENTS = (12, 18)
LONG_NOISE = (33, 42)
NO_CAUSE = "none"
CODES = tuple(f"E{number:02d}" for number in range(1, 100))
TEXTS = (
    *("fan failed", "PTP lost", "link down", "cell down", "power low", "clock drift", "port down", "board reset", "fibre cut", "path lost"),
    *("sync lost", "unit hot", "beam failed", "disk full", "route lost", "tunnel down", "sector off", "battery low", "queue full", "mast tilted"),
)
_LINE = re.compile(r"(E\d\d) ([^<\n]+) < (E\d\d|none)$", re.MULTILINE)
_EVENT = re.compile(r"E\d\d")


def _links(chance: np.random.Generator, grade: int, count: int) -> list[tuple[str, str]]:
    """Events with their causes: the asked chain from the asked event on, then the others."""
    codes = sample(chance, CODES, count)
    chain, others = codes[: grade + 1], codes[grade + 1 :]
    links = [*zip(chain, [*chain[1:], NO_CAUSE], strict=True)]
    for i, code in enumerate(others):
        links.append((code, NO_CAUSE if i < OTHER_ROOTS else pick(chance, [*chain[1:], *others[:i]])))
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
    """A line that has nothing to do with any event."""
    cell = f"{pick(chance, 'ABCDFGHK')}{int(chance.integers(1, 100)):02d}"
    load, users, drops = (int(value) for value in chance.integers(10, 100, 3))
    return f"{cell} load {load} users {users} drops {drops}"


def _task(chance: np.random.Generator, grade: int, language: str, *, events: int, noise: int | None = None) -> Task:
    links = _links(chance, grade, events)
    texts = dict(zip((code for code, _ in links), sample(chance, TEXTS, events), strict=True))
    lines = [f"{code} {texts[code]} < {cause}" for code, cause in links]
    shown = sample(chance, lines + [_noise(chance) for _ in range(noise or 0)], events + (noise or 0))
    wording = word(chance, NAME, language)
    asked, chain = links[0][0], [links[0][0], *(cause for _, cause in links[: grade + 1])]
    return Task(
        family=NAME,
        template=wording.id,
        grade=grade,
        key=f"{asked}/{'/'.join(sorted(lines))}",
        messages=user("\n".join([*(shown if noise is None else _stamped(chance, shown)), wording.fill(event=asked)])),
        answer=f"{' < '.join(chain)}: {texts[chain[-2]]}",
        language=language,
    )


def draw(chance: np.random.Generator, grade: int, language: str) -> Task:
    """A log of ten lines."""
    return _task(chance, grade, language, events=LINES)


def draw_long(chance: np.random.Generator, grade: int, language: str) -> Task:
    """A log with times and many lines that are no events."""
    events, noise = (int(chance.integers(low, high + 1)) for low, high in (LONG_EVENTS, LONG_NOISE))
    return _task(chance, grade, language, events=events, noise=noise)


def accepts(task: Task, reply: str) -> bool:
    """True if the reply ends in the root's text and in nothing else."""
    return after_last(reply.replace("：", ":")) == after_last(task.answer)


def solve(task: Task) -> str:
    """Follows the causes from the asked event to the one without."""
    *lines, question = task.question.split("\n")
    found = {code: (text, cause) for code, text, cause in _LINE.findall("\n".join(lines))}
    chain = [_EVENT.findall(question)[-1]]
    while chain[-1] != NO_CAUSE:
        chain.append(found[chain[-1]][1])
    return f"{' < '.join(chain)}: {found[chain[-2]][0]}"


FAMILY = Family(
    name=NAME,
    summary="follows the causes of an event through a shuffled log to the root cause",
    depth="hops",
    draw=draw,
    accepts=accepts,
    solve=solve,
    draw_long=draw_long,
)
