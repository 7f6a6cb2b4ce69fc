"""`netgpt restore`: make a home what it was when `netgpt backup` saved it."""

from __future__ import annotations

import argparse
import json
import sys
from pathlib import Path

from netgpt.world.backup import restore


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("file", type=Path, metavar="FILE", help="what netgpt backup wrote")
    parser.add_argument("--replace", action="store_true", help="move the home that is there aside, to HOME.before-restore")
    parser.add_argument("--json", action="store_true", help="print a JSON object")


def run(args: argparse.Namespace) -> int:
    restored = restore(args.home, args.file, replace=args.replace)
    if args.json:
        kept = None if restored.kept is None else str(restored.kept)
        json.dump({"home": str(args.home), "files": restored.files, "netgpt": restored.netgpt, "kept": kept}, sys.stdout, indent=2)
        print()
        return 0
    print(f"restored {restored.files} files into {args.home}, saved by NetGPT {restored.netgpt}", file=sys.stderr)
    if restored.kept:
        print(f"what was there is now in {restored.kept}; remove it when you need it no more", file=sys.stderr)
    return 0
