"""Reading: facts out of data files, and answers out of replies (words, a quantity, names). Knows no task."""

from __future__ import annotations

import re
import tomllib
import unicodedata
from functools import cache
from importlib import resources
from typing import Any

_QUANTITY = re.compile(r"(-?\d+(?:\.\d+)?)\s*([A-Za-z%/]*)")


def words(text: str) -> str:
    """`text` in lower case with single spaces for all that is no letter, digit or decimal point."""
    folded = unicodedata.normalize("NFKC", text).casefold()
    return re.sub(r"(?<!\d)\.|\.(?!\d)|[^\w.]|_", " ", folded).strip()


def holds_phrase(text: str, phrase: str) -> bool:
    """True if the words of `phrase` occur in `text` one after the other."""
    return f" {' '.join(words(phrase).split())} " in f" {' '.join(words(text).split())} "


def last_quantity(text: str) -> tuple[float, str] | None:
    """The last number of `text` and the unit after it ("" if none); None without a number."""
    found = _QUANTITY.findall(unicodedata.normalize("NFKC", text).replace("\u2212", "-"))
    return (float(found[-1][0]), found[-1][1]) if found else None


def same_quantity(reply: str, answer: str) -> bool:
    """True if both end in the same number with the same unit."""
    got, wanted = last_quantity(reply), last_quantity(answer)
    if got is None or wanted is None:
        return False
    return abs(got[0] - wanted[0]) <= 1e-6 * max(1.0, abs(wanted[0])) and got[1].casefold() == wanted[1].casefold()


def names(text: str, pattern: str) -> frozenset[str]:
    """All matches of `pattern` in `text`."""
    return frozenset(re.findall(pattern, text))


def after_last(text: str, mark: str = ":") -> str:
    """What stands behind the last `mark`, without blanks and a final stop; all of `text` if there is none."""
    return text.rpartition(mark)[2].strip().rstrip(".。").strip()


@cache
def read_facts(file_name: str) -> dict[str, Any]:
    """The content of a facts file of this package; not to be changed by its readers."""
    return tomllib.loads(resources.files("netgpt.corpus").joinpath("facts", file_name).read_text(encoding="utf-8"))
