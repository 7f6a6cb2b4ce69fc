"""How often the words of a prompt were met in the prompts that a fit knows, and those of an answer in answers: who asks in rare words asks
for rare facts.

A small model lacks first what it has seldom read (long-tail knowledge, arXiv 2211.08411), and what is seldom asked is a sign of that. Counts
alone are kept, under 24 bits of each word's checksum: no word can be read out of them, though whoever guesses one can look it up. Pure.

Axes: N prompt, W word.
"""

from __future__ import annotations

import re
import zlib
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from netgpt.core.value import value

MOST_MET, MOST_WORDS = 255, 8192  # a word is counted so often, and of more words the commonest are kept
PLACES = ("", "first line's ", "last line's ")  # where words stand in the last message; a question is at one of its ends
HOW_RARE = ("rarest word", "usual word", "rarest code", "usual code")
KNOWN = tuple(f"{place}{what}" for place in PLACES for what in HOW_RARE)  # of a prompt
SAID = tuple(f"answer's {what}" for what in HOW_RARE)
_WORD = re.compile(r"[\u3040-\u9fff]|[^\W\u3040-\u9fff_]+")  # Chinese and Japanese leave no spaces: their signs are words

Ints = NDArray[np.int64]
Floats = NDArray[np.float64]


@value
class TextWords:
    """What stands for the words of a text: of each of its parts, the first of which is the whole, those of letters, then those with digits."""

    marks: tuple[tuple[int, ...], ...]


def words_of(messages: Sequence[tuple[str, str]]) -> TextWords:
    """The words of a conversation's last message, by `PLACES`. Numbers, and single letters, are no words."""
    text = messages[-1][1].strip() if messages else ""
    lines = text.split("\n")
    return _text_words(text, lines[0], lines[-1])


def words_said(answer: str) -> TextWords:
    """The words of an answer, in one part."""
    return _text_words(answer)


def _text_words(*parts: str) -> TextWords:
    return TextWords(marks=tuple(marks for part in parts for marks in _marks(set(_WORD.findall(part.casefold())))))


def _marks(words: Iterable[str]) -> tuple[tuple[int, ...], tuple[int, ...]]:
    of_letters, codes = set[int](), set[int]()
    for word in words:
        if word.isalpha():
            if len(word) > 1 or word > "\u3000":
                of_letters.add(zlib.crc32(word.encode()) >> 8)
        elif not word.isdigit():
            codes.add(zlib.crc32(word.encode()) >> 8)
    return tuple(of_letters), tuple(codes)


@dataclass(frozen=True, kw_only=True)
class Words:
    """In how many texts words were met; those of one text alone are not kept."""

    table: bytes = b""  # rising little-endian numbers of 32 bits: 24 stand for a word, 8 say how often it was met

    def features(self, texts: Sequence[TextWords], *, own: int = 0) -> Floats:
        """`HOW_RARE` of each part: logarithms of how often the rarest word was met, and their mean, of letters and with digits.

        Args:
            texts: N, at least one, of as many parts each.
            own: how often each of these texts is itself among the counted ones: what a fit reads of its own tasks.

        Returns:
            Shape (N, len(KNOWN)) for prompts, (N, len(SAID)) for answers.
        """
        columns: list[Floats] = []
        for place in range(len(texts[0].marks)):
            columns += self._rarest_and_usual([text.marks[place] for text in texts], own)
        return np.stack(columns, axis=1)

    def _rarest_and_usual(self, marks_N: Sequence[tuple[int, ...]], own: int) -> tuple[Floats, Floats]:
        """Where there is no word, as if all were met always."""
        sizes_N = np.array([len(marks) for marks in marks_N], dtype=np.int64)
        some_N = sizes_N > 0
        rarest_N, usual_N = np.full((2, len(marks_N)), np.log(MOST_MET))
        if some_N.any():
            logs_W = np.log(np.maximum(self._met(np.array([mark for marks in marks_N for mark in marks], dtype=np.int64)) - own, 1))
            starts = (np.cumsum(sizes_N) - sizes_N)[some_N]
            rarest_N[some_N] = np.minimum.reduceat(logs_W, starts)
            usual_N[some_N] = np.add.reduceat(logs_W, starts) / sizes_N[some_N]
        return rarest_N, usual_N

    def _met(self, marks_W: Ints) -> Ints:
        rows = np.frombuffer(self.table, dtype="<u4")
        if not len(rows):
            return np.zeros(len(marks_W), dtype=np.int64)
        places_W = np.minimum(np.searchsorted(rows, (marks_W << 8).astype(np.uint32)), len(rows) - 1)
        found_W = rows[places_W].astype(np.int64)
        return np.where(found_W >> 8 == marks_W, found_W & 255, 0)


def fit_words(texts: Sequence[TextWords]) -> Words:
    """How often each word was met in these texts."""
    every = np.array([mark for text in texts for marks in text.marks[:2] for mark in marks], dtype=np.int64)
    marks, met = np.unique(every, return_counts=True)
    kept = np.flatnonzero(met > 1)
    kept = np.sort(kept[np.argsort(-met[kept], kind="stable")][:MOST_WORDS])
    return Words(table=((marks[kept] << 8) | np.minimum(met[kept], MOST_MET)).astype("<u4").tobytes())
