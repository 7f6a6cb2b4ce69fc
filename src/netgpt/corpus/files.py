"""Task files: tasks as JSON lines, one task a line, so that others can train on them or judge by them.

A line is an object of the fields of `FIELDS`; docs/corpus.md describes them. What is read back is as good as
what was drawn: a family of ours, a known language and grade, a question at the end, and an answer that the
family's own grader accepts. Many graders compare with the answer itself, so that a question in one of our
wordings must have the solver's answer besides; one in other words is its author's to answer. The first line
that is not so is refused, with file and line.

Decides: ids. An id of the form of ours, `<family>-<16 hex digits>`, must be the one of the line's messages, so
that a changed question cannot pass under an old name. Any other id is its author's: it must only occur
once, and is not kept, as a `Task` names itself. A question occurs once in a file, whatever its id.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any

from netgpt.core.errors import StorageFailed, UsageError
from netgpt.core.spelling import did_you_mean
from netgpt.corpus.families import BY_NAME
from netgpt.corpus.overlap import data_of
from netgpt.corpus.task import GRADES, LANGUAGES, Task

FIELDS = ("id", "family", "template", "grade", "language", "key", "messages", "answer")
OPTIONAL = ("required", "views")
ROLES = ("system", "user", "assistant")
_FORMAT = "see docs/corpus.md for the format of task files"
_FIRST_SURROGATE, _LAST_SURROGATE = "\ud800", "\udfff"  # halves of characters: no text can hold one alone


class _Refused(Exception):
    """What is wrong with a line, and the next step."""

    def __init__(self, problem: str, hint: str = _FORMAT) -> None:
        super().__init__(problem)
        self.problem, self.hint = problem, hint


def record(task: Task) -> dict[str, Any]:
    """The task as a line's object; `required` and `views` only where it has them."""
    fields: dict[str, Any] = {
        "id": task.id,
        "family": task.family,
        "template": task.template,
        "grade": task.grade,
        "language": task.language,
        "key": task.key,
        "messages": [{"role": role, "content": content} for role, content in task.messages],
        "answer": task.answer,
    }
    if task.required:
        fields["required"] = list(task.required)
    if task.views:
        fields["views"] = [list(view) for view in task.views]
    return fields


def chat_record(task: Task) -> dict[str, Any]:
    """The conversation alone, with the answer as its last message: the form that fine-tuning tools take."""
    turns = [*task.messages, ("assistant", task.answer)]
    return {"messages": [{"role": role, "content": content} for role, content in turns]}


def write_tasks(path: Path, tasks: Iterable[Task]) -> int:
    """Write a task file, task by task, and return how many; the file appears when it is whole.

    Raises:
        StorageFailed: it cannot be written.
    """
    return write_lines(path, (record(task) for task in tasks))


def write_lines(path: Path, records: Iterable[Mapping[str, Any]]) -> int:
    """Write objects as JSON lines and return how many; the file appears when it is whole.

    Raises:
        StorageFailed: it cannot be written.
    """
    draft, count = path.with_name(path.name + ".new"), 0
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with draft.open("w", encoding="utf-8", newline="\n") as file:
            for each in records:
                file.write(json.dumps(each, ensure_ascii=False) + "\n")
                count += 1
        draft.replace(path)
    except OSError as error:
        raise StorageFailed(f"cannot write {str(path)!r}: {error.strerror}", hint="free space, or choose another file") from error
    return count


def read_tasks(path: Path) -> list[Task]:
    """The tasks of a file, all checked.

    Raises:
        UsageError: there is no such file, it has no task, or a line is wrong; names the file and the line.
    """
    return list(stream_tasks(path))


def stream_tasks(path: Path) -> Iterator[Task]:
    """The tasks of a file as they are read; keeps only the ids. Blank lines are skipped.

    Raises:
        UsageError: as `read_tasks`, at the first wrong line; the tasks before it have been given by then.
    """
    seen: dict[str, int] = {}
    for number, line in _lines(path):
        try:
            task, id_ = parse_task(line)
            _once(seen, task, id_, number)
        except _Refused as refusal:
            raise UsageError(f"{path.name}, line {number}: {refusal.problem}", hint=refusal.hint, param=str(path)) from refusal
        yield task
    if not seen:
        raise UsageError(f"{path.name}: no task in the file", hint="write one: netgpt corpus export --output FILE", param=str(path))


