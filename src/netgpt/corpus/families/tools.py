"""Tool calls that bring three cells from their state to their goal, run on a small simulator.

Each line is a cell with the value now and the value wanted of its power and its tilt. A grade counts the
settings, of six, that differ. The key is the lines. The answer names each cell in turn, then its calls, or `-`
if it is to stay as it is: `K72 -, D38 power(D38,12) tilt(D38,4), R48 tilt(R48,6)`. The grader runs the reply's
calls on the simulator: any order is right that makes no error and reaches the goal, with cells named or not.

Decides: a call that changes nothing, names an unknown cell or leaves the range is an error; so is a `-` for an
unknown cell, or for one that is called besides.
"""

from __future__ import annotations

import re
from dataclasses import dataclass

import numpy as np

from netgpt.core.errors import UsageError
from netgpt.corpus.reading import after_last
from netgpt.corpus.task import Family, Task, sample, user
from netgpt.corpus.wording import word

NAME = "tools"
CELLS = 3
CELL_NAMES = tuple(f"{letter}{number:02d}" for letter in "ABCDEFGHJKLMNPRSTUVWXYZ" for number in range(1, 100))
RANGES = {"power": (10, 46), "tilt": (1, 15)}
Settings = dict[tuple[str, str], int]  # (cell, setting) -> value
_LINE = re.compile(r"^([A-Z]\d\d) power (\d+) -> (\d+) tilt (\d+) -> (\d+)$", re.MULTILINE)
_SAID = re.compile(
    r"\b(?P<idle>[A-Z]\d\d) -(?![^\s,;])"  # a cell with nothing to do
    r"|\b(?P<named>[A-Z]\d\d)(?= (?:power|tilt)\((?P=named),)"  # a cell before its calls
    r"|(?P<setting>power|tilt)\((?P<cell>[A-Z]\d\d),\s?(?P<value>[1-9]\d?)\)"
)


@dataclass(kw_only=True)
class Simulator:
    """Cells with their power and tilt, and the calls that change them."""

    settings: Settings

    def set_power(self, cell: str, value: int) -> None:
        """Raises UsageError, as `set_tilt` does, for a call that is an error."""
        self._set(cell, "power", value)

    def set_tilt(self, cell: str, value: int) -> None:
        self._set(cell, "tilt", value)

    def _set(self, cell: str, setting: str, value: int) -> None:
        low, high = RANGES[setting]
        if (cell, setting) not in self.settings:
            raise UsageError(f"unknown cell {cell}")
        if not low <= value <= high:
            raise UsageError(f"{setting} {value} is outside {low} to {high}")
        if self.settings[cell, setting] == value:
            raise UsageError(f"{setting} of {cell} is {value} already")
        self.settings[cell, setting] = value

    def run(self, calls: str) -> None:
        """Run calls `power(A31,38) tilt(B07,5)` in turn; `C22 -` does nothing, and a cell may be named before its calls.

        Raises:
            UsageError: text that is none of these, a call that is an error, or a `-` where it is wrong.
        """
        if re.sub(r"[\s,;]", "", _SAID.sub("", calls)):
            raise UsageError("wants calls of power(cell,value) and tilt(cell,value), or a cell with - for none")
        said = [*_SAID.finditer(calls)]
        idle, called = ({each[kind] for each in said if each[kind]} for kind in ("idle", "cell"))
        if wrong := sorted((idle & called) | (idle - {cell for cell, _ in self.settings})):
            raise UsageError(f"{wrong[0]} is unknown, or called besides its -")
        for each in said:
            if each["setting"]:
                (self.set_power if each["setting"] == "power" else self.set_tilt)(each["cell"], int(each["value"]))


def read_lines(text: str) -> tuple[Settings, Settings]:
    """The state and the goal that a question's lines state."""
    state: Settings = {}
    goal: Settings = {}
    for cell, power, power_goal, tilt, tilt_goal in _LINE.findall(text):
        state[cell, "power"], goal[cell, "power"] = int(power), int(power_goal)
        state[cell, "tilt"], goal[cell, "tilt"] = int(tilt), int(tilt_goal)
    return state, goal


def _values(chance: np.random.Generator, setting: str) -> tuple[int, int]:
    """Two different values in the range of a setting."""
    low, high = RANGES[setting]
    first, second = sample(chance, range(low, high + 1), 2)
    return first, second


def _write_calls(state: Settings, goal: Settings) -> str:
    """Each cell, then its calls or `-`."""
    calls: dict[str, list[str]] = {cell: [] for cell, _ in goal}
    for (cell, setting), value in goal.items():
        if state[cell, setting] != value:
            calls[cell].append(f"{setting}({cell},{value})")
    return ", ".join(f"{cell} {' '.join(own) or '-'}" for cell, own in calls.items())


def _write_lines(state: Settings, goal: Settings) -> str:
    """One line for each cell, the goal behind the state."""
    cells = dict.fromkeys(cell for cell, _ in state)
    return "\n".join(" ".join([cell, *(f"{setting} {state[cell, setting]} -> {goal[cell, setting]}" for setting in RANGES)]) for cell in cells)


def draw(chance: np.random.Generator, grade: int, language: str) -> Task:
    """Three cells of which `grade` settings differ from their goal."""
    settings = [(cell, setting) for cell in sample(chance, CELL_NAMES, CELLS) for setting in RANGES]
    differing = set(sample(chance, settings, grade))
    state: Settings = {}
    goal: Settings = {}
    for place in settings:
        state[place], other = _values(chance, place[1])
        goal[place] = other if place in differing else state[place]
    lines = _write_lines(state, goal)
    wording = word(chance, NAME, language)
    return Task(
        family=NAME,
        template=wording.id,
        grade=grade,
        key=lines,
        messages=user(wording.fill(lines=lines)),
        answer=_write_calls(state, goal),
        language=language,
    )


def accepts(task: Task, reply: str) -> bool:
    """True if the reply's calls run without an error and reach the goal."""
    state, goal = read_lines(task.question)
    simulator = Simulator(settings=state)
    try:
        simulator.run(after_last(reply))
    except UsageError:
        return False
    return simulator.settings == goal


def solve(task: Task) -> str:
    """Goes through the cells in the order of the lines, with a call for every setting that differs."""
    return _write_calls(*read_lines(task.question))


FAMILY = Family(
    name=NAME,
    summary="tool calls that bring cells to a goal, run on a simulator",
    depth="settings that differ",
    draw=draw,
    accepts=accepts,
    solve=solve,
)
