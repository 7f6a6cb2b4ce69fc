"""Tables of plain text: columns as wide as their widest cell, numbers to the right."""

from __future__ import annotations

from collections.abc import Sequence

GAP = "  "


def format_table(headings: Sequence[str], rows: Sequence[Sequence[object]]) -> str:
    """Lines joined by newlines, without one at the end. None is shown as `-`; a column of numbers is aligned to the right."""
    cells = [["-" if cell is None else str(cell) for cell in row] for row in rows]
    widths = [max(len(line[column]) for line in [list(headings), *cells]) for column in range(len(headings))]
    rights = [bool(rows) and all(isinstance(row[column], int | float) or row[column] is None for row in rows) for column in range(len(headings))]

    def line(texts: Sequence[str]) -> str:
        return GAP.join(text.rjust(width) if right else text.ljust(width) for text, width, right in zip(texts, widths, rights, strict=True)).rstrip()

    return "\n".join([line(headings), *map(line, cells)])
