"""Starts what stands between a client and an upstream: a NetGPT network of one node, and the peers it is held against.

Each gateway is one process with one worker, at its defaults, on loopback, with a key where it knows keys. Peers
come from the *peers* environment (`make peers`); one that is not there or does not start is absent, with a reason.
"""

from __future__ import annotations

import asyncio
import json
import os
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path

from netgpt.bench.http_load import Target, ask_all
from netgpt.bench.mock_upstream import CONTEXT_TOKENS, MODEL
from netgpt.core.errors import MissingExtra, NetgptError, NodeUnreachable
from netgpt.world.pids import Pid, end_processes, pid_of
from netgpt.world.ports import free_ports
from netgpt.world.runstate import CONTROLLER, DOOR, running_state

PEERS_FOLDER = Path(__file__).parents[3] / ".venv-peers" / "bin"
START_DEADLINE_S = 120.0
SLOTS = 1_200
PEER_KEY = "sk-bench"


@contextmanager
def mock_upstream(*options: str) -> Iterator[str]:
    """The mock's URL, without `/v1`."""
    process = subprocess.Popen(
        [sys.executable, "-m", "netgpt.bench.mock_upstream", *options], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    )
    assert process.stdin is not None
    assert process.stdout is not None
    try:
        yield f"http://127.0.0.1:{json.loads(process.stdout.readline())['port']}"
    finally:
        process.stdin.close()
        process.wait(10)
        process.stdout.close()


def scenario_text(upstream: str, slots: int = SLOTS) -> str:
    """A network of one node whose engine asks the upstream from the door's own process."""
    return f"""name = "gateway"
default_node = "cloud1"

[[node]]
id = "cloud1"
tier = "cloud"
model = "{MODEL}"
profile = "cloud-server"
engine = "openai"
upstream = "{upstream}/v1"
context_tokens = {CONTEXT_TOKENS}
slots = {slots}
"""


@contextmanager
def netgpt_gateway(upstream: str, scratch: Path) -> Iterator[tuple[Target, dict[str, Pid]]]:
    """Ours, with an API key; and the pids of its door and controller."""
    with netgpt_network(upstream, scratch, keys=("bench",), slots=SLOTS) as (targets, pids):
        yield targets["bench"], pids


@contextmanager
def netgpt_network(upstream: str, scratch: Path, *, keys: Sequence[str], slots: int) -> Iterator[tuple[dict[str, Target], dict[str, Pid]]]:
    """A network of one node that sends an upstream `slots` requests at once: its door, by the name of an API key; and pids."""
    home, scenario = scratch / "home", scratch / "gateway.toml"
    scenario.write_text(scenario_text(upstream, slots), encoding="utf-8")
    secrets = {name: json.loads(run_netgpt(home, "keys", "create", "--name", name, "--json"))["key"] for name in keys}
    try:
        run_netgpt(home, "up", str(scenario), "--detach", "--port", "0")
        state = running_state(home)
        pids = {process.role: process.pid for process in state.processes if process.role in (DOOR, CONTROLLER) and process.pid}
        yield {name: Target(url=state.doors()["cloud1"], model="auto", key=key) for name, key in secrets.items()}, pids
    finally:
        run_netgpt(home, "down")


def run_netgpt(home: Path, *arguments: str) -> str:
    """What a command says, run in a process of its own on a home, without this process's settings. What it starts ends with this process.

    Raises:
        NetgptError: it failed; the message has what it said.
    """
    ours = {name: value for name, value in os.environ.items() if not name.startswith("NETGPT_")}
    environment = ours | {"NETGPT_HOME": str(home), "NETGPT_UNTIL_PID": str(os.getpid())}
    command = [sys.executable, "-m", "netgpt", *arguments]
    done = subprocess.run(command, env=environment, capture_output=True, text=True, timeout=180, check=False)
    if done.returncode:
        raise NetgptError(f"netgpt {arguments[0]} ended with {done.returncode}: {done.stderr.strip()}", hint="mend that first")
    return done.stdout


