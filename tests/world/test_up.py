"""The emulated world end to end: the real command, real processes, real sockets, `hash` engines."""

from __future__ import annotations

import json
import os
import signal
import socket
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from netgpt.models.decoder_config import DecoderConfig
from netgpt.world.ports import is_port_free

from ..environment import clean_environment  # noqa: TID252 - all tests start programs in it

DEADLINE_S = 30.0
SCENARIO = """
default_node = "device1"
[[node]]
id = "cloud1"
tier = "cloud"
model = "netgpt-cloud"
profile = "cloud-server"
[[node]]
id = "device1"
tier = "device"
model = "netgpt-device"
profile = "phone"
[[link]]
between = ["device1", "cloud1"]
up = "50Mbps"
down = "100Mbps"
delay = "20ms"
"""


class Terminal:
    """Runs `netgpt` commands on one home, as a user would."""

    def __init__(self, folder: Path) -> None:
        self.home = folder / "home"
        self.scenario = folder / "two.toml"
        self.scenario.write_text(SCENARIO)

    def command(self, *words: str) -> list[str]:
        verb, *rest = words
        return [sys.executable, "-m", "netgpt.cli.main", verb, *rest, "--home", str(self.home)]

    def run(self, *words: str, status: int = 0) -> subprocess.CompletedProcess[str]:
        done = subprocess.run(self.command(*words), capture_output=True, text=True, timeout=2 * DEADLINE_S, env=clean_environment(), check=False)
        assert done.returncode == status, done.stderr
        return done

    def up(self, *words: str, status: int = 0) -> subprocess.CompletedProcess[str]:
        return self.run("up", str(self.scenario), "--detach", "--engine", "hash", *words, status=status)

    def processes(self) -> dict[str, dict[str, Any]]:
        return {row["name"]: row for row in json.loads(self.run("ps", "--json").stdout)}

    def assert_nothing_is_left(self, processes: dict[str, dict[str, Any]]) -> None:
        assert [name for name, row in processes.items() if os.path.exists(f"/proc/{row['pid']}") and not is_zombie(row["pid"])] == []
        assert not (self.home / "run").exists()


def is_zombie(pid: int) -> bool:
    return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] == "Z"


def until(is_so: Callable[[], bool]) -> None:
    deadline_s = time.monotonic() + DEADLINE_S
    while not is_so():
        assert time.monotonic() < deadline_s, "it did not become so"
        time.sleep(0.05)


def free_port() -> int:
    """The first of a few ports in a row that are free now."""
    return next(port for port in range(20_000 + os.getpid() % 10_000, 60_000, 7) if all(map(is_port_free, range(port, port + 5))))


def ask(port: int, content: str) -> dict[str, Any]:
    body = json.dumps({"model": "netgpt-cloud", "temperature": 0, "max_tokens": 8, "messages": [{"role": "user", "content": content}]}).encode()
    request = urllib.request.Request(f"http://127.0.0.1:{port}/v1/chat/completions", body, {"Content-Type": "application/json"})
    with urllib.request.urlopen(request, timeout=DEADLINE_S) as reply:
        return json.load(reply)


@pytest.fixture
def terminal(tmp_path: Path) -> Iterator[Terminal]:
    terminal = Terminal(tmp_path)
    yield terminal
    terminal.run("down")


def test_a_network_comes_up_answers_heals_and_goes_without_a_trace(terminal: Terminal) -> None:
    port = free_port()
    shown = terminal.up("--port", str(port)).stdout
    assert f"http://127.0.0.1:{port}/v1" in shown
    assert max(map(len, shown.replace(str(terminal.home), "").splitlines())) <= 100

    rows = terminal.processes()
    assert [(row["role"], row["node"], row["tier"], row["state"], row["restarts"]) for row in rows.values()] == [
        ("supervisor", None, None, "ready", 0),
        ("controller", None, None, "ready", 0),
        ("engine", "cloud1", "cloud", "ready", 0),
        ("engine", "device1", "device", "ready", 0),
        ("door", "cloud1", "cloud", "ready", 0),
        ("door", "device1", "device", "ready", 0),
    ]
    assert [rows[name]["port"] for name in ("device1-door", "cloud1-door", "controller")] == [port, port + 1, port + 2]
    assert all(row["uptime_s"] >= 0 and row["rss_bytes"] > 1_000_000 for row in rows.values())

    first = ask(port, "hello")["choices"][0]["message"]["content"]

    refused = terminal.up("--port", str(port + 10), status=12)
    assert refused.stderr.splitlines()[0] == f"error: a network already runs from '{terminal.home}'"

    os.kill(rows["cloud1-engine"]["pid"], signal.SIGKILL)
    until(lambda: terminal.processes()["cloud1-engine"]["restarts"] == 1 and terminal.processes()["cloud1-engine"]["state"] == "ready")
    healed = terminal.processes()
    assert healed["cloud1-engine"]["last_exit"] == "signal SIGKILL"
    assert healed["cloud1-engine"]["port"] == rows["cloud1-engine"]["port"]
    until(lambda: ask_again(port, "hello") == first)
    log = [json.loads(line) for line in terminal.run("log", "supervisor", "--json").stdout.splitlines()]
    assert any(line["level"] == "WARNING" and "cloud1-engine died with signal SIGKILL" in line["text"] for line in log)
    assert "process.restarted" in (terminal.home / "events" / "supervisor.jsonl").read_text()

    terminal.run("down")
    terminal.assert_nothing_is_left(rows | {"restarted": healed["cloud1-engine"]})
    assert (terminal.home / "secrets" / "network.key").stat().st_mode & 0o777 == 0o600
    assert terminal.run("ps", "--json").stdout == "[]\n"


