"""Wordings: the sentences in which a family asks, as data files in every language of the corpus.

A file is `wording/<family>.toml`, a list of tables: `id`, `language`, `form` (which kind of sentence; a
family has at least "question") and `text` with `{places}` to fill. Bad files are refused with the line.
"""

from __future__ import annotations

import string
import tomllib
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cache
from importlib import resources
from pathlib import Path

import numpy as np

from netgpt.core.errors import UsageError
from netgpt.corpus.task import LANGUAGES, pick


@dataclass(frozen=True, kw_only=True, slots=True)
class Wording:
    """One sentence with places to fill."""

    id: str
    language: str
    form: str
    text: str

    def fill(self, **places: object) -> str:
        return self.text.format(**places)


def read_wordings(text: str, name: str) -> tuple[Wording, ...]:
    """The wordings of a file's text.

    Raises:
        UsageError: no TOML, a missing or unknown field, a duplicate id, an unknown language, a broken
            place; the message names the file and the line.
    """
    try:
        tables = tomllib.loads(text).get("wording", [])
    except tomllib.TOMLDecodeError as error:
        raise UsageError(f"{name}: {error}", hint="see docs/corpus.md for the format of wording files") from error
    lines = [number for number, line in enumerate(text.splitlines(), start=1) if line.strip() == "[[wording]]"]
    found: dict[str, Wording] = {}
    for line, table in zip(lines, tables, strict=True):
        problem = "; ".join(_problems(table, found))
        if problem:
            raise UsageError(f"{name}, line {line}: {problem}", hint="see docs/corpus.md for the format of wording files")
        wording = Wording(**table)
        found[wording.id] = wording
    return tuple(found.values())


def _problems(table: dict[str, object], found: dict[str, Wording]) -> Iterator[str]:
    fields = Wording.__dataclass_fields__
    wrong = sorted({*fields} ^ {*table}) + sorted(field for field in table if field in fields and not isinstance(table[field], str))
    if wrong:
        yield f"wants the texts {', '.join(fields)}; wrong: {', '.join(wrong)}"
        return
    if table["id"] in found:
        yield f"duplicate id {table['id']!r}"
    if table["language"] not in LANGUAGES:
        yield f"unknown language {table['language']!r}; known: {', '.join(LANGUAGES)}"
    try:
        list(string.Formatter().parse(str(table["text"])))
    except ValueError as error:
        yield f"broken place in the text: {error}"


@cache
def family_wordings(family: str) -> dict[tuple[str, str], tuple[Wording, ...]]:
    """The wordings of a family by (language, form)."""
    path = resources.files("netgpt.corpus").joinpath("wording", f"{family}.toml")
    grouped: dict[tuple[str, str], tuple[Wording, ...]] = {}
    for wording in read_wordings(path.read_text(encoding="utf-8"), Path(f"wording/{family}.toml").as_posix()):
        grouped[wording.language, wording.form] = (*grouped.get((wording.language, wording.form), ()), wording)
    return grouped


def word(chance: np.random.Generator, family: str, language: str, form: str = "question") -> Wording:
    """One of the family's wordings of a form, uniformly."""
    return pick(chance, family_wordings(family)[language, form])
