"""The listing commands: `config show`, `doctor`, `log`, and the tables they print."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from netgpt.cli.main import main
from netgpt.cli.table import format_table
from netgpt.core.settings import SETTINGS

HEAD = "2026-01-31T12:00:0{}.000+00:00 {} {} {}\n"


@pytest.fixture(autouse=True)
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("NETGPT_HOME", str(tmp_path / "home"))
    return tmp_path / "home"


def test_a_table_aligns_numbers_to_the_right_and_shows_none_as_a_dash() -> None:
    assert format_table(["NAME", "PORT"], [["a", 5], ["long", 8080], ["c", None]]) == "NAME  PORT\na        5\nlong  8080\nc        -"
    assert format_table(["NAME"], []) == "NAME"


def test_config_shows_each_value_and_its_origin(home: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    monkeypatch.setenv("NETGPT_PORT", "9000")
    assert main(["config", "show", "--json"]) == 0
    rows = {row["name"]: row for row in json.loads(capsys.readouterr().out)}
    assert list(rows) == [setting.name for setting in SETTINGS]
    assert (rows["port"]["value"], rows["port"]["origin"]) == (9000, "NETGPT_PORT")
    assert (rows["home"]["value"], rows["home"]["origin"]) == (str(home), "NETGPT_HOME")
    assert (rows["default_node"]["value"], rows["default_node"]["origin"]) == ("device1", "scenario")
    assert main(["config", "show"]) == 0
    assert "NETGPT_PORT" in capsys.readouterr().out


def test_doctor_checks_everything_and_says_what_to_do(capsys: pytest.CaptureFixture[str]) -> None:
    status = main(["doctor", "--json"])
    checks = json.loads(capsys.readouterr().out)
    assert [check["name"] for check in checks] == ["python", "torch", "memory", "disk", "ports", "models", "clock", "namespaces"]
    assert status == any(check["status"] == "fail" for check in checks)
    for check in checks:
        assert check["status"] in ("ok", "warn", "fail")
        assert bool(check["next"]) == (check["status"] != "ok")


def test_doctor_shows_a_table_and_the_next_steps(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    monkeypatch.setenv("NETGPT_PORT", "0")
    main(["doctor"])
    lines = capsys.readouterr().out.splitlines()
    assert lines[0].split() == ["CHECK", "STATUS", "FOUND"]


@pytest.fixture
def logs(home: Path) -> Path:
    folder = home / "log"
    folder.mkdir(parents=True)
    (folder / "cloud1-engine.log").write_text(
        HEAD.format(2, "INFO", "cloud1-engine", "second") + HEAD.format(4, "ERROR", "grpc", "fourth") + "Traceback\n"
    )
    (folder / "cloud1-door.log").write_text(HEAD.format(3, "INFO", "cloud1-door", "third"))
    (folder / "supervisor.log").write_text(HEAD.format(1, "WARNING", "supervisor", "first") + HEAD.format(5, "INFO", "supervisor", "fifth"))
    return folder


def test_log_merges_by_time_and_keeps_entries_whole(logs: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["log", "--json"]) == 0
    lines = [json.loads(line) for line in capsys.readouterr().out.splitlines()]
    assert [line["text"] for line in lines] == ["first", "second", "third", "fourth", "Traceback", "fifth"]
    assert lines[4] == {"process": "cloud1-engine", "at": "2026-01-31T12:00:04.000+00:00", "level": "ERROR", "source": "grpc", "text": "Traceback"}
    assert main(["log", "--lines", "1"]) == 0
    assert capsys.readouterr().out.split() == ["2026-01-31T12:00:05.000+00:00", "supervisor", "INFO", "fifth"]


def test_log_takes_a_process_or_a_node(logs: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["log", "cloud1"]) == 0
    assert [line.split()[-1] for line in capsys.readouterr().out.splitlines()] == ["second", "third", "fourth", "Traceback"]
    assert main(["log", "cloud1-door"]) == 0
    assert [line.split()[-1] for line in capsys.readouterr().out.splitlines()] == ["third"]
    assert main(["log", "cloud1-dor"]) == 2
    assert "did you mean 'cloud1-door'" in capsys.readouterr().err


def test_an_empty_log_is_said_to_be_empty(logs: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (logs / "edge1-door.log").touch()
    assert main(["log", "edge1"]) == 0
    told = capsys.readouterr()
    assert (told.out, told.err) == ("", "nothing is logged by edge1-door: processes log what goes wrong\n")
