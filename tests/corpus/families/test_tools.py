"""Tools: the simulator, near misses, the solver, and that the surface does not tell the grade."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from netgpt.core.errors import UsageError
from netgpt.corpus.book import read_book
from netgpt.corpus.families import tools
from netgpt.corpus.task import GRADES, LANGUAGES, Task, user

SITE = read_book().sites[20]
OTHER = read_book().sites[21].unit
LINES = f"{OTHER} power 4>4 tilt 3>9 cio 1>1 prb 2>5 pci 7>7 timer 2>3\n{SITE.unit} power 4>6 tilt 3>3 cio 1>1 prb 2>2 pci 7>7 timer 2>5"
TASK = Task(
    family="tools",
    template="x",
    grade=2,
    key="x",
    messages=user(f"{LINES}\nBring {SITE.name} to its goal."),
    answer=f"{SITE.name}: use({SITE.unit}), power 4>6 power(6), tilt 3>3 -, cio 1>1 -, prb 2>2 -, pci 7>7 -, timer 2>5 timer(5)",
)


def _tasks(grade: int, language: str, count: int = 17) -> list[Task]:
    return [tools.draw(np.random.default_rng(seed), grade, language) for seed in range(count)]


@pytest.mark.parametrize("language", LANGUAGES)
@pytest.mark.parametrize("grade", GRADES)
def test_solver_and_own_answer_are_accepted(grade: int, language: str) -> None:
    for task in _tasks(grade, language):
        assert tools.accepts(task, task.answer)
        assert tools.solve(replace(task, answer="", key="", grade=1)) == task.answer
        assert task.answer.count("(") == grade + 1
        assert len(task.question) <= 330


def test_near_misses_are_rejected() -> None:
    assert tools.solve(TASK) == TASK.answer
    use = f"use({SITE.unit})"
    for reply in (
        TASK.answer,
        f"{use} power(6) timer(5)",
        f"{use}\ntimer(5)\npower(6)",
        f"Calls: {use}, power 4>6 power(6); timer(5).",
        f"use({OTHER}), {use}, power(6), timer(5)",
    ):
        assert tools.accepts(TASK, reply), reply
    for reply in (
        "",
        "power(6) timer(5)",
        f"{use} power(6)",
        f"{use} power(6) timer(6)",
        f"{use} power(6) timer(5) tilt(3)",
        f"{use} power(6) timer(5) timer(5)",
        f"{use} power(6) timer(5) tilt(4)",
        f"{use} power(6) or timer(5)",
        f"{use} power(6) timer(5",
        f"{use} power(10) power(6) timer(5)",
        f"{use} power(6) power 4>6 - timer(5)",
        f"{use} power(6) timer(5) gain(3)",
        f"use({OTHER}) power(6) timer(5)",
        f"use({OTHER}) tilt(9) {use} power(6) timer(5)",
        f"use(A00x) {use} power(6) timer(5)",
    ):
        assert not tools.accepts(TASK, reply), reply


@given(seed=st.integers(0, 2**32), grade=st.sampled_from(GRADES), language=st.sampled_from(LANGUAGES), data=st.data())
@settings(max_examples=60, deadline=None)
def test_a_call_too_many_or_too_few_is_refused(seed: int, grade: int, language: str, data: st.DataObject) -> None:
    task = tools.draw(np.random.default_rng(seed), grade, language)
    use, *said = task.answer.partition(": ")[2].split(", ")
    assert len(said) == len(tools.SETTINGS)
    calls = [each.split()[-1] for each in said if not each.endswith("-")]
    assert tools.accepts(task, " ".join([use, *data.draw(st.permutations(calls))]))
    assert not tools.accepts(task, " ".join([use, *calls[1:]]))
    i = data.draw(st.integers(0, len(said) - 1))
    setting, values, call = said[i].split()
    wrong = f"{setting} {values} {setting}({values[-1]})" if call == "-" else f"{setting} {values} -"
    assert not tools.accepts(task, ", ".join([use, *said[:i], wrong, *said[i + 1 :]])), wrong


@given(seed=st.integers(0, 2**32), grade=st.sampled_from(GRADES), language=st.sampled_from(LANGUAGES))
@settings(max_examples=30, deadline=None)
def test_bringing_another_unit_to_its_goal_is_refused(seed: int, grade: int, language: str) -> None:
    task = tools.draw(np.random.default_rng(seed), grade, language)
    state, goal = tools.read_lines(task.question)
    units = list(dict.fromkeys(unit for unit, _ in state))
    right = read_book().site_in(task.question).unit
    assert len(units) == tools.UNITS
    for unit in units:
        calls = [f"{name}({goal[unit, name]})" for name in tools.SETTINGS if state[unit, name] != goal[unit, name]]
        assert tools.accepts(task, " ".join([f"use({unit})", *calls])) == (unit == right)


@pytest.mark.parametrize(("setting", "value"), [("tilt", 3), ("tilt", 10), ("tilt", 0)])
def test_simulator_refuses_calls_that_are_errors(setting: str, value: int) -> None:
    simulator = tools.Simulator(settings={("A31", "tilt"): 3})
    with pytest.raises(UsageError, match="no unit is selected"):
        simulator.set("tilt", 4)
    with pytest.raises(UsageError, match="unknown unit B07"):
        simulator.use("B07")
    simulator.use("A31")
    simulator.set("tilt", 4)
    simulator.set("tilt", 3)
    with pytest.raises(UsageError):
        simulator.set(setting, value)
    assert simulator.settings == {("A31", "tilt"): 3}
