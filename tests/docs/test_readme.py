"""Every block of code in the README does what it shows.

Blocks that set things up (clone, make, netgpt up and down) are not executed: their targets, verbs and
options must exist. All others run against one network, with its address in place of the default one.
"""

import re
import shlex
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from netgpt.cli.main import VERBS, verb_parser

ROOT = Path(__file__).parents[2]
README = (ROOT / "README.md").read_text(encoding="utf-8")
DEFAULT_URL = "http://127.0.0.1:8080"
SET_UP = re.compile(r"^(make|git|cd|source|netgpt (up|down))\b", re.MULTILINE)


def blocks(*languages: str) -> Iterator[str]:
    for language, body in re.findall(r"^```(\w+)\n(.*?)^```$", README, re.MULTILINE | re.DOTALL):
        if language in languages:
            yield body


PYTHON = list(blocks("python"))
BASH = [block for block in blocks("bash") if not SET_UP.search(block)]
SET_UP_LINES = [line for block in blocks("bash") if SET_UP.search(block) for line in block.splitlines() if line.strip()]


def test_the_readme_is_a_page_with_something_to_run() -> None:
    assert len(README.splitlines()) < 150
    assert BASH
    assert PYTHON
    assert {"make up", "make test"} <= {line.partition("#")[0].strip() for line in SET_UP_LINES}


@pytest.mark.parametrize("line", SET_UP_LINES)
def test_a_line_that_sets_up_names_what_exists(line: str) -> None:
    words = [word for word in shlex.split(line, comments=True) if not re.fullmatch(r"\w+=.*", word)]
    if words[:1] == ["make"]:
        targets = re.findall(r"^([a-z]+):", (ROOT / "Makefile").read_text(encoding="utf-8"), re.MULTILINE)
        assert set(words[1:]) <= set(targets)
    elif words[:1] == ["netgpt"]:
        assert words[1] in VERBS
        verb_parser(words[1]).parse_args(words[2:])
    else:
        assert words[:1] in ([], ["git"], ["cd"], ["source"]), f"neither run nor checked: {line}"


@pytest.mark.parametrize("block", BASH)
def test_a_shell_block_runs(block: str, network, tmp_path: Path) -> None:
    script = f"cd {shlex.quote(str(tmp_path))}\n" + block.replace(DEFAULT_URL, network.url)
    done = network.run("bash", "-euo", "pipefail", "-c", script, text="What is the packet delay budget of 5QI 1?\n")
    assert done.returncode == 0, done.stderr
    assert done.stdout.strip()


@pytest.mark.parametrize("block", PYTHON)
def test_a_python_block_runs(block: str, network) -> None:
    done = network.run(sys.executable, "-", text=block.replace(DEFAULT_URL, network.url))
    assert done.returncode == 0, done.stderr
    assert done.stdout.strip()
