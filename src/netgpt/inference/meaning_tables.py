"""`meaning.toml` as it is looked up, and what a token of a question is: the words that are known to make no difference."""

from __future__ import annotations

import re
import tomllib
from collections.abc import Iterable, Mapping, Sequence
from decimal import Decimal
from functools import cache
from importlib import resources
from typing import NamedTuple

HAN = r"\u3400-\u9fff"  # as a range within brackets
_LETTER = "[A-Za-z0-9_]"
TOKEN = re.compile(
    rf"(?P<clock>\d{{1,2}}:\d{{2}}(?::\d{{2}})?)"
    rf"|(?P<code>[A-Za-z]*\d{_LETTER}*(?:[-./:_]{_LETTER}+)*[A-Za-z]{_LETTER}*"  # 5QI, 20MHz
    rf"|[A-Za-z]{_LETTER}*(?:[-./:_]{_LETTER}*\d{_LETTER}*)+"  # gNB-12
    rf"|\d+(?:\.\d+){{2,}}|[A-Za-z]+\d+)"  # 10.0.0.1, n78
    rf"|(?P<number>(?:(?<![\w)])[-+])?(?:\d+(?:[.,]\d+)*|(?<![\w.])\.\d+))"
    rf"|(?P<han>[{HAN}])"
    rf"|(?P<word>[^\W\d_{HAN}]+)"
    rf"|(?P<sign>[^\s.,?!:;'\"“”‘’。，、…])"  # whatever is no mark of a sentence may count
)


class Tables(NamedTuple):
    """`meaning.toml`, in the form in which it is looked up. Phrases are tuples of tokens, the longest first."""

    frames: Sequence[tuple[str, ...]]
    tails: Sequence[tuple[str, ...]]
    whether_en: frozenset[str]
    whether_zh: tuple[str, ...]
    dropped: frozenset[tuple[str, ...]]
    same: Mapping[tuple[str, ...], str]
    longest: Mapping[str, int]  # by its first word, of the phrases in `dropped` and `same`
    marks: Mapping[str, str]  # word -> kind
    long_marks: Mapping[tuple[str, ...], str]  # of several words or characters
    longest_mark: Mapping[str, int]  # by its first one
    unit_symbols: Mapping[str, tuple[str, Decimal]]
    unit_words: Mapping[str, tuple[str, Decimal]]
    now: Sequence[str]
    state: Sequence[str]
    here: Sequence[str]
    own: Sequence[str]


@cache
def read_tables() -> Tables:
    """The file that ships with the package, read once."""
    table = tomllib.loads(resources.files("netgpt.inference").joinpath("meaning.toml").read_text(encoding="utf-8"))
    en, zh = table["en"], table["zh"]
    same = {split_phrase(phrase): stands for phrase, stands in [*en["same"].items(), *zh["same"].items()]}
    dropped = frozenset(split_phrase(phrase) for phrase in [*en["dropped"], *zh["dropped"]])
    every = {split_phrase(word): kind for language in ("en", "zh") for kind, words in table["marks"][language].items() for word in words}
    return Tables(
        frames=_longest_first([*en["frames"], *zh["frames"]]),
        tails=_longest_first([*en["tails"], *zh["tails"]]),
        whether_en=frozenset(en["asks_whether"]),
        whether_zh=tuple(zh["asks_whether"]),
        dropped=dropped,
        same=same,
        longest=_longest([*same, *dropped]),
        marks={phrase[0]: kind for phrase, kind in every.items() if len(phrase) == 1},
        long_marks={phrase: kind for phrase, kind in every.items() if len(phrase) > 1},
        longest_mark=_longest([phrase for phrase in every if len(phrase) > 1]),
        unit_symbols=_units(table["units"]["symbols"]),
        unit_words=_units(table["units"]["words"]),
        now=_any_of(table["timely"]["now"]),
        state=_any_of(table["timely"]["state"]),
        here=_any_of(table["local"]["here"]),
        own=_any_of(table["personal"]["own"]),
    )


def _longest(phrases: Iterable[tuple[str, ...]]) -> dict[str, int]:
    """By first word, of how many words the longest phrase is."""
    found: dict[str, int] = {}
    for phrase in phrases:
        found[phrase[0]] = max(found.get(phrase[0], 0), len(phrase))
    return found


def _units(rows: Mapping[str, Sequence[str]]) -> dict[str, tuple[str, Decimal]]:
    return {name: (unit, Decimal(factor)) for name, (unit, factor) in rows.items()}


def split_phrase(phrase: str) -> tuple[str, ...]:
    """The tokens of a phrase, in lower case."""
    return tuple(found[0].casefold() for found in TOKEN.finditer(phrase))


def _longest_first(phrases: Iterable[str]) -> list[tuple[str, ...]]:
    return sorted((split_phrase(phrase) for phrase in phrases), key=lambda phrase: (-len(phrase), phrase))


def _any_of(phrases: Iterable[str]) -> tuple[str, ...]:
    """English phrases are whole words; Chinese is written without spaces."""
    return tuple(phrase if re.search(f"[{HAN}]", phrase) else f" {phrase} " for phrase in phrases)
