"""Trace files: Mahimahi, CSV (also .gz and .xz) and Parquet, read whole and checked value by value, and written.

docs/traces.md describes the formats. What is wrong is refused with the file, the line (in Parquet the row) and
what to do. Parquet needs pyarrow (the extra `replay`). Traces that come with the package are found by name.
"""

from __future__ import annotations

import gzip
import json
import lzma
import math
import zlib
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, replace
from importlib import resources
from pathlib import Path
from typing import Any, NoReturn

import numpy as np

from netgpt.core.errors import MissingExtra, StorageFailed, UsageError
from netgpt.core.spelling import did_you_mean
from netgpt.network.trace import OPPORTUNITY, UNITS, Origin, Series, Trace

SCHEMA_VERSION = 1
SHIPPED_SUFFIX = ".csv.xz"
COLUMNS: dict[str, tuple[str, str, str]] = {  # type in Parquet, unit, meaning
    "time_s": ("double", "s", "from when the value holds; counted from the first time of the file"),
    "value": ("double", "", "the rate or spectral efficiency, in the unit that the file states"),
    "ue": ("string", "", "the user equipment; may be left out where there is one"),
    "cell": ("int32", "", "number of the serving cell; may be left out"),
}
FACTS: dict[str, str] = {  # metadata: in Parquet one JSON object, in CSV one line `# name: value` each
    "schema_version": "version of this format, 1",
    "unit": "of the values: " + ", ".join(UNITS),
    "period_s": "after which the trace repeats; default: one step after the last time",
    "source": "who measured or generated it, and how",
    "licence": "of measured traces",
    "command": "that makes the file again",
    "seed": "of generated traces",
    "parameters": "of generated traces, as JSON",
}
PARQUET_KEY = b"netgpt.trace"


@dataclass(frozen=True, kw_only=True)
class Reading:
    """How to read a foreign CSV file whose columns have other names; a file of our own needs none of it."""

    unit: str = ""  # if the file states none
    time_column: str = "time_s"
    value_column: str = "value"
    ue_column: str = "ue"
    ignore_others: bool = False  # columns that mean nothing here


OURS = Reading()


def shipped_traces() -> list[str]:
    """Names of the traces that come with the package."""
    folder = resources.files("netgpt.network") / "traces"
    return sorted(entry.name.removesuffix(SHIPPED_SUFFIX) for entry in folder.iterdir() if entry.name.endswith(SHIPPED_SUFFIX))


def load_trace(name_or_path: str, reading: Reading = OURS) -> Trace:
    """A shipped trace by name, or a file by path.

    Raises:
        UsageError: unknown name, or a file that is no sound trace; names file, line and what to do.
        MissingExtra: a Parquet file, and pyarrow is not installed.
    """
    if name_or_path in shipped_traces():
        path = Path(str(resources.files("netgpt.network") / "traces" / f"{name_or_path}{SHIPPED_SUFFIX}"))
        return replace(_read(path, reading), name=name_or_path)
    path = Path(name_or_path)
    if not path.is_file():
        raise UsageError(
            f"no trace {name_or_path!r}", hint=did_you_mean(name_or_path, shipped_traces()) + "; or give the path of a file", param="trace"
        )
    return _read(path, reading)


def _read(path: Path, reading: Reading) -> Trace:
    try:
        if path.suffix == ".parquet":
            return _read_parquet(path, reading)
        text = _unpacked(path).decode("utf-8")
    except (OSError, EOFError, zlib.error, lzma.LZMAError, UnicodeDecodeError) as error:
        raise UsageError(
            f"trace {str(path)!r} cannot be read: {error}", hint="restore the file, or check its permissions", param=str(path)
        ) from error
    is_csv = ".csv" in path.suffixes
    return _parse_csv(text, path, reading) if is_csv else _parse_mahimahi(text, path)


