"""`netgpt trace`: what links and radio channels carry over time: generate it, take it from elsewhere, look at it."""

from __future__ import annotations

import argparse
import dataclasses
import json
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

from netgpt.core.errors import MissingExtra, StorageFailed, UsageError
from netgpt.core.units import parse_duration_s

if TYPE_CHECKING:
    from netgpt.network.trace import Trace
    from netgpt.radio.plan import Plan

PICTURES = (".png", ".svg")
TABLES = (".csv", ".gz", ".xz", ".parquet")
COLUMNS = 72  # of a line that is drawn in the terminal
BLOCKS = "▁▂▃▄▅▆▇█"
BIN = "100ms"

GENERATE = (
    "preset", "model", "direction", "ues", "duration", "every", "mobility", "speed", "in_car", "load", "inner", "outer", "isd", "carrier",
    "bandwidth", "antennas", "bler_target", "seed", "output",
)  # fmt: skip
TAKES: dict[str, tuple[str, ...]] = {  # the options of each sub-verb
    "generate": GENERATE,
    "import": (
        "trace",
        "output",
        "unit",
        "time_column",
        "value_column",
        "ue_column",
        "ignore_columns",
        "ue",
        "every",
        "bandwidth",
        "scale",
        "source",
        "licence",
    ),
    "show": ("trace", "ue", "every", "picture"),
    "stats": ("trace", "every", "outage", "json"),
    "list": ("json",),
}
PLAN_FIELDS = {  # options of `generate` whose names in a plan carry a unit
    "duration": "duration_s", "every": "every_s", "speed": "speed_mps", "inner": "inner_m", "outer": "outer_m", "isd": "isd_m",
    "carrier": "carrier_hz", "bandwidth": "bandwidth_hz",
}  # fmt: skip


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "what",
        choices=list(TAKES),
        help="generate: make spectral efficiencies by TR 38.901 (needs the extra radio); import: check and convert a file; "
        "show: draw one; stats: its figures; list: those of the shipped ones",
    )
    parser.add_argument("trace", nargs="?", help="import, show, stats: a shipped trace's name or a file; stats without one: all shipped ones")
    parser.add_argument(
        "--output", type=Path, metavar="FILE", help="generate, import: .parquet, .csv, .csv.gz or .csv.xz; any other name: Mahimahi's format"
    )
    parser.add_argument("--every", metavar="TIME", help=f"generate: length of a sample (default: 10ms); import, show, stats: mean over so long; "
                        f"for Mahimahi files show and stats take {BIN}")  # fmt: skip
    _add_generate(parser.add_argument_group("generate"))
    group = parser.add_argument_group("import")
    group.add_argument("--unit", help="of a CSV file that states none: bps, kbps, Mbps, Gbps or bps/Hz")
    group.add_argument("--time-column", metavar="NAME", help="the column of times in seconds (default: time_s)")
    group.add_argument("--value-column", metavar="NAME", help="the column of values (default: value)")
    group.add_argument("--ue-column", metavar="NAME", help="the column that names the user equipment (default: ue)")
    group.add_argument("--ignore-columns", action="store_true", help="leave out all other columns, which are refused else")
    group.add_argument("--scale", type=float, metavar="FACTOR", help="multiply all values; the file then says so")
    group.add_argument("--source", metavar="TEXT", help="who measured it, and how; it is kept in the file")
    group.add_argument("--licence", metavar="TEXT", help="under which it may be used")
    group = parser.add_argument_group("show and stats")
    group.add_argument("--ue", metavar="NAME", help="import, show: only this one")
    group.add_argument("--picture", type=Path, metavar="FILE", help="show: draw into a .png or .svg file (needs the extra plot)")
    group.add_argument("--outage", type=float, metavar="VALUE", help="stats: a value at or below it is an outage (default: 0)")
    group.add_argument("--json", action="store_true", help="stats, list: print JSON")


def _add_generate(group: argparse._ArgumentGroup) -> None:
    group.add_argument("--preset", metavar="NAME", help="the plan of a shipped trace; other options change it")
    group.add_argument("--model", help="umi, uma, rma, inf-sl, inf-dl, inf-sh or inf-dh")
    group.add_argument("--direction", choices=("up", "down"), help="up: from the users (default)")
    group.add_argument("--ues", type=int, metavar="N", help="users (default: 4)")
    group.add_argument("--duration", metavar="TIME", help="after which the trace repeats (default: 60s)")
    group.add_argument("--mobility", choices=("stand", "walk", "drive"), help="random waypoints or a straight road (default: walk)")
    group.add_argument("--speed", type=float, metavar="M/S", help="metres per second (default: 1.4)")
    group.add_argument("--in-car", action="store_true", default=None, help="add a car's penetration loss")
    group.add_argument("--load", type=float, metavar="SHARE", help="of the time, in which a neighbouring cell sends (default: 0.5)")
    group.add_argument("--inner", type=float, metavar="M", help="least distance from the central site")
    group.add_argument("--outer", type=float, metavar="M", help="greatest distance from it (default: half the distance of sites; drives: all of it)")
    group.add_argument("--isd", type=float, metavar="M", help="distance between sites (default: the model's)")
    group.add_argument("--carrier", type=float, metavar="HZ", help="carrier frequency (default: 3.5e9; rma 0.7e9)")
    group.add_argument("--bandwidth", type=float, metavar="HZ", help="of one user's transmission (default: 20e6); import: make rates of efficiencies")
    group.add_argument("--antennas", type=int, metavar="N", help="at the receiver (default: 2)")
    group.add_argument("--bler-target", type=float, metavar="SHARE", help="of blocks lost, the outer loop's aim (default: 0.1)")
    group.add_argument("--seed", type=int, help="equal seeds give equal traces (default: 0)")


