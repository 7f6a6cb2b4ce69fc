"""Tools: the simulator, near misses, the solver, and that the surface does not tell the grade."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from netgpt.core.errors import UsageError
from netgpt.corpus.families import tools
from netgpt.corpus.task import GRADES, LANGUAGES, Task, user

LINES = "A31 power 40 -> 38 tilt 3 -> 3\nB07 power 20 -> 20 tilt 4 -> 5\nC22 power 30 -> 30 tilt 9 -> 9"


def _tasks(grade: int, language: str, count: int = 17) -> list[Task]:
    return [tools.draw(np.random.default_rng(seed), grade, language) for seed in range(count)]


@pytest.mark.parametrize("language", LANGUAGES)
@pytest.mark.parametrize("grade", GRADES)
def test_solver_and_own_answer_are_accepted(grade: int, language: str) -> None:
    for task in _tasks(grade, language):
        assert tools.accepts(task, task.answer)
        assert tools.solve(replace(task, answer="", key="", grade=1)) == task.answer
        assert task.answer.count("(") == grade
        assert len(task.question) <= 330


def test_near_misses_are_rejected() -> None:
    task = Task(family="tools", template="x", grade=2, key="x", messages=user(LINES), answer="A31 power(A31,38), B07 tilt(B07,5), C22 -")
    for reply in (
        task.answer,
        "power(A31,38) tilt(B07,5)",
        "tilt(B07,5)\npower(A31, 38)",
        "C22 -; power(A31,38); B07 tilt(B07,5)",
        "Calls: power(A31,38), tilt(B07,5).",
    ):
        assert tools.accepts(task, reply), reply
    for reply in (
        "",
        "power(A31,38)",
        "power(A31,38) tilt(B07,6)",
        "power(A31,38) tilt(B07,5) tilt(C22,9)",
        "power(A31,38) tilt(B07,5) tilt(B07,5)",
        "power(A31,38) tilt(B07,5) tilt(C22,8)",
        "power(A31,38) tilt(B07,5) tilt(D22,8)",
        "power(A31,38) or tilt(B07,5)",
        "power(A31,38) tilt(B07,5",
        "power(A31,99) power(A31,38) tilt(B07,5)",
        "A31 -, B07 tilt(B07,5), C22 -",
        "A31 power(A31,38), B07 tilt(B07,5), C22",
        "A31 power(A31,38), B07 tilt(B07,5), C22 tilt(C22,9)",
        "A31 power(A31,38), B07 tilt(B07,5), D22 -",
        "A31 power(A31,38), B07 tilt(B07,5) -, C22 -",
        "A31 power(A31,38), B07 -, B07 tilt(B07,5), C22 -",
        "B07 power(A31,38), A31 tilt(B07,5), C22 -",
    ):
        assert not tools.accepts(task, reply), reply


@given(seed=st.integers(0, 2**32), grade=st.sampled_from(GRADES), language=st.sampled_from(LANGUAGES), data=st.data())
@settings(max_examples=60, deadline=None)
def test_a_call_too_many_or_too_few_is_refused(seed: int, grade: int, language: str, data: st.DataObject) -> None:
    task = tools.draw(np.random.default_rng(seed), grade, language)
    said = task.answer.split(", ")
    assert len(said) == tools.CELLS
    calls = [word for each in said for word in each.split()[1:] if word != "-"]
    assert tools.accepts(task, " ".join(data.draw(st.permutations(calls))))
    i = data.draw(st.integers(0, tools.CELLS - 1))
    cell, *own = said[i].split()
    for wrong in (f"{cell} -" if own != ["-"] else f"{cell} power({cell},30)", f"{said[i]} tilt({cell},7)", f"{said[i]} -"):
        assert not tools.accepts(task, ", ".join([*said[:i], wrong, *said[i + 1 :]])), wrong


@pytest.mark.parametrize(("cell", "value"), [("A31", 3), ("A31", 16), ("A31", 0), ("B07", 5)])
def test_simulator_refuses_calls_that_are_errors(cell: str, value: int) -> None:
    simulator = tools.Simulator(settings={("A31", "tilt"): 3})
    simulator.set_tilt("A31", 4)
    simulator.set_tilt("A31", 3)
    with pytest.raises(UsageError):
        simulator.set_tilt(cell, value)
    assert simulator.settings == {("A31", "tilt"): 3}
