"""Reading an answer out of a reply: words, the last quantity, names, a choice. Knows no task."""

from __future__ import annotations

import re
import unicodedata

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
