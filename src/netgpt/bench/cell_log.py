"""Cells of a long grid, kept one by one as they come, so that a run that is cut off goes on where it was. A file of JSON lines.

Its name holds a digest of the package's sources and of what was asked for: after a change of code no old cell is taken for a new one.
"""

from __future__ import annotations

import dataclasses
import hashlib
import json
from pathlib import Path
from typing import Any

import netgpt
from netgpt.bench.auto_cells import Cell
from netgpt.bench.auto_play import CellFigures
from netgpt.core.storage import DiskStorage

SOURCES = ("*.py", "*.toml", "*.json")


class CellLog:
    """The cells of one grid; without a folder nothing is kept."""

    def __init__(self, folder: Path | None, about: str) -> None:
        """Args:
        folder: where the file lies.
        about: what was asked for beside the cells themselves.
        """
        self._disk = DiskStorage(folder) if folder else None
        self._name = f"auto-{digest(about)}.jsonl"
        self.path = folder / self._name if folder else None
        self.done: dict[Cell, CellFigures] = {}
        if self.path is not None and self.path.exists():
            whole = self.path.read_text(encoding="utf-8").rpartition("\n")[0]  # a torn last line is a cell to play again
            self._disk.replace(self._name, f"{whole}\n".encode() if whole else b"")  # type: ignore[union-attr]
            self.done = {one.cell: one for one in map(_parsed, whole.splitlines())}

    def add(self, figures: CellFigures) -> None:
        """Keep a cell; it is durable when this returns."""
        self.done[figures.cell] = figures
        if self._disk is not None:
            self._disk.append(self._name, json.dumps(dataclasses.asdict(figures)).encode() + b"\n")

    def remove(self) -> None:
        """The grid is whole: the next run plays it anew."""
        if self._disk is not None and self.path is not None and self.path.exists():
            self._disk.remove(self._name)


def digest(about: str) -> str:
    """Of all that a cell's figures follow from."""
    hashed = hashlib.sha256(about.encode())
    root = Path(netgpt.__file__).parent
    for path in sorted(path for pattern in SOURCES for path in root.rglob(pattern)):
        hashed.update(str(path.relative_to(root)).encode() + path.read_bytes())
    return hashed.hexdigest()[:16]


def _parsed(line: str) -> CellFigures:
    row = _frozen(json.loads(line))
    row["cell"] = Cell(**_frozen(row["cell"]))
    return CellFigures(**row)


def _frozen(row: dict[str, Any]) -> dict[str, Any]:
    return {name: tuple(value) if isinstance(value, list) else value for name, value in row.items()}
