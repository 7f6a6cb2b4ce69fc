"""Alarms to root cause: alarms of one cause and some that say nothing, four options with shuffled letters.

In every other task two alarms speak in words, in the others one is a vendor's code, whose cause must be known by heart.
A grade is the rarity class of the cause, or of the code: the causes of facts/alarms.toml, in their order, fall into
classes of 1, 2, 3, 4, 6 and 8; the codes are those of the book, and every class is asked equally often. The key is the cause with all alarms shown,
the one of noise too (a common cause has ten pairs of alarms only), so that a held-out question shows a
combination that training never showed.

Decides: the wrong options are drawn by class too, so that the frequency of a cause does not tell the answer.
The letter stands behind the name, where a model can copy it: `mains power failure: B`, or `F0549 = AMF overload: A`.
"""

from __future__ import annotations

import re
import unicodedata
from collections import Counter
from collections.abc import Sequence
from typing import Any

import numpy as np

from netgpt.corpus.book import read_book
from netgpt.corpus.reading import after_last, read_facts
from netgpt.corpus.task import GRADES, Family, Task, pick, sample, user
from netgpt.corpus.wording import word

NAME = "alarms"
LETTERS = "ABCD"
CLASS_SIZES = (1, 2, 3, 4, 6, 8)  # causes of rarity class 1 to 6
SHOWN = 2  # alarms of the cause in words; a code is one
ALARMS = 3  # in all
_LETTER = re.compile(rf"(?<![\w'])[{LETTERS}](?![\w'])")
_OPTION = re.compile(rf"^(.+) = ([{LETTERS}])$", re.MULTILINE)

_FACTS = read_facts("alarms.toml")
_CAUSES: tuple[dict[str, Any], ...] = tuple(_FACTS["cause"])
_NOISE: tuple[str, ...] = tuple(_FACTS["noise"])
_CODES = {code.code: code.cause for code in read_book().codes}
_CAUSE_OF: dict[str, str] = {alarm: cause["name"] for cause in _CAUSES for alarm in cause["alarms"]} | _CODES


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


def _in_words(chance: np.random.Generator, grade: int) -> tuple[str, list[str]]:
    """A cause of rarity class `grade` and alarms that it raises."""
    cause = pick(chance, causes_of_class(grade))
    return cause["name"], sample(chance, cause["alarms"], SHOWN)


def _in_code(chance: np.random.Generator, grade: int) -> tuple[str, list[str]]:
    """The cause of a vendor's code of rarity class `grade`, and the code."""
    code = pick(chance, read_book().codes_by_rarity[grade])
    return code.cause, [code.code]


def _answer(alarms: Sequence[str], cause: str, letter: str) -> str:
    codes = "".join(f"{alarm} = " for alarm in alarms if alarm in _CODES)
    return f"{codes}{cause}: {letter}"


def draw(chance: np.random.Generator, grade: int, language: str) -> Task:
    """A question about a cause of rarity class `grade`."""
    cause, alarms = _in_words(chance, grade) if chance.integers(2) else _in_code(chance, grade)
    shown = sample(chance, [*alarms, *sample(chance, _NOISE, ALARMS - len(alarms))], ALARMS)
    options = _options(chance, cause)
    letters = sample(chance, LETTERS, len(LETTERS))
    wording = word(chance, NAME, language)
    lines = "\n".join(f"{option} = {letter}" for option, letter in zip(options, letters, strict=True))
    return Task(
        family=NAME,
        template=wording.id,
        grade=grade,
        key=f"{cause}/{'/'.join(sorted(shown))}",
        messages=user(wording.fill(alarms="; ".join(shown), options=lines)),
        answer=_answer(shown, cause, letters[options.index(cause)]),
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
    alarms = [part.strip() for part in re.split(r"[;\n]", task.question)]
    votes = Counter(_CAUSE_OF[alarm] for alarm in alarms if _CAUSE_OF.get(alarm) in options)
    cause = max(options, key=lambda option: votes[option])
    return _answer(alarms, cause, options[cause])


FAMILY = Family(
    name=NAME,
    summary="alarms of a site to the root cause, one of four options with shuffled letters",
    depth="rarity of the cause",
    draw=draw,
    accepts=accepts,
    solve=solve,
)
