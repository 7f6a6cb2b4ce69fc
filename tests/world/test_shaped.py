"""The emulated world with shaped links: the real command, real processes, both modes of the link shaper."""

from __future__ import annotations

import io
import json
import os
import signal
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator
from contextlib import redirect_stderr, redirect_stdout
from pathlib import Path
from typing import Any

import pytest

from netgpt.cli.main import main
from netgpt.core.errors import UsageError
from netgpt.wire.namespaces import check_namespaces

from ..environment import clean_environment  # noqa: TID252 - all tests start programs in it

DEADLINE_S = 120.0
pytestmark = pytest.mark.timeout(600)  # a whole network starts, on machines of any load
SCENARIO = """
name = "two"
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
delay = "10ms"
"""
NODES = SCENARIO.split("[[link]]")[0]
IN_CELLS = (
    NODES
    + """
[[node]]
id = "edge1"
tier = "edge"
model = "netgpt-edge"
profile = "edge-server"
[[node]]
id = "edge2"
tier = "edge"
model = "netgpt-edge"
profile = "edge-server"
[[link]]
between = ["edge1", "edge2"]
up = "1Gbps"
down = "1Gbps"
delay = "1ms"
[[link]]
between = ["edge2", "cloud1"]
up = "1Gbps"
down = "1Gbps"
delay = "10ms"
[[cell]]
id = "west"
at = "edge1"
bandwidth = "20MHz"
tdd = "DDDSU"
background_up = "10%"
[[cell]]
id = "east"
at = "edge2"
bandwidth = "20MHz"
tdd = "DDDSU"
[[attach]]
node = "device1"
cell = "west"
efficiency_up = 2.0
efficiency_down = 4.0
handover = [{ at = "4s", to = "east" }]
"""
)


class Network:
    """`netgpt up` with shaped links on a home of its own."""

    def __init__(self, folder: Path, mode: str, scenario: str = SCENARIO) -> None:
        self.home, self.mode = folder / "home", mode
        (folder / "two.toml").write_text(scenario)
        self.up(folder / "two.toml", "--links", mode)
        rows = self.processes()
        self.url = f"http://127.0.0.1:{rows['device1-door']['port']}"

    def up(self, scenario: Path, *words: str) -> None:
        clean = clean_environment()
        command = [sys.executable, "-m", "netgpt.cli.main", "up", str(scenario), "--detach", "--engine", "hash", "--port", "0"]
        done = subprocess.run([*command, *words, "--home", str(self.home)], env=clean, capture_output=True, text=True, timeout=400, check=False)
        assert done.returncode == 0, done.stderr

    def run(self, *words: str, status: int = 0) -> tuple[str, str]:
        """What a command says on standard output and error. It needs no process of its own."""
        out, err = io.StringIO(), io.StringIO()
        with redirect_stdout(out), redirect_stderr(err):
            assert main([*words, "--home", str(self.home)]) == status, err.getvalue()
        return out.getvalue(), err.getvalue()

    def processes(self) -> dict[str, dict[str, Any]]:
        return {row["name"]: row for row in json.loads(self.run("ps", "--json")[0])}

    def links(self) -> dict[tuple[str, str], dict[str, Any]]:
        return {(row["from"], row["to"]): row for row in json.loads(self.run("links", "--json")[0])["links"]}

    def row(self, link: str) -> dict[str, Any]:
        """A link's uplink."""
        return next(row for row in json.loads(self.run("links", "--json")[0])["links"] if (row["link"], row["direction"]) == (link, "up"))

    def ask(self, model: str = "netgpt-cloud") -> dict[str, Any]:
        body = json.dumps({"model": model, "temperature": 0, "max_tokens": 4, "messages": [{"role": "user", "content": "hello"}]}).encode()
        request = urllib.request.Request(f"{self.url}/v1/chat/completions", body, {"Content-Type": "application/json"})
        with urllib.request.urlopen(request, timeout=DEADLINE_S) as reply:
            return json.load(reply)

    def seconds_to_ask(self) -> float:
        begin_s = time.monotonic()
        self.ask()
        return time.monotonic() - begin_s


def skip_if_refused(mode: str) -> None:
    if mode == "packet":
        try:
            check_namespaces()
        except UsageError as error:
            pytest.skip(error.message)


@pytest.fixture(scope="module", params=["stream", "packet"])
def network(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Network]:
    skip_if_refused(request.param)
    network = Network(tmp_path_factory.mktemp(request.param), request.param)
    yield network
    network.run("down")


def until(is_so: Callable[[], bool]) -> None:
    deadline_s = time.monotonic() + DEADLINE_S
    while not is_so():
        assert time.monotonic() < deadline_s, "it did not become so"
        time.sleep(0.1)


def test_what_nodes_say_to_each_other_crosses_the_links_and_is_charged(network: Network) -> None:
    before = network.links()
    answer = network.ask()
    payload_bytes = answer["netgpt"]["link_bytes"]["cloud1"]
    after = network.links()
    for way, kind in ((("device1", "cloud1"), "sent"), (("cloud1", "device1"), "received")):
        charged = after[way]["charged_bytes"] - before[way]["charged_bytes"]
        assert charged > payload_bytes.get(kind, 1), way
    assert (after["device1", "cloud1"]["rate_bps"], after["cloud1", "device1"]["rate_bps"]) == (50e6, 100e6)


