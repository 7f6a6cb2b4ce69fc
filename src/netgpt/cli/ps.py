"""`netgpt ps`: the processes of the network that runs from a home."""

from __future__ import annotations

import argparse
import json
import sys
from typing import Any

from netgpt.cli.table import format_table
from netgpt.core.units import format_bytes, format_duration
from netgpt.world.pids import is_alive, rss_bytes, uptime_s
from netgpt.world.runstate import ProcessState, read_state


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--json", action="store_true", help="print a JSON list, empty if nothing runs")


def run(args: argparse.Namespace) -> int:
    state = read_state(args.home)
    rows = [process_row(process) for process in state.all_processes()] if state else []
    if state is None:
        print(f"no network runs from {str(args.home)!r}; start one: netgpt up", file=sys.stderr)
    elif not state.supervised:
        print("the supervisor has died and its processes stop; clean up: netgpt down", file=sys.stderr)
    if args.json:
        json.dump(rows, sys.stdout, indent=2)
        print()
    elif rows:
        print(format_table(["NAME", "NODE", "TIER", "ROLE", "PID", "PORT", "STATE", "RESTARTS", "UPTIME", "MEMORY"], [_cells(row) for row in rows]))
    return 0


def process_row(process: ProcessState) -> dict[str, Any]:
    """One process as `--json` shows it. A process that the file believes alive but is not has the state `gone`."""
    alive = process.pid is not None and is_alive(process.pid)
    between_lives = process.pid is None and process.state in ("waiting", "restarting")
    return {
        "name": process.name,
        "node": process.node,
        "tier": process.tier,
        "role": process.role,
        "model": process.model,
        "pid": process.pid.number if process.pid and alive else None,
        "port": process.port,
        "state": process.state if alive or between_lives else "gone",
        "restarts": process.restarts,
        "last_exit": process.last_exit or None,
        "uptime_s": round(uptime_s(process.pid), 2) if process.pid and alive else None,
        "rss_bytes": rss_bytes(process.pid) if process.pid and alive else None,
    }


def _cells(row: dict[str, Any]) -> list[Any]:
    uptime = None if row["uptime_s"] is None else format_duration(row["uptime_s"])
    memory = None if row["rss_bytes"] is None else format_bytes(row["rss_bytes"])
    return [*(row[name] for name in ("name", "node", "tier", "role", "pid", "port", "state", "restarts")), uptime, memory]
