"""`netgpt hardware`: the machines that nodes can be declared to be, what a model does on one, and this machine itself."""

from __future__ import annotations

import argparse
import json
import os
import sys
from dataclasses import asdict
from pathlib import Path
from typing import Any

from netgpt.cli.table import format_table
from netgpt.core.errors import ScenarioInvalid, UsageError
from netgpt.core.units import format_duration
from netgpt.network.profile import THIS_MACHINE, HardwareProfile, find_profile, profiles
from netgpt.network.roofline import CONTEXT_TOKENS, PRECISIONS, Declared, declare
from netgpt.network.shape import find_shape

PROMPT_TOKENS = 512
SHOWN = ("qwen2.5-0.5b", "llama-3.2-1b", "llama-3.2-3b", "qwen2.5-7b", "llama-3.1-8b", "qwen2.5-14b", "qwen2.5-32b", "llama-3.1-70b")


def add_arguments(parser: argparse.ArgumentParser) -> None:
    meaning = "list: all machines; show: one, and what models do on it; measure: this machine, for the profile this-machine"
    parser.add_argument("what", choices=["list", "show", "measure"], help=meaning)
    parser.add_argument("name", nargs="?", metavar="NAME", help="show: a machine of the list")
    parser.add_argument("--card", action="append", default=[], metavar="MODEL", help=f"show: a published model, e.g. {SHOWN[0]}; may be repeated")
    parser.add_argument("--precision", default="", choices=["", *PRECISIONS], help="show: of the weights (default: the widest of bf16, int8, int4)")
    parser.add_argument("--prompt", type=int, default=PROMPT_TOKENS, metavar="TOKENS", help=f"show: length of the prompt (default: {PROMPT_TOKENS})")
    parser.add_argument("--batch", type=int, default=1, metavar="SESSIONS", help="show: sessions that decode at once (default: 1)")
    parser.add_argument("--json", action="store_true", help="list, show: print JSON")


def run(args: argparse.Namespace) -> int:
    if (args.name is not None) != (args.what == "show"):
        wanted = "takes a machine" if args.what == "show" else "takes no name"
        raise UsageError(f"netgpt hardware {args.what} {wanted}", hint="see what there is: netgpt hardware list", param="name")
    if args.prompt < 1 or args.batch < 1:
        raise UsageError(f"--prompt is {args.prompt}, --batch {args.batch}", hint="give 1 or more")
    return {"list": _list, "show": _show, "measure": _measure}[args.what](args)


def _list(args: argparse.Namespace) -> int:
    found = [*profiles().values(), *_measured(args.home)]
    if args.json:
        _print_json([_facts(one) for one in found])
        return 0
    rows = [
        [
            ", ".join([one.id, *one.aliases]),
            one.kind,
            f"{one.flops['bf16'] / 1e12:.4g} T",
            f"{one.memory_bytes_per_s / 1e9:.4g}",
            f"{one.memory_bytes / 1e9:.3g}",
            f"{one.busy_w:g}",
            one.source,
        ]
        for one in found
    ]
    print(format_table(["NAME", "CLASS", "FLOP/S", "GB/S", "GB", "W", "SOURCE"], rows))
    if len(found) == len(profiles()):
        print(f"{THIS_MACHINE} has not been measured: netgpt hardware measure")
    return 0


def _measured(home: Path) -> list[HardwareProfile]:
    try:
        return [find_profile(THIS_MACHINE, home)]
    except ScenarioInvalid as error:
        if "has not been measured" in error.message:
            return []
        raise


def _show(args: argparse.Namespace) -> int:
    profile = find_profile(args.name, args.home)
    rows = [_row(profile, card, args) for card in args.card or SHOWN]
    if args.json:
        _print_json(_facts(profile) | {"models": rows})
        return 0
    print(_about(profile))
    fitting = [row for row in rows if not row["note"]]
    shown = [
        [
            row["card"],
            row["precision"],
            _gb(row["memory_bytes"]),
            format_duration(row["prefill_s"]),
            format_duration(row["step_s"]),
            row["tokens_per_s"],
        ]
        for row in fitting
    ]
    print(format_table(["MODEL", "PRECISION", "GB", "FIRST TOKEN", "STEP", "TOKENS/S"], shown))
    for row in rows:
        if row["note"]:
            print(row["note"])
    print(f"For a prompt of {args.prompt} tokens, {args.batch} at once.", end=" ")
    print("Modelled, not measured: see docs/hardware.md for how far off that is.")
    return 0


def _row(profile: HardwareProfile, card: str, args: argparse.Namespace) -> dict[str, Any]:
    """What one model does on the machine; without figures, and why, where it does not fit."""
    row: dict[str, Any] = dict.fromkeys(("precision", "memory_bytes", "prefill_s", "step_s", "tokens_per_s"))
    shape = find_shape(card)
    try:
        declared = declare(profile, shape, args.precision, slots=args.batch)
    except ScenarioInvalid as error:
        return {"card": card} | row | {"note": error.message}
    return {"card": card} | row | _figures(declared, args) | {"note": ""}


def _figures(declared: Declared, args: argparse.Namespace) -> dict[str, Any]:
    step_s = declared.decode_s([args.prompt] * args.batch)
    return {
        "precision": declared.precision,
        "memory_bytes": declared.memory_bytes(args.batch * min(declared.shape.context_tokens, CONTEXT_TOKENS)),
        "prefill_s": declared.prefill_s(args.prompt),
        "step_s": step_s,
        "tokens_per_s": round(args.batch / step_s, 1),
    }


def _about(profile: HardwareProfile) -> str:
    rates = ", ".join(f"{rate} {value / 1e12:.4g} T" for rate, value in profile.flops.items())
    lines = [
        f"{profile.id}: {profile.name}",
        f"  FLOP/s    {rates}",
        f"  memory    {_gb(profile.memory_bytes)} GB, {_gb(profile.usable_bytes)} of them usable, {profile.memory_bytes_per_s / 1e9:.4g} GB/s",
        f"  power     {profile.idle_w:g} W idle, {profile.busy_w:g} W busy",
        f"  source    {profile.source} ({profile.date})",
    ]
    lines += [
        f"  {one.basis:<9} {one.stack}: of FLOP/s {one.prefill_wide:.2g} wide, {one.prefill_packed:.2g} packed; "
        f"of GB/s {one.decode_wide:.2g}, {one.decode_packed:.2g}; {one.layer_overhead_s * 1e6:.3g} us per layer"
        for one in profile.efficiencies
    ]
    return "\n".join(lines)


def _measure(args: argparse.Namespace) -> int:
    os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")  # as `netgpt up` runs engines; read when torch loads
    from netgpt.bench.this_machine import measure, write_profile

    print("Measuring this machine: two minutes if it is idle; other work on it falsifies the result.", file=sys.stderr)
    profile, _ = measure()
    path = write_profile(args.home, profile)
    print(_about(profile))
    print(f'Written to {path}; a scenario\'s node takes it by profile = "{THIS_MACHINE}".')
    return 0


def _facts(profile: HardwareProfile) -> dict[str, Any]:
    facts = asdict(profile)
    return {"class": facts.pop("kind")} | facts


def _gb(count: float) -> str:
    return f"{count / 1e9:.3g}"


def _print_json(value: object) -> None:
    json.dump(value, sys.stdout, indent=2)
    print()