def test_what_stays_on_a_node_crosses_no_link(network: Network) -> None:
    network.ask()
    until(lambda: network.links() == network.links())  # what the cloud was asked before has been acknowledged
    before = network.links()
    network.ask("netgpt-device")
    for way, row in network.links().items():
        assert row["charged_bytes"] - before[way]["charged_bytes"] < 1000, "keepalive at most"


def test_a_link_that_is_set_slows_the_very_next_answer(network: Network) -> None:
    network.ask()
    told, _ = network.run("links", "set", "device1-cloud1", "rate=2Mbps", "delay=400ms", "loss=1%")
    assert "2 Mbps" in told
    assert "400 ms" in told
    assert min(network.seconds_to_ask() for _ in range(2)) >= 0.8, "there and back"
    row = network.links()["cloud1", "device1"]
    assert (row["rate_bps"], row["delay_s"], row["loss"]) == (2e6, 0.4, 0.01)
    network.run("links", "set", "cloud1-device1", "rate=1Gbps", "delay=10ms", "loss=0")


@pytest.mark.parametrize(
    ("words", "message", "hint"),
    [
        (("set", "device1-cloud", "rate=2Mbps"), "unknown link 'device1-cloud'", "did you mean 'device1-cloud1'?"),
        (("set", "device1-cloud1", "rat=2Mbps"), "unknown key 'rat'", "did you mean 'rate'?"),
        (("set", "device1-cloud1", "rate=-2Mbps"), "the rate '-2Mbps' is negative", "write it as"),
        (("set", "device1-cloud1"), "nothing is to be set", "KEY=VALUE"),
        (("set",), "which link is to be set?", "netgpt links set edge1-cloud1"),
        (("show", "device1-cloud1"), "takes no 'device1-cloud1'", "netgpt links set"),
    ],
)
def test_what_cannot_be_set_is_refused(network: Network, words: tuple[str, ...], message: str, hint: str) -> None:
    refused = network.run("links", *words, status=2)[1].splitlines()
    assert message in refused[0]
    assert hint in refused[1]


def test_the_table_shows_every_link_both_ways(network: Network) -> None:
    lines = network.run("links")[0].splitlines()
    assert lines[0].split() == [
        "LINK",
        "FROM",
        "TO",
        "CELL",
        "RLC",
        "RATE",
        "DELAY",
        "LOSS",
        "QUEUE",
        "QUEUED",
        "NOW",
        "USE",
        "CHARGED",
        "DROPPED",
        "LOST",
    ]
    assert [tuple(line.split()[:3]) for line in lines[1:]] == [
        ("device1-cloud1", "device1", "cloud1"),
        ("device1-cloud1", "cloud1", "device1"),
    ]


def test_a_dead_shaper_is_restarted_or_ends_what_cannot_go_on(network: Network) -> None:
    """The last test of a network: of mode `packet` nothing is left."""
    shaper = network.processes()["shaper"]
    os.kill(shaper["pid"], signal.SIGKILL)
    if network.mode == "stream":
        until(lambda: network.processes()["shaper"]["restarts"] == 1 and network.processes()["shaper"]["state"] == "ready")

        def answers() -> bool:
            try:
                return bool(network.ask()["choices"])
            except urllib.error.HTTPError:
                return False

        until(answers)
        assert network.links()["device1", "cloud1"]["charged_bytes"] > 0
    else:
        until(lambda: not network.processes())
        log = (network.home / "log" / "supervisor.log").read_text()
        assert "the link shaper died, and the nodes' networks with it" in log


@pytest.mark.parametrize("mode", ["stream", "packet"])
def test_devices_in_cells_ask_the_edge_over_the_air_and_are_handed_over(tmp_path: Path, mode: str) -> None:
    """Cells alone join devices and edges here; the answers go on over the next cell."""
    skip_if_refused(mode)
    network = Network(tmp_path, mode, IN_CELLS)
    try:
        assert network.ask("netgpt-edge")["choices"]
        until(lambda: network.row("device1-radio")["to"] == "edge2")
        before = network.row("device1-radio")["charged_bytes"]
        assert network.ask("netgpt-cloud")["choices"]
        row = network.row("device1-radio")
        assert row["charged_bytes"] > before
        assert (row["kind"], row["cell"], row["rlc"]) == ("radio", "east", "am, datagrams um")
        assert 1e6 < row["rate_bps"] < 40e6, "20 MHz at 2 bit/s/Hz, of which the uplink has less than half"
        assert "device1-radio" in network.run("links")[0]
        refused = network.run("links", "set", "device1-radio", "rate=2Mbps", status=2)[1]
        assert "'device1-radio' cannot be set: its rate is what cell 'east' gives 'device1'" in refused
        assert "[[cell]] or [[attach]]" in refused
    finally:
        network.run("down")


def test_a_network_without_shaped_links_says_how_to_get_them(tmp_path: Path) -> None:
    (tmp_path / "two.toml").write_text(SCENARIO)
    bare = Network.__new__(Network)
    bare.home = tmp_path / "home"
    assert "no network runs" in bare.run("links", status=13)[1]
    bare.up(tmp_path / "two.toml")
    try:
        _, refused = bare.run("links", status=13)
        assert "the links of this network are not shaped" in refused
        assert "netgpt up --links stream" in refused
    finally:
        bare.run("down")
