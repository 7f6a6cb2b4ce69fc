"""Task files: what is written is read back, and what is wrong is refused with its line."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from netgpt.core.chance import SeededChance
from netgpt.core.errors import StorageFailed, UsageError
from netgpt.corpus.families import BY_NAME
from netgpt.corpus.files import chat_record, read_tasks, record, stream_tasks, write_tasks
from netgpt.corpus.task import GRADES, LANGUAGES, Task


def one_of_every_family() -> list[Task]:
    chance = SeededChance(3).stream("test")
    return [family.draw(chance, GRADES[i % 6], LANGUAGES[i % 2]) for i, family in enumerate(BY_NAME.values())]


def task_of(family: str) -> Task:
    return BY_NAME[family].draw(SeededChance(4).stream("test"), 2, "en")


def refusal(path: Path, *lines: str) -> UsageError:
    """What is said about the file with these lines."""
    path.write_text("".join(f"{line}\n" for line in lines), encoding="utf-8")
    with pytest.raises(UsageError) as caught:
        read_tasks(path)
    assert caught.value.hint
    return caught.value


def test_tasks_of_every_family_are_read_back_as_they_were_written(tmp_path: Path) -> None:
    tasks = one_of_every_family()
    assert write_tasks(tmp_path / "new" / "tasks.jsonl", tasks) == len(tasks)
    assert read_tasks(tmp_path / "new" / "tasks.jsonl") == tasks
    assert [path.name for path in (tmp_path / "new").iterdir()] == ["tasks.jsonl"]


def test_tasks_are_given_before_the_file_is_read_to_its_end(tmp_path: Path) -> None:
    path, tasks = tmp_path / "tasks.jsonl", one_of_every_family()
    path.write_text("".join(json.dumps(record(task)) + "\n" for task in tasks[:2]) + "\nno JSON\n", encoding="utf-8")
    stream = stream_tasks(path)
    assert [next(stream), next(stream)] == tasks[:2]
    with pytest.raises(UsageError, match="line 4"):
        next(stream)


def test_a_chat_line_is_the_conversation_with_the_answer() -> None:
    task = task_of("tickets")
    messages = chat_record(task)["messages"]
    assert messages[-1] == {"role": "assistant", "content": task.answer}
    assert messages[-2] == {"role": "user", "content": task.question}


def without(name: str) -> Callable[[dict[str, Any]], dict[str, Any]]:
    return lambda fields: {key: value for key, value in fields.items() if key != name}


def having(**changes: object) -> Callable[[dict[str, Any]], dict[str, Any]]:
    return lambda fields: fields | changes


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (without("answer"), "missing field 'answer'"),
        (having(colour="red"), "unknown field 'colour'"),
        (having(grade="2"), "grade is '2'"),
        (having(grade=True), "grade is True"),
        (having(grade=2.0), "grade is 2.0"),
        (having(grade=7), "grade is 7"),
        (having(grade=0), "grade is 0"),
        (having(key=None), "key is None"),
        (having(id=""), "id is ''"),
        (having(answer="\ud800"), "answer is"),
        (having(family="poems"), "no grader for family 'poems'"),
        (having(language="de"), "unknown language 'de'"),
        (having(id="kpi-0123456789abcdef"), "is that of another question"),
        (having(answer="no total"), "the answer is 'no total', and the question's is '"),
        (having(messages=[]), "no list of messages"),
        (having(messages="What?"), "no list of messages"),
        (having(messages=[{"role": "user"}]), "wrong message"),
        (having(messages=[{"role": "tool", "content": "x"}]), "unknown role 'tool'"),
        (having(messages=[{"role": "user", "content": "x"}, {"role": "assistant", "content": "y"}]), "do not end with the user's"),
        (having(required="n1"), "required is 'n1'"),
        (having(views=[["ue"]]), "views is no list of pairs"),
        (having(views={"ue": "x"}), "views is no list of pairs"),
    ],
)
def test_a_wrong_line_is_refused_with_file_and_line(change: Callable[[dict[str, Any]], dict[str, Any]], said: str, tmp_path: Path) -> None:
    good = [json.dumps(record(task)) for task in one_of_every_family()[:2]]
    error = refusal(tmp_path / "mine.jsonl", *good, json.dumps(change(record(task_of("kpi")))))
    assert error.message.startswith("mine.jsonl, line 3: ")
    assert said in error.message


@pytest.mark.parametrize("line", ["{", "[" * 100_000, "[]", "null", '"task"', "{}", '{"id": 1' + "0" * 5000 + "}"])
def test_a_line_that_is_no_object_is_refused(line: str, tmp_path: Path) -> None:
    assert "line 1: " in refusal(tmp_path / "tasks.jsonl", line).message


def test_a_template_that_the_grader_does_not_know_is_refused(tmp_path: Path) -> None:
    for family in ("terms", "book"):
        line = json.dumps(record(task_of(family)) | {"template": "mine"})
        assert "rejects the answer" in refusal(tmp_path / "tasks.jsonl", line).message


def test_an_id_or_a_question_may_occur_once(tmp_path: Path) -> None:
    first, second = (record(task_of(family)) for family in ("kpi", "route"))
    path = tmp_path / "tasks.jsonl"
    assert "line 2: duplicate id 'a', first on line 1" in refusal(path, json.dumps(first | {"id": "a"}), json.dumps(second | {"id": "a"})).message
    assert "line 2: the same question again" in refusal(path, json.dumps(first), json.dumps(first | {"id": "b"})).message


def test_an_id_of_ones_own_is_accepted_and_not_kept(tmp_path: Path) -> None:
    path, task = tmp_path / "tasks.jsonl", task_of("kpi")
    path.write_text(json.dumps(record(task) | {"id": "mine-1"}), encoding="utf-8")
    assert read_tasks(path) == [task]


def test_a_file_without_tasks_or_text_is_refused(tmp_path: Path) -> None:
    assert "no task" in refusal(tmp_path / "tasks.jsonl", "", " ").message
    with pytest.raises(UsageError, match="cannot read"):
        read_tasks(tmp_path / "none.jsonl")
    (tmp_path / "binary.jsonl").write_bytes(b"\xff\xfe")
    with pytest.raises(UsageError, match=r"binary\.jsonl, line 1 .*UTF-8"):
        read_tasks(tmp_path / "binary.jsonl")


def test_a_file_that_cannot_be_written_is_an_error_with_a_next_step(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(StorageFailed) as caught:
        write_tasks(tmp_path / "file" / "tasks.jsonl", [])
    assert caught.value.hint
