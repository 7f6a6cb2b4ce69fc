"""The reference pages say what the sources say."""

import importlib.util
from pathlib import Path
from types import ModuleType

import pytest

ROOT = Path(__file__).parents[2]


def load_generator() -> ModuleType:
    spec = importlib.util.spec_from_file_location("docs_generate", ROOT / "docs" / "generate.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


GENERATOR = load_generator()


@pytest.mark.parametrize("name", GENERATOR.PAGES)
def test_a_reference_page_is_what_its_source_makes(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("COLUMNS", "47")  # a page must not depend on the terminal
    path = GENERATOR.REFERENCE / f"{name}.md"
    stored = path.read_text(encoding="utf-8") if path.exists() else ""
    assert stored == GENERATOR.page(name), f"docs/reference/{name}.md is stale: run `make docs`"


def test_every_reference_page_has_a_generator() -> None:
    assert {path.stem for path in GENERATOR.REFERENCE.glob("*.md")} == set(GENERATOR.PAGES)


def test_the_index_links_every_reference_page() -> None:
    index = (ROOT / "docs" / "README.md").read_text(encoding="utf-8")
    assert [name for name in GENERATOR.PAGES if f"(reference/{name}.md)" not in index] == []
