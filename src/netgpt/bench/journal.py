"""The journal of a recording in progress: one JSON line a row, durable as soon as the row is there.

A Parquet file can only be written whole. So rows go to a journal beside it, `FILE.parquet.journal`, and the
recording is written from that when the run ends, for whatever reason. A run that was killed leaves the
journal, and the next run with `--resume` goes on from it; a torn last line is one row to ask for again.
"""

from __future__ import annotations

import base64
import dataclasses
import json
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any

from netgpt.core.errors import UsageError
from netgpt.core.storage import DiskStorage
from netgpt.models.recording import Recorded, recorded_runs, stream_recording, write_recording

Key = tuple[str, str, str]  # task, upstream, model


class Journal:
    """Rows for the recording `output`."""

    def __init__(self, output: Path, *, resume: bool) -> None:
        """Open it; on `resume` with the rows that are there.

        Raises:
            UsageError: there is a recording or a journal, and the run does not resume it.
        """
        self._output = output
        self._name = output.name + ".journal"
        self._path = output.with_name(self._name)
        self._disk = DiskStorage(output.parent)
        self._runs: list[Mapping[str, Any]] = []
        if not resume and (output.exists() or self._path.exists()):
            what = output if output.exists() else self._path
            raise UsageError(f"{str(what)!r} exists", hint="add to it with --resume, or choose another file with --output", param="output")
        if output.exists():
            self._runs = list(recorded_runs(output))
            if not self._path.exists():
                self._disk.replace(self._name, b"".join(map(_line, stream_recording(output))))
        self._mend()
        self.keys: set[Key] = {_key(row) for row in self._rows()}

    def add(self, row: Recorded) -> None:
        """Keep a row; it is durable when this returns."""
        self._disk.append(self._name, _line(row))
        self.keys.add(_key(row))

    def finish(self, run: Mapping[str, Any], order: Iterable[Key]) -> int:
        """Write the recording, this run's rows in `order`, and remove the journal; returns the number of rows. None, no file."""
        if not self.keys and not self._output.exists():
            self._disk.remove(self._name)
            return 0
        rank = {key: place for place, key in enumerate(order)}
        offsets = sorted(self._offsets(), key=lambda item: rank.get(item[0], -1))  # rows of earlier runs keep their place before this one's
        count = write_recording(self._output, self._rows_at(offset for _, offset in offsets), [*self._runs, run])
        self._disk.remove(self._name)
        return count

    def _mend(self) -> None:
        """Drop a torn last line."""
        if self._path.exists():
            data = self._path.read_bytes()
            if not data.endswith(b"\n"):
                self._disk.replace(self._name, data[: data.rfind(b"\n") + 1])

    def _rows(self) -> Iterator[Recorded]:
        return self._rows_at(offset for _, offset in self._offsets())

    def _offsets(self) -> list[tuple[Key, int]]:
        """Where each row's line begins; of rows for one key the last counts."""
        found: dict[Key, int] = {}
        if self._path.exists():
            with self._path.open("rb") as file:
                offset = 0
                for line in file:
                    found[_key(_parse(line))] = offset
                    offset += len(line)
        return list(found.items())

    def _rows_at(self, offsets: Iterable[int]) -> Iterator[Recorded]:
        if not self._path.exists():
            return
        with self._path.open("rb") as file:
            for offset in offsets:
                file.seek(offset)
                yield _parse(file.readline())


def _key(row: Recorded) -> Key:
    return (row.task_id, *row.source)


def _line(row: Recorded) -> bytes:
    return json.dumps(dataclasses.asdict(row), default=_encode, ensure_ascii=False).encode() + b"\n"


def _encode(data: bytes) -> dict[str, str]:
    return {"b64": base64.b64encode(data).decode()}


def _parse(line: bytes) -> Recorded:
    return Recorded(**{name: _frozen(value) for name, value in json.loads(line, object_hook=_decode).items()})


def _decode(value: dict[str, Any]) -> Any:
    return base64.b64decode(value["b64"]) if value.keys() == {"b64"} else value


def _frozen(value: Any) -> Any:
    return tuple(map(_frozen, value)) if isinstance(value, list) else value