def write_trace(path: Path, trace: Trace) -> None:
    """Write a trace in the format that the file's name ends in: `.parquet`, `.csv`, `.csv.gz`, `.csv.xz`; else Mahimahi's.

    The same trace gives the same bytes (Parquet: with the same pyarrow). The file appears, or is replaced, when it is whole.

    Raises:
        UsageError: the format cannot hold this trace.
        StorageFailed: it cannot be written.
        MissingExtra: Parquet without pyarrow.
    """
    draft = path.with_name(path.name + ".new")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        if path.suffix == ".parquet":
            _write_parquet(draft, trace)
        else:
            text = (_csv_text(trace) if ".csv" in path.suffixes else _mahimahi_text(trace)).encode()
            draft.write_bytes(_packed(text, path.suffix))
        draft.replace(path)
    except OSError as error:
        raise StorageFailed(f"cannot write {str(path)!r}: {error}", hint="free space, or choose another file with --output") from error


def _unpacked(path: Path) -> bytes:
    packed = path.read_bytes()
    return gzip.decompress(packed) if path.suffix == ".gz" else lzma.decompress(packed) if path.suffix == ".xz" else packed


def _packed(data: bytes, suffix: str) -> bytes:
    return gzip.compress(data, 9, mtime=0) if suffix == ".gz" else lzma.compress(data, preset=9) if suffix == ".xz" else data


def _refuse(path: Path, place: str, what: str, fix: str) -> NoReturn:
    where = f"trace {str(path)!r}, {place}" if place else f"trace {str(path)!r}"
    raise UsageError(f"{where}: {what}", hint=fix, param=str(path))


# Mahimahi


def _parse_mahimahi(text: str, path: Path) -> Trace:
    """One whole millisecond a line."""
    fix = "write one whole millisecond a line, in order; a table wants the suffix .csv or .parquet"
    lines = text.splitlines()
    try:
        at_ms = np.array([int(line) for line in lines], np.int64)
    except (ValueError, OverflowError):
        number, bad = next((n, line) for n, line in enumerate(lines, start=1) if not line.strip().isdecimal() or len(line) > 18)
        _refuse(path, f"line {number}", f"{bad[:40]!r} is not a millisecond", fix)
    if at_ms.size == 0:
        _refuse(path, "", "it is empty", fix)
    falls = np.flatnonzero(np.diff(at_ms) < 0)
    if at_ms[0] < 0:
        _refuse(path, "line 1", f"{at_ms[0]} is before 0", fix)
    if falls.size:
        _refuse(path, f"line {falls[0] + 2}", f"{at_ms[falls[0] + 1]} ms comes after {at_ms[falls[0]]} ms", "put the lines in order of time")
    if at_ms[-1] == 0:
        _refuse(path, f"line {at_ms.size}", "the trace lasts 0 ms", "its last millisecond is its period: give one above 0")
    series = Series(times_s=at_ms / 1e3, values=np.full(at_ms.size, 1500.0))
    return Trace(name=str(path), unit=OPPORTUNITY, period_s=float(at_ms[-1]) / 1e3, series={"": series})


def _mahimahi_text(trace: Trace) -> str:
    """Rates become opportunities at whole milliseconds: each as soon as 1,500 bytes have come together. An outage at the end is lost."""
    series = trace.of()
    if trace.unit == OPPORTUNITY:
        at_ms = np.rint(series.times_s * 1e3).astype(np.int64)
    else:
        service, period_ms = trace.service(), math.ceil(round(trace.period_s * 1e3, 6))
        total = int(np.sum(series.values * np.diff(np.append(series.times_s, trace.period_s))) / 8 / 1500)
        if total == 0:
            raise UsageError(f"trace {trace.name!r} serves less than 1,500 bytes", hint="write it as .csv or .parquet")
        finish_s = service.finish_s(np.zeros(total), 1500.0 * np.arange(1, total + 1))
        at_ms = np.minimum(np.ceil(np.round(finish_s * 1e3, 6)).astype(np.int64), period_ms)
    return "\n".join(map(str, at_ms.tolist())) + "\n"


# CSV


