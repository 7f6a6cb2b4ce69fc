"""A network of real processes, started once for all tests that only talk to it."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from .environment import clean_environment

ROOT = Path(__file__).parents[1]
WEIGHTS = tuple(ROOT / "weights" / f"netgpt-{tier}" / "config.json" for tier in ("device", "edge", "cloud"))


@dataclass(frozen=True, kw_only=True)
class RunningNetwork:
    """The network `campus`; commands find it by `environment`."""

    url: str  # of the default device's door
    environment: dict[str, str]

    def run(self, *command: str, text: str = "", timeout_s: float = 60) -> subprocess.CompletedProcess[str]:
        """Run a program beside it, with `text` on its standard input."""
        return subprocess.run(command, env=self.environment, input=text, capture_output=True, text=True, timeout=timeout_s, check=False)


@pytest.fixture(scope="session")
def network(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RunningNetwork]:
    """Real models if the checkout has them, else `hash`. No test may stop it or break a part of it."""
    clean = clean_environment()
    environment = clean | {
        "NETGPT_HOME": str(tmp_path_factory.mktemp("home")),
        "NETGPT_ENGINE": "torch" if all(path.exists() for path in WEIGHTS) else "hash",
        "NETGPT_PORT": "0",
        "NETGPT_THREADS": "1",
        "PATH": f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}",
    }
    unknown = RunningNetwork(url="", environment=environment)
    try:
        started = unknown.run("netgpt", "up", "--detach", timeout_s=150)
        assert started.returncode == 0, started.stderr
        processes = json.loads(unknown.run("netgpt", "ps", "--json").stdout)
        port = next(one["port"] for one in processes if one["role"] == "door" and one["node"] == "device1")
        yield RunningNetwork(url=f"http://127.0.0.1:{port}", environment=environment)
    finally:
        unknown.run("netgpt", "down")
