"""Routes that begin at a unit: grading, solving, and what training sees of every subject."""

from __future__ import annotations

import dataclasses

from netgpt.core.chance import SeededChance
from netgpt.corpus.book import read_book
from netgpt.corpus.families.reverse import FAMILY, NAME, reverse_family
from netgpt.corpus.task import GRADES, LANGUAGES, Family, Task, is_held_out, user
from netgpt.corpus.wording import family_wordings


def drawn(family: Family, count: int = 20) -> list[Task]:
    chance = SeededChance(5).stream(family.name)
    return [family.draw(chance, grade, language) for grade in GRADES for language in LANGUAGES for _ in range(count)]


def test_the_solver_reads_every_question_of_any_book() -> None:
    for family in (FAMILY, reverse_family(read_book("retrieval"), "other")):
        for task in drawn(family):
            assert task.family == family.name
            assert family.accepts(task, task.answer)
            assert family.accepts(task, family.solve(dataclasses.replace(task, answer="", key="", grade=1, template="")))


def test_the_grade_counts_the_hops() -> None:
    assert all(task.answer.count(" > ") == task.grade for task in drawn(FAMILY))


def test_near_misses_and_several_options_are_rejected() -> None:
    for task in drawn(FAMILY):
        steps, _, result = task.answer.rpartition(": ")
        other = next(site.name for site in read_book().by_depth[0] if site.name != result)
        assert FAMILY.accepts(task, result)
        for reply in ("", steps, f"{steps}:", f"{steps}: {other}", f"{steps}: {result}, {other}", f"{steps}: {other}\n{task.answer}", f"{result}x"):
            assert not FAMILY.accepts(task, reply)


def test_every_subject_is_trained_in_some_wording() -> None:
    forms = {form for _, form in family_wordings(NAME)}
    for form in forms:
        wordings = [wording for language in LANGUAGES for wording in family_wordings(NAME)[language, form]]
        for site in read_book().sites:
            subject = site.unit
            tasks = [Task(family=NAME, template=w.id, grade=1, key=f"{subject}/{w.id}", messages=user(""), answer="") for w in wordings]
            assert sum(not is_held_out(task) for task in tasks) >= 2
