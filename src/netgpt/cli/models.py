"""`netgpt models`: what the running network serves or, when none runs, the model folders on this machine; and how models come here."""

from __future__ import annotations

import argparse
import json
import os
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

from netgpt.cli.table import format_table
from netgpt.core.errors import AlreadyRunning, NotRunning, StorageFailed, UsageError
from netgpt.core.units import format_bytes

if TYPE_CHECKING:
    from netgpt.models.card import ModelCard

OPTIONS: dict[str, set[str]] = {  # what each action takes beside --json
    "list": set(),
    "fetch": {"names", "source", "replace"},
    "import": {"names", "name", "replace"},
    "remove": {"names"},
    "pack": {"names", "output"},
}
NOTHING_HERE = "no model is on this machine; fetch the released ones: netgpt models fetch; or take your own: netgpt models import FOLDER"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "action",
        nargs="?",
        choices=list(OPTIONS),
        default="list",
        help="list (default); fetch: install released models; import: install a folder of Hugging Face's layout; remove: delete an installed model; "
        "pack: make a release of model folders",
    )
    parser.add_argument(
        "names", nargs="*", metavar="NAME", help="fetch, remove: models (fetch: all, if none is named); import: the folder; pack: folders"
    )
    parser.add_argument(
        "--from", dest="source", metavar="URL|FOLDER", help="fetch: where the release is (default: the setting models_url, else its makers' own)"
    )
    parser.add_argument("--name", metavar="NAME", help="import: what the model is called here (default: as its folder)")
    parser.add_argument("--replace", action="store_true", default=None, help="fetch, import: put the model in place of an installed one")
    parser.add_argument("--output", type=Path, metavar="DIR", help="pack: where models.json and the archives go (default: dist/models)")
    parser.add_argument("--json", action="store_true", help="print JSON")


def run(args: argparse.Namespace) -> int:
    for name in ("names", "source", "name", "replace", "output"):
        if getattr(args, name) and name not in OPTIONS[args.action]:
            said = "name" if name == "names" else {"source": "--from"}.get(name, f"--{name}")
            raise UsageError(f"netgpt models {args.action} takes no {said}", hint="run: netgpt models --help", param=name)
    return {"list": _list, "fetch": _fetch, "import": _import, "remove": _remove, "pack": _pack}[args.action](args)


def _list(args: argparse.Namespace) -> int:
    try:
        rows, lines = _served(args)
    except NotRunning:
        rows, lines = _on_disk(args)
    if args.json:
        _print_json(rows)
    elif rows:
        print(lines)
    else:
        print(NOTHING_HERE, file=sys.stderr)
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
    from netgpt.models.store import list_models, search_path

    rows = [_row(card) for card in list_models(search_path(args.home, _setting("models")))]
    cells = [[row["name"], row["tier"], row["parameters"], format_bytes(row["bytes"]), row["context_tokens"], row["licence"]] for row in rows]
    return rows, format_table(["MODEL", "TIER", "PARAMETERS", "SIZE", "CONTEXT", "LICENCE"], cells)


def _row(card: ModelCard) -> dict[str, Any]:
    return {
        "name": card.id,
        "tier": card.tier,
        "parameters": card.parameters,
        "bytes": card.bytes,
        "context_tokens": card.context_tokens,
        "licence": card.licence,
    }


def _setting(name: str) -> Any:
    from netgpt.core.settings import resolve_settings

    return resolve_settings(environment=os.environ, flags={})[name].value


def _fetch(args: argparse.Namespace) -> int:
    from netgpt.models.fetch import fetch_models, open_source
    from netgpt.models.release import shipped_release

    shipped = shipped_release()
    place = args.source or _setting("models_url") or shipped.url
    if not place:
        hint = "name the release's URL or folder: netgpt models fetch --from URL; or set NETGPT_MODELS_URL"
        raise UsageError("this package does not say where its models are published", hint=hint, param="models_url")
    rows = []
    for fetched in fetch_models(args.home, open_source(place), shipped, args.names, replace=bool(args.replace), progress=_Meter().show):
        rows.append({**_row(fetched.card), "fresh": fetched.fresh})
        print(f"{fetched.card.id}: {'checked and installed' if fetched.fresh else 'is installed already'}", file=sys.stderr)
    if args.json:
        _print_json(rows)
    else:
        print("start a network with them: netgpt up", file=sys.stderr)
    return 0


def _import(args: argparse.Namespace) -> int:
    from netgpt.models.install import import_model

    if len(args.names) != 1:
        raise UsageError(f"netgpt models import takes one folder, not {len(args.names)}", hint="run: netgpt models import FOLDER --name NAME")
    card, left_out = import_model(args.home, Path(args.names[0]).expanduser(), name=args.name or "", replace=bool(args.replace))
    if left_out:
        print(f"left out, since they are no model files: {', '.join(left_out)}", file=sys.stderr)
    print(f"{card.id}: checked and installed; name it in a scenario as model = {card.id!r}", file=sys.stderr)
    if args.json:
        _print_json({**_row(card), "left_out": left_out})
    return 0


def _remove(args: argparse.Namespace) -> int:
    from netgpt.models.install import remove_model
    from netgpt.world.runstate import read_state

    if not args.names:
        raise UsageError("no model is named", hint="run: netgpt models remove NAME")
    state = read_state(args.home)
    serving = {process.model for process in state.processes} if state is not None and state.supervised else set()
    for name in args.names:
        if name in serving:
            raise AlreadyRunning(f"the network that runs from {str(args.home)!r} serves {name!r}", hint="stop it first: netgpt down")
        print(f"removed {remove_model(args.home, name)}", file=sys.stderr)
    if args.json:
        _print_json(args.names)
    return 0


def _pack(args: argparse.Namespace) -> int:
    from netgpt.models.release import pack_models

    output = args.output or Path("dist") / "models"
    if not args.names:
        raise UsageError("no model folder is named", hint="run: netgpt models pack FOLDER ... --output DIR")
    try:
        release = pack_models([Path(name) for name in args.names], output, url=_setting("models_url"))
    except OSError as error:
        raise StorageFailed(f"cannot pack into {str(output)!r}: {error}", hint="free space, or choose another folder with --output") from error
    rows = [{"name": one.name, "archive": str(output / one.archive), "bytes": one.bytes, "sha256": one.sha256} for one in release.models.values()]
    if args.json:
        _print_json(rows)
    else:
        cells = [[row["name"], row["archive"], format_bytes(row["bytes"]), row["sha256"]] for row in rows]
        print(format_table(["MODEL", "ARCHIVE", "SIZE", "SHA-256"], cells))
    return 0


def _print_json(value: object) -> None:
    json.dump(value, sys.stdout, indent=2)
    print()


class _Meter:
    """Progress on standard error: one line that changes on a terminal, one line a tenth elsewhere."""

    def __init__(self) -> None:
        self._told = ("", -1)
        self._terminal = sys.stderr.isatty()

    def show(self, name: str, here_bytes: int, all_bytes: int) -> None:
        step = (name, here_bytes * (100 if self._terminal else 10) // max(1, all_bytes))
        if step == self._told:
            return
        self._told = step
        text = f"{name}: {format_bytes(here_bytes)} of {format_bytes(all_bytes)}"
        end = "\r" if self._terminal and here_bytes < all_bytes else "\n"
        print(text, end=end, file=sys.stderr, flush=True)