def litellm_command(upstream: str, port: int, scratch: Path) -> list[str]:
    config = scratch / "litellm.yaml"
    parameters = {"model": f"openai/{MODEL}", "api_base": f"{upstream}/v1", "api_key": "none"}
    settings = {"model_list": [{"model_name": MODEL, "litellm_params": parameters}], "general_settings": {"master_key": PEER_KEY}}
    config.write_text(json.dumps(settings), encoding="utf-8")  # JSON is YAML
    return ["litellm", "--config", str(config), "--host", "127.0.0.1", "--port", str(port)]


def vllm_router_command(upstream: str, port: int, scratch: Path) -> list[str]:
    return ["vllm-router", *_router_options(upstream, port)]


def sglang_router_command(upstream: str, port: int, scratch: Path) -> list[str]:
    return ["python", "-m", "sglang_router.launch_router", *_router_options(upstream, port)]


def _router_options(upstream: str, port: int) -> list[str]:
    """Of both routers: they have the same origin."""
    metrics = ["--prometheus-host", "127.0.0.1", "--prometheus-port", str(free_ports(1)[0])]
    return ["--host", "127.0.0.1", "--port", str(port), "--worker-urls", upstream, "--policy", "round_robin", "--log-level", "error", *metrics]


PEERS: Mapping[str, Callable[[str, int, Path], list[str]]] = {
    "litellm": litellm_command,
    "vllm_router": vllm_router_command,
    "sglang_router": sglang_router_command,
}


@contextmanager
def peer_gateway(name: str, upstream: str, scratch: Path) -> Iterator[Target]:
    """A peer that answers.

    Raises:
        MissingExtra: the environment, or the peer in it, is not there.
        NodeUnreachable: it does not start; the message has the end of its log.
    """
    [port] = free_ports(1)
    program, *arguments = PEERS[name](upstream, port, scratch)
    if not (PEERS_FOLDER / program).exists():
        raise MissingExtra(f"{PEERS_FOLDER.parent.name} has no {program}", hint="make peers")
    log = scratch / f"{name}.log"
    target = Target(url=f"http://127.0.0.1:{port}", model=MODEL, key=PEER_KEY)
    with log.open("wb") as output:
        process = subprocess.Popen([PEERS_FOLDER / program, *arguments], env=_peer_environment(), stdout=output, stderr=output, cwd=scratch)
    try:
        _wait_until_it_answers(name, target, process, log)
        yield target
    finally:
        pid = pid_of(process.pid)
        if pid is not None:
            end_processes([pid], grace_s=5.0)
        process.wait(10)


def _peer_environment() -> dict[str, str]:
    """No proxy, no download, no telemetry."""
    hidden = {"http_proxy", "https_proxy", "all_proxy"}
    environment = {name: value for name, value in os.environ.items() if name.lower() not in hidden}
    return environment | {"LITELLM_LOCAL_MODEL_COST_MAP": "True", "LITELLM_LOG": "ERROR", "LITELLM_TELEMETRY": "False", "NO_PROXY": "*"}


def _wait_until_it_answers(name: str, target: Target, process: subprocess.Popen[bytes], log: Path) -> None:
    deadline_s = time.monotonic() + START_DEADLINE_S
    while time.monotonic() < deadline_s:
        if process.poll() is not None:
            break
        (answer,) = asyncio.run(ask_all(target, [target.request("ready?")], connections=1))
        if answer.status == 200:
            return
        time.sleep(0.25)
    tail = " | ".join(log.read_text(encoding="utf-8", errors="replace").strip().splitlines()[-3:])
    raise NodeUnreachable(f"{name} does not answer within {START_DEADLINE_S:g} s: {tail}", hint="run it by hand")


def peer_versions(packages: Sequence[str] = ("litellm", "vllm-router", "sglang-router")) -> dict[str, str]:
    """What is installed in the peers' environment."""
    folders = PEERS_FOLDER.parent.glob("lib/python*/site-packages/*.dist-info")
    found = dict(folder.name.removesuffix(".dist-info").replace("_", "-").rsplit("-", 1) for folder in folders)
    return {package: found[package] for package in packages if package in found}
