"""Families of facts: tables in a TOML file, and forms that ask one column from another; all learnt by heart.

Asks: one cell of a table of the standards, in one of many paraphrases. Grade: the rarity class of the row;
rows stand in the order of use, and each class has about twice the rows of the class before. Key: form, row
and paraphrase, so that a held-out question asks a fact that training asked in other words; it measures
what was learnt and not what was copied. The answer may begin with the subject in one form whatever the paraphrase,
`5qi-delay 66: 100 ms`, so that a fact is learnt once and not once for each wording. The grader accepts a reply that holds
the answer's words and no other answer of the same form; the question repeated is no reply.
"""

from __future__ import annotations

import re
import string
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache
from typing import Any

import numpy as np

from netgpt.corpus.reading import holds_phrase, read_facts, words
from netgpt.corpus.task import GRADES, Family, Task, pick, user

CLASS_SHARES = (1, 2, 4, 8, 16, 32)  # rows of rarity class 1 to 6, in proportion


@dataclass(frozen=True, kw_only=True)
class Form:
    """One question about every row of a table."""

    name: str
    questions: tuple[str, ...]
    questions_zh: tuple[str, ...]
    answer: str
    rows: tuple[Mapping[str, Any], ...]
    source: str = ""  # of the table; rows may name their own

    def answers(self) -> frozenset[str]:
        return frozenset(self.answer.format(**row) for row in self.rows)

    def subject(self, row: Mapping[str, Any]) -> str:
        """The form and what its questions name of a row: `mcs-rate 17`."""
        return " ".join([self.name, *(str(row[place]) for _, place, _, _ in string.Formatter().parse(self.questions[0]) if place)])

    def wordings(self, language: str) -> tuple[str, ...]:
        """The paraphrases of a language."""
        return self.questions_zh if language == "zh" else self.questions

    def by_rarity(self) -> dict[int, range]:
        """The numbers of the rows of each rarity class that has any."""
        ends = [0, *class_ends(len(self.rows))]
        return {grade: range(ends[grade - 1], ends[grade]) for grade in GRADES if ends[grade - 1] < ends[grade]}


def class_ends(count: int) -> list[int]:
    """Where each of the six rarity classes ends among `count` ranked rows; one row a class if there are too few."""
    if count < len(CLASS_SHARES):
        return [min(grade, count) for grade in GRADES]
    ends: list[int] = []
    for grade in GRADES:
        share = round(count * sum(CLASS_SHARES[:grade]) / sum(CLASS_SHARES))
        ends.append(min(max(share, grade, ends[-1] + 1 if ends else 1), count - len(GRADES) + grade))
    return ends


@cache
def read_forms(file_name: str) -> tuple[Form, ...]:
    """The forms of a facts file, each with the rows of its table."""
    facts = read_facts(file_name)
    return tuple(
        Form(
            name=form["name"],
            questions=tuple(form["questions"]),
            questions_zh=tuple(form["questions_zh"]),
            answer=form["answer"],
            rows=tuple(facts["table"][form["table"]]),
            source=form.get("source", ""),
        )
        for form in facts["form"]
    )


@cache
def pattern_of(sentence: str) -> re.Pattern[str]:
    """The pattern that reads back the places of a sentence with `{places}`, each of which occurs once."""
    parts = string.Formatter().parse(sentence)
    return re.compile("".join(re.escape(text) + (f"(?P<{place}>.+)" if place else "") for text, place, _, _ in parts))


def places_of(sentence: str, question: str) -> dict[str, str] | None:
    """What fills the places of `sentence` in `question`; None if it is another sentence."""
    found = pattern_of(sentence).fullmatch(question)
    return found.groupdict() if found else None


def recall_family(*, name: str, summary: str, file_name: str, named: bool = False) -> Family:
    """The family of a facts file.

    Args:
        named: answers begin with the subject; a reply may leave it out.
    """
    forms = read_forms(file_name)
    form_of = {_template(name, form, language, i): form for form in forms for language in ("en", "zh") for i in range(len(form.wordings(language)))}
    rivals = {form.name: form.answers() for form in forms}
    classes = {grade: [(form, rows[grade]) for form in forms if grade in (rows := form.by_rarity())] for grade in GRADES}

    def draw(chance: np.random.Generator, grade: int, language: str) -> Task:
        form, rows = pick(chance, classes[grade])
        i, wordings = pick(chance, rows), form.wordings(language)
        paraphrase = int(chance.integers(len(wordings)))
        template = _template(name, form, language, paraphrase)
        return Task(
            family=name,
            template=template,
            grade=grade,
            key=f"{i}/{template}",
            messages=user(wordings[paraphrase].format(**form.rows[i])),
            answer=_answer(form, form.rows[i], named=named),
            language=language,
        )

    def accepts(task: Task, reply: str) -> bool:
        subject, _, value = task.answer.rpartition(": ")
        said = reply.strip().removeprefix(f"{subject}: ") if subject else reply
        if words(reply) == words(task.question) or not holds_phrase(said, value):
            return False
        others = (rival for rival in rivals[form_of[task.template].name] if not holds_phrase(value, rival))
        return not any(holds_phrase(said, rival) for rival in others)

    def solve(task: Task) -> str:
        return next((_answer(form, row, named=named) for form in forms if (row := _look_up(form, task.language, task.question))), "")

    return Family(name=name, summary=summary, depth="rarity", draw=draw, accepts=accepts, solve=solve)


def _template(name: str, form: Form, language: str, i: int) -> str:
    return f"{name}-{form.name}-{language}-{i + 1}"


def _answer(form: Form, row: Mapping[str, Any], *, named: bool) -> str:
    return f"{form.subject(row)}: " * named + form.answer.format(**row)


def _look_up(form: Form, language: str, question: str) -> Mapping[str, Any] | None:
    """The row that a question of this form asks for; None if it is none."""
    for sentence in form.wordings(language):
        places = places_of(sentence, question)
        for row in form.rows if places else ():
            if all(str(row[place]) == value for place, value in (places or {}).items()):
                return row
    return None


TERMS = recall_family(name="terms", summary="3GPP and O-RAN abbreviations: expansion, abbreviation, role", file_name="terms.toml")
PARAMETERS = recall_family(
    name="parameters",
    summary="5QI, numerology, MCS, CQI, bands, grids, slice types, reference points, timers, procedures, KPIs",
    file_name="parameters.toml",
    named=True,
)