def parse_task(line: str) -> tuple[Task, str]:
    """The task of a line, and the id that the line gives it."""
    fields = _object(line)
    _check_types(fields)
    task = Task(
        family=fields["family"],
        template=fields["template"],
        grade=fields["grade"],
        language=fields["language"],
        key=fields["key"],
        messages=_messages(fields["messages"]),
        answer=fields["answer"],
        required=tuple(fields.get("required", ())),
        views=_views(fields.get("views", ())),
    )
    _check_values(task)
    id_ = fields["id"]
    if re.fullmatch(rf"{re.escape(task.family)}-[0-9a-f]{{16}}", id_) and id_ != task.id:
        raise _Refused(f"id {id_!r} is that of another question", f"the id of this one is {task.id!r}; or give it an id of your own")
    if not _accepted(task):
        raise _Refused(f"the grader of family {task.family!r} rejects the answer {task.answer!r}", "correct the answer, or the template or question")
    if data_of(task) and not BY_NAME[task.family].accepts(task, solved := BY_NAME[task.family].solve(task)):
        raise _Refused(f"the answer is {task.answer!r}, and the question's is {solved!r}", "correct the answer, or the question")
    return task, id_


def _lines(path: Path) -> Iterator[tuple[int, str]]:
    number = 0
    try:
        with path.open(encoding="utf-8", newline="\n") as file:
            for number, line in enumerate(file, start=1):
                if line.strip():
                    yield number, line
    except UnicodeDecodeError as error:
        raise UsageError(f"{path.name}, line {number + 1} or later: no UTF-8 text", hint="save the file as UTF-8", param=str(path)) from error
    except OSError as error:
        raise UsageError(f"cannot read {str(path)!r}: {error.strerror}", hint="give the path of a task file", param=str(path)) from error


def _once(seen: dict[str, int], task: Task, id_: str, number: int) -> None:
    for name, what in ((id_, f"duplicate id {id_!r}"), (task.id, "the same question again")):
        if name in seen:
            raise _Refused(f"{what}, first on line {seen[name]}", "remove one of the two, or give it another id")
    seen[id_] = seen[task.id] = number


def _object(line: str) -> dict[str, Any]:
    try:
        fields = json.loads(line)
    except (ValueError, RecursionError) as error:
        raise _Refused(f"no JSON: {error}") from error
    if not isinstance(fields, dict):
        raise _Refused("no JSON object")
    missing = [name for name in FIELDS if name not in fields]
    if missing:
        raise _Refused(f"missing field {missing[0]!r}", f"wants {', '.join(FIELDS)}; may have {', '.join(OPTIONAL)}")
    for name in fields:
        if name not in (*FIELDS, *OPTIONAL):
            raise _Refused(f"unknown field {name!r}", did_you_mean(name, (*FIELDS, *OPTIONAL)))
    return fields


def _is_text(value: object) -> bool:
    return isinstance(value, str) and not any(_FIRST_SURROGATE <= character <= _LAST_SURROGATE for character in value)


def _check_types(fields: Mapping[str, Any]) -> None:
    for name in ("id", "family", "template", "language", "key", "answer"):
        if not _is_text(fields[name]) or not fields[name].strip():
            raise _Refused(f"{name} is {fields[name]!r}", f"{name} wants a text that is not empty")
    if not isinstance(fields["grade"], int) or fields["grade"] not in GRADES or fields["grade"] is True:
        raise _Refused(f"grade is {fields['grade']!r}", f"a grade is a whole number from {GRADES[0]} to {GRADES[-1]}")
    required = fields.get("required", [])
    if not isinstance(required, list) or not all(map(_is_text, required)):
        raise _Refused(f"required is {required!r}", "required wants a list of texts")


def _messages(value: object) -> tuple[tuple[str, str], ...]:
    if not isinstance(value, list) or not value:
        raise _Refused("messages is no list of messages", 'messages wants [{"role": ..., "content": ...}], the last one from the user')
    for message in value:
        if not isinstance(message, dict) or set(message) != {"role", "content"} or not _is_text(message["content"]):
            raise _Refused(f"wrong message {message!r}", "a message has a role and a content, and nothing else")
        if message["role"] not in ROLES:
            raise _Refused(f"unknown role {message['role']!r}", f"known: {', '.join(ROLES)}")
    if value[-1]["role"] != "user":
        raise _Refused("the messages do not end with the user's", "put the wanted reply into answer, not into messages")
    return tuple((message["role"], message["content"]) for message in value)


def _views(value: object) -> tuple[tuple[str, str], ...]:
    if not isinstance(value, list | tuple) or not all(isinstance(view, list) and len(view) == 2 and all(map(_is_text, view)) for view in value):
        raise _Refused("views is no list of pairs", "views wants [[agent, what it alone sees], ...]")
    return tuple((view[0], view[1]) for view in value)


def _check_values(task: Task) -> None:
    if task.family not in BY_NAME:
        raise _Refused(f"no grader for family {task.family!r}", did_you_mean(task.family, BY_NAME))
    if task.language not in LANGUAGES:
        raise _Refused(f"unknown language {task.language!r}", did_you_mean(task.language, LANGUAGES))


def _accepted(task: Task) -> bool:
    """True if the family's grader takes the answer; a template that it does not know counts as rejected."""
    try:
        return BY_NAME[task.family].accepts(task, task.answer)
    except (LookupError, ValueError):
        return False
