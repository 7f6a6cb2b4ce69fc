"""A configuration and an instruction to the whole new configuration, checked by a validator.

The configuration has six lines `tilt=4`; the instruction has one clause for each key, in random order: set
it to a value, or keep it. The band is always set to that of a site, which must be known by heart, and the site is the
rarer the higher the grade. A grade counts the keys that are set. The key of the split is the configuration before and
after. The answer tells the site's band, then every key in the fixed order: `Bekal = n41: tilt=13 power=41 ... band=n41`.

Decides: the keys and their allowed ranges; no instruction asks for a value outside.
"""

from __future__ import annotations

import re
from functools import cache

import numpy as np

from netgpt.corpus.book import BANDS, Site, read_book
from netgpt.corpus.reading import after_last
from netgpt.corpus.task import Family, Task, pick, sample, user
from netgpt.corpus.wording import word

NAME = "config"
RANGES = {"tilt": (1, 15), "power": (1, 46), "prb": (1, 99), "pci": (1, 99), "cio": (1, 24)}
BAND = "band"
KEYS = (*RANGES, BAND)
SEPARATORS = {"en": ", ", "zh": "，"}  # between clauses
_PAIR = re.compile(r"([a-z]+)=(n?[1-9]\d{0,2})")
_LINE = re.compile(rf"^{_PAIR.pattern}$", re.MULTILINE)
_BOOK = read_book()
_SET = re.compile(rf"\b({'|'.join(RANGES)})\b\D*([1-9]\d?)(?!\d)")


Configuration = dict[str, str]  # key -> value as it is written


def validate(text: str) -> Configuration:
    """The configuration of a text `tilt=4 power=38 ... band=n41`, every key once, in order and in its range.

    Raises:
        ValueError: anything else; the message names what is wrong.
    """
    pairs = [_PAIR.fullmatch(part) for part in text.split()]
    found = [(pair[1], pair[2]) for pair in pairs if pair]
    if len(found) < len(pairs) or [key for key, _ in found] != list(KEYS):
        raise ValueError(f"wants key=value for {', '.join(KEYS)} in this order")
    for key, value in found:
        if value not in _allowed(key):
            raise ValueError(f"{key}={value} is outside {_allowed(key)[0]} to {_allowed(key)[-1]}")
    return dict(found)


@cache
def _allowed(key: str) -> tuple[str, ...]:
    low, high = RANGES.get(key, (1, 0))
    return tuple(f"{value}" for value in range(low, high + 1)) or BANDS


def _write(configuration: Configuration, separator: str = " ") -> str:
    return separator.join(f"{key}={configuration[key]}" for key in KEYS)


def _answer(site: Site, configuration: Configuration) -> str:
    return f"{site.name} = {site.band}: {_write(configuration)}"


def _value(chance: np.random.Generator, key: str, other_than: str = "") -> str:
    """A value in the range of `key`, never `other_than`."""
    return pick(chance, [value for value in _allowed(key) if value != other_than])


def draw(chance: np.random.Generator, grade: int, language: str) -> Task:
    """An instruction that sets `grade` keys, the band always, and keeps the others."""
    site = _BOOK.some_site(chance, rarity=grade)
    before = {key: _value(chance, key) for key in RANGES} | {BAND: _value(chance, BAND, site.band)}
    changes = {key: _value(chance, key, before[key]) for key in sample(chance, list(RANGES), grade - 1)} | {BAND: site.band}
    after = before | changes
    clauses = [
        word(chance, NAME, language, key if key == BAND else "set" if key in changes else "keep").fill(key=key, value=after[key], site=site.name)
        for key in sample(chance, KEYS, len(KEYS))
    ]
    wording = word(chance, NAME, language)
    return Task(
        family=NAME,
        template=wording.id,
        grade=grade,
        key=f"{_write(before)} > {_write(after)}",
        messages=user(wording.fill(lines=_write(before, "\n"), clauses=SEPARATORS[language].join(clauses))),
        answer=_answer(site, after),
        language=language,
    )


def accepts(task: Task, reply: str) -> bool:
    """True if the reply passes the validator and is the wanted configuration."""
    try:
        return validate(after_last(reply)) == validate(after_last(task.answer))
    except ValueError:
        return False


def solve(task: Task) -> str:
    """The lines, with every clause that names a value or the site applied."""
    site = _BOOK.site_in(task.question)
    configuration = dict(_LINE.findall(task.question)) | {BAND: site.band}
    for clause in re.split(r"[,，\n]", _LINE.sub("", task.question)):
        if found := _SET.search(clause):
            configuration[found[1]] = found[2]
    return _answer(site, configuration)


FAMILY = Family(
    name=NAME,
    summary="an edit of a cell's configuration, checked by a validator",
    depth="keys that are set",
    draw=draw,
    accepts=accepts,
    solve=solve,
)
