"""`netgpt bench`: measures a part of the network beside its peers, with the conditions of the measurement."""

from __future__ import annotations

import argparse
import importlib
import json
import os
import sys
from pathlib import Path
from typing import Any

from netgpt.bench.conditions import Stolen
from netgpt.cli.bench_compare import run_compare
from netgpt.cli.table import format_table
from netgpt.core.errors import UsageError

SUITES: dict[str, tuple[str, str]] = {
    "choose": (
        "netgpt.bench.choose",
        "how well NetGPT chooses who answers: by escalation, from kept answers, before anything runs; beside random, baselines and oracles",
    ),
    "engine": ("netgpt.bench.engine", "decoding speed beside transformers, and batching"),
    "gateway": ("netgpt.bench.gateway", "what a door adds to a request to an upstream, beside LiteLLM, vllm-router and sglang-router"),
    "hardware": ("netgpt.bench.hardware", "how far modelled times are off published ones, and off this machine"),
    "links": ("netgpt.bench.links", "what radio access costs small packets beside a slot-by-slot reference, and what the link shaper adds"),
    "matrix": ("netgpt.bench.matrix", "what a phone gains from a network that computes for it, tells it what it knows, or both: the AI-phone matrix"),
    "models": ("netgpt.bench.models", "how right the tiers' models are, beside controls, and where they err together"),
    "overload": ("netgpt.bench.overload", "goodput and a polite key's latency while another floods a door with three times its capacity"),
    "worlds": ("netgpt.bench.worlds", "whether a simulated and an emulated run of the same requests agree, at declared timing"),
}


COMPARE = "compare"
DEFAULT_PARTS = ("cascade", "cache", "auto", "foresight", "fidelity")  # of choose
PARTS = (*DEFAULT_PARTS, "emulated")


def add_arguments(parser: argparse.ArgumentParser) -> None:
    suites = "; ".join(f"{name}: {summary}" for name, (_, summary) in SUITES.items())
    parser.add_argument("suite", choices=[*sorted(SUITES), COMPARE], help=f"{suites}; {COMPARE}: two results of one suite")
    parser.add_argument("files", nargs="*", type=Path, metavar="FILE", help=f"with {COMPARE}: two results that --json printed")
    parser.add_argument("--quick", action="store_true", help="fewer repeats and tiers: under a minute")
    parser.add_argument("--json", action="store_true", help="print figures and conditions as JSON")
    parser.add_argument("--pictures", type=Path, metavar="DIR", help="draw what the suite draws into this folder (choose, links, matrix, models)")
    parser.add_argument("--traces", type=Path, metavar="DIR", help="measured link traces in Mahimahi's format, for links: NAME.up, NAME.down")
    parser.add_argument(
        "--part",
        action="append",
        choices=PARTS,
        default=[],
        help="of choose, again for each: escalation, kept answers, who answers first, what can be foretold of that, asking with less (default: these "
        "five), and who answers first over real processes and shaped links",
    )
    parser.add_argument(
        "--policy", metavar="NAME", default="", help="of choose: a policy to judge beside NetGPT's own: an installed one, or MODULE:NAME"
    )
    parser.add_argument("--recording", type=Path, metavar="FILE", help="outcomes of other models than the installed ones, for choose")
    parser.add_argument("--models", nargs="+", default=[], metavar="ID", help="with --recording: its models, the smallest first")


def run(args: argparse.Namespace) -> int:
    if args.suite == COMPARE:
        return run_compare(args.files, as_json=args.json)
    if args.files:
        raise UsageError(
            f"suite {args.suite!r} takes no files", hint=f"leave {str(args.files[0])!r} out, or compare results: netgpt bench compare A B"
        )
    os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")  # as `netgpt up` runs engines; read when torch loads
    suite = importlib.import_module(SUITES[args.suite][0])
    if args.pictures and not hasattr(suite, "draw_pictures"):
        raise UsageError(f"suite {args.suite!r} draws no pictures", hint="leave --pictures out")
    if args.traces and args.suite != "links":
        raise UsageError(f"suite {args.suite!r} takes no traces", hint="leave --traces out")
    if args.suite != "choose" and (given := next((name for name in ("recording", "part", "policy") if getattr(args, name)), "")):
        raise UsageError(f"suite {args.suite!r} takes no {given}", hint=f"leave --{given} out")
    stolen = Stolen()
    report: dict[str, Any] = suite.run(args.quick, **_more(args))
    report["conditions"]["stolen_share"] = stolen.share()
    if args.pictures:
        suite.draw_pictures(report, args.pictures)
    if args.json:
        json.dump(report, sys.stdout, indent=2)
        print()
    else:
        if hasattr(suite, "table_of"):
            print(format_table(*suite.table_of(report)), end="\n\n")
        _show(report)
    for failure in report.get("failures", ()):
        print(f"failed: {failure}", file=sys.stderr)
    return 1 if report.get("failures") else 0


def _more(args: argparse.Namespace) -> dict[str, Any]:
    """What one suite alone takes."""
    if args.suite == "choose":
        parts = tuple(args.part) or (PARTS[:1] if args.recording else DEFAULT_PARTS)
        return {
            "parts": parts,
            "recording": args.recording,
            "models": args.models,
            "policy": args.policy,
            "kept": args.home / "bench",
        }
    return {"traces": args.traces} if args.traces else {}


def _show(report: dict[str, Any]) -> None:
    figures = report["figures"]
    names = [name for name in figures if not (name.endswith(("_min", "_max", "_low", "_high")) and name.rpartition("_")[0] in figures)]
    print(
        format_table(
            ["FIGURE", "VALUE", "FROM", "TO"],
            [
                [name, figures[name], *(figures.get(f"{name}_{a}", figures.get(f"{name}_{b}")) for a, b in (("min", "low"), ("max", "high")))]
                for name in names
            ],
        )
    )
    print(format_table(["CONDITION", "VALUE"], [[name, str(value)] for name, value in report["conditions"].items()]))
