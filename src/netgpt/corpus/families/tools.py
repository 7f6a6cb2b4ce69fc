"""Tool calls that bring the radio unit of a site from its state to its goal, run on a small simulator.

Four lines name units, the question names a site: which unit is there must be known by heart, and the site is the rarer
the higher the grade. Each line holds six settings with the value now and the value wanted, `tilt 4>7`. A grade counts the
settings of the asked unit that differ; the other units are to be left alone. The key is the lines with the asked unit. The
answer selects the unit, repeats each setting, and calls it or writes `-`: `Bekal: use(K65), power 8>3 power(3), tilt 4>4 -,
...`. The grader runs the reply's calls on the simulator: any order is right that makes no error and reaches the goal, with
settings repeated or not.

Decides: a call before a unit is selected, one that changes nothing or leaves the range, and an unknown unit are errors; so
is a `-` for a setting that is called besides. Values have one digit: to compare two is not what is hard here.
"""

from __future__ import annotations

import re
from dataclasses import dataclass

import numpy as np

from netgpt.core.errors import UsageError
from netgpt.corpus.book import Site, read_book
from netgpt.corpus.reading import after_last
from netgpt.corpus.task import GRADES, Family, Task, pick, sample, user
from netgpt.corpus.wording import word

NAME = "tools"
UNITS = 4
SETTINGS = ("power", "tilt", "cio", "prb", "pci", "timer")
LOWEST, HIGHEST = 1, 9
Settings = dict[tuple[str, str], int]  # (unit, setting) -> value
_LINE = re.compile(rf"^([A-Z]\d\d)((?: (?:{'|'.join(SETTINGS)}) \d>\d)+)$", re.MULTILINE)
_PAIR = re.compile(r"([a-z]+) (\d)>(\d)")
_SAID = re.compile(
    r"\buse\((?P<unit>[A-Z]\d\d)\)"
    rf"|\b(?P<called>{'|'.join(SETTINGS)})\((?P<value>\d\d?)\)"
    rf"|\b(?P<repeated>{'|'.join(SETTINGS)}) \d>\d(?P<idle> -)?(?!\S*\d)"
)
_BOOK = read_book()


@dataclass(kw_only=True)
class Simulator:
    """Units with their settings, and the calls that change those of the selected one."""

    settings: Settings
    selected: str = ""

    def use(self, unit: str) -> None:
        """Select a unit. Raises UsageError, as `set` does, for a call that is an error."""
        if unit not in {known for known, _ in self.settings}:
            raise UsageError(f"unknown unit {unit}")
        self.selected = unit

    def set(self, setting: str, value: int) -> None:
        """Change a setting of the selected unit."""
        if not self.selected:
            raise UsageError("no unit is selected: call use(unit) first")
        if not LOWEST <= value <= HIGHEST:
            raise UsageError(f"{setting} {value} is outside {LOWEST} to {HIGHEST}")
        if self.settings[self.selected, setting] == value:
            raise UsageError(f"{setting} of {self.selected} is {value} already")
        self.settings[self.selected, setting] = value

    def run(self, calls: str) -> None:
        """Run calls `use(K65) tilt(5)` in turn; a setting may be repeated before its call, `tilt 4>5`, or with `-` if it stays.

        Raises:
            UsageError: text that is none of these, a call that is an error, or a `-` where it is wrong.
        """
        if re.sub(r"[\s,;]", "", _SAID.sub("", calls)):
            raise UsageError("wants use(unit), then calls such as tilt(value), or a setting with - for none")
        said = [*_SAID.finditer(calls)]
        idle, called = {each["repeated"] for each in said if each["idle"]}, {each["called"] for each in said if each["called"]}
        if wrong := sorted(idle & called):
            raise UsageError(f"{wrong[0]} is called besides its -")
        for each in said:
            if each["unit"]:
                self.use(each["unit"])
            elif each["called"]:
                self.set(each["called"], int(each["value"]))


def read_lines(text: str) -> tuple[Settings, Settings]:
    """The state and the goal that a question's lines state."""
    state: Settings = {}
    goal: Settings = {}
    for unit, pairs in _LINE.findall(text):
        for setting, now, wanted in _PAIR.findall(pairs):
            state[unit, setting], goal[unit, setting] = int(now), int(wanted)
    return state, goal


def _wanted(question: str, unit: str) -> tuple[Settings, Settings]:
    """The state, and the settings when the asked unit alone is at its goal."""
    state, goal = read_lines(question)
    return state, {place: goal[place] if place[0] == unit else value for place, value in state.items()}


def _answer(site: Site, lines: str) -> str:
    state, goal = read_lines(lines)
    steps = [f"use({site.unit})"]
    for setting in SETTINGS:
        now, wanted = state[site.unit, setting], goal[site.unit, setting]
        steps.append(f"{setting} {now}>{wanted} " + (f"{setting}({wanted})" if now != wanted else "-"))
    return f"{site.name}: {', '.join(steps)}"


def _line(chance: np.random.Generator, unit: str, differing: int) -> str:
    """A unit with `differing` settings that differ from their goal."""
    changed = set(sample(chance, SETTINGS, differing))
    pairs = []
    for setting in SETTINGS:
        now, other = sample(chance, range(LOWEST, HIGHEST + 1), 2)
        pairs.append(f"{setting} {now}>{other if setting in changed else now}")
    return " ".join([unit, *pairs])


def draw(chance: np.random.Generator, grade: int, language: str) -> Task:
    """Four units, the asked one with `grade` settings that differ from their goal."""
    site = _BOOK.some_site(chance, rarity=grade)
    others = sample(chance, [unit for unit in _BOOK.units if unit != site.unit], UNITS - 1)
    every = [_line(chance, site.unit, grade), *(_line(chance, unit, pick(chance, GRADES)) for unit in others)]
    lines = "\n".join(sample(chance, every, UNITS))
    wording = word(chance, NAME, language)
    return Task(
        family=NAME,
        template=wording.id,
        grade=grade,
        key=f"{site.unit}/{lines}",
        messages=user(wording.fill(lines=lines, site=site.name)),
        answer=_answer(site, lines),
        language=language,
    )


def accepts(task: Task, reply: str) -> bool:
    """True if the reply's calls run without an error, bring the site's unit to its goal and leave the others."""
    try:
        state, goal = _wanted(task.question, _BOOK.site_in(task.question).unit)
        simulator = Simulator(settings=state)
        simulator.run(after_last(reply.replace("：", ":")))
    except (KeyError, UsageError):
        return False
    return simulator.settings == goal


def solve(task: Task) -> str:
    """Goes through the settings of the site's unit, with a call for every one that differs."""
    return _answer(_BOOK.site_in(task.question), task.question)


FAMILY = Family(
    name=NAME,
    summary="tool calls that bring a site's unit to its goal, run on a simulator",
    depth="settings that differ",
    draw=draw,
    accepts=accepts,
    solve=solve,
)
