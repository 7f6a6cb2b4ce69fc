"""`netgpt scenario`: the networks that ship, what one looks like, and whether a file is sound."""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Iterator
from pathlib import Path

from netgpt.cli.table import format_table
from netgpt.core.errors import ScenarioInvalid, StorageFailed, UsageError
from netgpt.network.scenario import Scenario

ACTIONS = ("list", "show", "check", "schema")


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "what",
        choices=ACTIONS,
        help="list: the scenarios that ship; show: draw one; check: whether files are sound; schema: print the JSON Schema for editors",
    )
    parser.add_argument(
        "scenario", nargs="*", metavar="SCENARIO", help="show, check: a shipped scenario's name, or a .toml file (show: default campus)"
    )
    parser.add_argument("--picture", type=Path, metavar="FILE.svg", help="show: draw into this file")
    parser.add_argument("--json", action="store_true", help="list: print a JSON list")


def run(args: argparse.Namespace) -> int:
    _check_options(args)
    return {"list": _list, "show": _show, "check": _check, "schema": _schema}[args.what](args)


def _check_options(args: argparse.Namespace) -> None:
    for option, given, owner in (("--picture", args.picture, "show"), ("--json", args.json, "list")):
        if given and args.what != owner:
            raise UsageError(f"netgpt scenario {args.what} takes no {option}", hint="run: netgpt scenario --help", param=option)
    most = {"show": 1, "check": sys.maxsize}.get(args.what, 0)
    if len(args.scenario) > most:
        raise UsageError(f"netgpt scenario {args.what} takes {'one scenario' if most else 'no scenario'}", hint="run: netgpt scenario --help")


def _list(args: argparse.Namespace) -> int:
    from netgpt.network.scenario_file import load_scenario, shipped_scenarios

    scenarios = [load_scenario(name) for name in shipped_scenarios()]
    rows = [
        {
            "name": each.name,
            "nodes": len(each.nodes),
            "cells": len(each.cells),
            "simulation_only": each.simulation_only,
            "description": each.description,
        }
        for each in scenarios
    ]
    if args.json:
        json.dump(rows, sys.stdout, indent=2)
        print()
        return 0
    print(format_table(["NAME", "NODES", "CELLS", "DESCRIPTION"], [[row["name"], row["nodes"], row["cells"], row["description"]] for row in rows]))
    print("\nnetgpt scenario show NAME draws one.")
    return 0


def _show(args: argparse.Namespace) -> int:
    from netgpt.network.scenario_file import load_scenario
    from netgpt.network.topology import topology_text
    from netgpt.network.topology_picture import topology_picture

    scenario = load_scenario(args.scenario[0] if args.scenario else "campus")
    print(topology_text(scenario))
    if args.picture:
        if args.picture.suffix != ".svg":
            raise UsageError(f"a picture is SVG, and {str(args.picture)!r} is not", hint="name the file topology.svg", param="picture")
        try:
            args.picture.write_text(topology_picture(scenario), encoding="utf-8")
        except OSError as error:
            raise StorageFailed(f"the picture cannot be written: {error}", hint="name a folder that is there and yours") from error
        print(f"drawn in {args.picture}", file=sys.stderr)
    return 0


def _check(args: argparse.Namespace) -> int:
    from netgpt.network.arrivals import read_requests
    from netgpt.network.scenario_file import load_scenario

    if not args.scenario:
        raise UsageError("no scenario to check", hint="give one or more .toml files", param="scenario")
    for name in args.scenario:
        scenario = load_scenario(name)
        for trace in dict.fromkeys(user.trace for user in scenario.users if user.trace):
            read_requests(Path(trace))
        print(f"{name}: sound, {len(scenario.nodes):,} nodes, {len(scenario.links):,} links, {len(scenario.cells)} cells")
        for refused in _refused_by(scenario):
            print(refused)
    return 0


def _refused_by(scenario: Scenario) -> Iterator[str]:
    """What a world would not run of a sound scenario: a line each, with the way to mend it."""
    from netgpt.world.modelled import check_emulated, check_simulated
    from netgpt.world.shaping import check_shaped

    for command, judge in (("simulate", check_simulated), ("up", check_emulated), ("up --links", check_shaped)):
        try:
            judge(scenario)
        except ScenarioInvalid as error:
            yield f"  netgpt {command} refuses it: {error.message}\n    next: {error.hint}"


def _schema(args: argparse.Namespace) -> int:
    from netgpt.network.scenario_schema import schema_text

    sys.stdout.write(schema_text())
    return 0
