"""The commands of the deployed world on one machine, by both versions of IP: a controller, a node with an upstream, a node without."""

from __future__ import annotations

import json
import socket
import subprocess
import sys
from contextlib import ExitStack
from pathlib import Path

import pytest

from netgpt.core.errors import UsageError
from netgpt.world.config import address
from netgpt.world.ports import free_ports

from ..engine.openai_upstream import Upstream  # noqa: TID252 - the upstream that the engine is tested with
from ..environment import clean_environment  # noqa: TID252 - all tests start programs in it
from .test_upstream_network import KEY, ask, serving_aside, until_ready


def has_ipv6() -> bool:
    try:
        with socket.socket(socket.AF_INET6) as probe:
            probe.bind(("::1", 0))
    except OSError:
        return False
    return True


IPV6 = pytest.mark.skipif(not has_ipv6(), reason="this machine has no IPv6 loopback")
HOSTS = ["127.0.0.1", pytest.param("::1", marks=IPV6)]


class Here:
    """Commands with homes of their own below one folder, and addresses that were free when they were chosen."""

    def __init__(self, folder: Path, host: str, stack: ExitStack) -> None:
        self.folder = folder
        self.host = host
        self._stack = stack

    def address(self) -> str:
        return address(self.host, *free_ports(1, self.host))

    def home(self, name: str) -> Path:
        return self.folder / name

    def start(self, name: str, *words: str) -> subprocess.Popen[str]:
        clean = clean_environment() | {"STRANGE_KEY": KEY}
        command = [sys.executable, "-m", "netgpt.cli.main", *words, "--home", str(self.home(name))]
        return subprocess.Popen(command, env=clean, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)

    def run(self, name: str, *words: str, told: str = "stdout") -> str:
        printed, said = (process := self.start(name, *words)).communicate(timeout=120)
        assert process.returncode == 0, said
        return said if told == "stderr" else printed

    def up(self, name: str, *words: str) -> None:
        """Start what stays up until the test ends, and wait until it says so."""
        process = self._stack.enter_context(self.start(name, *words))
        self._stack.callback(process.terminate)
        assert process.stdout is not None
        assert process.stderr is not None
        if not any("is up" in line for line in process.stdout):
            raise AssertionError(process.stderr.read())

    def node(self, name: str, tier: str, controller: str, door: str, *words: str) -> None:
        token = self.run("controller", "join-token", "create", "--node", name, "--tier", tier).strip()
        self.up(name, "node", "--join", token, "--controller", controller, "--listen", self.address(), "--door", door, *words)


@pytest.mark.parametrize("host", HOSTS)
def test_a_node_with_an_upstream_answers_at_its_own_door_and_at_others(host: str, tmp_path: Path) -> None:
    with ExitStack() as stack:
        upstream = stack.enter_context(serving_aside(Upstream()))
        here = Here(tmp_path, host, stack)
        controller, cloud, device = here.address(), here.address(), here.address()
        here.up("controller", "controller", "--listen", controller, "--http", here.address())
        asks = ("--upstream", upstream.url, "--model", upstream.model, "--api-key-env", "STRANGE_KEY", "--context-tokens", "900")
        here.node("cloud1", "cloud", controller, cloud, *asks)
        here.node("device1", "device", controller, device, "--engine", "hash")
        for door in (cloud, device):
            until_ready(door, "netgpt-cloud")
            answer = ask(door).json()
            assert answer["choices"][0]["message"]["content"] == "All is well"
            assert answer["netgpt"]["origin"] == [{"node": "cloud1", "tokens": 4, "recoded": True}]
        assert set(upstream.keys) == {f"Bearer {KEY}"}
        assert {row["name"] for row in json.loads(here.run("cloud1", "ps", "--json"))} == {"supervisor", "cloud1-door"}
        for path in (path for path in here.folder.rglob("*") if path.is_file()):
            assert KEY.encode() not in path.read_bytes(), path


@IPV6
@pytest.mark.parametrize("host", ["::1", "[::1]"])
def test_a_whole_network_listens_on_ipv6_and_its_own_commands_find_it(host: str, tmp_path: Path) -> None:
    with ExitStack() as stack:
        here = Here(tmp_path, "::1", stack)
        scenario = tmp_path / "one.toml"
        scenario.write_text('[[node]]\nid = "device1"\ntier = "device"\nmodel = "netgpt-device"\nprofile = "phone"\n')
        here.run("net", "up", str(scenario), "--detach", "--engine", "hash", "--port", "0", "--host", host)
        stack.callback(here.run, "net", "down")
        assert here.run("net", "ask", "--max-tokens", "4", "hello").strip()
        assert "netgpt-device" in here.run("net", "models")
        port = next(row["port"] for row in json.loads(here.run("net", "ps", "--json")) if row["role"] == "door")
        door = address("::1", port)
        assert ask(door, model="netgpt-device", max_tokens=4, headers={"origin": f"http://{door}"}).status_code == 200
        for refused in ({"host": "evil.example"}, {"host": "[::2]"}, {"origin": "http://[2001:db8::1]"}):
            answer = ask(door, model="netgpt-device", max_tokens=4, headers=refused)
            assert (answer.status_code, answer.json()["error"]["code"]) == (403, "origin_refused"), refused


def test_a_network_changes_its_root_while_it_answers(tmp_path: Path) -> None:
    with ExitStack() as stack:
        here = Here(tmp_path, "127.0.0.1", stack)
        controller, cloud, device = here.address(), here.address(), here.address()
        here.up("controller", "controller", "--listen", controller, "--http", here.address())
        here.node("cloud1", "cloud", controller, cloud, "--engine", "hash")
        here.node("device1", "device", controller, device, "--engine", "hash")
        until_ready(device, "netgpt-cloud")
        (before,) = trusted(here, "device1")
        for step, root_count in (("1", 2), ("2", 2), ("3", 1)):
            assert f"step {step} of 3" in here.run("controller", "certs", "rotate", told="stderr")
            for home in ("cloud1", "controller", "device1"):  # what each does by itself within a minute
                here.run(home, "certs", "renew")
                assert len(trusted(here, home)) == root_count
            answer = ask(device, max_tokens=4).json()
            assert answer["netgpt"]["origin"] == [{"node": "cloud1", "tokens": 4}]
        assert trusted(here, "device1") != [before]
        assert [trusted(here, home) for home in ("cloud1", "controller")] == [trusted(here, "device1")] * 2


def trusted(here: Here, home: str) -> list[str]:
    (row,) = json.loads(here.run(home, "certs", "show", "--json"))
    return row["trusts"].split()


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (("--engine", "hash", "--upstream", "http://127.0.0.1:9/v1"), "not allowed with"),
        (("--engine", "openai"), "--engine is 'openai'"),
        (("--api-key-env", "KEY"), "--api-key-env is about an upstream"),
        (("--context-tokens", "5"), "--context-tokens is about an upstream"),
    ],
)
def test_what_is_wrong_with_a_node_s_upstream_is_named(words: tuple[str, ...], said: str, tmp_path: Path) -> None:
    with ExitStack() as stack:
        process = Here(tmp_path, "127.0.0.1", stack).start("node", "node", "--listen", "127.0.0.1:7000", *words)
        _, problem = process.communicate(timeout=60)
    assert process.returncode == UsageError.exit_code
    assert said in problem
    assert "--upstream" in problem
