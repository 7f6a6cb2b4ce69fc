"""`netgpt log`: what the processes of a home's newest network logged. Works after it has stopped, too."""

from __future__ import annotations

import argparse
import dataclasses
import json
import sys
import time
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path

from netgpt.core.errors import NotRunning, UsageError
from netgpt.core.spelling import did_you_mean
from netgpt.world.logs import LogLine, log_file, logged_processes, parse_lines

POLL_S = 0.2


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("process", nargs="?", metavar="PROCESS", help="a process, such as cloud1-engine, or a node; default: all")
    parser.add_argument("--follow", action="store_true", help="go on with what is logged from now on, until Ctrl-C")
    parser.add_argument("--lines", type=int, default=50, metavar="N", help="how many of the last lines to begin with; 0: none (default: 50)")
    parser.add_argument("--json", action="store_true", help="print one JSON object a line")


def run(args: argparse.Namespace) -> int:
    processes = chosen_processes(args.process, logged_processes(args.home), args.home)
    show = _printer(processes, as_json=args.json)
    tails = [_Tail(args.home, process) for process in processes]
    lines = in_time_order(tails)
    if not lines and not args.follow:
        print(f"nothing is logged by {', '.join(processes)}: processes log what goes wrong", file=sys.stderr)
    for line in lines[max(0, len(lines) - args.lines) :]:
        show(line)
    while args.follow:
        time.sleep(POLL_S)
        for line in in_time_order(tails):
            show(line)
    return 0


def chosen_processes(name: str | None, logged: Sequence[str], home: Path) -> list[str]:
    """The processes meant by a process's name, a node's, or none.

    Raises:
        NotRunning: there is no log at all.
        UsageError: nothing has that name.
    """
    if not logged:
        raise NotRunning(f"no network has run from {str(home)!r}", hint="start one: netgpt up")
    if name is None or name in logged:
        return [name] if name else list(logged)
    of_node = [process for process in logged if process.rpartition("-")[0] == name]
    if not of_node:
        nodes = {process.rpartition("-")[0] for process in logged if "-" in process}
        raise UsageError(f"no process and no node {name!r} has a log", hint=did_you_mean(name, [*logged, *nodes]), param="process")
    return of_node


def _printer(processes: Sequence[str], *, as_json: bool) -> Callable[[LogLine], None]:
    width = max(map(len, processes))

    def show(line: LogLine) -> None:
        if as_json:
            print(json.dumps(dataclasses.asdict(line)), flush=True)
        else:
            library = "" if line.source in ("", line.process) else f"{line.source}: "
            print(f"{line.at or '-':<29} {line.process:<{width}} {line.level:<7} {library}{line.text}", flush=True)

    return show


class _Tail:
    """One log as it grows: what is new since it was last asked, at first everything. Begins anew when the log does."""

    def __init__(self, home: Path, process: str) -> None:
        self._process = process
        self._path = log_file(home, process)
        self._offset_bytes = 0

    def new_lines(self) -> list[LogLine]:
        size_bytes = self._path.stat().st_size if self._path.exists() else 0
        if size_bytes < self._offset_bytes:
            self._offset_bytes = 0
        if size_bytes == self._offset_bytes:
            return []
        with self._path.open("rb") as file:
            file.seek(self._offset_bytes)
            data = file.read()
        whole = data[: data.rfind(b"\n") + 1]  # a line that is being written waits for its end
        self._offset_bytes += len(whole)
        return list(parse_lines(self._process, whole.decode("utf-8", "replace").splitlines()))


def in_time_order(tails: Iterable[_Tail]) -> list[LogLine]:
    """What is new in several logs; lines of one entry stay together."""
    return sorted((line for tail in tails for line in tail.new_lines()), key=lambda line: line.at)
