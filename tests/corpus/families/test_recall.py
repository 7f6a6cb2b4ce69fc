"""Facts of the standards: wordings, rarity classes, grading, and what training sees of every fact."""

from __future__ import annotations

import dataclasses

import pytest

from netgpt.core.chance import SeededChance
from netgpt.corpus.families.recall import CLASS_SHARES, PARAMETERS, TERMS, class_ends, read_forms
from netgpt.corpus.task import GRADES, LANGUAGES, Family, Task, is_held_out, user

FAMILIES = (TERMS, PARAMETERS)
by_family = pytest.mark.parametrize("family", FAMILIES, ids=lambda family: family.name)


def drawn(family: Family, count: int = 20) -> list[Task]:
    chance = SeededChance(5).stream(family.name)
    return [family.draw(chance, grade, language) for grade in GRADES for language in LANGUAGES for _ in range(count)]


@by_family
def test_the_solver_reads_every_question(family: Family) -> None:
    for task in drawn(family):
        blind = dataclasses.replace(task, answer="", key="", grade=1, template="")
        assert family.accepts(task, task.answer)
        assert family.accepts(task, family.solve(blind))


@by_family
def test_the_question_does_not_tell_its_grade(family: Family) -> None:
    tasks = drawn(family, 150)
    means = [sum(len(task.question) for task in tasks if task.grade == grade) / 300 for grade in (1, 6)]
    assert abs(means[0] - means[1]) <= 0.1 * max(means)


@by_family
def test_no_question_has_two_answers(family: Family) -> None:
    answers: dict[str, str] = {}
    for form in read_forms(f"{family.name}.toml"):
        for row in form.rows:
            for sentence in (*form.questions, *form.questions_zh):
                answer = form.answer.format(**row)
                assert answers.setdefault(sentence.format(**row), answer) == answer


@by_family
def test_every_fact_is_trained_in_some_wording(family: Family) -> None:
    for form in read_forms(f"{family.name}.toml"):
        assert len({*form.questions}) == len(form.questions) >= 5
        assert len({*form.questions_zh}) == len(form.questions_zh) >= 4
        for i in range(len(form.rows)):
            keys = [f"{i}/{family.name}-{form.name}-{language}-{n + 1}" for language in LANGUAGES for n in range(len(form.wordings(language)))]
            tasks = [Task(family=family.name, template="", grade=1, key=key, messages=user(""), answer="") for key in keys]
            assert sum(not is_held_out(task) for task in tasks) >= 2


def test_drawn_keys_are_those_checked_for_the_split() -> None:
    for task in drawn(TERMS, 3):
        row, _, template = task.key.partition("/")
        assert template == task.template
        assert row.isdigit()


@pytest.mark.parametrize("count", [1, 5, 6, 26, 63, 127])
def test_rarity_classes_grow_and_cover_all_rows(count: int) -> None:
    ends = class_ends(count)
    sizes = [end - start for start, end in zip([0, *ends], ends, strict=False)]
    assert ends[-1] == count
    assert sizes == (sorted(sizes) if count >= len(GRADES) else [1] * count + [0] * (len(GRADES) - count))
    assert count != 63 or tuple(sizes) == CLASS_SHARES


@by_family
def test_near_misses_are_rejected(family: Family) -> None:
    for task in drawn(family, 10):
        assert not family.accepts(task, "")
        assert not family.accepts(task, task.question)
        assert not family.accepts(task, "I do not know.")


def test_several_options_are_rejected() -> None:
    task = next(task for task in drawn(TERMS, 50) if task.answer == "User Equipment")
    assert TERMS.accepts(task, "It stands for user equipment.")
    assert not TERMS.accepts(task, "User Equipment or New Radio")
