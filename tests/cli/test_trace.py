"""`netgpt trace`: what it prints and writes, and what it refuses."""

from __future__ import annotations

import json
from importlib.util import find_spec
from pathlib import Path
from xml.etree import ElementTree

import pytest

from netgpt.cli.main import main
from netgpt.network.trace_file import columns_table, facts_table, load_trace, shipped_traces

PAGE = Path(__file__).parents[2] / "docs" / "traces.md"


@pytest.fixture(autouse=True)
def _home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("NETGPT_HOME", str(tmp_path / "home"))


@pytest.fixture
def mahimahi(tmp_path: Path) -> str:
    path = tmp_path / "lte.up"
    path.write_text("".join(f"{at}\n" for at in range(2, 1001, 2)))  # 500 opportunities a second: 6 Mbit/s
    return str(path)


def test_stats_tells_of_all_shipped_traces(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["trace", "stats", "--json"]) == 0
    rows = json.loads(capsys.readouterr().out)
    assert {row["trace"] for row in rows} == set(shipped_traces())
    assert all(0 <= row["p5"] <= row["p50"] <= row["p95"] <= 5.56 for row in rows)
    drive = [row for row in rows if row["trace"] == "vehicle-drive-down"]
    assert max(row["cells"] for row in drive) > 1  # it crosses cells


def test_list_names_what_ships(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["trace", "list"]) == 0
    assert {line.split()[0] for line in capsys.readouterr().out.splitlines()[1:]} == set(shipped_traces())


def test_stats_of_one_file_as_a_table(mahimahi: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["trace", "stats", mahimahi, "--every", "250ms"]) == 0
    heading, row = capsys.readouterr().out.splitlines()
    assert heading.split() == ["TRACE", "UE", "UNIT", "MEAN", "P5", "P50", "P95", "OUTAGE", "LONGEST", "COHERENCE", "CELLS"]
    assert row.split() == ["lte.up", "-", "Mbps", "6", "6", "6", "6", "0.0", "%", "0", "s", "-", "-"]


def test_show_draws_every_ue_in_the_terminal(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["trace", "show", "crowd-edge-up"]) == 0
    said = capsys.readouterr().out
    lines = [line for line in said.splitlines() if line.startswith("ue")]
    assert len(lines) == len(load_trace("crowd-edge-up").series)
    assert all(len(line.split("|")[1]) == 72 for line in lines)
    assert "$ netgpt trace generate" in said
    assert main(["trace", "show", "crowd-edge-up", "--ue", "ue1"]) == 0
    assert [line[:3] for line in capsys.readouterr().out.splitlines() if line.startswith("ue")] == ["ue1"]


@pytest.mark.skipif(find_spec("matplotlib") is None, reason="the extra plot is not installed")
@pytest.mark.parametrize("name", ["a.png", "a.svg"])
def test_show_draws_a_picture(tmp_path: Path, mahimahi: str, name: str) -> None:
    assert main(["trace", "show", mahimahi, "--picture", str(tmp_path / name)]) == 0
    drawn = (tmp_path / name).read_bytes()
    if name.endswith(".svg"):
        assert ElementTree.fromstring(drawn).tag.endswith("svg")
    else:
        assert drawn.startswith(b"\x89PNG")


def test_import_converts_and_remembers_where_a_trace_is_from(tmp_path: Path, mahimahi: str) -> None:
    output = tmp_path / "lte.csv"
    words = [
        "trace",
        "import",
        mahimahi,
        "--output",
        str(output),
        "--every",
        "500ms",
        "--scale",
        "10",
        "--source",
        "a drive",
        "--licence",
        "CC-BY 4.0",
    ]
    assert main(words) == 0
    trace = load_trace(str(output))
    assert trace.of().values.tolist() == [60e6, 60e6]
    assert (trace.origin.source, trace.origin.licence) == ("a drive", "CC-BY 4.0")
    assert dict(trace.origin.parameters) == {"imported_from": "lte.up", "every": "500ms", "scale": 10.0}
    assert main(["trace", "import", str(output), "--output", str(tmp_path / "back.up")]) == 0
    assert load_trace(str(tmp_path / "back.up")).of().times_s.size == 5000


