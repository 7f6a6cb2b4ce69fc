"""`netgpt models`: how models come to an installation, and what the commands teach when there are none."""

from __future__ import annotations

import json
import shlex
import subprocess
import sys
from pathlib import Path

import pytest

from netgpt.cli import models as command
from netgpt.cli.main import main
from netgpt.models import store

from ..models.tiny import save_tiny_model  # noqa: TID252 - the folder that the store is tested with


@pytest.fixture(autouse=True)
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An installation without a checkout's weights beside it."""
    monkeypatch.setenv("NETGPT_HOME", str(tmp_path / "home"))
    monkeypatch.setattr(store, "__file__", str(tmp_path / "site" / "netgpt" / "models" / "store.py"))
    return tmp_path / "home"


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    made = tmp_path / "made" / "tiny"
    save_tiny_model(made)
    return made


def test_with_no_model_every_command_says_how_to_get_one(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["models"]) == 0
    assert "netgpt models fetch" in capsys.readouterr().err
    assert main(["up", "--port", "0"]) == 5
    assert "next: fetch the released models: netgpt models fetch" in capsys.readouterr().err
    assert main(["models", "fetch"]) == 2
    assert "--from URL" in capsys.readouterr().err


def test_a_model_is_packed_fetched_listed_and_removed(tmp_path: Path, folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["models", "pack", str(folder), "--output", str(tmp_path / "release"), "--json"]) == 0
    assert [row["name"] for row in json.loads(capsys.readouterr().out)] == ["tiny"]
    assert main(["models", "fetch", "tiny", "--from", str(tmp_path / "release"), "--json"]) == 0
    assert [row["fresh"] for row in json.loads(capsys.readouterr().out)] == [True]
    assert main(["models", "--json"]) == 0
    assert [row["name"] for row in json.loads(capsys.readouterr().out)] == ["tiny"]
    assert main(["models", "remove", "tiny"]) == 0
    assert main(["models", "remove", "tiny"]) == 5


def test_the_setting_says_where_models_come_from(
    tmp_path: Path, folder: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    main(["models", "pack", str(folder), "--output", str(tmp_path / "release")])
    monkeypatch.setenv("NETGPT_MODELS_URL", str(tmp_path / "release"))
    assert main(["models", "fetch"]) == 0
    assert "tiny: checked and installed" in capsys.readouterr().err


def test_an_imported_folder_is_listed_under_its_new_name(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (folder / "run.py").write_text("")
    assert main(["models", "import", str(folder), "--name", "mine", "--json"]) == 0
    said = capsys.readouterr()
    assert json.loads(said.out)["left_out"] == ["run.py"]
    assert "run.py" in said.err
    assert main(["models"]) == 0
    assert "mine" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["fetch", "--name", "x"], "takes no --name"),
        (["list", "x"], "takes no name"),
        (["import"], "takes one folder"),
        (["remove"], "no model is named"),
        (["pack"], "no model folder"),
        (["remove", "x", "--from", "y"], "takes no --from"),
    ],
)
def test_an_option_of_another_action_is_refused(arguments: list[str], words: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["models", *arguments]) == 2
    assert words in capsys.readouterr().err


def test_a_disk_that_fills_up_leaves_no_half_model(tmp_path: Path, folder: Path, home: Path) -> None:
    """A limit on the size of files is a full disk that a test can have."""
    main(["models", "pack", str(folder), "--output", str(tmp_path / "release")])
    fetch = f"{shlex.quote(sys.executable)} -m netgpt.cli.main models fetch --from {shlex.quote(str(tmp_path / 'release'))}"
    full = subprocess.run(["bash", "-c", f"ulimit -f 20; {fetch}"], capture_output=True, text=True, timeout=200, check=False)
    assert full.returncode == 14, full.stderr
    assert "error: cannot write" in full.stderr
    assert sorted(path.name for path in (home / "models").iterdir()) == [".fetch", ".lock"]


def test_progress_is_told_in_tenths_where_no_terminal_is(capsys: pytest.CaptureFixture[str]) -> None:
    meter = command._Meter()
    for here in range(0, 1001):
        meter.show("tiny", here, 1000)
    assert len(capsys.readouterr().err.splitlines()) == 11
