"""`netgpt links`: the links between nodes as the link shaper has them now; `netgpt links set` changes one."""

from __future__ import annotations

import argparse
import json
import math
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from netgpt.cli.table import format_table
from netgpt.core.errors import BY_CODE, NetgptError, NodeUnreachable, NotRunning, UsageError
from netgpt.core.units import format_bytes, format_duration

DEADLINE_S = 10.0
EXAMPLE = "netgpt links set edge1-cloud1 rate=2Mbps delay=40ms loss=1%"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("what", nargs="?", choices=["show", "set"], default="show", help="show: all links (default); set: one link anew, from now on")
    parser.add_argument("link", nargs="?", metavar="LINK", help="set: a link's id, such as edge1-cloud1")
    settings = (
        "set: rate (or up and down apart), delay, jitter, loss of datagrams, queue (delay_up and so on: one way); for example rate=2Mbps loss=1%%"
    )
    parser.add_argument("settings", nargs="*", metavar="KEY=VALUE", help=settings)
    parser.add_argument("--json", action="store_true", help="print JSON, in bits and bytes a second and seconds")


def run(args: argparse.Namespace) -> int:
    from netgpt.wire.shaper_control import parse_words

    if args.what == "show" and args.link is not None:
        raise UsageError(f"netgpt links show takes no {args.link!r}", hint=f"to set a link: {EXAMPLE}", param="link")
    if args.what == "set" and args.link is None:
        raise UsageError("which link is to be set?", hint=f"{EXAMPLE}; see the links: netgpt links", param="link")
    changes = parse_words(args.settings) if args.what == "set" else None
    url = shaper_url(args.home)
    if changes is None:
        told = _call(args.home, "GET", f"{url}/api/v1/links")
    else:
        told = _call(args.home, "PATCH", f"{url}/api/v1/links/{args.link}", changes)
    if args.json:
        json.dump(told if changes is None else told["links"], sys.stdout, indent=2)
        print()
    else:
        print(format_table(HEADINGS, [_cells(row) for row in told["links"]]))
        if changes is None:
            print(f"mode {told['mode']}; {format_bytes(told['own_queue_bytes'])} in the shaper and on no link", file=sys.stderr)
    return 0


HEADINGS = ["LINK", "FROM", "TO", "CELL", "RLC", "RATE", "DELAY", "LOSS", "QUEUE", "QUEUED", "NOW", "USE", "CHARGED", "DROPPED", "LOST"]


def _cells(row: Mapping[str, Any]) -> list[Any]:
    return [
        row["link"],
        row["from"],
        row["to"],
        row["cell"] or "-",
        row["rlc"] or "-",
        format_rate(row["rate_bps"]),
        _delay(row),
        "-" if row["loss"] is None else f"{row['loss']:.3g}" if row["loss"] == 0 else f"{100 * row['loss']:.3g} %",
        _queue(row),
        format_bytes(row["queue_bytes"]),
        format_rate(row["carried_bps"]),
        f"{100 * row['utilisation']:.0f} %",
        format_bytes(row["charged_bytes"]),
        row["dropped_packets"],
        row["lost_packets"],
    ]


def _delay(row: Mapping[str, Any]) -> str:
    if row["delay_s"] is None:
        return "-"
    return format_duration(row["delay_s"]) + (f" ± {format_duration(row['jitter_s'])}" if row["jitter_s"] else "")


def _queue(row: Mapping[str, Any]) -> str:
    if row["queue_s"] is None:
        return "-"
    return f"{1e3 * row['queue_s']:.3g}" + (" ms" if row["queue_limit_s"] is None else f" of {1e3 * row['queue_limit_s']:.3g} ms")


def format_rate(rate_bps: float | None) -> str:
    """`2 Mbps` and the like; None is no limit."""
    if rate_bps is None:
        return "unlimited"
    step = 0 if rate_bps < 1000 else min(3, int(math.log10(rate_bps)) // 3)
    return f"{rate_bps / 1000**step:.4g} {('bps', 'kbps', 'Mbps', 'Gbps')[step]}"


def shaper_url(home: Path) -> str:
    """Where the shaper of the network that runs from this home answers.

    Raises:
        NotRunning: nothing runs, or its links are not shaped.
    """
    from netgpt.world.runstate import SHAPER, running_state

    state = running_state(home)
    port = next((process.port for process in state.processes if process.role == SHAPER), None)
    if port is None:
        raise NotRunning("the links of this network are not shaped", hint="start it with shaped links: netgpt up --links stream")
    return f"http://127.0.0.1:{port}"


def _call(home: Path, method: str, url: str, body: object = None) -> dict[str, Any]:
    import httpx

    from netgpt.cli.door_client import find_key

    key = find_key(home, url=None)
    headers = {"Authorization": f"Bearer {key}"} if key else {}
    try:
        reply = httpx.request(method, url, json=body, headers=headers, timeout=DEADLINE_S, trust_env=False)
        told = reply.json()
    except (httpx.HTTPError, ValueError) as error:
        raise NodeUnreachable(f"the link shaper at {url} does not answer: {error}", hint="see whether it runs: netgpt ps") from error
    if "error" in told:
        error = told["error"]
        raise BY_CODE.get(error["code"], NetgptError)(error["message"], hint=told.get("hint", ""), param=error.get("param"))
    return told
