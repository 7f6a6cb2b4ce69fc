"""A node that asks an upstream, in a network of real processes."""

from __future__ import annotations

import asyncio
import json
import shutil
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any

import httpx
import pytest

from netgpt.core.errors import ScenarioInvalid, UsageError
from netgpt.core.storage import SimulatedStorage
from netgpt.network.scenario_file import parse_scenario
from netgpt.world.simulated import simulate
from netgpt.world.upstream import check_upstreams

from ..engine.openai_upstream import Upstream, serving  # noqa: TID252 - the upstream that the engine is tested with
from ..environment import clean_environment  # noqa: TID252 - all tests start programs in it

ROOT = Path(__file__).parents[2]
WEIGHTS = ROOT / "weights" / "netgpt-device"
REVISION = "0123456789abcdef0123456789abcdef01234567"
KEY = "sk-canary-4711"
SCENARIO = """
default_node = "device1"
[[node]]
id = "cloud1"
tier = "cloud"
profile = "cloud-server"
parameters = 70e9
engine = "openai"
model = "strange"
upstream = "{url}"
api_key_env = "STRANGE_KEY"
first_token_timeout = "20s"
[[node]]
id = "device1"
tier = "device"
model = "netgpt-device"
profile = "phone"
[[link]]
between = ["device1", "cloud1"]
up = "20Mbps"
down = "80Mbps"
delay = "8ms"
"""


@contextmanager
def serving_aside(upstream: Upstream, port: int = 0) -> Iterator[Upstream]:
    """The upstream on a loop in a thread of its own."""
    ready, stop = threading.Event(), asyncio.Event()
    loop = asyncio.new_event_loop()

    async def main() -> None:
        async with serving(upstream, port):
            ready.set()
            await stop.wait()

    thread = threading.Thread(target=loop.run_until_complete, args=(main(),))
    thread.start()
    try:
        assert ready.wait(20)
        yield upstream
    finally:
        loop.call_soon_threadsafe(stop.set)
        thread.join(20)
        loop.close()


def netgpt(home: Path, *words: str, **environment: str) -> str:
    clean = clean_environment() | {"STRANGE_KEY": KEY} | environment
    command = [sys.executable, "-m", "netgpt.cli.main", *words, "--home", str(home)]
    done = subprocess.run(command, capture_output=True, text=True, timeout=200, env=clean, check=False)
    assert done.returncode == 0, done.stderr
    return done.stdout


def until_ready(door: str, model: str) -> None:
    """Wait until a door, `host:port`, knows a node that serves the model: an upstream is found out while the network is up already."""
    deadline_s = time.monotonic() + 60
    while True:
        listed = httpx.get(f"http://{door}/v1/models/{model}", timeout=60, trust_env=False).json()
        if listed["netgpt"]["ready"]:
            return
        assert time.monotonic() < deadline_s, listed
        time.sleep(0.05)


def ask(door: str, *, headers: dict[str, str] | None = None, **more: Any) -> httpx.Response:
    body = {"model": "netgpt-cloud", "messages": [{"role": "user", "content": "How is it?"}], **more}
    return httpx.post(f"http://{door}/v1/chat/completions", json=body, headers=headers, timeout=60, trust_env=False)


@pytest.mark.parametrize("tls", ["off", "on"])
def test_an_upstream_answers_at_its_own_door_and_at_others_and_its_key_stands_in_no_file(tls: str, tmp_path: Path) -> None:
    home = tmp_path / "home"
    with serving_aside(Upstream(logprobs=False)) as upstream:
        (tmp_path / "s.toml").write_text(SCENARIO.format(url=upstream.url))
        netgpt(home, "up", str(tmp_path / "s.toml"), "--engine", "hash", "--tls", tls, "--detach", "--port", "0")
        try:
            rows = json.loads(netgpt(home, "ps", "--json"))
            assert {row["name"] for row in rows if row["node"] == "cloud1"} == {"cloud1-door"}
            doors = {row["node"]: f"127.0.0.1:{row['port']}" for row in rows if row["role"] == "door"}
            for node in ("cloud1", "device1"):
                until_ready(doors[node], "netgpt-cloud")
                answer = ask(doors[node]).json()
                assert answer["choices"][0]["message"]["content"] == "All is well"
                assert (answer["usage"]["prompt_tokens"], answer["usage"]["completion_tokens"]) == (13, 4)
                assert answer["netgpt"]["origin"] == [{"node": "cloud1", "tokens": 4, "recoded": True}]
                refused = ask(doors[node], logprobs=True)
                assert (refused.status_code, refused.json()["error"]["param"]) == (400, "logprobs")
            assert set(upstream.keys) == {f"Bearer {KEY}"}
            for path in (path for path in home.rglob("*") if path.is_file()):
                assert KEY.encode() not in path.read_bytes(), path
        finally:
            netgpt(home, "down")