def test_import_makes_a_links_trace_of_one_user(tmp_path: Path) -> None:
    words = ["trace", "import", "factory-inf-up", "--ue", "ue1", "--bandwidth", "10e6", "--output", str(tmp_path / "a.up")]
    assert main(words) == 0
    link, user = load_trace(str(tmp_path / "a.up")), load_trace("factory-inf-up").of("ue1")
    assert link.of().times_s.size * 12e3 / 60 == pytest.approx(user.values.mean() * 10e6, rel=0.001)
    assert main(["trace", "import", "factory-inf-up", "--output", str(tmp_path / "b.up")]) == 2  # whose? at which bandwidth?


def test_import_takes_foreign_columns(tmp_path: Path) -> None:
    (tmp_path / "kpi.csv").write_text("t,DL_kbps,rsrp\n5,100,-90\n6,0,-95\n")
    words = ["trace", "import", str(tmp_path / "kpi.csv"), "--output", str(tmp_path / "a.csv"), "--time-column", "t", "--value-column", "DL_kbps"]
    assert main([*words, "--unit", "kbps"]) == 2
    assert main([*words, "--unit", "kbps", "--ignore-columns"]) == 0
    assert load_trace(str(tmp_path / "a.csv")).of().values.tolist() == [100e3, 0]


@pytest.mark.skipif(find_spec("sionna") is None, reason="the extra radio (Sionna) is not installed")
@pytest.mark.filterwarnings("ignore::DeprecationWarning")
def test_generate_writes_what_was_asked(tmp_path: Path) -> None:
    output = tmp_path / "a.csv"
    words = ["trace", "generate", "--preset", "campus-walk-up", "--duration", "1s", "--every", "50ms", "--ues", "2", "--seed", "9"]
    assert main([*words, "--output", str(output)]) == 0
    trace = load_trace(str(output))
    assert (trace.period_s, list(trace.series), trace.of("ue1").values.size, trace.origin.seed) == (1, ["ue0", "ue1"], 20, 9)
    assert "--model umi" in trace.origin.command


@pytest.mark.parametrize(
    ("words", "said", "step"),
    [
        (["show"], "show wants a trace", "campus-walk-up"),
        (["show", "campus-walk"], "no trace 'campus-walk'", "did you mean 'campus-walk-up'"),
        (["show", "campus-walk-up", "--ue", "ue9"], "trace 'campus-walk-up' has no UE 'ue9'", "name one"),
        (["show", "campus-walk-up", "--picture", "a.gif"], "--picture is 'a.gif'", ".png or .svg"),
        (["show", "campus-walk-up", "--json"], "show takes no --json", "--help"),
        (["stats", "campus-walk-up", "--every", "soon"], "'soon' is not a duration", "5ms"),
        (["stats", "campus-walk-up", "--every", "2h"], "do not fit", "at most 60 s"),
        (["stats", "campus-walk-up", "--every", "0s"], "bins of 0 s do not fit trace 'campus-walk-up'", "above 0 s"),
        (["stats", "--outage", "-3"], "--outage is -3", "0 or more"),
        (["import", "campus-walk-up"], "no file to write", "--output"),
        (["import", "campus-walk-up", "--output", "a.csv", "--scale", "0"], "--scale is 0", "above 0"),
        (["generate", "--output", "a.csv"], "no model", "--model"),
        (["generate", "--preset", "campus", "--output", "a.csv"], "no preset 'campus'", "campus-walk-up"),
        (["generate", "--model", "umq", "--output", "a.csv"], "unknown model 'umq'", "did you mean 'umi'"),
        (["generate", "--model", "umi", "--load", "2", "--output", "a.csv"], "load is 2", "0 to 1"),
        (["generate", "campus-walk-up", "--model", "umi", "--output", "a.csv"], "takes no file", "--help"),
    ],
)
def test_what_cannot_be_done_is_refused(words: list[str], said: str, step: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["trace", *words]) == 2
    error, hint = capsys.readouterr().err.splitlines()
    assert said in error
    assert step in hint


def test_the_page_shows_the_tables_of_the_reader_and_every_shipped_trace() -> None:
    page = PAGE.read_text(encoding="utf-8")
    assert columns_table() in page
    assert facts_table() in page
    assert [name for name in shipped_traces() if f"`{name}`" not in page] == []