def _parse_csv(text: str, path: Path, reading: Reading) -> Trace:
    facts: dict[str, str] = {}
    lines = enumerate(text.splitlines(), start=1)
    header: list[str] = []
    for number, line in lines:
        if line.startswith("#"):
            name, colon, value = line[1:].partition(":")
            if colon:
                _check_fact(path, f"line {number}", name.strip())
                facts[name.strip()] = value.strip()
        elif line.strip():
            header = [cell.strip().strip('"') for cell in line.split(",")]
            break
    if not header:
        _refuse(path, "", "it is empty", "write a heading such as time_s,value and one row for each time")
    places = _column_places(path, header, reading)
    rows, numbers = _Rows(), []
    for number, line in lines:
        if line.strip():
            cells = line.split(",")
            if len(cells) != len(header):
                _refuse(path, f"line {number}", f"{len(cells)} cells under {len(header)} columns", "give every row as many cells as the heading")
            rows.add(*(cells[place] if place is not None else None for place in places))
            numbers.append(number)
    return _assemble(path, rows, lambda row: f"line {numbers[row]}", facts, reading)


def _check_fact(path: Path, place: str, name: str) -> None:
    if name not in FACTS:
        _refuse(path, place, f"unknown metadata {name!r}", did_you_mean(name, FACTS) + "; or write the remark without a colon")


def _column_places(path: Path, header: Sequence[str], reading: Reading) -> list[int | None]:
    """Where time, value, UE and cell stand."""
    wanted = (reading.time_column, reading.value_column, reading.ue_column, "cell")
    for name in header:
        if name not in wanted and not reading.ignore_others:
            _refuse(path, "heading", f"unknown column {name!r}", did_you_mean(name, wanted) + "; netgpt trace import names other columns")
    for name in wanted[:2]:
        if name not in header:
            _refuse(path, "heading", f"no column {name!r}", "name it in the heading; netgpt trace import --time-column, --value-column")
    return [header.index(name) if name in header else None for name in wanted]


class _Rows:
    """A table's cells by column; UE and cell None where there is no such column."""

    def __init__(self) -> None:
        self.times: list[Any] = []
        self.values: list[Any] = []
        self.ues: list[str] = []
        self.cells: list[Any] = []

    def add(self, time: Any, value: Any, ue: Any, cell: Any) -> None:
        self.times.append(time)
        self.values.append(value)
        self.ues.append("" if ue is None else str(ue).strip())
        self.cells.append(cell)


def _assemble(path: Path, rows: _Rows, place: Callable[[int], str], facts: dict[str, Any], reading: Reading) -> Trace:
    """The trace of a table, once every value is a number that can be."""
    if not rows.times:
        _refuse(path, "", "it has no row", "give at least one time and value")
    unit, factor = _unit(path, facts, reading)
    times = _numbers(path, rows.times, "time", place)
    values = _numbers(path, rows.values, "value", place)
    for row in np.flatnonzero(values < 0)[:1]:
        _refuse(path, place(row), f"the value {values[row]:g} is negative", "no link carries less than nothing: give 0 for an outage")
    cells = None if rows.cells[0] is None else _numbers(path, rows.cells, "cell", place).astype(np.int32)
    start_s = float(times.min())
    series: dict[str, Series] = {}
    by_ue: dict[str, list[int]] = {}
    for row, ue in enumerate(rows.ues):
        by_ue.setdefault(ue, []).append(row)
    for ue, members in by_ue.items():
        chosen = np.array(members)
        _check_times(path, ue, times[chosen] - start_s, lambda n, chosen=chosen: place(int(chosen[n])))
        series[ue] = Series(times_s=times[chosen] - start_s, values=values[chosen] * factor, cells=None if cells is None else cells[chosen])
    return Trace(name=str(path), unit=unit, period_s=_period(path, facts, series.values()), series=series, origin=_origin(path, facts))


def _unit(path: Path, facts: dict[str, Any], reading: Reading) -> tuple[str, float]:
    said = str(facts.get("unit") or reading.unit)
    if not said:
        _refuse(path, "", "it does not state its unit", "add a line '# unit: Mbps' at the top, or import it with --unit Mbps")
    if said not in UNITS:
        _refuse(path, "", f"unknown unit {said!r}", did_you_mean(said, UNITS))
    return UNITS[said]


