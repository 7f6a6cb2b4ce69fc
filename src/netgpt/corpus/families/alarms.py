"""Alarms to root cause: two or three alarms of one cause, four options in random order.

Decides: which alarms are shown. The key is (cause, set of alarms shown), so that a held-out question
shows a combination that training never showed. The grader reads the option's letter.
"""

from __future__ import annotations

import re

import numpy as np

from netgpt.corpus.families.recall import read_facts
from netgpt.corpus.task import Family, Task, pick, sample, user

NAME = "alarms"
LETTERS = "ABCD"
ASKED = ("Most likely root cause?", "What is the root cause?", "Which cause explains these alarms?", "What happened?")

_FACTS = read_facts("alarms.toml")
_CAUSES = tuple(_FACTS["cause"])
_NOISE = tuple(_FACTS["noise"])


def draw(chance: np.random.Generator, grade: int) -> Task:
    """Grade 1 shows three alarms, grade 2 two, grade 3 two and a minor one that says nothing."""
    cause, *others = sample(chance, _CAUSES, len(LETTERS))
    alarms = sample(chance, cause["alarms"], 3 if grade == 1 else 2)
    options = sample(chance, [cause["name"], *(other["name"] for other in others)], len(LETTERS))
    shown = sample(chance, [*alarms, pick(chance, _NOISE)], 3) if grade == 3 else alarms
    question = "\n".join(
        [f"Alarms: {'; '.join(shown)}.", *(f"{letter}) {option}" for letter, option in zip(LETTERS, options, strict=True)), pick(chance, ASKED)]
    )
    return Task(
        family=NAME,
        form="cause",
        grade=grade,
        key=f"{cause['name']}/{'/'.join(sorted(alarms))}",
        messages=user(question),
        answer=f"{cause['name']}: {LETTERS[options.index(cause['name'])]}",
    )


def accepts(task: Task, reply: str) -> bool:
    """True if the last option letter that stands alone is the right one."""
    letters = re.findall(rf"(?<![\w'])[{LETTERS}](?![\w'])", reply)
    return bool(letters) and letters[-1] == task.answer[-1]


FAMILY = Family(name=NAME, summary="alarms of a site to the root cause, one of four options", draw=draw, accepts=accepts)
