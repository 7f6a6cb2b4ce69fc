"""Alarms to root cause: an alarm among others, four options with shuffled letters.

In every other task one alarm is a vendor's code, whose cause must be known by heart, beside two that say nothing. In the
others four units raise alarms in words, each of its own cause, and the root cause at a site is asked: which unit is
there must be known by heart. A grade is the rarity class of the code or the site; the cause is of any class, those of
facts/alarms.toml falling, in their order, into classes of 1, 2, 3, 4, 6 and 8. The key is the cause with all alarms shown, so
that a held-out question shows a combination that training never showed.

Decides: the wrong options are drawn by class too, so that the frequency of a cause does not tell the answer.
The letter stands behind the name, where a model can copy it: `F0549 = AMF overload: A`, or `Bekal = K65 AC mains lost =
mains power failure: B`.
"""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Sequence
from typing import Any

import numpy as np

from netgpt.corpus.book import Site, read_book
from netgpt.corpus.reading import after_last, read_facts
from netgpt.corpus.task import GRADES, Family, Task, pick, sample, user
from netgpt.corpus.wording import word

NAME = "alarms"
LETTERS = "ABCD"
CLASS_SIZES = (1, 2, 3, 4, 6, 8)  # causes of rarity class 1 to 6
ALARMS_BESIDE_A_CODE = 2
SEPARATOR = "; "
_LETTER = re.compile(rf"(?<![\w'])[{LETTERS}](?![\w'])")
_OPTION = re.compile(rf"^(.+) = ([{LETTERS}])$", re.MULTILINE)

_FACTS = read_facts("alarms.toml")
_CAUSES: tuple[dict[str, Any], ...] = tuple(_FACTS["cause"])
_NOISE: tuple[str, ...] = tuple(_FACTS["noise"])
_BOOK = read_book()
_CODES = {code.code: code.cause for code in _BOOK.codes}
_SAID = re.compile(r"\b([A-Z]\d\d) ([^;\n]+)")
_ALARMS_OF: dict[str, list[str]] = {cause["name"]: cause["alarms"] for cause in _CAUSES}
_CAUSE_OF: dict[str, str] = {alarm: cause for cause, alarms in _ALARMS_OF.items() for alarm in alarms}


def causes_of_class(grade: int) -> tuple[dict[str, Any], ...]:
    """The causes of a rarity class."""
    start = sum(CLASS_SIZES[: grade - 1])
    return _CAUSES[start : start + CLASS_SIZES[grade - 1]]


def _options(chance: np.random.Generator, right: str) -> list[str]:
    """The right cause, then three others."""
    names = [right]
    while len(names) < len(LETTERS):
        name = pick(chance, causes_of_class(pick(chance, GRADES)))["name"]
        if name not in names:
            names.append(name)
    return names


def _in_words(chance: np.random.Generator, site: Site, options: Sequence[str]) -> tuple[str, list[str]]:
    """What proves the first option at a site, and the alarms of its unit and others, each of another option."""
    others = sample(chance, [unit for unit in _BOOK.units if unit != site.unit], len(LETTERS) - 1)
    shown = [f"{unit} {pick(chance, _ALARMS_OF[cause])}" for unit, cause in zip((site.unit, *others), options, strict=True)]
    return f"{site.name} = {shown[0]}", shown


def draw(chance: np.random.Generator, grade: int, language: str) -> Task:
    """A question about a code or a site of rarity class `grade`."""
    asks_site = bool(chance.integers(2))
    site, code = _BOOK.some_site(chance, rarity=grade), pick(chance, _BOOK.codes_by_rarity[grade])
    cause = pick(chance, causes_of_class(pick(chance, GRADES)))["name"] if asks_site else code.cause
    options = _options(chance, cause)
    proof, alarms = _in_words(chance, site, options) if asks_site else (code.code, [code.code, *sample(chance, _NOISE, ALARMS_BESIDE_A_CODE)])
    shown = sample(chance, alarms, len(alarms))
    letters = dict(zip(options, sample(chance, LETTERS, len(LETTERS)), strict=True))
    wording = word(chance, NAME, language, "site" if asks_site else "question")
    lines = "\n".join(f"{option} = {letters[option]}" for option in sample(chance, options, len(options)))
    return Task(
        family=NAME,
        template=wording.id,
        grade=grade,
        key=f"{cause}/{'/'.join(sorted(shown))}",
        messages=user(wording.fill(alarms=SEPARATOR.join(shown), options=lines, site=site.name)),
        answer=f"{proof} = {cause}: {letters[cause]}",
        language=language,
    )


def accepts(task: Task, reply: str) -> bool:
    """True if the final answer holds the right letter and no other that stands alone."""
    text = unicodedata.normalize("NFKC", reply)
    letters = _LETTER.findall(after_last(text)) or _LETTER.findall(text)
    return set(letters) == {task.answer[-1]}


def solve(task: Task) -> str:
    """The cause of the code, or of the alarm that the site's unit raises."""
    options = dict(_OPTION.findall(task.question))
    code = next((part.strip() for part in re.split(r"[;\n]", task.question) if part.strip() in _CODES), "")
    if code:
        return f"{code} = {_CODES[code]}: {options[_CODES[code]]}"
    site, alarms = _BOOK.site_in(task.question), dict(_SAID.findall(task.question))
    cause = _CAUSE_OF[alarms[site.unit]]
    return f"{site.name} = {site.unit} {alarms[site.unit]} = {cause}: {options[cause]}"


FAMILY = Family(
    name=NAME,
    summary="an alarm code, or the alarms of a site's unit, to the root cause, one of four options with shuffled letters",
    depth="rarity of the code or the site",
    draw=draw,
    accepts=accepts,
    solve=solve,
)
