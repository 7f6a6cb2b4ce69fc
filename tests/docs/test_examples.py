"""Every example is short and runs as its first line says."""

import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
EXAMPLES = sorted((ROOT / "examples").glob("*.py"))


@pytest.mark.parametrize("path", EXAMPLES, ids=lambda path: path.stem)
def test_an_example_runs(path: Path, network) -> None:
    assert len(path.read_text(encoding="utf-8").splitlines()) < 80
    done = network.run(sys.executable, str(path), network.url)
    assert done.returncode == 0, done.stderr
    assert done.stdout.strip()
    assert not done.stderr
