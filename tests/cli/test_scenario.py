"""`netgpt scenario`: what ships, what it looks like, and whether a file is sound; and what up and simulate refuse."""

from __future__ import annotations

import json
from pathlib import Path
from xml.etree import ElementTree

import pytest

from netgpt.cli.main import main
from netgpt.core.errors import ScenarioInvalid, StorageFailed
from netgpt.network.scenario_file import shipped_scenarios
from netgpt.network.scenario_schema import scenario_schema

Capture = pytest.CaptureFixture[str]
BROKEN = '[[node]]\nid = "a"\ntier = "device"\nmodel = "m"\nprofile = "phone"\n\n[[link]]\nbetween = ["a", "b"]\nup = 1\ndown = 1\ndelay = 1\n'


@pytest.fixture(autouse=True)
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("NETGPT_HOME", str(tmp_path / "home"))
    return tmp_path / "home"


def test_list_has_a_line_for_each_shipped_scenario(capsys: Capture) -> None:
    assert main(["scenario", "list"]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert [line.split()[0] for line in lines[1 : 1 + len(shipped_scenarios())]] == shipped_scenarios()
    assert main(["scenario", "list", "--json"]) == 0
    rows = {row["name"]: row for row in json.loads(capsys.readouterr().out)}
    assert rows["city"]["nodes"] > 10_000
    assert rows["city"]["simulation_only"]
    assert all(row["description"] for row in rows.values())


def test_show_draws_in_the_terminal_and_as_a_picture(capsys: Capture, tmp_path: Path) -> None:
    assert main(["scenario", "show"]) == 0
    assert capsys.readouterr().out.startswith("campus: ")
    picture = tmp_path / "vehicles.svg"
    assert main(["scenario", "show", "vehicles", "--picture", str(picture)]) == 0
    assert "└── west × 3" in capsys.readouterr().out
    assert ElementTree.parse(picture).getroot().tag.endswith("svg")


def test_check_is_silent_about_nothing_but_what_is_sound(capsys: Capture, tmp_path: Path) -> None:
    sound = tmp_path / "sound.toml"
    sound.write_text(BROKEN.partition("[[link]]")[0], encoding="utf-8")
    assert main(["scenario", "check", "campus", str(sound)]) == 0
    assert capsys.readouterr().out.splitlines() == ["campus: sound, 4 nodes, 1 links, 1 cells", f"{sound}: sound, 1 nodes, 0 links, 0 cells"]


def test_check_says_which_world_refuses_what_is_sound(capsys: Capture, tmp_path: Path) -> None:
    apart = tmp_path / "apart.toml"
    one = BROKEN.partition("[[link]]")[0]
    apart.write_text(one + one.replace('id = "a"', 'id = "b"'), encoding="utf-8")
    assert main(["scenario", "check", "city", str(apart)]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert lines[0].startswith("city: sound, 10,006 nodes")
    assert lines[1].startswith("  netgpt up refuses it: city.toml:")
    assert lines[2].startswith("    next: run it under the virtual clock: netgpt simulate city")
    assert lines[4].startswith(f"  netgpt simulate refuses it: {apart}:")
    assert lines[4].endswith("where the controller stands")
    assert lines[5].startswith("    next: add a [[link]]")
    assert len(lines) == 6


def test_check_names_file_line_and_fix(capsys: Capture, tmp_path: Path) -> None:
    broken = tmp_path / "broken.toml"
    broken.write_text(BROKEN, encoding="utf-8")
    assert main(["scenario", "check", str(broken)]) == ScenarioInvalid.exit_code
    assert capsys.readouterr().err == f"error: {broken}:8: 'between' names the unknown node 'b'\nnext: known: a\n"


def test_check_reads_request_traces_too(capsys: Capture, tmp_path: Path) -> None:
    scenario, trace = tmp_path / "traced.toml", tmp_path / "day.csv"
    scenario.write_text(BROKEN.partition("[[link]]")[0] + '[[user]]\nat = "a"\ntrace = "day.csv"\n', encoding="utf-8")
    trace.write_text("TIMESTAMP,ContextTokens,GeneratedTokens\n", encoding="utf-8")
    assert main(["scenario", "check", str(scenario)]) == ScenarioInvalid.exit_code
    assert f"{trace}:2: the request trace is empty" in capsys.readouterr().err


def test_schema_prints_the_published_one(capsys: Capture) -> None:
    assert main(["scenario", "schema"]) == 0
    assert json.loads(capsys.readouterr().out) == scenario_schema()


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["list", "campus"], "takes no scenario"),
        (["show", "campus", "city"], "takes one scenario"),
        (["check"], "no scenario to check"),
        (["check", "campus", "--picture", "a.svg"], "takes no --picture"),
        (["show", "--json"], "takes no --json"),
        (["show", "--picture", "a.png"], "a picture is SVG"),
        (["draw"], "invalid choice"),
    ],
)
def test_what_makes_no_sense_is_a_usage_error(arguments: list[str], said: str, capsys: Capture) -> None:
    assert main(["scenario", *arguments]) == 2
    captured = capsys.readouterr()
    assert said in captured.err
    assert "next: " in captured.err


def test_a_picture_that_cannot_be_written_is_named(capsys: Capture, tmp_path: Path) -> None:
    assert main(["scenario", "show", "--picture", str(tmp_path / "no" / "a.svg")]) == StorageFailed.exit_code
    assert "cannot be written" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("arguments", "place", "said", "fix"),
    [
        (["up", "city"], "city.toml:", "has 10,006 nodes and is for the simulated world only", "netgpt simulate city"),
        (["up", "crowd"], "crowd.toml:", "has 202 nodes", "netgpt simulate crowd, or lower the count"),
        (["doctor", "--scenario", "city"], "city.toml:", "has 10,006 nodes", "netgpt simulate city"),
    ],
)
def test_what_a_world_cannot_run_is_refused_with_file_line_and_fix(
    arguments: list[str], place: str, said: str, fix: str, capsys: Capture, home: Path
) -> None:
    assert main(arguments) == ScenarioInvalid.exit_code
    error, hint = capsys.readouterr().err.splitlines()
    assert error.startswith(f"error: {place}")
    assert said in error
    assert fix in hint
    assert not (home / "run").exists(), "nothing was started"


def test_a_simulation_says_what_it_leaves_out_and_follows_a_request_trace(capsys: Capture, tmp_path: Path) -> None:
    trace = tmp_path / "day.csv"
    rows = [f"2023-11-16 18:17:{second:02}.0,{200 + second},5\n" for second in range(8)]
    trace.write_text("TIMESTAMP,ContextTokens,GeneratedTokens\n" + "".join(rows), encoding="utf-8")
    command = ["simulate", "sa4-leo", "--duration", "20s", "--request-trace", str(trace), "--json", "--output", str(tmp_path / "run")]
    assert main(command) == 0
    captured = capsys.readouterr()
    report = json.loads(captured.out)
    assert (report["requests"], report["finished"], report["tokens"], report["answers_wrong"]) == (8, 8, 40, 0)
    left_out = [line.removeprefix("left out: ") for line in captured.err.splitlines()]
    assert report["left_out"] == left_out
    assert [line.rpartition(": ")[2] for line in left_out] == ["device1-edge1"]
