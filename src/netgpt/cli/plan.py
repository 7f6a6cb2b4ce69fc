"""`netgpt plan`: what `auto` would choose for a question, and what every other way would take. Nothing runs."""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Mapping
from typing import Any

HEADINGS = ("WAY", "VARIANT", "PROMPT", "J (s)", "FIRST TOKEN", "PER TOKEN", "IN ALL", "BYTES", "ENERGY", "COST", "QUALITY", "KNOWN FROM", "LEFT OUT")


def add_arguments(parser: argparse.ArgumentParser) -> None:
    from netgpt.cli.ask import add_door_arguments

    parser.add_argument("question", help="what would be asked")
    add_door_arguments(parser)
    parser.add_argument("--json", action="store_true", help="print the door's whole reply as JSON")


def run(args: argparse.Namespace) -> int:
    from netgpt.cli.ask import request_body
    from netgpt.cli.door_client import DoorClient, find_door, find_key

    body = request_body(args, [{"role": "user", "content": args.question}])
    with DoorClient(find_door(args.home, url=args.url, node=args.node), find_key(args.home, url=args.url)) as client:
        plan = client.plan(body)
    if args.json:
        json.dump(plan, sys.stdout, indent=2)
        print()
    else:
        print(render(plan))
    return 0


def render(plan: Mapping[str, Any]) -> str:
    """The table of candidates, best first, and the choice."""
    from netgpt.cli.table import format_table

    rows = [shown(one) for one in plan["candidates"]]
    columns = len(HEADINGS) if any(row[-1] for row in rows) else len(HEADINGS) - 1
    table = format_table(HEADINGS[:columns], [row[:columns] for row in rows])
    weights = plan["weights"]
    formula = (
        f"J = first token + {weights['rest']:g} x rest + {weights['energy_s_per_j']:g} s/J x energy + {weights['bytes_s_per_mb']:g} s/MB x bytes"
        f" + {weights['wrong_s']:g} s x (1 - quality)"
    )
    return f"{table}\n\n{plan['service']}: {formula}\n{plan['why']}"


def shown(one: Mapping[str, Any]) -> list[object]:
    """One candidate as a row of `HEADINGS`."""
    from netgpt.core.units import format_bytes, format_duration

    nodes = (" | " if one["strategy"] == "route" else " > ").join(one["nodes"])
    way = nodes if one["strategy"] == "direct" else f"{one['strategy']} {nodes}"
    sources = one["sources"]
    variants = one.get("variants", [])
    return [
        way,
        " > ".join(variant or "as it is" for variant in variants) if any(variants) else "as it is",
        f"{one.get('fidelity', 'whole')}, {one['prompt_tokens']}" if "prompt_tokens" in one else one.get("fidelity", "whole"),
        f"{one['cost_s']:.3f}",
        *(format_duration(one[name]) for name in ("ttft_s", "token_s", "total_s")),
        format_bytes(one["up_bytes"] + one["down_bytes"]),
        f"{one['energy_j']:.3g} J",
        f"{one['cost']:.3g}",
        f"{one['quality']:.2f}",
        ", ".join(f"{name} {sources[name]}" for name in ("time", "way", "quality") if sources.get(name) not in (None, "none")),
        one.get("excluded", ""),
    ]
