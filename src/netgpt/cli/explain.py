"""`netgpt explain`: why a request was answered where it was, and how what happened compares with what was predicted.

Reads the event logs of this machine's doors; works after the network has stopped, too. There is no content in them.
"""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from netgpt.core.errors import NotRunning, UsageError

KINDS = ("request.planned", "request.finished", "request.failed")


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("request", metavar="REQUEST", help="the request's id, as replies and their header X-Request-Id have it")
    parser.add_argument("--events", type=Path, metavar="FILE", help="look here instead, in the events of netgpt simulate for example")
    parser.add_argument("--json", action="store_true", help="print the events as JSON")


def run(args: argparse.Namespace) -> int:
    files = [args.events] if args.events else sorted((args.home / "events").glob("*.jsonl"))
    if not files:
        raise NotRunning(f"no network has run from {str(args.home)!r}", hint="start one: netgpt up")
    events = list(events_of(args.request, _lines(files)))
    if not events:
        where = str(args.events) if args.events else "the doors of this machine"
        raise UsageError(f"no event of {where} names request {args.request!r}", hint="take the id from a reply, or its header X-Request-Id")
    if args.json:
        json.dump(events, sys.stdout, indent=2)
        print()
    else:
        print("\n\n".join(render(one) for one in by_request(events)))
    return 0


def _lines(files: Sequence[Path]) -> Iterator[bytes]:
    for path in files:
        try:
            with path.open("rb") as file:
                yield from file
        except OSError as error:
            raise UsageError(f"{str(path)!r} cannot be read: {error.strerror}", hint="name an events.jsonl") from error


def events_of(request: str, lines: Iterable[bytes]) -> Iterator[dict[str, Any]]:
    """What was written down of a request, and of its choices where it asked for several; torn lines are left out."""
    mark = request.encode()
    for line in lines:
        if mark not in line:
            continue
        try:
            event = json.loads(line)
        except ValueError:
            continue
        name = str(event.get("data", {}).get("request", ""))
        if event.get("kind") in KINDS and (name == request or name.startswith(f"{request}-")):
            yield event


def by_request(events: Sequence[Mapping[str, Any]]) -> list[list[Mapping[str, Any]]]:
    """Events of each request together, in the order in which they began."""
    found: dict[str, list[Mapping[str, Any]]] = {}
    for event in events:
        found.setdefault(event["data"]["request"], []).append(event)
    return list(found.values())


def render(events: Sequence[Mapping[str, Any]]) -> str:
    """One request for people."""
    data = {event["kind"]: event["data"] for event in events}
    plan, finished, failed = (data.get(kind) for kind in KINDS)
    lines = [f"{events[0]['data']['request']} at {events[0]['node']}"]
    if plan:
        lines.append(f"{plan['service']}: {plan['why']}")
        if second := plan["runner_up"]:
            lines.append(f"next best: {way(second)}, J {second['cost_s']:.3g} s against {plan['chosen']['cost_s']:.3g} s")
    elif finished:
        lines.append(f"{finished['model']} was named: {finished.get('why', 'nothing was chosen')}")
    if finished:
        lines.append("answered by " + ", ".join(f"{node} ({tokens} tokens)" for node, tokens in finished["origin"]))
        lines += [_compared(plan["chosen"], finished)] if plan else []
    if failed:
        lines.append(f"failed: {failed['code']}")
    return "\n".join(lines)


def way(one: Mapping[str, Any]) -> str:
    """A candidate's nodes, with their variants, and what became of the prompt."""
    variants = one.get("variants") or [""] * len(one["nodes"])
    places = (" | " if one.get("strategy") == "route" else " > ").join(
        f"{node}@{variant}" if variant else node for node, variant in zip(one["nodes"], variants, strict=True)
    )
    places = places if one.get("strategy", "direct") == "direct" else f"{one['strategy']} {places}"
    return f"{places}, compressed" if one.get("fidelity") == "compressed" else places


def _compared(told: Mapping[str, Any], finished: Mapping[str, Any]) -> str:
    """Predicted beside realised."""
    from netgpt.cli.table import format_table
    from netgpt.core.units import format_bytes, format_duration

    tokens = finished["completion_tokens"]
    gap_s = (finished["duration_s"] - finished["time_to_first_token_s"]) / max(tokens - 1, 1)
    crossed = sum(sum(count.values()) for node, count in finished["link_bytes"].items() if node in told["nodes"])
    rows: list[list[object]] = [
        ["first token", format_duration(told["ttft_s"]), format_duration(finished["time_to_first_token_s"])],
        ["per token", format_duration(told["token_s"]), format_duration(gap_s) if tokens > 1 else None],
        ["in all", format_duration(told["total_s"]), format_duration(finished["duration_s"])],
        ["answer", f"{told['answer_tokens']:.0f} tokens", f"{tokens} tokens"],
    ]
    if told["up_bytes"]:
        rows.append(["bytes", format_bytes(told["up_bytes"] + told["down_bytes"]), format_bytes(crossed)])
    return format_table(["", "PREDICTED", "HAPPENED"], rows)
