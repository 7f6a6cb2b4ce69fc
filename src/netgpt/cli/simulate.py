"""`netgpt simulate`: a whole network under the virtual clock, from a seed."""

from __future__ import annotations

import argparse
import json
import os
import sys
from pathlib import Path

from netgpt.core.settings import BY_NAME, resolve_settings


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("scenario", nargs="?", default="campus", help="a shipped scenario's name, or a .toml file (default: campus)")
    parser.add_argument("--seed", type=int, nargs="+", default=[1], help="one seed, or several for a batch (default: 1)")
    parser.add_argument("--duration", default="5m", help="simulated time, e.g. 90s or 5m (default: 5m)")
    parser.add_argument("--output", type=Path, default=Path("runs/simulate"), help="folder for events.jsonl and report.json (default: runs/simulate)")
    parser.add_argument(
        "--request-trace", type=Path, metavar="FILE", help="let the scenario's users ask as in this CSV of TIMESTAMP,ContextTokens,GeneratedTokens"
    )
    parser.add_argument(BY_NAME["policy"].flag, metavar="NAME", help=BY_NAME["policy"].help)
    parser.add_argument("--json", action="store_true", help="print the reports as JSON")


def run(args: argparse.Namespace) -> int:
    from netgpt.core.storage import DiskStorage
    from netgpt.core.units import parse_duration_s
    from netgpt.inference.policy import check_policy
    from netgpt.network.arrivals import with_request_trace
    from netgpt.network.scenario_file import load_scenario
    from netgpt.world.modelled import check_simulated
    from netgpt.world.report import render
    from netgpt.world.simulated import simulate

    policy = resolve_settings(environment=os.environ, flags=args.flags)["policy"].value
    check_policy(policy)
    scenario = load_scenario(args.scenario)
    if args.request_trace:
        scenario = with_request_trace(scenario, args.request_trace)
    for left_out in check_simulated(scenario):
        print(f"left out: {left_out}", file=sys.stderr)
    duration_s = parse_duration_s(args.duration)
    reports = []
    for seed in args.seed:
        output = args.output / f"seed-{seed}" if len(args.seed) > 1 else args.output
        report = simulate(scenario, seed=seed, duration_s=duration_s, output=DiskStorage(output), home=str(args.home), policy=policy)
        reports.append(report)
        if not args.json:
            print(render(report))
            print(f"  written    {output / 'events.jsonl'}, {output / 'report.json'}")
    if args.json:
        json.dump(reports if len(reports) > 1 else reports[0], sys.stdout, indent=2)
        print()
    return 0
