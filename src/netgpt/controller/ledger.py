"""The authority's book: which certificates were issued, and which were revoked. One JSON object a line.

The controller issues, the operator's command revokes, perhaps while the controller runs: each appends
whole lines to the same file, and the controller reads it again when it has grown. Keys are never in it.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass, replace
from pathlib import Path

from netgpt.core.errors import StorageFailed
from netgpt.core.storage import DiskStorage


@dataclass(frozen=True, kw_only=True)
class Issued:
    """One certificate."""

    serial: str
    node: str
    tier: str
    role: str
    issued_s: float
    ends_s: float
    roots: str = ""  # ids of the roots that its holder was told to trust, the signing one first
    revoked_s: float | None = None
    reason: str = ""

    def state(self, date_s: float) -> str:
        """`valid`, `revoked` or `expired`."""
        if self.revoked_s is not None:
            return "revoked"
        return "valid" if date_s < self.ends_s else "expired"


class Ledger:
    """The book in one file."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._read_bytes = -1
        self._issued: Mapping[str, Issued] = {}
        self._revoked: list[Issued] = []

    def issued(self) -> Mapping[str, Issued]:
        """Every certificate by its serial, in the order of issue. The same object as long as nothing was written."""
        size_bytes = self._path.stat().st_size if self._path.exists() else 0
        if size_bytes != self._read_bytes:
            self._issued = fold_lines(self._path.read_bytes().splitlines() if size_bytes else [])
            self._revoked = [each for each in self._issued.values() if each.revoked_s is not None]
            self._read_bytes = size_bytes
        return self._issued

    def revoked(self) -> list[Issued]:
        """Those of `issued` that were revoked. Asked at every call, hence not searched for."""
        self.issued()
        return self._revoked

    def add(self, issued: Issued) -> None:
        self._append({"kind": "issued"} | asdict(issued))

    def revoke(self, serial: str, date_s: float, reason: str) -> None:
        self._append({"kind": "revoked", "serial": serial, "at_s": date_s, "reason": reason})

    def _append(self, record: Mapping[str, object]) -> None:
        DiskStorage(self._path.parent).append(self._path.name, json.dumps(record, separators=(",", ":")).encode() + b"\n")


def fold_lines(lines: Iterable[bytes]) -> Mapping[str, Issued]:
    """What the lines say together.

    Raises:
        StorageFailed: a line that is none of ours. To go on without it could let a revoked node in.
    """
    issued: dict[str, Issued] = {}
    for number, line in enumerate(lines, start=1):
        try:
            record = json.loads(line)
            if record.pop("kind") == "issued":
                issued[record["serial"]] = Issued(**record)
            else:
                issued[record["serial"]] = replace(issued[record["serial"]], revoked_s=record["at_s"], reason=record["reason"])
        except (ValueError, KeyError, TypeError) as error:
            raise StorageFailed(f"line {number} of the ledger of certificates is damaged", hint="mend or restore ca/ledger.jsonl") from error
    return issued
