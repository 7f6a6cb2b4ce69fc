"""`netgpt certs`: what the network's authority signed, what this home holds, and an end to either."""

from __future__ import annotations

import argparse
import asyncio
import json
import sys
from collections.abc import Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from netgpt.cli.table import format_table
from netgpt.core.clock import WallClock
from netgpt.core.errors import NotRunning, UsageError

STEPS = {  # what each step of a change of the root has done, and what comes next
    "announced": ("step 1 of 3: members learn to trust the next root {1}; {0} still signs", "next, in some minutes: netgpt certs rotate"),
    "switched": ("step 2 of 3: the root {0} signs from now on; {1} is still trusted", "next, in some minutes: netgpt certs rotate"),
    "settled": ("step 3 of 3: the root is {0}; members forget the old one within a minute, those that are off when they are back",),
}


def add_arguments(parser: argparse.ArgumentParser) -> None:
    meaning = (
        "list: all that was signed, on the controller's machine; show: what this home holds; "
        "revoke: refuse a node from now on, on the controller's machine; renew: replace what this home holds; "
        "rotate: take the next of three steps to a new root, on the controller's machine"
    )
    parser.add_argument("what", choices=["list", "show", "revoke", "renew", "rotate"], help=meaning)
    parser.add_argument("name", nargs="?", metavar="NAME", help="revoke: a node, or one certificate's serial")
    parser.add_argument("--reason", metavar="TEXT", default="", help="revoke: for the list")
    parser.add_argument("--json", action="store_true", help="list, show: print JSON")


def run(args: argparse.Namespace) -> int:
    if (args.name is not None) != (args.what == "revoke"):
        wanted = "takes a node or a serial" if args.what == "revoke" else "takes no name"
        raise UsageError(f"netgpt certs {args.what} {wanted}", hint="see what there is: netgpt certs list", param="name")
    return {"list": _list, "show": _show, "revoke": _revoke, "renew": _renew, "rotate": _rotate}[args.what](args)


def _list(args: argparse.Namespace) -> int:
    authority, now_s = _authority(args.home), WallClock().date_s()
    rows = [
        {
            "node": each.node,
            "tier": each.tier or None,
            "role": each.role,
            "serial": each.serial,
            "issued": _date(each.issued_s),
            "ends": _date(each.ends_s),
            "state": each.state(now_s),
            "reason": each.reason or None,
        }
        for each in authority.issued()
    ]
    _print(rows, as_json=args.json)
    return 0


def _show(args: argparse.Namespace) -> int:
    rows = []
    for path in _identity_paths(args.home):
        identity = _read(path)
        facts = identity.facts
        rows.append({
            "node": facts.peer.node,
            "tier": facts.peer.tier or None,
            "role": facts.peer.role,
            "network": facts.network,
            "trusts": " ".join(identity.roots),
            "serial": facts.peer.serial,
            "begins": _date(facts.begins_s),
            "ends": _date(facts.ends_s),
        })  # fmt: skip
    _print(rows, as_json=args.json)
    return 0


def _revoke(args: argparse.Namespace) -> int:
    for each in _authority(args.home).revoke(args.name, args.reason):
        print(f"revoked {each.role} {each.node!r}, serial {each.serial}", file=sys.stderr)
    return 0


def _renew(args: argparse.Namespace) -> int:
    """Nodes ask their controller; on its own machine the authority signs. Running processes notice by themselves."""
    from netgpt.wire.own_identity import IdentityFile
    from netgpt.world.identities import authority_folder
    from netgpt.world.joining import read_joining, request_identity

    joining = read_joining(args.home)
    for path in _identity_paths(args.home):
        present = _read(path)
        peer = present.facts.peer
        if joining is not None and joining.node == peer.node:
            present.check_valid(WallClock().date_s())
            renewed = asyncio.run(request_identity(joining.controller, present, node=peer.node))
        elif authority_folder(args.home).exists():
            renewed = _authority(args.home).new_identity(node=peer.node, tier=peer.tier, role=peer.role)
        else:
            raise UsageError(f"nobody can renew the certificate of {peer.node!r} from here", hint="join again: netgpt node --join TOKEN")
        IdentityFile(path).write(renewed)
        print(f"renewed {peer.node!r} until {_date(renewed.facts.ends_s)}", file=sys.stderr)
    return 0


def _rotate(args: argparse.Namespace) -> int:
    roots = _authority(args.home).rotate()
    for line in STEPS[roots.step]:
        print(line.format(*roots.ids), file=sys.stderr)
    return 0


def _authority(home: Path) -> Any:
    from netgpt.controller.authority import CertificateAuthority
    from netgpt.world.identities import authority_folder

    return CertificateAuthority(authority_folder(home), WallClock().date_s)


def _identity_paths(home: Path) -> Sequence[Path]:
    paths = sorted((home / "identity").glob("*.pem"))
    if not paths:
        raise NotRunning(f"the home {str(home)!r} holds no certificate", hint="join a network: netgpt node --join TOKEN")
    return paths


def _read(path: Path) -> Any:
    from netgpt.wire.own_identity import IdentityFile

    return IdentityFile(path).read()


def _date(date_s: float) -> str:
    return datetime.fromtimestamp(date_s, UTC).isoformat(timespec="seconds")


def _print(rows: Sequence[dict[str, Any]], *, as_json: bool) -> None:
    if as_json:
        json.dump(rows, sys.stdout, indent=2)
        print()
    elif rows:
        print(format_table([name.upper() for name in rows[0]], [list(row.values()) for row in rows]))
