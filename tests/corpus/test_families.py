"""Families of tasks: generators, graders and solvers, held against each other. What is one family's own is in `families/`."""

from __future__ import annotations

from collections import Counter
from importlib import resources
from itertools import islice, product
from statistics import mean

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from netgpt.core.chance import SeededChance
from netgpt.corpus.draw import held_out_tasks, judged_digest, judged_tasks, read_mix, training_tasks
from netgpt.corpus.families import BY_NAME, FAMILIES, RESERVED
from netgpt.corpus.families.recall import CLASS_SHARES, class_ends, read_forms
from netgpt.corpus.overlap import FACT_FILES
from netgpt.corpus.task import GRADES, LANGUAGES, Family, Task, is_held_out, user
from netgpt.corpus.wording import family_wordings

each_family = pytest.mark.parametrize("family", BY_NAME.values(), ids=lambda family: family.name)
seeds, grades, languages = st.integers(0, 2**32), st.sampled_from(GRADES), st.sampled_from(LANGUAGES)
FROM_DATA = {"kpi", "logs", "state", "tickets", "views"}  # their keys are the data, so that no two tasks share one
LONGEST_SHORT_PROMPT, LONG_QUESTION = 450, (1300, 3500)  # characters


def drawn(family: Family, count: int, seed: int = 0) -> list[Task]:
    """Tasks in all grades and languages in turn."""
    chance, turns = SeededChance(seed).stream("test"), list(product(GRADES, LANGUAGES))
    return [family.draw(chance, *turns[i % len(turns)]) for i in range(count)]


@each_family
@given(seed=seeds, grade=grades, language=languages)
@settings(max_examples=40, deadline=None)
def test_a_grader_accepts_the_answer_of_its_generator_and_of_its_solver(family: Family, seed: int, grade: int, language: str) -> None:
    task = family.draw(SeededChance(seed).stream("test"), grade, language)
    assert (task.family, task.grade, task.language) == (family.name, grade, language)
    assert task.messages[-1] == ("user", task.question)
    assert family.accepts(task, task.answer)
    assert family.accepts(task, f" {task.answer}\n")
    assert family.accepts(task, family.solve(task))


@pytest.mark.parametrize("family", [family for family in BY_NAME.values() if family.draw_long], ids=lambda family: family.name)
@given(seed=seeds, grade=grades, language=languages)
@settings(max_examples=20, deadline=None)
def test_long_tasks_are_accepted_and_solved_too(family: Family, seed: int, grade: int, language: str) -> None:
    assert family.draw_long is not None
    task = family.draw_long(SeededChance(seed).stream("test"), grade, language)
    assert LONG_QUESTION[0] <= len(task.question) <= LONG_QUESTION[1]
    assert family.accepts(task, task.answer)
    assert family.accepts(task, family.solve(task))


@each_family
def test_a_solver_reads_the_conversation_alone_and_is_right_in_every_grade(family: Family) -> None:
    for task in drawn(family, 20 * len(GRADES) * len(LANGUAGES), seed=1):
        blind = Task(family=task.family, template="", grade=1, key="", messages=task.messages, answer="", language=task.language)
        assert family.accepts(task, family.solve(blind))
        assert sum(len(content) for _, content in task.messages) <= LONGEST_SHORT_PROMPT


@each_family
def test_a_stream_makes_the_same_tasks_again(family: Family) -> None:
    assert drawn(family, 24, seed=6) == drawn(family, 24, seed=6)


@pytest.mark.parametrize("name", sorted(FROM_DATA))
def test_tasks_over_data_have_keys_of_their_own_and_one_worked_answer(name: str) -> None:
    tasks = drawn(BY_NAME[name], 20 * len(GRADES) * len(LANGUAGES), seed=7)
    assert len({(task.grade, task.key) for task in tasks}) == len(tasks)
    assert all(BY_NAME[name].solve(task) == task.answer for task in tasks)


@each_family
@given(reply=st.text(max_size=60), seed=st.integers(0, 50))
@settings(max_examples=30, deadline=None)
def test_a_grader_never_raises_whatever_the_reply(family: Family, reply: str, seed: int) -> None:
    task = drawn(family, 1, seed)[0]
    for said in (reply, reply + task.answer, task.answer[: len(reply)], task.answer * 2):
        assert family.accepts(task, said) in (True, False)


@each_family
def test_a_grader_rejects_nothing_and_answers_to_other_questions(family: Family) -> None:
    tasks = drawn(family, 240, seed=2)
    rejected = compared = 0
    for task, other in zip(tasks, tasks[12:], strict=False):  # of the same grade and language
        assert not family.accepts(task, "")
        if other.answer != task.answer:
            compared += 1
            rejected += not family.accepts(task, other.answer)
    assert compared > 100
    assert rejected / compared > 0.7  # some agree in what is asked for: the same gateway by another way


@each_family
@pytest.mark.parametrize("language", LANGUAGES)
def test_the_surface_does_not_tell_the_grade(family: Family, language: str) -> None:
    chance = SeededChance(3).stream("test")

    def mean_length(grade: int) -> float:
        return mean(sum(len(content) for _, content in family.draw(chance, grade, language).messages) for _ in range(400))

    tolerance = 0.2 if family.name == "terms" else 0.1  # rare terms are longer words
    assert mean_length(6) == pytest.approx(mean_length(1), rel=tolerance)


