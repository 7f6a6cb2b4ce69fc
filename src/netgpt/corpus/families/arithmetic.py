"""Link budgets and data rates over a chain of six stages, answered with the running value written out.

A chain starts at the value of a site's vendor, one of six in the question: which vendor built the site must be known by
heart, and the site is the rarer the higher the grade. Each stage has a gain or loss of 1 to 3 dB (link budget) or doubles or
halves the rate (data rate), or is off. A grade counts the stages that are not off, in a chain that always has six.
The key is the start and what the stages that are on do, in order; names and the place of `off` are decoration. The running
value stays whole, from 10 to 63 dBm or from 1 to 96 Mbit, so that no step needs rounding. The answer begins with the vendor:
`Bekal = Orbex 31-3=28+2=30: 30 dBm`.
"""

from __future__ import annotations

import re
from collections.abc import Iterable

import numpy as np

from netgpt.corpus.book import VENDORS, Site, read_book
from netgpt.corpus.reading import same_quantity
from netgpt.corpus.task import Family, Task, pick, sample, user
from netgpt.corpus.wording import word

NAME = "arithmetic"
OFF, STAGES = "off", 6
LOWEST, HIGHEST, LARGEST_STEP = 10, 63, 3  # so few sums that the smallest model can learn them: adding is not what is hard here
OTHER_VENDORS = 5
FIRST_POWERS = range(10, 61)
HIGHEST_RATE = 96
POWER_NAMES = ("cable", "splitter", "amplifier", "filter", "antenna", "wall", "jumper", "mixer", "window", "repeater")
RATE_NAMES = ("layers", "carrier", "coding", "sharing", "uplink", "tunnel", "header", "buffer", "beam", "slice")
_START = re.compile(r"\b([A-Z][a-z]+) (\d+)(?=[,;])")
_BOOK = read_book()
_STAGE = re.compile(r"[a-z]+ ([+-]\d|x2|/2|off)(?=[;\n])")
_NUMBER = re.compile(r"\d+(?:\.\d+)?")


def step(value: int, change: str) -> int:
    """The value behind a stage: `+4`, `-3`, `x2`, `/2`."""
    if change == "x2":
        return value * 2
    return value // 2 if change == "/2" else value + int(change)


def worked(start: int, changes: Iterable[str], unit: str) -> str:
    """The running value over all stages that are on, and the result: `31-3=28+8=36: 36 dBm`."""
    value, steps = start, str(start)
    for change in changes:
        if change != OFF:
            value = step(value, change)
            steps += f"{change}={value}"
    return f"{steps}: {value} {unit}"


def _answer(site: Site, work: str) -> str:
    return f"{site.name} = {site.vendor} {work}"


def ends_in_quantity(reply: str, answer: str) -> bool:
    """True if the reply's end states the answer's quantity, and no other number beside it."""
    end = re.split(r"[:=：]", reply)[-1]
    return same_quantity(end, answer) and len(_NUMBER.findall(end)) == 1


def _power_changes(chance: np.random.Generator, start: int, count: int) -> list[str]:
    changes, value = list[str](), start
    for _ in range(count):
        steps = [d for d in range(-LARGEST_STEP, LARGEST_STEP + 1) if d and LOWEST <= value + d <= HIGHEST]
        changes.append(f"{pick(chance, steps):+d}")
        value = step(value, changes[-1])
    return changes


def _possible_rate_changes(value: int) -> list[str]:
    return ["x2"] * (value * 2 <= HIGHEST_RATE) + ["/2"] * (value % 2 == 0)


def _rate_changes(chance: np.random.Generator, start: int, count: int) -> list[str]:
    changes, value = list[str](), start
    for _ in range(count):
        changes.append(pick(chance, _possible_rate_changes(value)))
        value = step(value, changes[-1])
    return changes


FIRST_RATES = tuple(value for value in range(2, HIGHEST_RATE + 1) if _possible_rate_changes(value))


def draw(chance: np.random.Generator, grade: int, language: str) -> Task:
    """A chain of six stages, `grade` of them on; a link budget or a data rate."""
    is_power = bool(chance.integers(2))
    site = _BOOK.some_site(chance, rarity=grade)
    vendors = [site.vendor, *sample(chance, [vendor for vendor in VENDORS if vendor != site.vendor], OTHER_VENDORS)]
    starts = dict(zip(vendors, sample(chance, FIRST_POWERS if is_power else FIRST_RATES, len(vendors)), strict=True))
    start = starts[site.vendor]
    unit, form = ("dBm", "question") if is_power else ("Mbit", "rate")
    live = iter((_power_changes if is_power else _rate_changes)(chance, start, grade))
    positions = set(sample(chance, range(STAGES), grade))
    changes = [next(live) if i in positions else OFF for i in range(STAGES)]
    names = sample(chance, POWER_NAMES if is_power else RATE_NAMES, STAGES)
    begins = f"{unit}: " + ", ".join(f"{vendor} {starts[vendor]}" for vendor in sample(chance, vendors, len(vendors)))
    chain = "; ".join((begins, *(f"{n} {c}" for n, c in zip(names, changes, strict=True))))
    wording = word(chance, NAME, language, form)
    return Task(
        family=NAME,
        template=wording.id,
        grade=grade,
        key=f"{start} {unit} {' '.join(change for change in changes if change != OFF)}",
        messages=user(wording.fill(chain=f"{chain};", site=site.name)),
        answer=_answer(site, worked(start, changes, unit)),
        language=language,
    )


def solve(task: Task) -> str:
    """Reads the start of the site's vendor and the stages off the chain and applies them in turn."""
    site = _BOOK.site_in(task.question)
    start = int(dict(_START.findall(task.question))[site.vendor])
    unit = "Mbit" if "Mbit: " in task.question else "dBm"
    return _answer(site, worked(start, _STAGE.findall(task.question), unit))


FAMILY = Family(
    name=NAME,
    summary="link budgets and data rates of a site's vendor over six stages, worked step by step",
    depth="steps",
    draw=draw,
    accepts=lambda task, reply: ends_in_quantity(reply, task.answer),
    solve=solve,
)
