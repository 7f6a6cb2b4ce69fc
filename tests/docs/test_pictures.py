"""Pictures of terminal sessions: small, well-formed, and of commands that exist."""

from __future__ import annotations

import importlib.util
import shlex
import sys
from pathlib import Path
from types import ModuleType
from xml.etree import ElementTree

import pytest

from netgpt.cli.main import verb_parser

ROOT = Path(__file__).parents[2]
MOST_BYTES = 60_000


def load_script() -> ModuleType:
    spec = importlib.util.spec_from_file_location("docs_pictures", ROOT / "docs" / "pictures.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules[spec.name] = module  # dataclasses look their module up
    spec.loader.exec_module(module)
    return module


SCRIPT = load_script()
STORED = sorted((ROOT / "docs" / "pictures").glob("*.svg"))


@pytest.mark.parametrize("name", SCRIPT.SESSIONS)
def test_every_command_of_a_session_exists(name: str) -> None:
    _, commands, after = SCRIPT.SESSIONS[name]
    for command in (*SCRIPT.BEFORE.get(name, ()), *commands, *after):
        program, verb, *arguments = shlex.split(command)
        assert program == "netgpt"
        verb_parser(verb).parse_args(arguments)


@pytest.mark.parametrize("path", STORED, ids=lambda path: path.stem)
def test_a_stored_picture_is_small_and_of_a_session(path: Path) -> None:
    text = path.read_text(encoding="utf-8")
    assert len(text.encode()) <= MOST_BYTES
    shown = [element.text for element in ElementTree.fromstring(text).iter("{http://www.w3.org/2000/svg}text")]
    title, commands, _ = SCRIPT.SESSIONS[path.stem]
    assert shown[0] == title
    assert [text.removeprefix("$ ") for text in shown if text and text.startswith("$ ")] == list(commands)
    assert "/tmp/" not in text


def test_a_terminal_wraps_lines_and_obeys_carriage_returns() -> None:
    lines = SCRIPT.screen_lines("old\rnew\n\x1b[1mbold\x1b[0m\n" + "x" * 25 + "\n\nend\n", columns=10)
    assert [line.text for line in lines] == ["new", "bold", "x" * 10, "x" * 10, "x" * 5, "", "end"]


def test_a_picture_shows_text_as_it_is() -> None:
    lines = [SCRIPT.Line(text="netgpt ask '<a & b>'", typed=True), SCRIPT.Line(text="  two  blanks"), SCRIPT.Line(text="")]
    drawn = SCRIPT.svg("A <title>", lines)
    shown = [element.text for element in ElementTree.fromstring(drawn).iter("{http://www.w3.org/2000/svg}text")]
    assert shown == ["A <title>", "$ netgpt ask '<a & b>'", "  two  blanks"]
    assert SCRIPT.svg("A <title>", lines) == drawn
