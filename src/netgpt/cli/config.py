"""`netgpt config show`: every setting, its value, and where the value comes from."""

from __future__ import annotations

import argparse
import json
import sys

from netgpt.cli.table import format_table
from netgpt.cli.up import settings_with_scenario
from netgpt.core.settings import Resolved


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("what", choices=["show"], help="show: print every setting, its value and origin")
    parser.add_argument("--scenario", metavar="SCENARIO", help="the scenario whose settings count (default: campus)")
    parser.add_argument("--json", action="store_true", help="print a JSON list")


def _shown(resolved: Resolved) -> int | float | str:
    if resolved.setting.secret:
        return "(set)" if resolved.value else ""
    return resolved.value if isinstance(resolved.value, int | float) else str(resolved.value)


def run(args: argparse.Namespace) -> int:
    resolved, _ = settings_with_scenario(args.flags)
    rows = [
        {
            "name": name,
            "value": _shown(each),
            "origin": each.origin,
            "variable": each.setting.variable,
            "help": each.setting.help,
        }
        for name, each in resolved.items()
    ]
    if args.json:
        json.dump(rows, sys.stdout, indent=2)
        print()
    else:
        columns = ("name", "value", "origin", "variable")
        print(format_table([column.upper() for column in columns], [[str(row[column]) for column in columns] for row in rows]))
    return 0
