"""Where a TOML text says what: the line of every table and key.

`tomllib` reads values and forgets where they stood. This looks at the same text, which `tomllib` has taken
already, and knows nothing of what the keys mean.
"""

from __future__ import annotations

import re
from collections.abc import Iterator

Path = tuple[str | int, ...]  # ("link", 0, "delay"): tables of an array are counted from 0

_PART = r"""(?:[A-Za-z0-9_-]+|"[^"]*"|'[^']*')"""
_DOTTED = rf"{_PART}(?:\s*\.\s*{_PART})*"
_HEADER = re.compile(rf"\s*(\[\[?)\s*({_DOTTED})\s*\]")
_KEY = re.compile(rf"\s*({_DOTTED})\s*=")
_TOKEN = re.compile(r'''""" | \'\'\' | "(?:\\.|[^"\\])*" | '[^']*' | \#.* | [\[\]{}]''', re.VERBOSE)


def toml_lines(text: str) -> dict[Path, int]:
    """The line, from 1, of each table header and key of a valid TOML text. What stands in an inline table is not found: ask for the key before it."""
    lines: dict[Path, int] = {}
    lengths: dict[Path, int] = {}  # of arrays of tables
    table: Path = ()
    for number, line in _statements(text):
        if header := _HEADER.match(line):
            table = _resolved(_parts(header[2]), lengths, new=header[1] == "[[")
            lines.setdefault(table, number)
            if isinstance(table[-1], int):
                lines.setdefault(table[:-1], number)
        elif key := _KEY.match(line):
            parts = _parts(key[1])
            for end in range(1, len(parts) + 1):
                lines.setdefault((*table, *parts[:end]), number)
    return lines


def line_of(lines: dict[Path, int], path: Path) -> int:
    """The line of `path`, or of the nearest that holds it; 0 if there is none."""
    while path and path not in lines:
        path = path[:-1]
    return lines.get(path, 0)


def _parts(dotted: str) -> tuple[str, ...]:
    return tuple(part.strip("\"'") for part in re.findall(_PART, dotted))


def _resolved(parts: tuple[str, ...], lengths: dict[Path, int], *, new: bool) -> Path:
    """A header's path with the places in arrays of tables that it means: the last one, or a new one."""
    path: Path = ()
    for part in parts:
        path = (*path, part)
        last = len([step for step in path if isinstance(step, str)]) == len(parts)
        if last and new:
            lengths[path] = lengths.get(path, 0) + 1
        if path in lengths:
            path = (*path, lengths[path] - 1)
    return path


def _statements(text: str) -> Iterator[tuple[int, str]]:
    """The lines at which a header or a key may begin: not those within a string, array or inline table."""
    depth, quote = 0, ""
    for number, line in enumerate(text.splitlines(), start=1):
        if not depth and not quote:
            yield number, line
        depth, quote = _after(line, depth, quote)


def _after(line: str, depth: int, quote: str) -> tuple[int, str]:
    """How many brackets are open after `line`, and the quotes of the string that goes on into the next."""
    at = 0
    while True:
        if quote:
            end = line.find(quote, at)
            if end < 0:
                return depth, quote
            at, quote = end + 3, ""
        token = _TOKEN.search(line, at)
        if token is None:
            return depth, ""
        at = token.end()
        if token[0] in ('"""', "'''"):
            quote = token[0]
        elif token[0] in "[{":
            depth += 1
        elif token[0] in "]}":
            depth -= 1
