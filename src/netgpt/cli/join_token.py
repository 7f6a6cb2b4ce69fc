"""`netgpt join-token`: what lets one machine into the network, once. For the controller's machine."""

from __future__ import annotations

import argparse
import sys

from netgpt.core.errors import UsageError
from netgpt.core.units import format_duration, parse_duration_s
from netgpt.network.scenario import TIERS

VALID = "1h"
LONGEST_S = 7 * 86400.0


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("what", choices=["create"], help="create: print a new token")
    parser.add_argument("--node", metavar="NAME", required=True, help="the node's name: lower-case letters, digits and hyphens")
    parser.add_argument("--tier", choices=TIERS, required=True, help="where the node stands; content is kept from tiers by it")
    parser.add_argument("--valid", metavar="DURATION", default=VALID, help=f"how long the token may wait to be used (default: {VALID})")


def run(args: argparse.Namespace) -> int:
    from netgpt.controller.authority import CertificateAuthority, ensure_authority
    from netgpt.core.clock import WallClock
    from netgpt.world.identities import authority_folder

    valid_s = parse_duration_s(args.valid)
    if not 0 < valid_s <= LONGEST_S:
        raise UsageError(f"--valid is {args.valid!r}", hint="give a duration of at most 168h", param="valid")
    folder = authority_folder(args.home)
    ensure_authority(folder, WallClock().date_s)
    print(CertificateAuthority(folder, WallClock().date_s).join_token(args.node, args.tier, valid_s=valid_s))
    until = f"good for one start of node {args.node!r} within {format_duration(valid_s)}; whoever holds it can use it"
    print(until, file=sys.stderr)
    return 0
