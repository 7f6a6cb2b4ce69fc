"""Priority: the open tickets in order, the first at the end."""

from __future__ import annotations

import pytest

from netgpt.core.chance import SeededChance
from netgpt.corpus.families.priority import FAMILY
from netgpt.corpus.task import GRADES, LANGUAGES, Task, user
from netgpt.corpus.wording import family_wordings

DRAWS = 17  # per grade and language


def _draws(grade: int, language: str) -> list[Task]:
    chance = SeededChance(5).stream(f"priority/{grade}/{language}")
    return [FAMILY.draw(chance, grade, language) for _ in range(DRAWS)]


@pytest.mark.parametrize("language", LANGUAGES)
@pytest.mark.parametrize("grade", GRADES)
def test_the_answer_and_the_solvers_reply_are_accepted(grade: int, language: str) -> None:
    for task in _draws(grade, language):
        assert (task.family, task.grade, task.language) == ("priority", grade, language)
        assert FAMILY.accepts(task, task.answer)
        assert FAMILY.accepts(task, FAMILY.solve(task))


@pytest.mark.parametrize("language", LANGUAGES)
def test_the_length_does_not_tell_the_grade(language: str) -> None:
    means = [sum(len(task.question) for task in _draws(grade, language)) / DRAWS for grade in (1, 6)]
    assert abs(means[0] - means[1]) <= 0.1 * max(means)


@pytest.mark.parametrize(("language", "least"), [("en", 5), ("zh", 4)])
def test_there_are_enough_wordings_of_the_question(language: str, least: int) -> None:
    assert len(family_wordings("priority")[language, "question"]) >= least


def test_a_stream_makes_the_same_tasks_again() -> None:
    assert _draws(3, "en") == _draws(3, "en")


TASK = Task(
    family="priority",
    template="priority-en-1",
    grade=2,
    key="",
    messages=user("T41 7 open\nT12 3 open\nT60 9 done\nT13 8 done\nT43 5 done\nT54 1 done\nOrder the open tickets by severity."),
    answer="T41 > T12: T41",
)


@pytest.mark.parametrize("reply", ["T41, T12: T41", "T41 > T12: T41."])
def test_other_spellings_are_accepted(reply: str) -> None:
    assert FAMILY.accepts(TASK, reply)


@pytest.mark.parametrize("reply", ["", "T41", "T12 > T41: T12", "T12 > T41: T41", "T41 > T12: T12", "T60 > T41 > T12: T60", "T41 > T12: T41 T12"])
def test_near_misses_are_rejected(reply: str) -> None:
    assert not FAMILY.accepts(TASK, reply)


def test_the_solver_reads_the_question() -> None:
    assert FAMILY.solve(TASK) == TASK.answer
