"""Trace files: what is sound comes back as it was, what is not is refused by file, line and fix."""

from __future__ import annotations

import gzip
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from netgpt.core.errors import UsageError
from netgpt.network.trace import EFFICIENCY, OPPORTUNITY, RATE, Origin, Series, Trace
from netgpt.network.trace_file import Reading, load_trace, shipped_traces, write_trace
from netgpt.network.trace_stats import series_stats

from .measured_links import MEASURED

ORIGIN = Origin(source="a test, by hand", licence="CC0", command="none", seed=3, parameters={"speed": 1.5, "with": ["a", "list"]})
MOST_SHIPPED_BYTES = 300_000


def steps(values: list[float], *, unit: str = RATE, every_s: float = 0.5, ues: int = 1, cells: bool = False) -> Trace:
    times = np.arange(len(values)) * every_s
    numbers = np.arange(len(values), dtype=np.int32) if cells else None
    series = {f"ue{n}" if ues > 1 else "": Series(times_s=times, values=np.array(values) * (n + 1), cells=numbers) for n in range(ues)}
    return Trace(name="made", unit=unit, period_s=len(values) * every_s, series=series, origin=ORIGIN)


def write(folder: Path, text: str, name: str = "a.csv") -> str:
    path = folder / name
    path.write_bytes(gzip.compress(text.encode()) if name.endswith(".gz") else text.encode())
    return str(path)


def assert_equal(one: Trace, other: Trace) -> None:
    assert (one.unit, one.origin, list(one.series)) == (other.unit, other.origin, list(other.series))
    assert one.period_s == pytest.approx(other.period_s)
    for ue in one.series:
        np.testing.assert_allclose(one.of(ue).times_s, other.of(ue).times_s, atol=1e-9)
        np.testing.assert_allclose(one.of(ue).values, other.of(ue).values, rtol=1e-9)
        assert (one.of(ue).cells is None) == (other.of(ue).cells is None)
        np.testing.assert_array_equal(one.cell_at(one.of(ue).times_s, ue), other.cell_at(one.of(ue).times_s, ue))


@pytest.mark.parametrize("name", ["a.csv", "a.csv.gz", "a.csv.xz", "a.parquet"])
@pytest.mark.parametrize(("unit", "ues", "cells"), [(RATE, 1, False), (EFFICIENCY, 3, True), (EFFICIENCY, 2, False)])
def test_a_table_comes_back_as_it_was_written(tmp_path: Path, name: str, unit: str, ues: int, cells: bool) -> None:
    if name.endswith(".parquet"):
        pytest.importorskip("pyarrow", reason="the extra replay is not installed")
    trace = steps([1.25, 0, 3e6, 7.0], unit=unit, ues=ues, cells=cells)
    write_trace(tmp_path / name, trace)
    assert_equal(load_trace(str(tmp_path / name)), trace)
    first = (tmp_path / name).read_bytes()
    write_trace(tmp_path / name, trace)
    assert (tmp_path / name).read_bytes() == first
    assert [path.name for path in tmp_path.iterdir()] == [name]


def test_a_parquet_file_says_what_it_holds(tmp_path: Path) -> None:
    pq = pytest.importorskip("pyarrow.parquet", reason="the extra replay is not installed")
    write_trace(tmp_path / "a.parquet", steps([1, 2], unit=EFFICIENCY, ues=2, cells=True))
    schema = pq.read_schema(tmp_path / "a.parquet")
    assert schema.names == ["time_s", "value", "ue", "cell"]
    assert b'"unit": "bps/Hz"' in schema.metadata[b"netgpt.trace"]
    assert b'"seed": 3' in schema.metadata[b"netgpt.trace"]
    assert schema.field("value").metadata[b"unit"] == b"bps/Hz"
    assert all(schema.field(name).metadata[b"meaning"] for name in schema.names)


def test_a_foreign_table_is_read_by_its_own_names_and_unit(tmp_path: Path) -> None:
    path = write(tmp_path, "Time,DL,cell id,RSRP\n1700000000,10,7,-90\n1700000001,0,7,-91\n1700000003,20,8,-80\n")
    reading = Reading(unit="Mbps", time_column="Time", value_column="DL", ignore_others=True)
    trace = load_trace(path, reading)
    assert trace.unit == RATE
    assert trace.period_s == 5
    assert trace.at([0, 0.9, 1, 2.9, 3, 4.9, 5]).tolist() == [10e6, 10e6, 0, 0, 20e6, 20e6, 10e6]


SOUND = "# unit: bps\ntime_s,value\n0,1\n1,2\n"


