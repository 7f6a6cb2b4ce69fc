"""A task: a question with one right answer, and the family that makes, grades and solves such questions.

A family is a name, a generator, a grader and a symbolic solver; nothing else of the project knows what
its questions are about. `draw` is pure in its random stream. `accepts` judges any model's reply, not only
our own: it reads the answer out of the reply and is strict about what it finds. `solve` reads the question
as a model would, with the facts and the rules at hand: it is the ceiling, and the proof that a question can
be answered.

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

GRADES: tuple[int, ...] = (1, 2, 3, 4, 5, 6)  # latent depth: hops, steps, distractors, or rarity of a fact
LANGUAGES = ("en", "zh")
HELD_OUT_ONE_IN = 8


@dataclass(frozen=True, kw_only=True, slots=True)
class Task:
    """A conversation that ends with the user's question, and the reply that is wanted."""

    family: str
    template: str  # id of the wording, e.g. "route-en-2"; says nothing about the grade
    grade: int
    key: str  # what the question is about; the split hashes it
    messages: tuple[tuple[str, str], ...]  # (role, content), the last from the user
    answer: str
    language: str = "en"
    required: tuple[str, ...] = ()  # facts that a free explanation must state
    views: tuple[tuple[str, str], ...] = ()  # (agent, what it alone sees); their sum is in the messages

    @property
    def id(self) -> str:
        """Equal for equal questions, on every machine."""
        return f"{self.family}-{digest64(self.family, self.messages):016x}"

    @property
    def question(self) -> str:
        return self.messages[-1][1]


Draw = Callable[[np.random.Generator, int, str], Task]  # (stream, grade, language)


@dataclass(frozen=True, kw_only=True, slots=True)
class Family:
    """A kind of task.

    `accepts(task, reply)` never raises, whatever the reply. `solve(task)` reads `task.messages` and
    `task.language` alone, never the answer.
    """

    name: str
    summary: str
    depth: str  # what a grade counts: "hops", "steps", "edits", "rarity" ...
    draw: Draw
    accepts: Callable[[Task, str], bool]
    solve: Callable[[Task], str]
    draw_long: Draw | None = None  # the same question over 0.5 to 1.5 k tokens of context
    free_text: bool = False  # answered in sentences, one of many right ones


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