def ask_again(port: int, content: str) -> str | None:
    """The answer, once the cloud has been seen to be back."""
    try:
        return ask(port, content)["choices"][0]["message"]["content"]
    except urllib.error.HTTPError:
        return None


def test_children_do_not_outlive_a_killed_supervisor_and_down_cleans_up(terminal: Terminal) -> None:
    terminal.up("--port", "0")
    rows = terminal.processes()
    os.kill(rows["supervisor"]["pid"], signal.SIGKILL)
    begin_s = time.monotonic()
    until(lambda: not any(os.path.exists(f"/proc/{row['pid']}") and not is_zombie(row["pid"]) for row in rows.values()))
    assert time.monotonic() - begin_s < 3.0
    gone = terminal.processes()
    assert {row["state"] for row in gone.values()} == {"gone"}
    assert "supervisor" in terminal.run("ps").stderr
    assert terminal.run("down").stderr.startswith("cleaned up")
    terminal.assert_nothing_is_left(rows)


def test_ctrl_c_stops_a_network_in_the_foreground(terminal: Terminal) -> None:
    command = terminal.command("up", str(terminal.scenario), "--engine", "hash", "--port", "0")
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, env=clean_environment()) as up:
        lines = up.stdout
        assert lines is not None
        until(lambda: "Ctrl-C" in lines.readline())
        rows = terminal.processes()
        up.send_signal(signal.SIGINT)
        _, said = up.communicate(timeout=DEADLINE_S)
        assert up.returncode == 130, said
        assert said.endswith("interrupted\n")
    terminal.assert_nothing_is_left(rows)


def test_a_port_in_use_is_named_and_nothing_starts(terminal: Terminal) -> None:
    port = free_port()
    taken = port + 1
    with socket.create_server(("127.0.0.1", taken)):
        refused = terminal.up("--port", str(port), status=11)
    assert f"port {taken} is in use" in refused.stderr
    assert "starting" not in refused.stderr
    assert not (terminal.home / "run").exists()


@pytest.mark.parametrize(
    ("change", "status", "words"),
    [
        (("delay =", "dellay ="), 9, "did you mean 'delay'"),
        (('"device1", "cloud1"', '"device1", "cloud2"'), 9, "did you mean 'cloud1'"),
    ],
)
def test_a_wrong_scenario_is_refused_with_what_was_meant(terminal: Terminal, change: tuple[str, str], status: int, words: str) -> None:
    terminal.scenario.write_text(SCENARIO.replace(*change))
    refused = terminal.up(status=status)
    assert words in refused.stderr.splitlines()[1]
    assert not terminal.home.exists()


def test_a_corrupt_model_stops_the_start_with_its_name(terminal: Terminal, tmp_path: Path) -> None:
    config = DecoderConfig(
        vocab_size=96, hidden_size=32, intermediate_size=48, num_layers=2, num_heads=4, num_kv_heads=2, head_dim=8, max_position=64, rope_theta=5000.0
    )
    folder = tmp_path / "corrupt"
    folder.mkdir()
    (folder / "config.json").write_text(json.dumps(config.to_hf()))
    (folder / "tokenizer.json").write_text("{}")
    (folder / "model.safetensors").write_bytes(b"x" * 10)
    terminal.scenario.write_text(SCENARIO.replace("netgpt-cloud", str(folder)).replace("netgpt-device", str(folder)))
    refused = terminal.run("up", str(terminal.scenario), "--detach", "--port", "0", status=10)
    assert "model.safetensors" in refused.stderr.splitlines()[-2]
    assert refused.stderr.splitlines()[-1].startswith("next: ")
    assert not (terminal.home / "run").exists()


def test_a_network_ends_with_the_process_that_it_was_started_for(terminal: Terminal) -> None:
    with subprocess.Popen([sys.executable, "-c", "input()"], stdin=subprocess.PIPE) as owner:
        terminal.up("--port", "0", "--until-pid", str(owner.pid))
        rows = terminal.processes()
        assert rows["supervisor"]["state"] == "ready"
        owner.kill()
    until(lambda: not any(os.path.exists(f"/proc/{row['pid']}") and not is_zombie(row["pid"]) for row in rows.values()))
    terminal.assert_nothing_is_left(rows)
    assert "the end of the process" in terminal.run("log", "supervisor").stdout
    refused = terminal.up("--port", "0", "--until-pid", str(owner.pid), status=2)
    assert f"no process has the id {owner.pid}" in refused.stderr


def test_a_network_whose_starter_is_killed_does_not_come_up(terminal: Terminal) -> None:
    command = terminal.command("up", str(terminal.scenario), "--detach", "--engine", "hash", "--port", "0")
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, env=clean_environment()) as up:
        assert up.stderr is not None
        assert up.stderr.readline().startswith("starting ")
        rows = terminal.processes()
        up.kill()
    until(lambda: not (terminal.home / "run").exists())
    log = terminal.run("log", "supervisor").stdout
    assert "the command that was starting this network has ended" in log
    assert "Traceback" not in log
    until(lambda: not any(row["pid"] and os.path.exists(f"/proc/{row['pid']}") and not is_zombie(row["pid"]) for row in rows.values()))
