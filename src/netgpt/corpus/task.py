"""A task: a question with one right answer, and the family that makes and grades such questions.

A family is a name, a generator and a grader; nothing else of the project knows what its questions are
about. `draw` is pure in its random stream. `accepts` judges any model's reply, not only our own: it
reads the answer out of the reply and is strict about what it finds.

Decides: the split. A task is held out iff the hash of its `key` says so, so that training and held-out
tasks differ in content by construction, whatever the seed, and adding a family moves no other task.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TypeVar

import numpy as np

from netgpt.core.chance import digest64

T = TypeVar("T")

GRADES = (1, 2, 3)  # recall or one step; two steps; several steps
HELD_OUT_ONE_IN = 8


@dataclass(frozen=True, kw_only=True, slots=True)
class Task:
    """A conversation that ends with the user's question, and the reply that is wanted."""

    family: str
    form: str  # which question of the family, e.g. "5qi-delay"
    grade: int
    key: str  # what the question is about; the split hashes it
    messages: tuple[tuple[str, str], ...]  # (role, content), the last from the user
    answer: str
    language: str = "en"

    @property
    def id(self) -> str:
        """Equal for equal questions, on every machine."""
        return f"{self.family}-{digest64(self.family, self.messages):016x}"

    @property
    def question(self) -> str:
        return self.messages[-1][1]


@dataclass(frozen=True, kw_only=True, slots=True)
class Family:
    """A kind of task. `accepts(task, reply)` never raises, whatever the reply."""

    name: str
    summary: str
    draw: Callable[[np.random.Generator, int], Task]  # (stream, grade)
    accepts: Callable[[Task, str], bool]
    share: int = 1  # of the training tasks, relative to other families


def is_held_out(task: Task) -> bool:
    """True for one key in `HELD_OUT_ONE_IN`; such a task is never trained on."""
    return digest64("held out", task.family, task.key) % HELD_OUT_ONE_IN == 0


def user(question: str) -> tuple[tuple[str, str], ...]:
    """The messages of a single question."""
    return (("user", question),)


def pick(chance: np.random.Generator, choices: Sequence[T]) -> T:
    """One of `choices`, uniformly."""
    return choices[int(chance.integers(len(choices)))]


def sample(chance: np.random.Generator, choices: Sequence[T], count: int) -> list[T]:
    """`count` different ones of `choices`, in random order."""
    return [choices[int(i)] for i in chance.permutation(len(choices))[:count]]
