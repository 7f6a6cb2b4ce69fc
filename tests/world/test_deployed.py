"""The deployed world: machines with nothing in common but a wire."""

from __future__ import annotations

import io
import json
import subprocess
import time
from collections.abc import Iterator
from contextlib import ExitStack, redirect_stdout
from pathlib import Path

import pytest

from netgpt.api.key_file import KeyStore
from netgpt.api.keys import KeyWishes
from netgpt.cli.main import main
from netgpt.core.clock import WallClock
from netgpt.core.errors import CertificateRevoked, NodeUnreachable, UsageError
from netgpt.world.deployed import Address, check_http_address, check_reachable, parse_address

from .namespaces import Machine, machines

CONTROLLER_PORT, ENGINE_PORT, DOOR = 7000, 7001, "127.0.0.1:8080"

ASK = """
import json, sys, time, urllib.request
body = json.dumps({"model": sys.argv[2], "max_tokens": 8, "messages": [{"role": "user", "content": "hello"}]}).encode()
for _ in range(200):
    request = urllib.request.Request(sys.argv[1] + "/v1/chat/completions", body, {"content-type": "application/json"})
    try:
        print(urllib.request.urlopen(request, timeout=30).read().decode())
        break
    except urllib.error.HTTPError as error:  # the other nodes may not be in the door's snapshot yet
        print(error.read().decode(), file=sys.stderr)
        time.sleep(0.05)
"""

# Asks an engine for its load over and over, until it is refused, and says what it met.
CALL = """
import asyncio, sys, time
from pathlib import Path
from netgpt.core.errors import NetgptError
from netgpt.models.generation import Load
from netgpt.node.call import ask
from netgpt.wire.grpc_tls import TlsEnd
from netgpt.wire.grpc_transport import GrpcTransport
from netgpt.wire.messages import Stats
from netgpt.wire.own_identity import IdentityFile

async def main():
    address, peer, identity = sys.argv[1:]
    transport = GrpcTransport(tls=TlsEnd(IdentityFile(Path(identity)).read) if identity else None)
    connection = transport.connect(address, peer=peer)
    try:
        while True:
            await ask(connection, "stats", Stats(), Load, deadline_s=20)
            print("answered", flush=True)
            await asyncio.sleep(0.02)
    except NetgptError as error:
        print(error.code, flush=True)
    finally:
        await connection.close()

asyncio.run(main())
"""


class Site:
    """A controller beside the cloud, and three nodes: each on its machine, each with a home of its own."""

    def __init__(self, folder: Path, by_name: dict[str, Machine], stack: ExitStack) -> None:
        self.folder = folder
        self.machines = by_name
        self._stack = stack
        self.controller = f"{by_name['cloud'].address}:{CONTROLLER_PORT}"
        self.homes = {name: folder / name for name in ("controller", *by_name)}
        self.command(
            by_name["cloud"].netgpt("controller", "--listen", self.controller, "--home", str(self.homes["controller"])), until="The controller is up"
        )
        started = {
            name: self.node(name, machine, wire_version="1" if name == "edge" else "2") for name, machine in by_name.items()
        }  # together: each takes its time
        self.nodes = {name: self.command(process, until="is up") for name, process in started.items()}

    def token(self, node: str, tier: str, *, home: Path | None = None) -> str:
        return self.run("join-token", "create", "--node", node, "--tier", tier, home=home or self.homes["controller"])

    def node(self, name: str, machine: Machine, *, wire_version: str) -> subprocess.Popen[str]:
        token = self.folder / f"{name}.token"
        token.write_text(self.token(f"{name}1", name))
        return machine.netgpt(
            *("node", "--join", f"@{token}", "--controller", self.controller, "--tier", name, "--engine", "hash"),
            *("--listen", f"{machine.address}:{ENGINE_PORT}", "--door", DOOR, "--home", str(self.homes[name])),
            NETGPT_WIRE_VERSION=wire_version,
        )

    def command(self, process: subprocess.Popen[str], *, until: str) -> subprocess.Popen[str]:
        """Own a process that says `until` when it is up."""
        self._stack.enter_context(process)
        self._stack.callback(process.terminate)
        assert process.stdout is not None
        assert process.stderr is not None
        for line in process.stdout:
            if until in line:
                return process
        raise AssertionError(process.stderr.read())

    @staticmethod
    def run(*words: str, home: Path) -> str:
        """What a command prints. It needs no machine of its own, hence no process."""
        printed = io.StringIO()
        with redirect_stdout(printed):
            assert main([*words, "--home", str(home)]) == 0
        return printed.getvalue()

    def engine(self, name: str) -> str:
        return f"{self.machines[name].address}:{ENGINE_PORT}"

    def identity(self, name: str) -> str:
        return str(self.homes[name] / "identity" / f"{name}1.pem")


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Site]:
    with machines(["cloud", "edge", "device"]) as by_name, ExitStack() as stack:
        yield Site(tmp_path_factory.mktemp("site"), by_name, stack)


@pytest.mark.parametrize("tier", ["cloud", "edge"])  # the edge is a release behind on the wire
def test_a_request_at_the_devices_door_is_answered_on_another_machine(site: Site, tier: str) -> None:
    answer, problem = site.machines["device"].python(ASK, f"http://{DOOR}", f"netgpt-{tier}").communicate(timeout=120)
    assert answer, problem
    assert json.loads(answer)["netgpt"]["origin"][0]["node"] == f"{tier}1"


