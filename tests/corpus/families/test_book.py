"""Single facts of a book: grading, solving, rarity, and what training sees of every fact."""

from __future__ import annotations

import dataclasses

from netgpt.core.chance import SeededChance
from netgpt.corpus.book import read_book
from netgpt.corpus.families.book import FAMILY, FORMS, NAME, book_family, facts_of
from netgpt.corpus.task import GRADES, LANGUAGES, Family, Task, is_held_out, user
from netgpt.corpus.wording import family_wordings


def drawn(family: Family, count: int = 20) -> list[Task]:
    chance = SeededChance(5).stream(family.name)
    return [family.draw(chance, grade, language) for grade in GRADES for language in LANGUAGES for _ in range(count)]


def test_the_solver_reads_every_question_of_any_book() -> None:
    for family in (FAMILY, book_family(read_book("retrieval"), "retrieval")):
        for task in drawn(family):
            assert task.family == family.name
            assert family.accepts(task, task.answer)
            assert family.accepts(task, family.solve(dataclasses.replace(task, answer="", key="", grade=1, template="")))


def test_near_misses_and_several_options_are_rejected() -> None:
    for task in drawn(FAMILY):
        subject, _, value = task.answer.rpartition(": ")
        rival = next(f.value for f in facts_of(read_book(), task.template.split("-")[1])[6] if f.value not in (subject, value))
        assert FAMILY.accepts(task, value)
        for reply in ("", f"{subject}:", f"{subject}: {rival}", f"{subject}: {value} or {rival}", f"{subject}: {rival}: {value}", f"{value}x"):
            assert not FAMILY.accepts(task, reply)


def test_every_fact_is_trained_in_some_wording() -> None:
    for form in FORMS:
        wordings = [wording for language in LANGUAGES for wording in family_wordings(NAME)[language, form]]
        assert [len(family_wordings(NAME)[language, form]) for language in LANGUAGES] >= [5, 4]
        for fact in (fact for facts in facts_of(read_book(), form).values() for fact in facts):
            tasks = [Task(family=NAME, template=w.id, grade=1, key=f"{fact.subject}/{w.id}", messages=user(""), answer="") for w in wordings]
            assert sum(not is_held_out(task) for task in tasks) >= 2


def test_every_dialect_word_has_a_class() -> None:
    words = facts_of(read_book(), "word")
    assert sum(map(len, words.values())) == len(read_book().dialects)
