"""What the judged tasks have in common with training: no key and no question; n-grams are counted rightly."""

from __future__ import annotations

from dataclasses import replace
from itertools import islice

from netgpt.core.chance import SeededChance
from netgpt.corpus.draw import judged_tasks, training_tasks
from netgpt.corpus.overlap import Overlap, data_of, overlap, word_grams
from netgpt.corpus.task import Task, user
from netgpt.corpus.wording import family_wordings

TRAINING_TASKS = 30_000
ASKED_BY_HEART = {"terms", "parameters", "book", "route", "reverse", "explain"}  # a known fact in new words: the data are trained on, on purpose


def test_no_judged_task_is_in_training_nor_its_data_in_other_words() -> None:
    found = overlap(judged_tasks(), islice(training_tasks(SeededChance(8).stream("test")), TRAINING_TASKS))
    assert sum(each.tasks for each in found) == len(judged_tasks())
    for each in found:
        assert each.keys == 0, each
        assert each.questions == 0, each
        assert each.pairs == 0, each
        assert each.same_data == 0 or each.family in ASKED_BY_HEART, each


def test_the_same_data_are_found_in_every_family() -> None:
    for task in judged_tasks()[::7]:
        assert data_of(task), task
        assert overlap([task], [task]) == (Overlap(family=task.family, tasks=1, keys=1, questions=1, pairs=1, same_data=1, grams_8=1, grams_13=1),)


def test_other_words_and_another_order_of_lines_are_the_same_data() -> None:
    first, second = family_wordings("unanswerable")["en", "question"][:2]
    lines = ["A31 owner Kim", "B12 band n78"]
    tasks = [
        Task(
            family="unanswerable",
            template=wording.id,
            grade=1,
            key=wording.id,
            messages=user(wording.fill(lines="\n".join(order), asked="A31 owner")),
            answer="",
        )
        for wording, order in ((first, lines), (second, lines[::-1]))
    ]
    (found,) = overlap(tasks[:1], tasks[1:])
    assert (found.same_data, found.questions, found.keys) == (1, 0, 0)
    other = replace(tasks[1], messages=user(second.fill(lines="\n".join(lines), asked="B12 band")))
    assert overlap(tasks[:1], [other])[0].same_data == 0


def test_the_whole_conversation_is_the_question() -> None:
    held_out = Task(
        family="tickets", template="", grade=1, key="a", messages=(("user", "T1 open"), ("assistant", "ok"), ("user", "And now?")), answer="open"
    )
    training = replace(held_out, key="b", messages=(("user", "T1 done"), *held_out.messages[1:]))
    assert overlap([held_out], [training])[0].questions == 0
    assert overlap([held_out], [replace(held_out, key="b", answer="done")])[0].questions == 1
    assert overlap([held_out], [replace(held_out, key="b", answer="done")])[0].pairs == 0


def test_grams_are_runs_of_words_whatever_case_and_marks() -> None:
    assert list(word_grams("What, is the TOTAL?", 3)) == ["what is the", "is the total"]
    assert list(word_grams("Too short", 3)) == ["too short"]
    assert list(word_grams("小区K54的总数", 4)) == ["小 区 k54 的", "区 k54 的 总", "k54 的 总 数"]


def test_a_shared_gram_counts_a_task_once() -> None:
    text = " ".join(f"w{i}" for i in range(20))
    held_out = Task(family="kpi", template="", grade=1, key="a", messages=user(text), answer="")
    eight = replace(held_out, key="b", messages=user(" ".join(f"w{i}" for i in range(9))))
    (found,) = overlap([held_out], [eight, eight])
    assert (found.grams_8, found.grams_13) == (1, 0)