def test_the_controller_knows_which_node_is_a_release_behind(site: Site) -> None:
    told, problem = site.machines["cloud"].python(
        "import urllib.request; print(urllib.request.urlopen('http://127.0.0.1:8090/api/v1/nodes').read().decode())"
    ).communicate(timeout=60)  # fmt: skip
    assert told, problem
    assert {node["id"]: node["protocol_version"] for node in json.loads(told)["nodes"]} == {"cloud1": 2, "device1": 2, "edge1": 1}


def test_a_plain_text_caller_is_refused(site: Site) -> None:
    told, problem = site.machines["device"].python(CALL, site.engine("cloud"), "", "").communicate(timeout=60)
    assert told.split() == [NodeUnreachable.code], problem


def test_a_node_of_another_network_is_refused(site: Site) -> None:
    foreign = site.token("edge9", "edge", home=site.folder / "foreign-controller").strip()
    machine = site.machines["device"]
    stranger = machine.netgpt(
        *("node", "--join", foreign, "--controller", site.controller, "--engine", "hash", "--listen", f"{machine.address}:7009"),
        *("--door", "127.0.0.1:8089", "--home", str(site.folder / "foreign-node")),
    )
    _, problem = stranger.communicate(timeout=120)
    assert stranger.returncode == NodeUnreachable.exit_code
    assert "no certificate of this network" in problem


def test_a_used_token_is_refused_and_a_stored_certificate_needs_none(site: Site) -> None:
    shown = json.loads(site.run("certs", "show", "--json", home=site.homes["device"]))
    assert [(row["node"], row["tier"]) for row in shown] == [("device1", "device")]
    device = site.nodes["device"]
    device.terminate()
    device.wait(60)
    machine = site.machines["device"]
    again = machine.netgpt(
        *("node", "--engine", "hash", "--listen", f"{machine.address}:{ENGINE_PORT}", "--door", DOOR, "--home", str(site.homes["device"]))
    )
    site.nodes["device"] = site.command(again, until="is up")
    assert json.loads(site.run("certs", "show", "--json", home=site.homes["device"])) == shown


def test_a_certificate_is_renewed_while_its_node_runs(site: Site) -> None:
    before, machine = site.identity("device"), site.machines["device"]
    old = Path(before).read_bytes()
    renewal = machine.netgpt("certs", "renew", "--home", str(site.homes["device"]))
    _, told = renewal.communicate(timeout=60)
    assert renewal.returncode == 0, told
    assert Path(before).read_bytes() != old
    answer, problem = machine.python(ASK, f"http://{DOOR}", "netgpt-cloud").communicate(timeout=120)
    assert answer, problem
    listed = json.loads(site.run("certs", "list", "--json", home=site.homes["controller"]))
    assert [row["state"] for row in listed if row["node"] == "device1"] == ["valid"] * 3, "the token's, the first, the renewed"


def test_a_revoked_node_is_refused_within_a_beat_and_its_own_process_ends_with_a_clear_error(site: Site) -> None:
    caller = site.machines["edge"].python(CALL, site.engine("cloud"), "cloud1", site.identity("edge"))
    assert caller.stdout is not None
    assert caller.stdout.readline() == "answered\n"
    site.run("certs", "revoke", "edge1", "--reason", "stolen", home=site.homes["controller"])
    revoked_s = time.monotonic()
    met = caller.communicate(timeout=60)[0].split()
    assert met[-1] == CertificateRevoked.code
    assert time.monotonic() - revoked_s < 5, "a beat is 0.2 s; the rest is for a busy machine"
    _, problem = site.nodes["edge"].communicate(timeout=60)
    assert site.nodes["edge"].returncode == CertificateRevoked.exit_code
    assert "the certificate of 'edge1' was revoked: it is no member of this network" in problem


def test_no_file_of_a_node_can_be_read_by_others_and_no_log_holds_a_secret(site: Site) -> None:
    for home in site.homes.values():
        kept = [path for folder in ("identity", "ca") for path in (home / folder).rglob("*") if path.is_file()]
        assert kept
        assert {path.stat().st_mode & 0o077 for path in kept} == {0}
        for log in (*(home / "log").iterdir(), *(home / "events").iterdir()):
            text = log.read_text(encoding="utf-8")
            assert "PRIVATE KEY" not in text
            assert "ngt2." not in text


@pytest.mark.parametrize("text", ["", "7000", "host:", "host:http", "host:0", "host:70000", ":7000"])
def test_an_address_that_is_none_is_refused(text: str) -> None:
    with pytest.raises(UsageError, match="--listen is"):
        parse_address(text, "listen")


@pytest.mark.parametrize(
    ("host", "refused"), [("127.0.0.1", False), ("localhost", False), ("127.9.9.9", False), ("0.0.0.0", True), ("10.0.0.1", True), ("host", True)]
)
def test_a_door_that_other_machines_reach_does_not_open_without_keys(host: str, refused: bool, tmp_path: Path) -> None:
    clock = WallClock()
    keys = KeyStore(tmp_path, clock)

    def check() -> None:
        check_http_address(Address(host=host, port=8080), "door", keys=keys, date_s=clock.date_s())

    if refused:
        with pytest.raises(UsageError, match="no valid API key protects it") as caught:
            check()
        assert caught.value.param == "door"
        keys.create(KeyWishes(scopes=("use",)))
    check()


def test_an_address_that_others_cannot_call_is_refused() -> None:
    check_reachable(Address(host="10.0.0.1", port=7000), "listen")
    with pytest.raises(UsageError, match="no address that another machine can call"):
        check_reachable(Address(host="0.0.0.0", port=7000), "listen")
