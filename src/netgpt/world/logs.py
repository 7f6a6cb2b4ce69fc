"""The processes' log lines: how they are written, and how `netgpt log` reads them back.

One line an entry, as `telemetry.log.Log` writes it: `2026-01-31T12:00:00.123+00:00 INFO SOURCE text`. Lines
that do not begin so (a traceback, a library's own print) belong to the entry before them.
"""

from __future__ import annotations

import logging
import re
import time
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import TextIO

_FORMAT = "%(asctime)s.%(msecs)03d+00:00 %(levelname)s %(name)s %(message)s"
_HEAD = re.compile(r"(\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}\+00:00) ([A-Z]+) (\S+) (.*)")


@dataclass(frozen=True, kw_only=True)
class LogLine:
    """One line of one process's log. A line that continues an entry has its head's `at`, `level` and `source`; empty before the first."""

    process: str
    at: str  # UTC, ISO 8601: sorts as text
    level: str
    source: str  # the process itself, or a library in it
    text: str


def log_folder(home: Path) -> Path:
    return home / "log"


def log_file(home: Path, process: str) -> Path:
    return log_folder(home) / f"{process}.log"


def join_library_logs(stream: TextIO) -> None:
    """Write what libraries log through `logging`, from INFO up, to `stream` as well; replaces what was set before."""
    formatter = logging.Formatter(_FORMAT, datefmt="%Y-%m-%dT%H:%M:%S")
    formatter.converter = time.gmtime
    handler = logging.StreamHandler(stream)
    handler.setFormatter(formatter)
    logging.basicConfig(level=logging.INFO, handlers=[handler], force=True)
    for talkative in ("httpx", "uvicorn"):  # would log every request, and every start
        logging.getLogger(talkative).setLevel(logging.WARNING)


def rotate_logs(home: Path) -> None:
    """Start every log anew; the run before keeps its own as `NAME.log.1`."""
    log_folder(home).mkdir(parents=True, exist_ok=True)
    for path in log_folder(home).glob("*.log"):
        path.replace(path.with_name(path.name + ".1"))


def logged_processes(home: Path) -> list[str]:
    """Names of the processes that have a log."""
    return sorted(path.stem for path in log_folder(home).glob("*.log"))


def parse_lines(process: str, lines: Iterable[str]) -> Iterator[LogLine]:
    at = level = source = ""
    for line in lines:
        head = _HEAD.match(line)
        if head:
            at, level, source = head[1], head[2], head[3]
        yield LogLine(process=process, at=at, level=level, source=source, text=head[4] if head else line)