def _numbers(path: Path, cells: Sequence[Any], what: str, place: Callable[[int], str]) -> np.ndarray:
    try:
        numbers = np.array(cells, np.float64)
    except (ValueError, TypeError):
        numbers = np.array([_number(cell) for cell in cells])
    for row in np.flatnonzero(~np.isfinite(numbers))[:1]:
        _refuse(
            path,
            place(int(row)),
            f"the {what} {str(cells[row]).strip()!r} is not a number",
            "give a finite number; leave the row out if it is unknown",
        )
    return numbers


def _number(cell: Any) -> float:
    try:
        return float(cell)
    except (ValueError, TypeError):
        return math.nan


def _check_times(path: Path, ue: str, times: np.ndarray, place: Callable[[int], str]) -> None:
    whose = f" of UE {ue!r}" if ue else ""
    if times[0] != 0:
        _refuse(path, place(0), f"the first time{whose} is {times[0]:g} s after the file's", "let all UEs begin at the same time")
    for row in np.flatnonzero(np.diff(times) <= 0)[:1]:
        _refuse(
            path,
            place(int(row) + 1),
            f"the time{whose} does not rise: {times[row + 1]:g} s after {times[row]:g} s",
            "put rows in order, each time once",
        )


def _period(path: Path, facts: dict[str, Any], series: Iterable[Series]) -> float:
    last_s = max(float(one.times_s[-1]) for one in series)
    said = facts.get("period_s")
    if said is None:
        steps = [float(one.times_s[-1] - one.times_s[-2]) for one in series if one.times_s.size > 1]
        if not steps:
            _refuse(path, "", "one row says nothing of how long it lasts", "add a line '# period_s: 60' at the top")
        return last_s + max(steps)
    period_s = _number(said)
    if not (math.isfinite(period_s) and period_s > last_s):
        _refuse(path, "", f"period_s is {said}, its last time is {last_s:g} s", "give a period after the last time")
    return period_s


def _origin(path: Path, facts: dict[str, Any]) -> Origin:
    version = facts.get("schema_version", SCHEMA_VERSION)
    if str(version) != str(SCHEMA_VERSION):
        _refuse(path, "", f"it has schema version {version}, this release reads {SCHEMA_VERSION}", "update NetGPT")
    seed, parameters = facts.get("seed"), facts.get("parameters") or {}
    try:
        return Origin(
            source=str(facts.get("source") or ""),
            licence=str(facts.get("licence") or ""),
            command=str(facts.get("command") or ""),
            seed=None if seed in (None, "") else int(seed),
            parameters=json.loads(parameters) if isinstance(parameters, str) else parameters,
        )
    except ValueError as error:
        _refuse(path, "", f"its metadata cannot be read: {error}", "seed is a whole number, parameters are one line of JSON")


def _facts(trace: Trace) -> dict[str, Any]:
    """A trace's metadata as it is written; what is not known is left out."""
    origin = trace.origin
    facts: dict[str, Any] = {"schema_version": SCHEMA_VERSION, "unit": trace.unit, "period_s": round(trace.period_s, 9)}
    facts |= {name: value for name in ("source", "licence", "command", "seed") if (value := getattr(origin, name)) not in ("", None)}
    return facts | ({"parameters": dict(origin.parameters)} if origin.parameters else {})


