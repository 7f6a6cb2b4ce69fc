"""Keys on a network of real processes: closed within a second, its own commands go on."""

from __future__ import annotations

import json
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest

from ..environment import clean_environment  # noqa: TID252 - all tests start programs in it

SCENARIO = """
[[node]]
id = "device1"
tier = "device"
model = "netgpt-device"
profile = "phone"
"""
DEADLINE_S = 60.0
HELLO = {"model": "netgpt-device", "max_tokens": 4, "messages": [{"role": "user", "content": "hello"}]}


class Terminal:
    def __init__(self, folder: Path) -> None:
        self.home = folder / "home"
        self._scenario = folder / "one.toml"
        self._scenario.write_text(SCENARIO)

    def run(self, *words: str) -> str:
        clean = clean_environment()
        verb, *rest = words
        command = [sys.executable, "-m", "netgpt.cli.main", verb, *rest, "--home", str(self.home)]
        done = subprocess.run(command, capture_output=True, text=True, timeout=4 * DEADLINE_S, env=clean, check=False)
        assert done.returncode == 0, done.stderr
        return done.stdout

    def up(self, *words: str) -> dict[str, str]:
        """The URLs of the door and of the controller."""
        self.run("up", str(self._scenario), "--detach", "--engine", "hash", "--port", "0", *words)
        rows: list[dict[str, Any]] = json.loads(self.run("ps", "--json"))
        return {row["role"]: f"http://127.0.0.1:{row['port']}" for row in rows if row["role"] in ("door", "controller")}


@pytest.fixture
def terminal(tmp_path: Path) -> Iterator[Terminal]:
    terminal = Terminal(tmp_path)
    yield terminal
    terminal.run("down")


def until(is_so: Callable[[], bool]) -> None:
    begin_s = time.monotonic()
    while not is_so():
        assert time.monotonic() - begin_s < DEADLINE_S
        time.sleep(0.02)


def test_the_first_key_closes_a_running_network_and_its_own_commands_go_on(terminal: Terminal) -> None:
    at = terminal.up()
    with httpx.Client(timeout=DEADLINE_S) as client:
        assert client.post(f"{at['door']}/v1/chat/completions", json=HELLO).status_code == 200
        secret = terminal.run("keys", "create", "--scope", "use").strip()
        headers = {"Authorization": f"Bearer {secret}"}
        until(lambda: client.get(f"{at['controller']}/api/v1/nodes").status_code == 401)
        until(lambda: client.get(f"{at['door']}/v1/models").status_code == 401)
        assert client.post(f"{at['door']}/v1/chat/completions", json=HELLO, headers=headers).status_code == 200
        assert client.get(f"{at['controller']}/api/v1/nodes", headers=headers).status_code == 403
        assert terminal.run("ask", "hello", "--max-tokens", "4").strip()
        assert "netgpt-device" in terminal.run("models")
        terminal.run("keys", "revoke", json.loads(terminal.run("keys", "list", "--json"))[0]["id"])
        until(lambda: client.get(f"{at['door']}/v1/models", headers=headers).status_code == 401)
        assert client.get(f"{at['door']}/health").status_code == 200
    logged = "".join(
        path.read_text(errors="replace") for path in terminal.home.rglob("*") if path.is_file() and path.parent.name in ("log", "events")
    )
    assert "request.finished" in logged
    assert secret not in logged
    assert (terminal.home / "secrets" / "local.key").read_text().strip() not in logged


def test_with_a_key_a_network_may_serve_other_machines(terminal: Terminal) -> None:
    secret = terminal.run("keys", "create", "--scope", "admin").strip()
    at = terminal.up("--host", "0.0.0.0")
    with httpx.Client(timeout=DEADLINE_S) as client:
        for url in (f"{at['door']}/v1/models", f"{at['controller']}/metrics"):
            assert client.get(url).status_code == 401
            assert client.get(url, headers={"Authorization": f"Bearer {secret}", "Host": "gw.example.org"}).status_code == 200
    assert terminal.run("ask", "hello", "--max-tokens", "4").strip()