@each_family
def test_a_family_has_wordings_in_both_languages_and_in_all_grades(family: Family) -> None:
    templates: dict[tuple[int, str], set[str]] = {}
    for task in drawn(family, 600, seed=4):
        templates.setdefault((task.grade, task.language), set()).add(task.template)
    assert len(templates) == len(GRADES) * len(LANGUAGES)
    assert all(len(found) >= 3 for found in templates.values())
    if family.name not in FACT_FILES:
        wordings = family_wordings(family.name)
        assert {form for language, form in wordings if language == "en"} == {form for language, form in wordings if language == "zh"}
        if ("en", "question") in wordings:
            assert len(wordings["en", "question"]) >= 5
            assert len(wordings["zh", "question"]) >= 4


@each_family
def test_no_question_has_two_answers(family: Family) -> None:
    answers: dict[tuple[tuple[str, str], ...], Task] = {}
    for task in drawn(family, 1200, seed=5):
        first = answers.setdefault(task.messages, task)
        assert family.accepts(first, task.answer)


def test_no_question_of_a_facts_file_has_two_answers() -> None:
    for file_name in FACT_FILES.values():
        answers: dict[str, str] = {}
        for form, language in product(read_forms(file_name), LANGUAGES):
            for row, question in product(form.rows, form.wordings(language)):
                answer = form.answer.format(**row)
                assert answers.setdefault(question.format(**row), answer) == answer


@pytest.mark.parametrize("file_name", FACT_FILES.values())
def test_every_fact_names_its_source_and_is_trained_in_some_wordings(file_name: str) -> None:
    name = file_name.removesuffix(".toml")
    for form in read_forms(file_name):
        assert form.source or all(row["source"] for row in form.rows)
        for language in LANGUAGES:
            texts = form.wordings(language)
            assert len(set(texts)) == len(texts)
        templates = [f"{name}-{form.name}-{language}-{i + 1}" for language in LANGUAGES for i in range(len(form.wordings(language)))]
        for i in range(len(form.rows)):
            asked = [Task(family=name, template=each, grade=1, key=f"{i}/{each}", messages=user(""), answer="") for each in templates]
            assert sum(not is_held_out(task) for task in asked) >= 2


@pytest.mark.parametrize("file_name", ["alarms.toml", "intents.toml"])
def test_facts_that_are_not_asked_one_by_one_name_their_source_in_the_heading(file_name: str) -> None:
    text = resources.files("netgpt.corpus").joinpath("facts", file_name).read_text(encoding="utf-8")
    heading = text.partition("\n\n")[0]
    assert "Source: " in heading or "TS " in heading


@given(count=st.integers(1, 2000))
def test_rarity_classes_grow_and_cover_all_rows(count: int) -> None:
    ends = class_ends(count)
    assert len(ends) == len(GRADES) == len(CLASS_SHARES)
    assert ends[-1] == count
    assert ends == sorted(ends)
    assert all(b > a for a, b in zip([0, *ends], ends, strict=False)) or count < len(GRADES)


def test_held_out_tasks_are_held_out_and_training_tasks_are_not() -> None:
    assert not any(map(is_held_out, islice(training_tasks(SeededChance(5).stream("test")), 5_000)))
    for family in BY_NAME.values():
        held_out = held_out_tasks(family, 20)
        assert len(held_out) == len({task.id for task in held_out}) == 20
        assert all(map(is_held_out, held_out))
        assert {task.language for task in held_out} == set(LANGUAGES)


def test_tasks_replay_from_their_seed() -> None:
    for long in (False, True):
        first, second = (list(islice(training_tasks(SeededChance(9).stream("test"), long=long), 200)) for _ in range(2))
        assert first == second
    assert held_out_tasks(FAMILIES[0], 20) == held_out_tasks(FAMILIES[0], 20)
    assert held_out_tasks(FAMILIES[0], 20, seed=1) != held_out_tasks(FAMILIES[0], 20)


def test_the_judged_tasks_cover_every_trained_family_and_grade() -> None:
    counts = Counter((task.family, task.grade) for task in judged_tasks())
    assert set(counts) == set(product(read_mix().share, GRADES))
    assert set(read_mix().share) == {family.name for family in FAMILIES}
    assert not set(read_mix().share) & {family.name for family in RESERVED}
    assert min(counts.values()) >= 5
    assert len({task.id for task in judged_tasks()}) == len(judged_tasks())


def test_spectral_efficiency_rises_with_the_mcs_index_as_in_the_standard() -> None:
    rows = next(form.rows for form in read_forms("parameters.toml") if form.name == "mcs-rate")
    efficiency = [row["order"] * row["rate"] / 1024 for row in sorted(rows, key=lambda row: int(row["mcs"]))]
    assert len(efficiency) == 29
    assert round(efficiency[0], 4) == 0.2344  # TS 38.214 table 5.1.3.1-1
    assert round(efficiency[28], 4) == 5.5547
    falls = [i for i in range(1, 29) if efficiency[i] < efficiency[i - 1]]
    assert falls == [17]  # 2.5703 to 2.5664, in the standard itself


def test_the_judged_tasks_are_those_that_were_frozen() -> None:
    assert judged_digest() == read_mix().digest  # a change that moves a judged task makes every earlier figure incomparable
