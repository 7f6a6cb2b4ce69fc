"""A home is saved and brought back exactly, or the command refuses and nothing changes."""

from __future__ import annotations

import io
import json
import os
import shlex
import subprocess
import sys
import tarfile
from pathlib import Path

import pytest

from netgpt.core.errors import AlreadyRunning, StorageFailed, UsageError
from netgpt.world.backup import KIND, back_up, restore
from netgpt.world.networkkey import ensure_network_key
from netgpt.world.runlock import run_lock

FILES = {"ca/roots.pem": b"root", "events/supervisor.jsonl": b"{}\n", "models/tiny/model.safetensors": b"w" * 100_000, "secrets/api-keys.json": b"[]"}


@pytest.fixture
def home(tmp_path: Path) -> Path:
    folder = tmp_path / "home"
    ensure_network_key(folder)
    for name, data in (FILES | {"log/door.log": b"line\n", "models/.fetch/x.part": b"half", "secrets/draft.new": b"half"}).items():
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_bytes(data)
    return folder


def content(folder: Path) -> dict[str, bytes]:
    return {path.relative_to(folder).as_posix(): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


def test_a_home_comes_back_as_it_was_without_logs_and_halves(tmp_path: Path, home: Path) -> None:
    saved = back_up(home, tmp_path / "saved")
    other = tmp_path / "other"
    restored = restore(other, tmp_path / "saved")
    assert content(other) == FILES | {"secrets/network.key": (home / "secrets" / "network.key").read_bytes()}
    assert restored.files == len(saved.entries) == 5
    assert restored.kept is None
    assert {path.stat().st_mode & 0o077 for path in [other, *other.rglob("*")]} == {0}
    assert sorted(path.name for path in tmp_path.iterdir()) == ["home", "other", "saved"]


def test_a_backup_is_for_its_owner_alone(tmp_path: Path, home: Path) -> None:
    back_up(home, tmp_path / "saved")
    assert (tmp_path / "saved").stat().st_mode & 0o777 == 0o600


def test_models_can_be_left_out(tmp_path: Path, home: Path) -> None:
    assert not [name for name in back_up(home, tmp_path / "saved", models=False).entries if name.startswith("models/")]


def test_links_are_left_out_and_named(tmp_path: Path, home: Path) -> None:
    (tmp_path / "elsewhere").mkdir()
    (tmp_path / "elsewhere" / "file").write_text("x")
    (home / "models" / "linked").symlink_to(tmp_path / "elsewhere")
    (home / "secrets" / "passwd").symlink_to("/etc/passwd")
    os.mkfifo(home / "pipe")
    saved = back_up(home, tmp_path / "saved")
    assert saved.left_out == ["models/linked", "pipe", "secrets/passwd"]
    assert not [name for name in saved.entries if "linked" in name or "passwd" in name]


def test_a_running_network_is_not_saved_and_not_replaced(tmp_path: Path, home: Path) -> None:
    back_up(home, tmp_path / "saved")
    with run_lock(home):
        with pytest.raises(AlreadyRunning) as caught:
            back_up(home, tmp_path / "other")
        assert "netgpt down" in caught.value.hint
        with pytest.raises(AlreadyRunning):
            restore(home, tmp_path / "saved", replace=True)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["home", "saved"]


def test_a_file_is_overwritten_only_when_told(tmp_path: Path, home: Path) -> None:
    (tmp_path / "saved").write_text("mine")
    with pytest.raises(UsageError, match="there already"):
        back_up(home, tmp_path / "saved")
    assert (tmp_path / "saved").read_text() == "mine"
    back_up(home, tmp_path / "saved", replace=True)
    assert (tmp_path / "saved").stat().st_mode & 0o777 == 0o600


def test_a_backup_inside_the_home_or_of_nothing_is_refused(tmp_path: Path, home: Path) -> None:
    with pytest.raises(UsageError, match="inside"):
        back_up(home, home / "saved")
    with pytest.raises(UsageError, match="nothing to save"):
        back_up(tmp_path / "absent", tmp_path / "saved")


def test_a_home_is_replaced_only_when_told_and_kept_beside(tmp_path: Path, home: Path) -> None:
    back_up(home, tmp_path / "saved")
    (home / "secrets" / "api-keys.json").write_bytes(b"[1]")
    before = content(home)
    with pytest.raises(UsageError, match="holds a home") as caught:
        restore(home, tmp_path / "saved")
    assert "--replace" in caught.value.hint
    assert content(home) == before
    restored = restore(home, tmp_path / "saved", replace=True)
    assert restored.kept == tmp_path / "home.before-restore"
    assert content(restored.kept) == before
    assert content(home)["secrets/api-keys.json"] == b"[]"
    with pytest.raises(UsageError, match="before-restore"):
        restore(home, tmp_path / "saved", replace=True)


def test_a_home_with_nothing_but_logs_counts_as_empty(tmp_path: Path, home: Path) -> None:
    back_up(home, tmp_path / "saved")
    (tmp_path / "other" / "log").mkdir(parents=True)
    assert restore(tmp_path / "other", tmp_path / "saved").kept is None


@pytest.mark.parametrize("at", [100, 3000, -20_000])
def test_a_damaged_backup_changes_nothing(tmp_path: Path, home: Path, at: int) -> None:
    back_up(home, tmp_path / "saved")
    data = bytearray((tmp_path / "saved").read_bytes())
    data[at] ^= 0x55
    (tmp_path / "damaged").write_bytes(data[:-60_000] if at == 100 else data)
    before = content(home)
    with pytest.raises(StorageFailed):
        restore(home, tmp_path / "damaged", replace=True)
    assert content(home) == before
    assert sorted(path.name for path in tmp_path.iterdir()) == ["damaged", "home", "saved"]


@pytest.mark.parametrize("name", ["../evil", "/evil", "secrets/../../evil", "run/state.json", "log/x"])
def test_a_hostile_backup_writes_nothing_outside(tmp_path: Path, name: str) -> None:
    text = json.dumps({"format": 1, "kind": KIND, "files": {name: {"bytes": 0, "sha256": ""}}}).encode()
    packed = io.BytesIO()
    with tarfile.open(fileobj=packed, mode="w") as tar:
        head = tarfile.TarInfo("manifest.json")
        head.size = len(text)
        tar.addfile(head, io.BytesIO(text))
        tar.addfile(tarfile.TarInfo(name))
    (tmp_path / "saved").write_bytes(packed.getvalue())
    with pytest.raises(StorageFailed, match="may not hold"):
        restore(tmp_path / "home", tmp_path / "saved")
    assert not list(tmp_path.rglob("evil"))


def test_another_archive_is_no_backup(tmp_path: Path) -> None:
    (tmp_path / "saved").write_bytes(b"text")
    with pytest.raises(StorageFailed):
        restore(tmp_path / "home", tmp_path / "saved")
    with pytest.raises(UsageError, match="no file"):
        restore(tmp_path / "home", tmp_path / "absent")


def test_a_full_disk_leaves_neither_half_a_backup_nor_half_a_home(tmp_path: Path, home: Path) -> None:
    """A limit on the size of files is a full disk that a test can have."""
    back_up(home, tmp_path / "saved")
    python = shlex.quote(sys.executable)
    for verb, place in (("backup", home), ("restore", tmp_path / "other")):
        file = tmp_path / ("other-saved" if verb == "backup" else "saved")
        command = f"ulimit -f 50; {python} -m netgpt.cli.main {verb} {shlex.quote(str(file))} --home {shlex.quote(str(place))}"
        done = subprocess.run(["bash", "-c", command], capture_output=True, text=True, timeout=100, check=False)
        assert (done.returncode, done.stderr.splitlines()[0][:13]) == (14, "error: cannot"), done.stderr
    assert not [path for path in (tmp_path / "other").rglob("*") if path.is_file()]
    assert sorted(path.name for path in tmp_path.iterdir() if path.name != "other") == ["home", "saved"]


def test_the_commands_say_what_they_did(tmp_path: Path, home: Path) -> None:
    from netgpt.cli.main import main

    assert main(["backup", str(tmp_path / "saved"), "--home", str(home)]) == 0
    assert main(["restore", str(tmp_path / "saved"), "--home", str(tmp_path / "other")]) == 0
    assert main(["restore", str(tmp_path / "saved"), "--home", str(tmp_path / "other"), "--replace", "--json"]) == 0