def run(args: argparse.Namespace) -> int:
    for name in sorted({name for names in TAKES.values() for name in names}):
        if getattr(args, name) not in (None, False) and name not in TAKES[args.what]:
            said = f"--{name.replace('_', '-')}" if name != "trace" else "file"
            raise UsageError(f"netgpt trace {args.what} takes no {said}", hint="run: netgpt trace --help", param=name)
    return {"generate": _generate, "import": _import, "show": _show, "stats": _stats, "list": _stats}[args.what](args)


# generate


def plan_of(args: argparse.Namespace) -> Plan:
    """The plan that the options of `generate` describe."""
    from netgpt.core.spelling import did_you_mean
    from netgpt.radio.plan import SHIPPED, Plan

    changes: dict[str, Any] = {}
    for name in GENERATE:
        if name not in ("preset", "output") and (value := getattr(args, name)) is not None:
            changes[PLAN_FIELDS.get(name, name)] = parse_duration_s(value) if name in ("duration", "every") else value
    if args.preset is not None:
        if args.preset not in SHIPPED:
            raise UsageError(f"no preset {args.preset!r}", hint=did_you_mean(args.preset, SHIPPED), param="preset")
        return dataclasses.replace(SHIPPED[args.preset], **changes)
    if "model" not in changes:
        raise UsageError("no model to generate with", hint="give one: --model uma, or a plan that ships: --preset vehicle-drive-up", param="model")
    return Plan(**changes)


def _generate(args: argparse.Namespace) -> int:
    from netgpt.network.trace_file import write_trace
    from netgpt.radio.generate import generate

    output = _output(args)
    plan = plan_of(args)
    trace = generate(plan)
    write_trace(output, trace if output.suffix in TABLES else trace.as_rate(plan.bandwidth_hz))
    print(f"{plan.ues} users, {trace.period_s:g} s, written to {output}", file=sys.stderr)
    return 0


def _output(args: argparse.Namespace) -> Path:
    if args.output is None:
        raise UsageError("no file to write", hint="give one: --output FILE.csv.gz", param="output")
    return args.output


# import


def _import(args: argparse.Namespace) -> int:
    from netgpt.network.trace import OPPORTUNITY
    from netgpt.network.trace_file import Reading, load_trace, write_trace

    output = _output(args)
    reading = Reading(
        unit=args.unit or "",
        time_column=args.time_column or "time_s",
        value_column=args.value_column or "value",
        ue_column=args.ue_column or "ue",
        ignore_others=args.ignore_columns,
    )
    trace = load_trace(_named(args), reading)
    is_table = output.suffix in TABLES
    if args.ue is not None:
        trace = dataclasses.replace(trace, series={"": trace.of(args.ue)})
    if args.bandwidth is not None:
        trace = trace.as_rate(args.bandwidth)
    if args.every is not None or (trace.unit == OPPORTUNITY and is_table):
        trace = trace.binned(parse_duration_s(args.every or BIN))
    if args.scale is not None:
        if not args.scale > 0:
            raise UsageError(f"--scale is {args.scale}", hint="give a factor above 0", param="scale")
        trace = trace.scaled(args.scale)
    write_trace(output, dataclasses.replace(trace, origin=_told_origin(args, trace)))
    print(f"{len(trace.series)} series in {trace.unit}, {trace.period_s:g} s, written to {output}", file=sys.stderr)
    return 0


def _told_origin(args: argparse.Namespace, trace: Trace) -> Any:
    """Where the trace comes from, with what was done to it here."""
    done = {"imported_from": Path(args.trace).name} | {
        name: getattr(args, name) for name in ("ue", "bandwidth", "every", "scale") if getattr(args, name) is not None
    }
    changes = {name: getattr(args, name) for name in ("source", "licence") if getattr(args, name)}
    return dataclasses.replace(trace.origin, parameters=dict(trace.origin.parameters) | done, **changes)


def _named(args: argparse.Namespace) -> str:
    from netgpt.network.trace_file import shipped_traces

    if args.trace is None:
        raise UsageError(f"netgpt trace {args.what} wants a trace", hint=f"give a file, or one of: {', '.join(shipped_traces())}", param="trace")
    return args.trace


