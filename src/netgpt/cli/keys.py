"""`netgpt keys`: make, list and revoke the API keys of a home. A new key is printed once, alone on stdout."""

from __future__ import annotations

import argparse
import json
import sys
from datetime import UTC, datetime
from typing import Any

from netgpt.api.key_file import KeyStore
from netgpt.api.keys import SCOPES, KeyWishes
from netgpt.cli.table import format_table
from netgpt.core.clock import WallClock
from netgpt.core.errors import UsageError
from netgpt.core.units import parse_duration_s

OPTIONS = {"create": ("name", "scope", "rate_per_minute", "concurrency", "expires", "json"), "list": ("json",), "revoke": ("id",)}


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("what", choices=list(OPTIONS), help="create: make a key; list: show all but the keys themselves; revoke: end one")
    parser.add_argument("id", nargs="?", metavar="ID", help="revoke: the key's id, as list shows it")
    parser.add_argument("--name", help="create: whose key it is, for people")
    parser.add_argument(
        "--scope",
        action="append",
        choices=SCOPES,
        help="create, repeatable: use asks models, view reads metrics, nodes and events, admin may all (default: use)",
    )
    parser.add_argument("--rate-per-minute", type=int, metavar="N", help="create: at most N requests a minute at each door (default: no limit)")
    parser.add_argument("--concurrency", type=int, metavar="N", help="create: at most N requests at once at each door (default: no limit)")
    parser.add_argument("--expires", metavar="DURATION", help="create: the key ends after this: 12h, 30d (default: never)")
    parser.add_argument("--json", action="store_true", default=None, help="create, list: print JSON")


def run(args: argparse.Namespace) -> int:
    every = {option for options in OPTIONS.values() for option in options}
    for option in sorted(every - set(OPTIONS[args.what])):
        if getattr(args, option) is not None:
            raise UsageError(f"netgpt keys {args.what} takes no {option.replace('_', '-')!r}", hint="run: netgpt keys --help")
    store = KeyStore(args.home, WallClock())
    return {"create": _create, "list": _list, "revoke": _revoke}[args.what](store, args)


def _create(store: KeyStore, args: argparse.Namespace) -> int:
    is_first = not store.ring().keys
    wishes = KeyWishes(
        name=args.name or "",
        scopes=tuple(args.scope or ("use",)),
        rate_per_minute=args.rate_per_minute,
        concurrency=args.concurrency,
        lifetime_s=parse_duration_s(args.expires) if args.expires else None,
    )
    secret, key = store.create(wishes)
    if args.json:
        json.dump({"key": secret, **key.shown(key.created_s)}, sys.stdout, indent=2)
        print()
    else:
        print(secret)
    print(f"this is key {key.id!r}; it is shown this once. Doors take it within a second.", file=sys.stderr)
    if is_first:
        print("from now on doors answer nobody without a key; this home's own commands keep working", file=sys.stderr)
    return 0


def _list(store: KeyStore, args: argparse.Namespace) -> int:
    now_s = WallClock().date_s()
    rows = [key.shown(now_s) for key in store.ring().keys]
    if args.json:
        json.dump(rows, sys.stdout, indent=2)
        print()
    elif rows:
        print(
            format_table(["ID", "NAME", "STATE", "SCOPES", "PER MINUTE", "AT ONCE", "CREATED", "EXPIRES", "ENDS IN"], [_cells(row) for row in rows])
        )
    else:
        print("there is no key, and doors on loopback answer everybody on this machine; make one: netgpt keys create", file=sys.stderr)
    return 0


def _cells(row: dict[str, Any]) -> list[Any]:
    dates = [_date(row["created_s"]), None if row["expires_s"] is None else _date(row["expires_s"])]
    return [row["id"], row["name"] or None, row["state"], " ".join(row["scopes"]), row["rate_per_minute"], row["concurrency"], *dates, row["last4"]]


def _date(date_s: float) -> str:
    return datetime.fromtimestamp(date_s, UTC).strftime("%Y-%m-%d %H:%M")


def _revoke(store: KeyStore, args: argparse.Namespace) -> int:
    if args.id is None:
        raise UsageError("which key is to end?", hint="netgpt keys revoke ID; see the ids: netgpt keys list")
    store.revoke(args.id)
    print(f"key {args.id!r} is revoked; doors refuse it within a second", file=sys.stderr)
    return 0