@pytest.mark.skipif(not (WEIGHTS / "config.json").exists(), reason="the checkout has no weights")
def test_the_recipe_of_the_page_runs_with_stand_ins_for_its_servers_and_its_hub_model(tmp_path: Path) -> None:
    home, repository = tmp_path / "home", tmp_path / "hub" / "models--Qwen--Qwen2.5-0.5B-Instruct"
    shutil.copytree(WEIGHTS, repository / "snapshots" / REVISION)
    (repository / "refs").mkdir()
    (repository / "refs" / "main").write_text(REVISION)
    vllm, llama = Upstream(model="Qwen/Qwen2.5-7B-Instruct"), Upstream(model="qwen2.5-1.5b-instruct", says=("So", " it", " is"))
    with serving_aside(vllm), serving_aside(llama):
        recipe = (ROOT / "examples" / "upstreams.toml").read_text(encoding="utf-8")
        assert recipe.count("http://127.0.0.1:8000/v1") == recipe.count("http://127.0.0.1:8081/v1") == 1
        (tmp_path / "s.toml").write_text(recipe.replace("http://127.0.0.1:8000/v1", vllm.url).replace("http://127.0.0.1:8081/v1", llama.url))
        hub = {"HF_HUB_CACHE": str(tmp_path / "hub"), "HF_HUB_OFFLINE": "1"}
        netgpt(home, "up", str(tmp_path / "s.toml"), "--detach", "--port", "0", **hub)
        try:
            (door,) = {f"127.0.0.1:{row['port']}" for row in json.loads(netgpt(home, "ps", "--json")) if row["name"] == "device1-door"}
            for model, node, text in (
                ("netgpt-cloud", "cloud1", "All is well"),
                ("netgpt-edge", "edge1", "So it is"),
                ("netgpt-device", "device1", ""),
            ):
                until_ready(door, model)
                answer = ask(door, model=model, temperature=0, max_tokens=8).json()
                assert [span["node"] for span in answer["netgpt"]["origin"]] == [node]
                assert answer["choices"][0]["message"]["content"] == text or not text
            asked = len(vllm.asked), len(llama.asked)
            for model in ("auto", "cascade"):
                answer = ask(door, model=model, privacy="device-only", max_tokens=8).json()
                assert [span["node"] for span in answer["netgpt"]["origin"]] == ["device1"]
            assert (len(vllm.asked), len(llama.asked)) == asked, "nothing left the device"
        finally:
            netgpt(home, "down")


def test_a_network_of_upstreams_alone_starts_before_them_and_answers_when_they_do(tmp_path: Path) -> None:
    home = tmp_path / "home"
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
    lone = SCENARIO.split('[[node]]\nid = "device1"')[0].replace("device1", "cloud1").format(url=f"http://127.0.0.1:{port}/v1")
    (tmp_path / "s.toml").write_text(lone)
    netgpt(home, "up", str(tmp_path / "s.toml"), "--detach", "--port", "0")
    with ExitStack() as server, ExitStack() as network:  # the network goes down before its upstream
        network.callback(netgpt, home, "down")
        door = next(f"127.0.0.1:{row['port']}" for row in json.loads(netgpt(home, "ps", "--json")) if row["role"] == "door")
        refused = ask(door)
        assert refused.status_code == 503
        assert refused.json()["hint"] == "see which nodes are up: netgpt ps"
        server.enter_context(serving_aside(Upstream(logprobs=False), port))
        until_ready(door, "netgpt-cloud")
        assert ask(door).json()["choices"][0]["message"]["content"] == "All is well"


def test_what_cannot_be_asked_is_refused_before_anything_starts() -> None:
    scenario = parse_scenario(SCENARIO.format(url="http://127.0.0.1:9/v1"), where="test")
    with pytest.raises(UsageError, match="STRANGE_KEY"):
        check_upstreams(scenario, {})
    with pytest.raises(ScenarioInvalid, match="is no base URL"):
        check_upstreams(parse_scenario(SCENARIO.format(url="nowhere"), where="test"), {"STRANGE_KEY": KEY})
    with pytest.raises(ScenarioInvalid, match="no virtual clock"):
        simulate(scenario, seed=1, duration_s=1, output=SimulatedStorage())


@pytest.mark.parametrize(
    ("change", "to", "said"),
    [
        ('upstream = "{url}"\n', "", "names none"),
        ('engine = "openai"\n', "", "has 'upstream' and not engine 'openai'"),
        ('engine = "openai"', 'engine = "openay"', "unknown engine 'openay'"),
        ('"20s"', '"soon"', "not a duration"),
        ('"20s"', '"0s"', "'first_token_timeout'"),
        ('api_key_env = "STRANGE_KEY"', "retries = 99", "'retries' of node 1 is 99"),
        ('model = "netgpt-device"', 'model = "netgpt-device"\nretries = 1', "'retries' and not engine"),
    ],
)
def test_what_is_wrong_with_an_upstream_is_named(change: str, to: str, said: str) -> None:
    assert change in SCENARIO
    with pytest.raises(ScenarioInvalid, match=said) as caught:
        parse_scenario(SCENARIO.replace(change, to), where="test")
    assert caught.value.hint