def _csv_text(trace: Trace) -> str:
    _refuse_opportunities(trace)
    facts = _facts(trace)
    head = [f"# {name}: {json.dumps(value) if name == 'parameters' else ' '.join(str(value).split())}" for name, value in facts.items()]
    for ue in trace.series:
        if "," in ue or len(ue.split()) > 1:
            raise UsageError(
                f"UE {ue!r} of {trace.name!r} cannot stand in CSV", hint="name it without commas and blanks, or write .parquet", param="ue"
            )
    named = list(trace.series) != [""]
    with_cells = all(one.cells is not None for one in trace.series.values())
    head.append(",".join(["time_s", "value", *(["ue"] if named else []), *(["cell"] if with_cells else [])]))
    for ue, one in trace.series.items():
        tail = f",{ue}" if named else ""
        cells = one.cells.tolist() if with_cells and one.cells is not None else [None] * one.times_s.size
        ends = [tail if cell is None else f"{tail},{cell}" for cell in cells]
        rows = zip(one.times_s.tolist(), one.values.tolist(), ends, strict=True)
        head += [f"{round(time_s, 9):.12g},{value:.10g}{end}" for time_s, value, end in rows]
    return "\n".join(head) + "\n"


def _refuse_opportunities(trace: Trace) -> None:
    if trace.unit == OPPORTUNITY:
        raise UsageError(f"trace {trace.name!r} has opportunities; a table has values", hint="convert it to a rate: --every 100ms")


# Parquet


def load_pyarrow() -> tuple[Any, Any]:
    """(pyarrow, pyarrow.parquet).

    Raises:
        MissingExtra: it is not installed.
    """
    try:
        import pyarrow
        import pyarrow.parquet
    except ImportError as error:
        raise MissingExtra("this trace is a Parquet file, and pyarrow is not installed", hint="pip install 'netgpt[replay]', or use .csv") from error
    return pyarrow, pyarrow.parquet


def _read_parquet(path: Path, reading: Reading) -> Trace:
    pa, pq = load_pyarrow()
    try:
        table = pq.read_table(path)
    except (pa.ArrowException, OSError) as error:
        _refuse(path, "", f"it cannot be read as Parquet: {error}", "restore the file, or make it again")
    try:
        facts = json.loads((table.schema.metadata or {}).get(PARQUET_KEY, b"{}"))
    except ValueError as error:
        _refuse(path, "", f"its metadata cannot be read: {error}", "make the file again")
    for name in facts:
        _check_fact(path, "metadata", name)
    rows = _Rows()
    places = _column_places(path, table.column_names, reading)
    columns = [None if place is None else table.column(place).to_pylist() for place in places]
    for row in range(table.num_rows):
        rows.add(*(None if column is None else column[row] for column in columns))
    return _assemble(path, rows, lambda row: f"row {row + 1}", facts, reading)


def _write_parquet(path: Path, trace: Trace) -> None:
    _refuse_opportunities(trace)
    pa, pq = load_pyarrow()
    columns: dict[str, Any] = {
        "time_s": np.concatenate([one.times_s for one in trace.series.values()]),
        "value": np.concatenate([one.values for one in trace.series.values()]),
        "ue": [ue for ue, one in trace.series.items() for _ in range(one.times_s.size)],
    }
    cells = [one.cells for one in trace.series.values() if one.cells is not None]
    if len(cells) == len(trace.series):
        columns["cell"] = np.concatenate(cells)
    kinds = {"double": pa.float64(), "string": pa.string(), "int32": pa.int32()}
    fields = []
    for name in columns:
        kind, unit, meaning = COLUMNS[name]
        fields.append(pa.field(name, kinds[kind], metadata={"unit": unit or (trace.unit if name == "value" else ""), "meaning": meaning}))
    schema = pa.schema(fields, metadata={PARQUET_KEY: json.dumps(_facts(trace)).encode()})
    pq.write_table(pa.table(columns, schema=schema), path, compression="zstd")


def columns_table() -> str:
    """`COLUMNS` as the Markdown table that docs/traces.md shows."""
    rows = [f"| `{name}` | `{kind}` | {unit} | {meaning} |" for name, (kind, unit, meaning) in COLUMNS.items()]
    return "\n".join(["| column | type | unit | meaning |", "| --- | --- | --- | --- |", *rows])


def facts_table() -> str:
    """`FACTS` as the Markdown table that docs/traces.md shows."""
    return "\n".join(["| metadata | meaning |", "| --- | --- |", *(f"| `{name}` | {meaning} |" for name, meaning in FACTS.items())])
