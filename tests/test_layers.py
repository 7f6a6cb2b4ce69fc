"""Imports point down, and no source holds what the project does without."""

import ast
import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
SOURCES = sorted((ROOT / "src").rglob("*.py"))
SCRIPTS = [*sorted((ROOT / "examples").glob("*.py")), ROOT / "docs" / "generate.py", ROOT / "requirements" / "pin.py"]
SERIALISERS = {"pickle", "cloudpickle", "dill", "joblib", "marshal", "shelve"}


def nodes(path: Path) -> Iterator[ast.AST]:
    return ast.walk(ast.parse(path.read_text(encoding="utf-8")))


def imported(path: Path) -> set[str]:
    """Every module that a file imports, anywhere in it, and every name that it takes from one."""
    names: set[str] = set()
    for node in nodes(path):
        if isinstance(node, ast.Import):
            names |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and node.module:
            names |= {node.module} | {f"{node.module}.{alias.name}" for alias in node.names}
    return names


def attributes(path: Path) -> set[str]:
    """Every dotted name of two parts, such as `time.time`."""
    return {f"{node.value.id}.{node.attr}" for node in nodes(path) if isinstance(node, ast.Attribute) and isinstance(node.value, ast.Name)}


def named(path: Path) -> str:
    return str(path.relative_to(ROOT))


def test_imports_point_down() -> None:
    checked = subprocess.run(
        [Path(sys.executable).parent / "lint-imports", "--no-cache"], cwd=ROOT, capture_output=True, text=True, timeout=120, check=False
    )
    assert checked.returncode == 0, checked.stdout + checked.stderr


def test_every_room_has_its_line_in_the_layers() -> None:
    rooms = {path.parent.name for path in (ROOT / "src" / "netgpt").glob("*/__init__.py")}
    contract = (ROOT / "pyproject.toml").read_text(encoding="utf-8").partition("layers = [")[2].partition("]")[0]
    assert rooms - set(re.findall(r"\w+", contract)) == set()


def test_no_package_is_a_drawer_for_anything() -> None:
    assert [named(path) for path in (ROOT / "src").rglob("*") if path.stem in {"utils", "util", "common", "shared", "helpers", "misc"}] == []


@pytest.mark.parametrize("modules", ["netgpt.cli.main", "netgpt.world.launch", "netgpt.world.serve, netgpt.api.app, netgpt.api.control"])
def test_a_process_without_a_model_loads_no_torch(modules: str) -> None:
    told = f"import sys, {modules}; print([name for name in ('torch', 'transformers', 'sionna', 'matplotlib') if name in sys.modules])"
    done = subprocess.run([sys.executable, "-c", told], capture_output=True, text=True, timeout=60, check=False)
    assert done.stdout.strip() == "[]", done.stderr


def test_choosing_loads_no_torch() -> None:
    told = "import sys; from netgpt.bench.auto_steps import decision_ms; assert decision_ms(); print('torch' in sys.modules)"
    done = subprocess.run([sys.executable, "-c", told], capture_output=True, text=True, timeout=120, check=False)
    assert done.stdout.strip() == "False", done.stderr


def test_the_wall_clock_is_read_in_one_place() -> None:
    readers = [named(path) for path in SOURCES if "time.time" in attributes(path) | imported(path) or "datetime.now" in attributes(path)]
    assert readers == ["src/netgpt/core/clock.py"]


def test_weights_and_messages_are_data() -> None:
    assert [named(path) for path in [*SOURCES, *SCRIPTS] if imported(path) & SERIALISERS or "torch.load" in attributes(path)] == []


def test_nothing_is_left_for_later() -> None:
    for path in [*SOURCES, *SCRIPTS]:
        assert not any(isinstance(node, ast.Name) and node.id == "NotImplementedError" for node in nodes(path)), named(path)
        assert not re.search(r"\b(TODO|FIXME|XXX)\b", path.read_text(encoding="utf-8")), named(path)


def test_no_file_knows_the_machine_that_it_was_made_on() -> None:
    places = [place for place in (ROOT, Path.home()) if len(place.parts) > 1]
    machine = re.compile("|".join(rf"(?<![\w.]){re.escape(str(place))}(?!\w)" for place in places))
    kinds = {".py", ".md", ".toml", ".txt", ".json", ".proto", ""}
    folders = [ROOT / name for name in ("src", "tests", "docs", "examples", "requirements", ".ci")]
    files = [path for folder in folders for path in folder.rglob("*") if path.suffix in kinds]
    files += [path for path in ROOT.iterdir() if path.suffix in {".md", ".toml"} or path.name == "Makefile"]
    assert [named(path) for path in files if path.is_file() and machine.search(path.read_text(encoding="utf-8"))] == []
    assert "://" not in "".join(path.read_text(encoding="utf-8") for path in (ROOT / "requirements").glob("*.txt"))
