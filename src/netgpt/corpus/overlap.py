"""Overlap: how much of held-out tasks training shows. Knows no model.

Keys differ by construction; this looks at the text. Five measures, from what must not be to what is meant:
the same key, the same question (the whole conversation), the same question with the same answer, the same data
in another wording (all that fills and surrounds the wording, lines in any order), and word n-grams: a held-out
question counts if one of its n-grams, or all of a question shorter than n, stands in a training question
(Brown et al. 2020, appendix C, use n = 8 to 13). Wordings are shared on purpose, so n-grams of their sentences
always are. Data that is itself worded (the clauses of a wish) is the same only in the same words.
"""

from __future__ import annotations

import re
import string
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from functools import cache

from netgpt.core.chance import digest64
from netgpt.corpus.families import recall
from netgpt.corpus.reading import words
from netgpt.corpus.task import LANGUAGES, Task
from netgpt.corpus.wording import family_wordings

SHORT_GRAM, LONG_GRAM = 8, 13  # words
FACT_FILES = {recall.TERMS.name: "terms.toml", recall.PARAMETERS.name: "parameters.toml"}
_HAN = re.compile(r"([\u3400-\u9fff])")


@dataclass(frozen=True, kw_only=True, slots=True)
class Overlap:
    """Of the held-out tasks of a family: how many have each thing in common with training."""

    family: str
    tasks: int
    keys: int  # 0, or the split is broken
    questions: int
    pairs: int  # question and answer
    same_data: int  # asked the same about the same data, in another wording or order
    grams_8: int
    grams_13: int


def overlap(held_out: Sequence[Task], training: Iterable[Task]) -> tuple[Overlap, ...]:
    """The overlap of each family, in the order of `held_out`; `training` is read once and not kept."""
    marks = [_marks(task) for task in held_out]
    wanted = {mark for each in marks for mark in each}
    seen: set[tuple[str, int]] = set()
    for task in training:
        seen.update(wanted.intersection(_marks(task)))
    counts: dict[str, Counter[str]] = {}
    for task, each in zip(held_out, marks, strict=True):
        counts.setdefault(task.family, Counter()).update(["tasks", *{kind for kind, value in each if (kind, value) in seen}])
    fields = [field for field in Overlap.__dataclass_fields__ if field != "family"]
    return tuple(Overlap(family=family, **{field: count[field] for field in fields}) for family, count in counts.items())


def word_grams(text: str, length: int) -> Iterator[str]:
    """The runs of `length` words of a text, a Chinese character being a word; all of a text with fewer."""
    found = _HAN.sub(r" \1 ", words(text)).split()
    for start in range(max(1, len(found) - length + 1)):
        yield " ".join(found[start : start + length])


def data_of(task: Task) -> tuple[str, ...] | None:
    """What is asked, and the lines of what fills the wording or stands around it, sorted; None if the wording is not found."""
    known = _wordings(task.family).get(task.template)
    found = known[1].fullmatch(_text(task)) if known else None
    if known is None or found is None:
        return None
    return (known[0], *sorted(line for filled in found.groups() for line in filled.splitlines()))


def _marks(task: Task) -> frozenset[tuple[str, int]]:
    """The things that a task may have in common with others, as (measure, hash)."""
    text = _text(task)
    marks = {("keys", digest64(task.family, task.key)), ("questions", digest64(text)), ("pairs", digest64(text, task.answer))}
    if data := data_of(task):
        marks.add(("same_data", digest64(task.family, data)))
    for kind, length in (("grams_8", SHORT_GRAM), ("grams_13", LONG_GRAM)):
        marks.update((kind, hash(gram)) for gram in word_grams(text, length))
    return frozenset(marks)


def _text(task: Task) -> str:
    """The whole conversation: the last message alone may be no more than `and now?`."""
    return "\n".join(content for _, content in task.messages)


@cache
def _wordings(family: str) -> dict[str, tuple[str, re.Pattern[str]]]:
    """By template: what kind of question it is, and the pattern that reads back what fills it."""
    if family in FACT_FILES:
        forms = recall.read_forms(FACT_FILES[family])
        return {
            f"{family}-{form.name}-{language}-{i}": (form.name, _pattern(text))
            for form in forms
            for language in LANGUAGES
            for i, text in enumerate(form.wordings(language), start=1)
        }
    grouped = family_wordings(family)
    return {wording.id: (form, _pattern(wording.text)) for (_, form), wordings in grouped.items() for wording in wordings}


def _pattern(text: str) -> re.Pattern[str]:
    """Reads back the places of a wording, and the text before and after it; a place that occurs again is filled the same."""
    parts, named = ["(.*?)"], set[str]()
    for literal, place, _, _ in string.Formatter().parse(text):
        parts.append(re.escape(literal))
        if place:
            parts.append(f"(?P={place})" if place in named else f"(?P<{place}>.+)")
            named.add(place)
    return re.compile("".join([*parts, "(.*)"]), re.DOTALL)
