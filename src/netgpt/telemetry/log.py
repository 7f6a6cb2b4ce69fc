"""The log of one process: a line a fact, plain for people or JSON for programs.

It writes ids, sizes, times and reasons. Content never enters it: a field with a content's name is
refused. It decides no level and rotates no file; facts that state is made of are events, not log lines.
"""

from __future__ import annotations

import json
from datetime import UTC, datetime
from typing import Literal, TextIO

from netgpt.core.clock import Clock

Level = Literal["info", "warning", "error"]
CONTENT_NAMES = frozenset({"content", "text", "prompt", "messages", "answer", "ids", "tokens_text", "kv", "draft"})


class Log:
    """Writes structured lines to `stream` (standard error or an open file)."""

    def __init__(self, stream: TextIO, clock: Clock, *, source: str, form: Literal["plain", "json"] = "plain") -> None:
        """Args:
        source: who writes: a node's or process' name.
        """
        self._stream = stream
        self._clock = clock
        self._source = source
        self._form = form

    def info(self, fact: str, **fields: object) -> None:
        self._write("info", fact, fields)

    def warning(self, fact: str, **fields: object) -> None:
        self._write("warning", fact, fields)

    def error(self, fact: str, **fields: object) -> None:
        self._write("error", fact, fields)

    def _write(self, level: Level, fact: str, fields: dict[str, object]) -> None:
        """Write one line and flush it.

        Raises:
            ValueError: a field that would carry content.
        """
        if forbidden := CONTENT_NAMES.intersection(fields):
            raise ValueError(f"content must not be logged: {sorted(forbidden)}")
        date = datetime.fromtimestamp(self._clock.date_s(), UTC).isoformat(timespec="milliseconds")
        if self._form == "json":
            line = json.dumps({"at": date, "level": level, "source": self._source, "fact": fact, **fields}, default=str)
        else:
            told = [f"{name}={json.dumps(value, default=str)}" for name, value in fields.items()]
            line = " ".join([date, level.upper(), self._source, fact, *told])
        self._stream.write(line.replace("\n", "\\n") + "\n")
        self._stream.flush()