@pytest.mark.parametrize(
    ("name", "text", "said", "fix"),
    [
        ("a.csv", "", "it is empty", "heading"),
        ("a.csv", "# unit: bps\n\n", "it is empty", "heading"),
        ("a.csv", "# unit: bps\ntime_s,value\n", "it has no row", "at least one"),
        ("a.csv", "time_s,value\n0,1\n1,2\n", "does not state its unit", "# unit: Mbps"),
        ("a.csv", "# unit: furlongs\ntime_s,value\n0,1\n1,2\n", "unknown unit 'furlongs'", "Mbps"),
        ("a.csv", "# untis: bps\ntime_s,value\n0,1\n", "line 1: unknown metadata 'untis'", "did you mean 'unit'"),
        ("a.csv", "# unit: bps\ntime_s,valeu\n0,1\n", "heading: unknown column 'valeu'", "did you mean 'value'"),
        ("a.csv", "# unit: bps\ntime_s,ue\n0,1\n", "heading: no column 'value'", "--value-column"),
        ("a.csv", SOUND + "2\n", "line 5: 1 cells under 2 columns", "as many cells"),
        ("a.csv", SOUND + "1,3\n", "line 5: the time does not rise: 1 s after 1 s", "in order"),
        ("a.csv", SOUND + "0.5,3\n", "line 5: the time does not rise", "in order"),
        ("a.csv", SOUND + "\n3,-4\n", "line 6: the value -4 is negative", "0 for an outage"),
        ("a.csv", SOUND + "3,nan\n", "line 5: the value 'nan' is not a number", "finite"),
        ("a.csv", SOUND + "3,inf\n", "line 5: the value 'inf' is not a number", "finite"),
        ("a.csv", SOUND + "3,fast\n", "line 5: the value 'fast' is not a number", "finite"),
        ("a.csv", SOUND + "noon,3\n", "line 5: the time 'noon' is not a number", "finite"),
        ("a.csv", "# unit: bps\ntime_s,value\n0,1\n", "one row says nothing", "period_s"),
        ("a.csv", "# period_s: 1\n" + SOUND, "period_s is 1, its last time is 1 s", "after the last time"),
        ("a.csv", "# schema_version: 9\n" + SOUND, "schema version 9", "update"),
        ("a.csv", "# seed: x\n" + SOUND, "its metadata cannot be read", "whole number"),
        ("a.csv", "# unit: bps\ntime_s,value,ue\n0,1,a\n1,1,a\n1,1,b\n", "line 5: the first time of UE 'b' is 1 s after the file's", "same"),
        ("a.csv", "# unit: bps\ntime_s,value,cell\n0,1,1\n1,1,x\n", "line 4: the cell 'x' is not a number", "finite"),
        ("a.up", "", "it is empty", "millisecond a line"),
        ("a.up", "1\n2\nx\n", "line 3: 'x' is not a millisecond", "suffix .csv"),
        ("a.up", "1\n2.5\n", "line 2: '2.5' is not a millisecond", "suffix .csv"),
        ("a.up", "1\n\n2\n", "line 2: '' is not a millisecond", "suffix .csv"),
        ("a.up", "-1\n2\n", "line 1: -1 is before 0", "in order"),
        ("a.up", "5\n9\n7\n", "line 3: 7 ms comes after 9 ms", "in order"),
        ("a.up", "0\n0\n", "line 2: the trace lasts 0 ms", "above 0"),
        ("a.parquet", "no parquet", "it cannot be read as Parquet", "restore"),
        ("a.csv.gz", "", "it is empty", "heading"),
    ],
)  # fmt: skip
def test_an_unsound_file_is_refused_by_place_and_fix(tmp_path: Path, name: str, text: str, said: str, fix: str) -> None:
    if name.endswith(".parquet"):
        pytest.importorskip("pyarrow", reason="the extra replay is not installed")
    path = write(tmp_path, text, name)
    with pytest.raises(UsageError) as refused:
        load_trace(path)
    assert said in refused.value.message
    assert path in refused.value.message
    assert fix in refused.value.hint


def test_unreadable_and_unknown_files_are_refused(tmp_path: Path) -> None:
    for name in ("a.csv.gz", "a.csv.xz"):
        (tmp_path / name).write_bytes(b"packed by nobody")
        with pytest.raises(UsageError, match="cannot be read"):
            load_trace(str(tmp_path / name))
    with pytest.raises(UsageError, match="no trace 'campus-walk-pu'") as refused:
        load_trace("campus-walk-pu")
    assert "did you mean 'campus-walk-up'" in refused.value.hint


def test_a_trace_is_asked_by_ue_and_repeats() -> None:
    trace = steps([1, 2, 3], ues=2, cells=True)
    assert trace.at([0, 0.49, 0.5, 1.4, 1.5, 3.2], "ue1").tolist() == [2, 2, 4, 6, 2, 2]
    assert trace.cell_at([0.5, 2.1], "ue0").tolist() == [1, 1]
    with pytest.raises(UsageError, match="has 2 UEs"):
        trace.at([0])
    with pytest.raises(UsageError, match="has no UE 'ue2'"):
        trace.at([0], "ue2")


