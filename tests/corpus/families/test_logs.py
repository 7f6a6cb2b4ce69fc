"""Root causes in logs."""

from __future__ import annotations

from itertools import product

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from netgpt.core.chance import SeededChance
from netgpt.corpus.book import read_book
from netgpt.corpus.families.logs import FAMILY
from netgpt.corpus.task import GRADES, LANGUAGES, Task

TIMES = 20


def tasks(*grades: int) -> list[Task]:
    chance = SeededChance(1).stream("test")
    return [FAMILY.draw(chance, grade, language) for grade, language in product(grades or GRADES, LANGUAGES) for _ in range(TIMES)]


def test_near_misses_are_rejected() -> None:
    for task in tasks():
        steps, _, final = task.answer.rpartition(": ")
        for reply in (
            "",
            steps,
            f"{task.answer}x",
            f"{task.answer} or moon gone",
            f"{steps}: moon gone",
            f"{steps}: moon gone, {final}",
            f"not {final}",
        ):
            assert not FAMILY.accepts(task, reply), (task.answer, reply)


def test_a_full_width_colon_and_a_final_stop_are_read() -> None:
    task = tasks()[0]
    assert FAMILY.accepts(task, task.answer.replace(":", "：") + "。")


@given(seed=st.integers(0, 2**32), grade=st.sampled_from(GRADES), language=st.sampled_from(LANGUAGES))
@settings(max_examples=60, deadline=None)
def test_a_chain_that_ends_too_early_or_elsewhere_is_refused(seed: int, grade: int, language: str) -> None:
    task = FAMILY.draw(SeededChance(seed).stream("test"), grade, language)
    texts = {line[:3]: line[4:].partition(" <")[0] for line in task.question.split("\n")[:-1]}
    site, _, steps = task.answer.partition(": ")[0].partition(" = ")
    *links, none = steps.split(" < ")
    chain = [link.partition(" ")[0] for link in links]
    assert links == [f"{unit} {texts[unit]}" for unit in chain]
    assert chain[0] == read_book().by_name[site].unit
    assert none == "none"
    assert FAMILY.accepts(task, f"{' < '.join(chain)}: {texts[chain[-1]]}")
    assert not FAMILY.accepts(task, f"{' < '.join(chain[:-1])} < none: {texts[chain[-2]]}")
    for other in texts.keys() - {chain[-1]}:
        assert not FAMILY.accepts(task, f"{' < '.join([*chain, other])} < none: {texts[other]}")
    assert not FAMILY.accepts(task, f"{' < '.join([*chain, none])}: {none}")


@pytest.mark.parametrize("grade", GRADES)
def test_the_steps_of_the_answer_count_the_grade(grade: int) -> None:
    for task in tasks(grade):
        assert task.answer.count(" < ") == grade + 1
