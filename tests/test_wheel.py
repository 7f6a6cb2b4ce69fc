"""The wheel holds every file of the package, the digests of the models, and no weights."""

from __future__ import annotations

import json
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
MOST_BYTES = 5_000_000
BUILT = {"netgpt/models/released.json"}


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("dist")
    command = [sys.executable, "-m", "hatchling", "build", "-t", "wheel", "-d", str(folder)]
    built = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=240, check=False)
    assert built.returncode == 0, built.stderr
    (found,) = folder.glob("*.whl")
    return found


def test_the_wheel_is_small_and_has_no_weights(wheel: Path) -> None:
    assert wheel.stat().st_size <= MOST_BYTES
    assert not [name for name in zipfile.ZipFile(wheel).namelist() if name.endswith((".safetensors", "tokenizer.json", ".pyc"))]


def test_the_wheel_has_every_file_of_the_package_and_nothing_else(wheel: Path) -> None:
    sources = ROOT / "src"
    ours = {str(path.relative_to(sources)) for path in (sources / "netgpt").rglob("*") if path.is_file() and path.suffix != ".pyc"}
    packed = {name for name in zipfile.ZipFile(wheel).namelist() if ".dist-info/" not in name}
    assert packed - BUILT == ours - BUILT
    suffixes = {Path(name).suffix for name in packed}
    assert {".toml", ".proto", ".binpb"} <= suffixes


def test_the_wheel_has_the_command_and_the_licence(wheel: Path) -> None:
    with zipfile.ZipFile(wheel) as archive:
        (entry_points,) = [name for name in archive.namelist() if name.endswith("entry_points.txt")]
        assert "netgpt = netgpt.cli.main:entry" in archive.read(entry_points).decode()
        assert any(name.endswith("licenses/LICENSE") for name in archive.namelist())


@pytest.mark.skipif(not (ROOT / "weights" / "netgpt-device" / "config.json").exists(), reason="this checkout has no weights")
def test_the_wheel_knows_the_archives_that_pack_makes(wheel: Path, tmp_path: Path) -> None:
    from netgpt.models.release import pack_models

    with zipfile.ZipFile(wheel) as archive:
        listed = json.loads(archive.read("netgpt/models/released.json"))["models"]
    assert set(listed) == {path.parent.name for path in (ROOT / "weights").glob("*/config.json")}
    packed = pack_models([ROOT / "weights" / "netgpt-device"], tmp_path).models["netgpt-device"]
    assert listed["netgpt-device"] == {"bytes": packed.bytes, "sha256": packed.sha256}
