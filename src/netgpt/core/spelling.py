"""Unknown words in files, flags and requests: what was probably meant."""

from __future__ import annotations

import difflib
from collections.abc import Collection, Mapping

from netgpt.core.errors import NetgptError

_MOST_MEANT_CHARS = 100  # a longer word is no misspelling; comparing it takes time that whoever sent it should not have


def did_you_mean(word: str, known: Collection[str]) -> str:
    """A hint such as `did you mean 'delay'? known: delay, loss, rate`."""
    close = difflib.get_close_matches(word, list(known), n=1) if len(word) <= _MOST_MEANT_CHARS else []
    listing = "known: " + ", ".join(sorted(known))
    return f"did you mean {close[0]!r}? {listing}" if close else listing


def check_keys(table: Mapping[str, object], known: Collection[str], where: str, error: type[NetgptError]) -> None:
    """Refuse a table with a key that is not known.

    Raises:
        error: names the key and the place, and hints at the nearest known key.
    """
    for key in table:
        if key not in known:
            raise error(f"unknown key {key!r} in {where}", hint=did_you_mean(key, known), param=key)