def test_a_service_wants_rates_above_zero() -> None:
    with pytest.raises(UsageError, match="never serves anything"):
        steps([0, 0]).service()
    efficiency = steps([1, 3], unit=EFFICIENCY)
    with pytest.raises(UsageError, match="spectral efficiencies"):
        efficiency.service()
    assert efficiency.as_rate(10e6).service().rate_bps(0.7) == 30e6


@given(st.lists(st.sampled_from([0.0, 1e5, 3e6]), min_size=2, max_size=20).filter(any), st.floats(0.05, 1))
def test_bins_keep_what_is_carried(values: list[float], every_s: float) -> None:
    trace = steps(values)
    coarse = trace.binned(every_s)
    carried = np.interp(coarse.period_s, np.append(trace.of().times_s, trace.period_s), np.concatenate(([0], np.cumsum(values) * 0.5)))
    assert coarse.of().values.sum() * every_s == pytest.approx(carried, abs=1e-3)
    with pytest.raises(UsageError, match="do not fit"):
        trace.binned(trace.period_s * 2)


def test_opportunities_become_a_rate_and_a_rate_opportunities(tmp_path: Path) -> None:
    trace = load_trace(write(tmp_path, "0\n5\n10\n10\n20\n", "a.up"))
    assert (trace.unit, trace.period_s) == (OPPORTUNITY, 0.02)
    assert trace.binned(0.01).of().values.tolist() == [4 * 12e3 / 0.01, 12e3 / 0.01]
    with pytest.raises(UsageError, match="opportunities"):
        trace.at([0])
    with pytest.raises(UsageError, match="opportunities"):
        write_trace(tmp_path / "a.csv", trace)
    write_trace(tmp_path / "b.up", steps([12e6, 0, 6e6]))
    back = load_trace(str(tmp_path / "b.up"))
    assert back.of().times_s[:3].tolist() == [0.001, 0.002, 0.003]
    assert back.binned(0.5).of().values == pytest.approx([12e6, 0, 6e6])


def test_stats_by_hand() -> None:
    (one,) = series_stats(steps([0, 0, 4, 8, 8, 8, 0, 0, 2, 10]), outage=1)
    assert (one.mean, one.p5, one.p50, one.p95, one.samples) == (4.0, 0.0, 2.0, 10.0, 10)
    assert one.outage_share == pytest.approx(0.4)
    assert one.longest_outage_s == 1.0
    (around,) = series_stats(steps([0, 5, 5, 0]))
    assert around.longest_outage_s == 1.0  # across the end: the trace repeats
    assert series_stats(steps([3, 3, 3, 3, 3]))[0].coherence_s is None


def test_the_coherence_time_of_a_known_process_is_found() -> None:
    chance, values, memory = np.random.default_rng(5), [0.0], np.exp(-0.01 / 0.3)
    for shock in chance.normal(size=60_000):
        values.append(memory * values[-1] + shock)
    times = np.arange(len(values)) * 0.01
    series = Series(times_s=times, values=np.array(values) - min(values))
    (one,) = series_stats(Trace(name="made", unit=RATE, period_s=times[-1] + 0.01, series={"": series}))
    assert one.coherence_s == pytest.approx(0.3 * np.log(2), rel=0.15)


@pytest.mark.parametrize("name", shipped_traces())
def test_a_shipped_trace_is_sound_and_says_how_it_was_made(name: str) -> None:
    trace = load_trace(name)
    assert trace.unit == EFFICIENCY
    assert trace.period_s == 60
    assert trace.origin.command.startswith("netgpt trace generate --")
    assert trace.origin.seed is not None
    assert "TR 38.901" in trace.origin.source
    for one in trace.series.values():
        assert one.cells is not None
        assert one.values.max() <= 5.56  # MCS 28
        assert one.values.max() > 0


def test_shipped_traces_are_enough_and_small() -> None:
    folder = Path(__file__).parents[2] / "src" / "netgpt" / "network" / "traces"
    assert len(shipped_traces()) >= 6
    assert sum(path.stat().st_size for path in folder.iterdir()) <= MOST_SHIPPED_BYTES


@pytest.mark.parametrize("path", MEASURED)
def test_a_measured_trace_is_read_whole(path: Path) -> None:
    lines = path.read_text(encoding="utf-8").split()
    trace = load_trace(str(path))
    assert trace.of().times_s.size == len(lines)
    assert trace.period_s == int(lines[-1]) / 1e3
    mean_bps = float(trace.binned(trace.period_s).of().values[0])
    assert mean_bps == pytest.approx(len(lines) * 12e3 / trace.period_s)
