"""The hand-written pages keep their promises: what they name exists, and they stay short."""

import re
from pathlib import Path

import netgpt

ROOT = Path(__file__).parents[2]


def read(name: str) -> str:
    return (ROOT / name).read_text(encoding="utf-8")


def test_the_architecture_page_is_short_and_names_every_room() -> None:
    text = read("ARCHITECTURE.md")
    rooms = {path.parent.name for path in (ROOT / "src" / "netgpt").glob("*/__init__.py")}
    assert len(text.splitlines()) < 300
    assert {room for room in rooms if f"`{room}`" not in text} == set()


def test_every_test_that_a_page_names_exists() -> None:
    text = "\n".join(page.read_text(encoding="utf-8") for page in ROOT.glob("*.md"))
    named = re.findall(r"`(tests/[\w/]+\.py)(?:::(\w+))?`", text)
    assert named
    for path, test in named:
        source = read(path) if (ROOT / path).exists() else ""
        assert source, f"{path} does not exist"
        assert not test or f"def {test}(" in source, f"{path} has no {test}"


def test_every_link_between_pages_leads_somewhere() -> None:
    for page in [*ROOT.glob("*.md"), *(ROOT / "docs").rglob("*.md")]:
        for target in re.findall(r"\]\(([^)#:]+)(?:#[\w-]+)?\)", page.read_text(encoding="utf-8")):
            assert (page.parent / target).exists(), f"{page.relative_to(ROOT)} links {target}"


def test_the_newest_release_in_the_changelog_is_this_one() -> None:
    releases = re.findall(r"^## \[?(\d+\.\d+\.\d+)", read("CHANGELOG.md"), re.MULTILINE)
    assert releases[0] == netgpt.__version__


def test_make_has_at_most_twelve_targets_and_lists_each() -> None:
    makefile = read("Makefile")
    targets = re.search(r"^\.PHONY: (.*)$", makefile, re.MULTILINE)
    assert targets
    names = targets[1].split()
    assert len(names) <= 12
    assert [name for name in names if not re.search(rf"^{name}:.*## \S", makefile, re.MULTILINE)] == []
