"""Know-nothing controls: they answer from training tasks alone, and by chance where chance is known."""

from __future__ import annotations

from netgpt.corpus.controls import LongestOption, Majority, Nearest, NGram, control_replies, examples, final_answer, form_of
from netgpt.corpus.draw import held_out_tasks
from netgpt.corpus.families import BY_NAME
from netgpt.corpus.task import Task, is_held_out, user


def question(text: str, answer: str = "", template: str = "alarms-en-1") -> Task:
    return Task(family="alarms", template=template, grade=1, key="", messages=user(text), answer=answer)


def test_controls_never_see_a_held_out_task() -> None:
    assert not any(is_held_out(task) for task in examples("terms", 300))


def test_options_are_guessed_at_about_chance() -> None:
    tasks = held_out_tasks(BY_NAME["alarms"], 90)
    replies = control_replies(tasks, seen_a_family=400)
    shares = {name: sum(map(BY_NAME["alarms"].accepts, tasks, said)) / len(tasks) for name, said in replies.items()}
    assert 0.05 < shares["random"] < 0.45  # one of four options
    assert 0.05 < shares["longest_option"] < 0.45


def test_the_majority_is_the_most_frequent_final_answer_of_the_form() -> None:
    seen = [question("?", f"{cause}: {letter}") for cause, letter in (("a", "A"), ("b", "B"), ("c", "B"))]
    assert Majority(seen).reply(question("what?")) == "B"
    assert Majority(seen).reply(question("what?", template="other-en-1")) == ""


def test_the_longest_option_is_taken_with_its_label() -> None:
    assert LongestOption().reply(question("x; y\nshort = A\nmuch longer = B\nlong = C")) == "much longer: B"
    assert LongestOption().reply(question("no options")) == ""


def test_the_nearest_training_task_lends_its_answer() -> None:
    seen = [question("What does AMF mean?", "one"), question("Which band is n78?", "two")]
    assert Nearest(seen).reply(question("Tell me: which band is n78")) == "two"


def test_an_ngram_model_continues_a_known_question_as_it_was_answered() -> None:
    seen = [question("What does AMF mean?", "Access and Mobility Management Function")]
    assert NGram(seen).reply(seen[0]) == seen[0].answer


def test_forms_forget_language_and_number_and_final_answers_are_what_graders_read() -> None:
    task = held_out_tasks(BY_NAME["kpi"], 1)[0]
    assert form_of(task) == "kpi"
    assert final_answer(task) == task.answer.rpartition(": ")[2]
    intent = held_out_tasks(BY_NAME["intent"], 1)[0]
    assert final_answer(intent) == intent.answer
