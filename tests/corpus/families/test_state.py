"""States of sites at a time."""

from __future__ import annotations

from collections import Counter
from itertools import product

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from netgpt.core.chance import SeededChance
from netgpt.corpus.book import REGIONS, read_book
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
    region = read_book().site_in(task.question).region
    events = [line.partition(" ")[2] for line in task.question.split("\n")[:-1] if line.startswith(f"{region} ")]
    assert len(events) > grade
    for count in range(1, len(events) + 1):
        state = events[count - 1].split()[1]
        reply = f"{', '.join(events[:count])}, end: {state}"
        assert FAMILY.accepts(task, reply) == (state == events[grade - 1].split()[1]), reply
    assert FAMILY.accepts(task, f"{', '.join(events[:grade])}: {events[grade - 1].split()[1]}")


def test_the_answer_stops_at_the_first_later_event_or_at_the_end() -> None:
    site = read_book().sites[20]
    here, other = site.region, next(region for region in REGIONS if region != site.region)
    lines = f"{here} 14 down\n{other} 30 idle\n{here} 75 up\n"
    for time, steps in ((74, f"{here} 14 down, {here} 75 > 74: down"), (75, f"{here} 14 down, {here} 75 up, end: up")):
        answer = f"{site.name} = {steps}"
        task = Task(family="state", template="x", grade=1, key="x", messages=user(f"{lines}State around {site.name} at t={time}?"), answer=answer)
        assert FAMILY.solve(task) == answer


def test_the_frequency_of_a_region_does_not_tell_that_it_is_asked() -> None:
    for task in tasks():
        counts = Counter(line.split()[0] for line in task.question.split("\n")[:-1])
        asked = read_book().site_in(task.question).region
        assert counts[asked] - task.grade in (1, 2)
        assert sorted(counts.values()) == sorted([counts[asked], 10 - counts[asked]] * 2)


@pytest.mark.parametrize("grade", GRADES)
def test_the_steps_of_the_answer_count_the_grade(grade: int) -> None:
    for task in tasks(grade):
        assert task.answer.count(", ") == grade
