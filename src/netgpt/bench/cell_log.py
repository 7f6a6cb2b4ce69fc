"""Cells of a long grid, kept one by one as they come, so that a run that is cut off goes on where it was. A file of JSON lines.

Its name holds a digest of the package's sources and of what was asked for: after a change of code no old cell is taken for a new one.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Sequence
from concurrent.futures import ProcessPoolExecutor, as_completed
from pathlib import Path
from typing import Any, Generic, Protocol, TypeVar

import netgpt
from netgpt.bench.conditions import tell
from netgpt.core.storage import DiskStorage

SOURCES = ("*.py", "*.toml", "*.json")
TOLD_EVERY = 4  # cells


class Named(Protocol):
    """One condition of a grid."""

    @property
    def name(self) -> str: ...


Cell = TypeVar("Cell", bound=Named)
Found = TypeVar("Found")


class CellLog(Generic[Found]):
    """What was found in each cell of one grid, by the cell's name; without a folder nothing is kept."""

    def __init__(self, folder: Path | None, grid: str, about: str, *, encode: Callable[[Found], Any], decode: Callable[[Any], Found]) -> None:
        """Args:
        folder: where the file lies.
        grid: begins its name.
        about: what was asked for beside the cells themselves.
        encode, decode: to what JSON holds, and back.
        """
        self._disk = DiskStorage(folder) if folder else None
        self._encode = encode
        self._name = f"{grid}-{digest(about)}.jsonl"
        self.path = folder / self._name if folder else None
        self.done: dict[str, Found] = {}
        if self._disk is not None and self.path is not None and self.path.exists():
            whole = self.path.read_text(encoding="utf-8").rpartition("\n")[0]  # a torn last line is a cell to play again
            self._disk.replace(self._name, f"{whole}\n".encode() if whole else b"")
            self.done = {row["cell"]: decode(row["found"]) for row in map(json.loads, whole.splitlines())}

    def add(self, cell: str, found: Found) -> None:
        """Keep a cell; it is durable when this returns."""
        self.done[cell] = found
        if self._disk is not None:
            self._disk.append(self._name, json.dumps({"cell": cell, "found": self._encode(found)}).encode() + b"\n")

    def remove(self) -> None:
        """The grid is whole: the next run plays it anew."""
        if self._disk is not None and self.path is not None and self.path.exists():
            self._disk.remove(self._name)


def play_all(grid: Sequence[Cell], play: Callable[[Cell], Found], log: CellLog[Found], *, part: str, processes: int = 1) -> list[Found]:
    """What `play` finds in every cell, in the grid's order. Each is kept as soon as it is done; when all are, nothing is.

    Args:
        play: with several processes, one that can be sent to them.
        part: of the bench, as it tells how far it is.
    """
    left = [cell for cell in grid if cell.name not in log.done]
    if len(left) < len(grid):
        tell(f"{part}: {len(grid) - len(left)} of {len(grid)} cells were played by an earlier run that was cut off ({log.path})")

    def keep(cell: Cell, found: Found) -> None:
        log.add(cell.name, found)
        if len(log.done) % TOLD_EVERY == 0 or len(log.done) == len(grid):
            tell(f"{part}: {len(log.done)} of {len(grid)} cells")

    if processes == 1:
        for cell in left:
            keep(cell, play(cell))
    else:
        _play_apart(left, play, keep, processes)
    log.remove()
    return [log.done[cell.name] for cell in grid]


def _play_apart(left: Sequence[Cell], play: Callable[[Cell], Found], keep: Callable[[Cell, Found], None], processes: int) -> None:
    with ProcessPoolExecutor(processes) as pool:
        try:
            under_way = {pool.submit(play, cell): cell for cell in left}
            for future in as_completed(under_way):
                keep(under_way[future], future.result())
        except BaseException:
            pool.shutdown(wait=False, cancel_futures=True)
            raise


def digest(about: str) -> str:
    """Of all that a cell's figures follow from."""
    hashed = hashlib.sha256(about.encode())
    root = Path(netgpt.__file__).parent
    for path in sorted(path for pattern in SOURCES for path in root.rglob(pattern)):
        hashed.update(str(path.relative_to(root)).encode() + path.read_bytes())
    return hashed.hexdigest()[:16]
