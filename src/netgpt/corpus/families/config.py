"""A configuration and an instruction to the whole new configuration, checked by a validator.

The configuration has six lines `tilt=4`; the instruction has one clause for each key, in random order: set
it to a value, or keep it. A grade counts the keys that are set. The key of the split is the configuration
before and after. The answer holds every key in the fixed order.

Decides: the keys and their allowed ranges; no instruction asks for a value outside.
"""

from __future__ import annotations

import re

import numpy as np

from netgpt.corpus.reading import after_last
from netgpt.corpus.task import Family, Task, sample, user
from netgpt.corpus.wording import word

NAME = "config"
RANGES = {"tilt": (1, 15), "power": (1, 46), "prb": (1, 99), "pci": (1, 99), "cio": (1, 24), "timer": (1, 60)}
SEPARATORS = {"en": ", ", "zh": "，"}  # between clauses
_PAIR = re.compile(r"([a-z]+)=([1-9]\d?)")
_LINE = re.compile(rf"^{_PAIR.pattern}$", re.MULTILINE)
_SET = re.compile(rf"\b({'|'.join(RANGES)})\b\D*([1-9]\d?)(?!\d)")


def validate(text: str) -> dict[str, int]:
    """The configuration of a text `tilt=4 power=38 ...`, every key once, in order and in its range.

    Raises:
        ValueError: anything else; the message names what is wrong.
    """
    pairs = [_PAIR.fullmatch(part) for part in text.split()]
    found = [(pair[1], int(pair[2])) for pair in pairs if pair]
    if len(found) < len(pairs) or [key for key, _ in found] != list(RANGES):
        raise ValueError(f"wants key=value for {', '.join(RANGES)} in this order")
    for key, value in found:
        low, high = RANGES[key]
        if not low <= value <= high:
            raise ValueError(f"{key}={value} is outside {low} to {high}")
    return dict(found)


def _write(configuration: dict[str, int], separator: str = " ") -> str:
    return separator.join(f"{key}={configuration[key]}" for key in RANGES)


def _value(chance: np.random.Generator, key: str, other_than: int = 0) -> int:
    """A value in the range of `key`, never `other_than`."""
    low, high = RANGES[key]
    value = int(chance.integers(low, high + (0 if other_than else 1)))
    return value + 1 if other_than and value >= other_than else value


def draw(chance: np.random.Generator, grade: int, language: str) -> Task:
    """An instruction that sets `grade` keys and keeps the others."""
    before = {key: _value(chance, key) for key in RANGES}
    changes = {key: _value(chance, key, before[key]) for key in sample(chance, list(RANGES), grade)}
    after = before | changes
    clauses = [
        word(chance, NAME, language, "set" if key in changes else "keep").fill(key=key, value=after[key])
        for key in sample(chance, list(RANGES), len(RANGES))
    ]
    wording = word(chance, NAME, language)
    return Task(
        family=NAME,
        template=wording.id,
        grade=grade,
        key=f"{_write(before)} > {_write(after)}",
        messages=user(wording.fill(lines=_write(before, "\n"), clauses=SEPARATORS[language].join(clauses))),
        answer=_write(after),
        language=language,
    )


def accepts(task: Task, reply: str) -> bool:
    """True if the reply passes the validator and is the wanted configuration."""
    try:
        return validate(after_last(reply)) == validate(task.answer)
    except ValueError:
        return False


def solve(task: Task) -> str:
    """The lines, with every clause that names a value applied."""
    configuration = {key: int(value) for key, value in _LINE.findall(task.question)}
    for clause in re.split(r"[,，\n]", _LINE.sub("", task.question)):
        if found := _SET.search(clause):
            configuration[found[1]] = int(found[2])
    return _write(configuration)


FAMILY = Family(
    name=NAME,
    summary="an edit of a cell's configuration, checked by a validator",
    depth="keys that are set",
    draw=draw,
    accepts=accepts,
    solve=solve,
)
