"""Choosing tasks by family, grade, language, length and split: what `netgpt corpus` shows, counts and exports.

Decides: when a stream has no more. Families of facts are finite; a stream that has brought nothing new
`PATIENCE` times in a row is taken as exhausted.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass

import numpy as np

from netgpt.core.errors import UsageError
from netgpt.core.spelling import did_you_mean
from netgpt.corpus.families import BY_NAME
from netgpt.corpus.task import GRADES, LANGUAGES, Family, Task, is_held_out, pick

PATIENCE = 4_000  # tasks in a row that were drawn before or are not wanted


@dataclass(frozen=True, kw_only=True)
class Choice:
    """Which tasks are wanted; every task is drawn with one of each, uniformly."""

    families: Sequence[Family]
    grades: Sequence[int] = GRADES
    languages: Sequence[str] = LANGUAGES
    long: bool = False
    held_out: bool = False


def families_named(names: Sequence[str]) -> tuple[Family, ...]:
    """The families of these names, reserved ones too.

    Raises:
        UsageError: one is unknown.
    """
    for name in names:
        if name not in BY_NAME:
            raise UsageError(f"unknown family {name!r}", hint=did_you_mean(name, BY_NAME), param="family")
    return tuple(BY_NAME[name] for name in dict.fromkeys(names))


def chosen_tasks(chance: np.random.Generator, choice: Choice, count: int) -> list[Task]:
    """Up to `count` different tasks; fewer if there are no more.

    Raises:
        UsageError: long tasks are wanted of families that have none.
    """
    draws = [family.draw_long if choice.long else family.draw for family in choice.families]
    known = [draw for draw in draws if draw]
    if not known:
        having = ", ".join(family.name for family in BY_NAME.values() if family.draw_long)
        raise UsageError("the family has no long tasks", hint=f"families with long tasks: {having}", param="long")
    drawn = (pick(chance, known)(chance, pick(chance, choice.grades), pick(chance, choice.languages)) for _ in iter(int, 1))
    return list(different((task if is_held_out(task) == choice.held_out else None for task in drawn), count))


def different(tasks: Iterable[Task | None], count: int) -> Iterator[Task]:
    """The first `count` different ones of an endless stream in which None is no task; fewer if no more come."""
    seen, in_vain = set[str](), 0
    for task in tasks if count > 0 else ():
        if task is None or task.id in seen:
            in_vain += 1
            if in_vain == PATIENCE:
                return
            continue
        seen.add(task.id)
        in_vain = 0
        yield task
        if len(seen) == count:
            return
