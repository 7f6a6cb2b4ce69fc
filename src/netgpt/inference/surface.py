"""What the surface of a conversation tells before anybody has read it: lengths, counts and layout. Pure; well under a millisecond."""

from __future__ import annotations

import re
from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

MARKS = (",", ".", ":", '"', "{", "-", "(", "?")
SURFACE = (
    "messages",
    "chars",
    "question_chars",
    "lines",
    "question_lines",
    "first_line",
    "last_line",
    "words",
    "distinct_words",
    "word_chars",
    "numbers",
    "distinct_numbers",
    "longest_number",
    "capitals",
    "beyond_ascii",
    *(f"mark {mark}" for mark in MARKS),
)
_NUMBER = re.compile(r"\d+")


def surface_of(messages: Sequence[tuple[str, str]]) -> NDArray[np.float64]:
    """Shape (len(SURFACE),): counts of the whole conversation and of its last message; zeros where there is no text."""
    text = "\n".join(content for _, content in messages)
    question = messages[-1][1] if messages else ""
    lines, words, numbers = question.split("\n"), question.split(), _NUMBER.findall(question)
    return np.array([
        len(messages),
        len(text),
        len(question),
        text.count("\n"),
        len(lines) - 1,
        len(lines[0]),
        len(lines[-1]),
        len(words),
        len(set(words)),
        sum(map(len, words)) / max(len(words), 1),
        len(numbers),
        len(set(numbers)),
        max(map(len, numbers), default=0),
        sum(map(str.isupper, question)),
        len(question) - len(question.encode("ascii", "ignore")),
        *(text.count(mark) for mark in MARKS),
    ], dtype=np.float64)  # fmt: skip
