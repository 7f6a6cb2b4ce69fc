"""Timing: halvings of slots, strict numbers and units."""

from __future__ import annotations

import pytest

from netgpt.core.chance import SeededChance
from netgpt.corpus.families.timing import FAMILY
from netgpt.corpus.task import GRADES, LANGUAGES, Task, user
from netgpt.corpus.wording import family_wordings

DRAWS = 17  # per grade and language


def _draws(grade: int, language: str) -> list[Task]:
    chance = SeededChance(5).stream(f"timing/{grade}/{language}")
    return [FAMILY.draw(chance, grade, language) for _ in range(DRAWS)]


@pytest.mark.parametrize("language", LANGUAGES)
@pytest.mark.parametrize("grade", GRADES)
def test_the_answer_and_the_solvers_reply_are_accepted(grade: int, language: str) -> None:
    for task in _draws(grade, language):
        assert (task.family, task.grade, task.language) == ("timing", grade, language)
        assert FAMILY.accepts(task, task.answer)
        assert FAMILY.accepts(task, FAMILY.solve(task))


@pytest.mark.parametrize("language", LANGUAGES)
def test_the_length_does_not_tell_the_grade(language: str) -> None:
    means = [sum(len(task.question) for task in _draws(grade, language)) / DRAWS for grade in (1, 6)]
    assert abs(means[0] - means[1]) <= 0.1 * max(means)


@pytest.mark.parametrize(("language", "least"), [("en", 5), ("zh", 4)])
def test_there_are_enough_wordings_of_the_question(language: str, least: int) -> None:
    assert len(family_wordings("timing")[language, "question"]) >= least


def test_a_stream_makes_the_same_tasks_again() -> None:
    assert _draws(3, "en") == _draws(3, "en")


TASK = Task(
    family="timing",
    template="timing-en-1",
    grade=2,
    key="",
    messages=user("A31 60 kHz 480\nB12 30 kHz 500\nHow long are the slots of A31?"),
    answer="60 kHz 480/2=240/2=120: 120 ms",
)


@pytest.mark.parametrize("reply", ["120 ms", "120 ms."])
def test_other_spellings_are_accepted(reply: str) -> None:
    assert FAMILY.accepts(TASK, reply)


@pytest.mark.parametrize("reply", ["", "120", "240 ms", "120 s", "60 kHz 480/2=240: 240 ms", "120 ms or 240 ms", "240 or 120 ms"])
def test_near_misses_are_rejected(reply: str) -> None:
    assert not FAMILY.accepts(TASK, reply)


def test_the_solver_reads_the_question() -> None:
    assert FAMILY.solve(TASK) == TASK.answer
