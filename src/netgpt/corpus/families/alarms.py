"""Alarms to root cause: two alarms of one cause and one that says nothing, four options with shuffled letters.

A grade is the rarity class of the cause: the causes of facts/alarms.toml, in their order, fall into classes
of 1, 2, 3, 4, 6 and 8, and every class is asked equally often. The key is the cause with all alarms shown,
the one of noise too (a common cause has ten pairs of alarms only), so that a held-out question shows a
combination that training never showed.

Decides: the wrong options are drawn by class too, so that the frequency of a cause does not tell the answer.
The letter stands behind the name, where a model can copy it.
"""

from __future__ import annotations

import re
import unicodedata
from collections import Counter
from typing import Any

import numpy as np

from netgpt.corpus.reading import after_last, read_facts
from netgpt.corpus.task import GRADES, Family, Task, pick, sample, user
from netgpt.corpus.wording import word

NAME = "alarms"
LETTERS = "ABCD"
CLASS_SIZES = (1, 2, 3, 4, 6, 8)  # causes of rarity class 1 to 6
SHOWN = 2  # alarms of the cause
_LETTER = re.compile(rf"(?<![\w'])[{LETTERS}](?![\w'])")
_OPTION = re.compile(rf"^(.+) = ([{LETTERS}])$", re.MULTILINE)

_FACTS = read_facts("alarms.toml")
_CAUSES: tuple[dict[str, Any], ...] = tuple(_FACTS["cause"])
_NOISE: tuple[str, ...] = tuple(_FACTS["noise"])
_CAUSE_OF: dict[str, str] = {alarm: cause["name"] for cause in _CAUSES for alarm in cause["alarms"]}


def causes_of_class(grade: int) -> tuple[dict[str, Any], ...]:
    """The causes of a rarity class."""
    start = sum(CLASS_SIZES[: grade - 1])
    return _CAUSES[start : start + CLASS_SIZES[grade - 1]]


def _options(chance: np.random.Generator, right: str) -> list[str]:
    """The right cause and three others, in random order."""
    names = [right]
    while len(names) < len(LETTERS):
        name = pick(chance, causes_of_class(pick(chance, GRADES)))["name"]
        if name not in names:
            names.append(name)
    return sample(chance, names, len(names))


def draw(chance: np.random.Generator, grade: int, language: str) -> Task:
    """A question about a cause of rarity class `grade`."""
    cause = pick(chance, causes_of_class(grade))
    alarms = sample(chance, cause["alarms"], SHOWN)
    shown = sample(chance, [*alarms, pick(chance, _NOISE)], SHOWN + 1)
    options = _options(chance, cause["name"])
    letters = sample(chance, LETTERS, len(LETTERS))
    wording = word(chance, NAME, language)
    lines = "\n".join(f"{option} = {letter}" for option, letter in zip(options, letters, strict=True))
    return Task(
        family=NAME,
        template=wording.id,
        grade=grade,
        key=f"{cause['name']}/{'/'.join(sorted(shown))}",
        messages=user(wording.fill(alarms="; ".join(shown), options=lines)),
        answer=f"{cause['name']}: {letters[options.index(cause['name'])]}",
        language=language,
    )


def accepts(task: Task, reply: str) -> bool:
    """True if the final answer holds the right letter and no other that stands alone."""
    text = unicodedata.normalize("NFKC", reply)
    letters = _LETTER.findall(after_last(text)) or _LETTER.findall(text)
    return set(letters) == {task.answer[-1]}


def solve(task: Task) -> str:
    """The option with the most alarms."""
    options = dict(_OPTION.findall(task.question))
    alarms = (part.strip() for part in re.split(r"[;\n]", task.question))
    votes = Counter(_CAUSE_OF[alarm] for alarm in alarms if _CAUSE_OF.get(alarm) in options)
    cause = max(options, key=lambda option: votes[option])
    return f"{cause}: {options[cause]}"


FAMILY = Family(
    name=NAME,
    summary="alarms of a site to the root cause, one of four options with shuffled letters",
    depth="rarity of the cause",
    draw=draw,
    accepts=accepts,
    solve=solve,
)