def _binned(args: argparse.Namespace, name: str) -> Trace:
    """A trace to look at: means over --every; opportunities always as a rate."""
    from netgpt.network.trace import OPPORTUNITY
    from netgpt.network.trace_file import load_trace

    trace = load_trace(name)
    return trace.binned(parse_duration_s(args.every or BIN)) if args.every is not None or trace.unit == OPPORTUNITY else trace


# show


def _show(args: argparse.Namespace) -> int:
    if args.picture is not None and args.picture.suffix not in PICTURES:
        raise UsageError(f"--picture is {str(args.picture)!r}", hint="give a name that ends in .png or .svg", param="picture")
    trace = _binned(args, _named(args))
    if args.ue is not None:
        trace = dataclasses.replace(trace, series={args.ue: trace.of(args.ue)})
    print(drawn(args.trace, trace))
    if args.picture is not None:
        _draw_picture(args.trace, trace, args.picture)
        print(f"drawn into {args.picture}", file=sys.stderr)
    return 0


def drawn(name: str, trace: Trace) -> str:
    """The trace as lines of blocks, one for each UE: the mean over each column's time, from 0 to the trace's greatest."""
    coarse = trace.binned(trace.period_s / COLUMNS)
    top = max(float(one.values.max()) for one in coarse.series.values()) or 1.0
    width = max(len(ue) for ue in trace.series)
    origin = trace.origin
    lines = [
        f"{name}: {trace.period_s:g} s, 0 to {_value(top, trace.unit)}",
        *filter(None, (origin.source, origin.command and f"$ {origin.command}")),
    ]
    for ue, one in coarse.series.items():
        line = "".join(" " if value <= 0 else BLOCKS[min(int(value / top * len(BLOCKS)), len(BLOCKS) - 1)] for value in one.values)
        lines.append(f"{ue:<{width}} |{line}| mean {_value(float(one.values.mean()), trace.unit)}")
    return "\n".join(lines)


def _value(value: float, unit: str) -> str:
    return f"{value / 1e6:.3g} Mbps" if unit == "bps" else f"{value:.3g} {unit}"


def _draw_picture(name: str, trace: Trace, path: Path) -> None:
    try:
        from matplotlib.backends.backend_agg import FigureCanvasAgg
        from matplotlib.figure import Figure
    except ImportError as error:
        raise MissingExtra("pictures need matplotlib, and it is not installed", hint="pip install 'netgpt[plot]'") from error
    figure = Figure(figsize=(9, 1.2 + 1.1 * len(trace.series)), layout="constrained")
    FigureCanvasAgg(figure)
    axes = figure.subplots(len(trace.series), 1, sharex=True, sharey=True, squeeze=False)[:, 0]
    scale, unit = (1e-6, "Mbit/s") if trace.unit == "bps" else (1.0, "bit/s/Hz")
    for axis, (ue, one) in zip(axes, trace.series.items(), strict=True):
        axis.step([*one.times_s, trace.period_s], [*(one.values * scale), one.values[-1] * scale], where="post", linewidth=0.7)
        axis.set_ylabel(ue or unit)
        axis.set_ylim(bottom=0)
        axis.margins(x=0)
    axes[0].set_title(f"{Path(name).name}, {unit}")
    axes[-1].set_xlabel("s")
    try:
        figure.savefig(path, dpi=120)
    except OSError as error:
        raise StorageFailed(f"cannot write {str(path)!r}: {error}", hint="free space, or choose another file with --picture") from error


# stats


def _stats(args: argparse.Namespace) -> int:
    from netgpt.cli.table import format_table
    from netgpt.network.trace_file import shipped_traces
    from netgpt.network.trace_stats import series_stats

    if args.outage is not None and not args.outage >= 0:
        raise UsageError(f"--outage is {args.outage:g}", hint="give a value of 0 or more: at or below it nothing is carried", param="outage")
    rows: list[dict[str, Any]] = []
    for name in [args.trace] if args.trace is not None else shipped_traces():
        trace = _binned(args, name)
        figures = [dataclasses.asdict(one) for one in series_stats(trace, outage=args.outage or 0.0)]
        rows += [{"trace": name, "unit": trace.unit, "period_s": trace.period_s} | one for one in figures]
    if args.json:
        json.dump(rows, sys.stdout, indent=2)
        print()
        return 0
    heading = ["TRACE", "UE", "UNIT", "MEAN", "P5", "P50", "P95", "OUTAGE", "LONGEST", "COHERENCE", "CELLS"]
    print(format_table(heading, [_row(one) for one in rows]))
    return 0


def _row(one: dict[str, Any]) -> list[object]:
    scale, unit = (1e-6, "Mbps") if one["unit"] == "bps" else (1.0, one["unit"])
    values = [f"{one[name] * scale:.3g}" for name in ("mean", "p5", "p50", "p95")]
    coherence = None if one["coherence_s"] is None else f"{one['coherence_s']:.3g} s"
    outage = [f"{one['outage_share'] * 100:.1f} %", f"{one['longest_outage_s']:.3g} s"]
    return [Path(one["trace"]).name, one["ue"] or None, unit, *values, *outage, coherence, one["cells"] or None]
