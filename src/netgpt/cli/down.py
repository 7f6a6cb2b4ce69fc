"""`netgpt down`: stop the network that runs from a home. Nothing of it is left afterwards."""

from __future__ import annotations

import argparse
import sys

from netgpt.world.teardown import bring_down


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """It has no option of its own."""


def run(args: argparse.Namespace) -> int:
    downed = bring_down(args.home)
    if downed.killed_supervisor:
        print(f"cleaned up after a supervisor that had been killed; {downed.processes} processes were left", file=sys.stderr)
    elif downed.processes:
        print(f"stopped {downed.processes} processes", file=sys.stderr)
    else:
        print(f"no network runs from {str(args.home)!r}", file=sys.stderr)
    return 0
