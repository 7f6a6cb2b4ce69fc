"""Pairs of questions by which a cache is judged: those that differ in meaning by little, and those that mean the same.

A file has `[lists]` of words, `[[differ]]` with a sentence `one` and another, `other`, whose answers differ, and `[[same]]` with
`forms` of one question. `{name}` is drawn from the list of that name, and `{name2}` is another word of it. `cache_tuning.toml` was at hand when
the word lists and the threshold of the cache were chosen; `cache_judged.toml` was written afterwards, with other sentences and words.
"""

from __future__ import annotations

import re
import string
import tomllib
from collections.abc import Iterator, Mapping, Sequence
from importlib import resources
from itertools import pairwise
from typing import Any

import numpy as np

from netgpt.core.chance import SeededChance
from netgpt.core.errors import UsageError
from netgpt.core.spelling import check_keys
from netgpt.core.value import value

TRIES = 40  # for each pair that is still wanted of a sentence, before its words count as used up


@value
class Pair:
    """Two questions. The first is asked and answered, then the second is asked."""

    kind: str  # in what they differ; of those that mean the same, "same"
    language: str
    one: str
    other: str
    gap_s: float = 1.0  # between the two
    places: tuple[str, str] = ("", "")  # where they are asked, if they say so
    answer: str = ""  # of both, if they mean the same: what tells it from other pairs'

    @property
    def differs(self) -> bool:
        return self.kind != "same"


def read_pairs(file_name: str, *, most: int, seed: int) -> list[Pair]:
    """Up to `most` pairs that differ and as many that mean the same, evenly over the file's sentences. No pair occurs twice.

    Raises:
        UsageError: the file is not as described.
    """
    table = tomllib.loads(resources.files("netgpt.bench").joinpath(file_name).read_text(encoding="utf-8"))
    check_keys(table, {"lists", "differ", "same"}, file_name, UsageError)
    differ = _evenly([_drawn(row, table["lists"], _stream(seed, row["one"])) for row in table["differ"]], most)
    same = _evenly([_forms(row, table["lists"], _stream(seed, row["forms"][0])) for row in table["same"]], most)
    return differ + same


def _stream(seed: int, sentence: str) -> np.random.Generator:
    return SeededChance(seed).stream(f"cache pairs/{sentence}")


def _evenly(sources: Sequence[Iterator[Pair]], most: int) -> list[Pair]:
    """One of each in turn, until there are enough or none has more."""
    found: dict[tuple[str, str], Pair] = {}
    open_sources = list(sources)
    while open_sources and len(found) < most:
        for source in list(open_sources):
            pair = next(source, None)
            if pair is None:
                open_sources.remove(source)
            elif len(found) < most:
                found.setdefault((pair.one, pair.other), pair)
    return list(found.values())


def _drawn(row: Mapping[str, Any], lists: Mapping[str, Sequence[str]], stream: np.random.Generator) -> Iterator[Pair]:
    for words in _fills([row["one"], row["other"], *row.get("places", [])], lists, stream):
        places = tuple(place.format(**words) for place in row.get("places", ("", "")))
        yield Pair(
            kind=row["kind"],
            language=row["language"],
            one=row["one"].format(**words),
            other=row["other"].format(**words),
            gap_s=float(row.get("gap_s", 1.0)),
            places=(places[0], places[1]),
        )


def _forms(row: Mapping[str, Any], lists: Mapping[str, Sequence[str]], stream: np.random.Generator) -> Iterator[Pair]:
    forms: list[str] = row["forms"]
    for words in _fills(forms, lists, stream):
        order = stream.permutation(len(forms)).tolist()
        for first, second in pairwise(order):
            one, other = forms[first].format(**words), forms[second].format(**words)
            yield Pair(kind="same", language=row["language"], one=one, other=other, answer=forms[0].format(**words))


def _fills(sentences: Sequence[str], lists: Mapping[str, Sequence[str]], stream: np.random.Generator) -> Iterator[dict[str, str]]:
    """Different words for the places of some sentences, until the lists are used up; a sentence without places once."""
    names = sorted({name for sentence in sentences for _, name, _, _ in string.Formatter().parse(sentence) if name})
    seen: set[tuple[str, ...]] = set()
    misses = 0
    while misses < TRIES:
        drawn: dict[str, list[str]] = {}
        for name in names:
            of = re.sub(r"\d+$", "", name)
            drawn.setdefault(of, [lists[of][int(i)] for i in stream.permutation(len(lists[of]))])
        words = {name: drawn[re.sub(r"\d+$", "", name)].pop() for name in names}
        key = tuple(words.values())
        if key in seen:
            misses += 1
            continue
        seen.add(key)
        yield words
