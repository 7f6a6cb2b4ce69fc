"""The command line's own manners: help, errors, exit statuses."""

from __future__ import annotations

import importlib.util
import json
import subprocess
import sys
from pathlib import Path

import pytest

from netgpt import __version__
from netgpt.cli import down
from netgpt.cli.main import VERBS, main, verb_parser

# What `--help` must not wait for.
HEAVY = ("torch", "numpy", "grpc", "httpx", "starlette", "asyncio", "tokenizers", "uvloop")
WRITTEN = [verb for verb, (module, _) in VERBS.items() if importlib.util.find_spec(module)]


@pytest.fixture(autouse=True)
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("NETGPT_HOME", str(tmp_path / "home"))
    return tmp_path / "home"


def test_help_lists_every_verb_and_imports_nothing_heavy() -> None:
    code = f"""
import sys
from netgpt.cli.main import main
try:
    main(["--help"])
except SystemExit as leaving:
    assert leaving.code == 0
print([name for name in {HEAVY!r} if name in sys.modules], file=sys.stderr)
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stderr.strip() == "[]"
    for verb, (_, summary) in VERBS.items():
        assert f"{verb:<10} {summary}" in done.stdout


@pytest.mark.parametrize("verb", WRITTEN)
def test_every_verb_has_help_and_takes_a_home(verb: str, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as leaving:
        main([verb, "--help"])
    assert leaving.value.code == 0
    assert "--home DIR" in capsys.readouterr().out
    assert verb_parser(verb).prog == f"netgpt {verb}"


def test_the_version_is_the_packages(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit):
        main(["--version"])
    assert capsys.readouterr().out == f"netgpt {__version__}\n"


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["dwon"], "did you mean 'down'?"),
        (["up", "--prot", "1"], "did you mean '--port'?"),
        (["up", "--port", "http"], "0 to 65535"),
        (["config"], "run: netgpt config --help"),
        (["--frob"], "known: --help, --version"),
    ],
)
def test_a_wrong_command_line_is_two_lines_and_status_2(arguments: list[str], words: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(arguments) == 2
    said = capsys.readouterr()
    error, step = said.err.splitlines()
    assert error.startswith("error: ")
    assert step.startswith("next: ")
    assert words in step
    assert said.out == ""


def test_an_unknown_variable_stops_every_command(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    monkeypatch.setenv("NETGPT_PROT", "1")
    assert main(["ps"]) == 2
    assert "did you mean 'NETGPT_PORT'" in capsys.readouterr().err


def test_an_unexpected_error_is_one_line_and_a_traceback_in_a_file(
    home: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def fail(_: object) -> int:
        raise ZeroDivisionError("division by a test")

    monkeypatch.setattr(down, "run", fail)
    assert main(["down"]) == 1
    error, step = capsys.readouterr().err.splitlines()
    assert error == "error: ZeroDivisionError: division by a test"
    assert str(home / "log" / "netgpt.log") in step
    assert "Traceback" in (home / "log" / "netgpt.log").read_text()


def test_an_interrupt_is_status_130(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    def interrupt(_: object) -> int:
        raise KeyboardInterrupt

    monkeypatch.setattr(down, "run", interrupt)
    assert main(["down"]) == 130
    assert capsys.readouterr().err == "interrupted\n"


def test_a_reader_that_leaves_early_is_no_error() -> None:
    command = f"{sys.executable} -m netgpt.cli.main config show --json | head -c 1"
    done = subprocess.run(["bash", "-c", command], capture_output=True, text=True, check=True)
    assert done.stderr == ""


def test_the_package_is_the_command_too() -> None:
    told = subprocess.run([sys.executable, "-m", "netgpt", "--version"], capture_output=True, text=True, check=True)
    assert told.stdout == f"netgpt {__version__}\n"


def test_nothing_runs_from_an_empty_home(home: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["ps", "--json"]) == 0
    assert json.loads(capsys.readouterr().out) == []
    assert main(["down"]) == 0
    assert str(home) in capsys.readouterr().err
    assert main(["log"]) == 13
    assert not home.exists()
