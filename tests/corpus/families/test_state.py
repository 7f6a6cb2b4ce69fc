"""States of sites at a time."""

from __future__ import annotations

from itertools import product

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from netgpt.core.chance import SeededChance
from netgpt.corpus.book import read_book
from netgpt.corpus.families.state import FAMILY
from netgpt.corpus.task import GRADES, LANGUAGES, Task, user

TIMES = 20


def tasks(*grades: int) -> list[Task]:
    chance = SeededChance(1).stream("test")
    return [FAMILY.draw(chance, grade, language) for grade, language in product(grades or GRADES, LANGUAGES) for _ in range(TIMES)]


def test_near_misses_are_rejected() -> None:
    for task in tasks():
        steps, _, final = task.answer.rpartition(": ")
        for reply in ("", f"{steps}:", f"{task.answer}x", f"{task.answer} or lost", f"{steps}: lost", f"{steps}: lost, {final}", f"not {final}"):
            assert not FAMILY.accepts(task, reply), (task.answer, reply)


def test_a_full_width_colon_and_a_final_stop_are_read() -> None:
    task = tasks()[0]
    assert FAMILY.accepts(task, task.answer.replace(":", "：") + "。")


@given(seed=st.integers(0, 2**32), grade=st.sampled_from(GRADES), language=st.sampled_from(LANGUAGES))
@settings(max_examples=60, deadline=None)
def test_stopping_too_early_or_too_late_is_refused_where_the_state_is_wrong(seed: int, grade: int, language: str) -> None:
    task = FAMILY.draw(SeededChance(seed).stream("test"), grade, language)
    unit = read_book().site_in(task.question).unit
    events = [line[6:] for line in task.question.split("\n") if line.startswith(f"{unit} t=")]
    assert len(events) > grade
    for count in range(1, len(events) + 1):
        state = events[count - 1].split()[1]
        reply = f"{', '.join(events[:count])}, end: {state}"
        assert FAMILY.accepts(task, reply) == (state == events[grade - 1].split()[1]), reply
    assert FAMILY.accepts(task, f"{', '.join(events[:grade])}: {events[grade - 1].split()[1]}")


def test_the_answer_stops_at_the_first_later_event_or_at_the_end() -> None:
    site, other = read_book().sites[20:22]
    lines = f"{site.unit} t=14 down\n{other.unit} t=30 idle\n{site.unit} t=75 up\n"
    for time, steps in ((74, "14 down, 75 > 74: down"), (75, "14 down, 75 up, end: up")):
        answer = f"{site.name} = {site.unit}, {steps}"
        task = Task(family="state", template="x", grade=1, key="x", messages=user(f"{lines}State of {site.name} at t={time}?"), answer=answer)
        assert FAMILY.solve(task) == answer


@pytest.mark.parametrize("grade", GRADES)
def test_the_steps_of_the_answer_count_the_grade(grade: int) -> None:
    for task in tasks(grade):
        assert task.answer.count(", ") == grade + 1
