"""`netgpt backup`: save a home in one file: keys, certificates, installed models, events."""

from __future__ import annotations

import argparse
import json
import sys
from pathlib import Path

from netgpt.core.units import format_bytes
from netgpt.world.backup import back_up


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("file", type=Path, metavar="FILE", help="the file to write; it holds secrets, and is readable by you alone")
    parser.add_argument("--without-models", action="store_true", help="leave installed models out: they can be fetched again")
    parser.add_argument("--replace", action="store_true", help="overwrite the file if it is there")
    parser.add_argument("--json", action="store_true", help="print a JSON object")


def run(args: argparse.Namespace) -> int:
    saved = back_up(args.home, args.file, models=not args.without_models, replace=args.replace)
    total_bytes = sum(entry.bytes for entry in saved.entries.values())
    if args.json:
        json.dump({"file": str(args.file), "files": len(saved.entries), "bytes": total_bytes, "left_out": saved.left_out}, sys.stdout, indent=2)
        print()
        return 0
    if saved.left_out:
        print(f"left out, since they are links or no files: {', '.join(saved.left_out)}", file=sys.stderr)
    print(f"saved {len(saved.entries)} files, {format_bytes(total_bytes)}, in {args.file}; it holds the network's secrets", file=sys.stderr)
    print(f"bring it back with: netgpt restore {args.file}", file=sys.stderr)
    return 0
