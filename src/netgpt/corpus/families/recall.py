"""Families of facts: tables in a TOML file, and forms that ask one column from another.

Decides: which paraphrase asks which fact. The key is (form, row, paraphrase): a held-out question asks
a fact that training asked in other words, so it measures what was learnt and not what was copied. The
grader accepts a reply that holds the answer's words and no other answer of the same form.
"""

from __future__ import annotations

import tomllib
from collections.abc import Mapping
from dataclasses import dataclass
from importlib import resources
from typing import Any

import numpy as np

from netgpt.corpus.reading import holds_phrase
from netgpt.corpus.task import GRADES, Family, Task, pick, user

SHARE = 2  # facts are many and their conversations short: twice the tasks cost little


@dataclass(frozen=True, kw_only=True)
class Form:
    """One question about every row of a table."""

    name: str
    grade: int
    questions: tuple[str, ...]
    answer: str
    rows: tuple[Mapping[str, Any], ...]
    source: str = ""  # of the table; rows may name their own

    def answers(self) -> frozenset[str]:
        return frozenset(self.answer.format(**row) for row in self.rows)


def read_facts(file_name: str) -> dict[str, Any]:
    """The content of a facts file of this package."""
    return tomllib.loads(resources.files("netgpt.corpus").joinpath("facts", file_name).read_text(encoding="utf-8"))


def read_forms(file_name: str) -> tuple[Form, ...]:
    """The forms of a facts file, each with the rows of its table."""
    facts = read_facts(file_name)
    return tuple(
        Form(
            name=form["name"],
            grade=form["grade"],
            questions=tuple(form["questions"]),
            answer=form["answer"],
            rows=tuple(facts["table"][form["table"]]),
            source=form.get("source", ""),
        )
        for form in facts["form"]
    )


def recall_family(*, name: str, summary: str, file_name: str) -> Family:
    """The family of a facts file."""
    forms = read_forms(file_name)
    rivals = {form.name: form.answers() for form in forms}
    facts_by_grade = {g: [(form, i) for form in forms if form.grade == g for i in range(len(form.rows))] for g in GRADES}

    def draw(chance: np.random.Generator, grade: int) -> Task:
        form, i = pick(chance, facts_by_grade[grade])
        paraphrase = int(chance.integers(len(form.questions)))
        return Task(
            family=name,
            form=form.name,
            grade=grade,
            key=f"{form.name}/{i}/{paraphrase}",
            messages=user(form.questions[paraphrase].format(**form.rows[i])),
            answer=form.answer.format(**form.rows[i]),
        )

    def accepts(task: Task, reply: str) -> bool:
        if not holds_phrase(reply, task.answer):
            return False
        others = (rival for rival in rivals[task.form] if not holds_phrase(task.answer, rival))
        return not any(holds_phrase(reply, rival) for rival in others)

    return Family(name=name, summary=summary, draw=draw, accepts=accepts, share=SHARE)
