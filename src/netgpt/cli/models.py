"""`netgpt models`: what the running network serves or, when none runs, the model folders on this machine."""

from __future__ import annotations

import argparse
import json
import os
import sys
from typing import Any

from netgpt.cli.table import format_table
from netgpt.core.errors import NotRunning
from netgpt.core.units import format_bytes


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--json", action="store_true", help="print a JSON list")


def run(args: argparse.Namespace) -> int:
    try:
        rows, lines = _served(args)
    except NotRunning:
        rows, lines = _on_disk(args)
    if args.json:
        json.dump(rows, sys.stdout, indent=2)
        print()
    elif rows:
        print(lines)
    else:
        print("no model is on this machine; train them: netgpt pretrain", file=sys.stderr)
    return 0


def _served(args: argparse.Namespace) -> tuple[list[dict[str, Any]], str]:
    from netgpt.cli.door_client import DoorClient, find_door, find_key

    with DoorClient(find_door(args.home, url=None, node=None), find_key(args.home, url=None)) as client:
        rows = [
            {
                "name": model["id"],
                "ready": model["netgpt"]["ready"],
                "nodes": model["netgpt"]["nodes"],
                "parameters": model["netgpt"]["parameters"],
                "context_tokens": model["max_model_len"],
            }
            for model in client.models()
        ]
    cells = [
        [row["name"], "yes" if row["ready"] else "no", " ".join(row["nodes"]) or None, row["parameters"] or None, row["context_tokens"] or None]
        for row in rows
    ]
    return rows, format_table(["MODEL", "READY", "NODES", "PARAMETERS", "CONTEXT"], cells)


def _on_disk(args: argparse.Namespace) -> tuple[list[dict[str, Any]], str]:
    from netgpt.core.settings import resolve_settings
    from netgpt.models.store import list_models, search_path

    setting = resolve_settings(environment=os.environ, flags={})["models"].value
    rows = [
        {
            "name": card.id,
            "tier": card.tier,
            "parameters": card.parameters,
            "bytes": card.bytes,
            "context_tokens": card.context_tokens,
            "licence": card.licence,
        }
        for card in list_models(search_path(args.home, setting))
    ]
    cells = [[row["name"], row["tier"], row["parameters"], format_bytes(row["bytes"]), row["context_tokens"], row["licence"]] for row in rows]
    return rows, format_table(["MODEL", "TIER", "PARAMETERS", "SIZE", "CONTEXT", "LICENCE"], cells)
