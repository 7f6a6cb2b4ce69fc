"""The emulated world's promises, on real processes and sockets: lost nodes, lost clients, memory."""

from __future__ import annotations

import asyncio
import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest

from netgpt.core.clock import WallClock
from netgpt.engine.hash_engine import HashLaw, absorb
from netgpt.inference.request import ChatRequest, Finish, Span
from netgpt.models.generation import GREEDY, Load
from netgpt.models.tokenizer import ByteTokenizer, render_chat
from netgpt.network.scenario_file import load_scenario
from netgpt.node.call import ask
from netgpt.wire.grpc_transport import GrpcTransport
from netgpt.wire.identity import JoinAuthority
from netgpt.wire.messages import Stats
from netgpt.world.assemble import hash_agreement
from netgpt.world.networkkey import ensure_network_key
from netgpt.world.simulated import expected_text

from ..environment import clean_environment  # noqa: TID252 - all tests start programs in it

DEADLINE_S = 20.0
MIB = 2**20


class Network:
    """The network `campus`, started from a home of its own."""

    def __init__(self, home: Path, *options: str) -> None:
        self.home = home
        self._netgpt("up", "campus", "--detach", "--port", "0", *options)
        rows = json.loads(self._netgpt("ps", "--json"))
        self.processes: dict[str, dict[str, Any]] = {row["name"]: row for row in rows}

    def _netgpt(self, verb: str, *words: str) -> str:
        clean = clean_environment()
        command = [sys.executable, "-m", "netgpt.cli.main", verb, *words, "--home", str(self.home)]
        done = subprocess.run(command, capture_output=True, text=True, timeout=120, env=clean, check=False)
        assert done.returncode == 0, done.stderr
        return done.stdout

    def down(self) -> None:
        self._netgpt("down")

    def url(self, name: str) -> str:
        return f"http://127.0.0.1:{self.processes[name]['port']}"

    def pid(self, name: str) -> int:
        return self.processes[name]["pid"]

    def rss_bytes(self) -> dict[str, int]:
        return {row["name"]: row["rss_bytes"] for row in json.loads(self._netgpt("ps", "--json"))}

    def events(self) -> list[dict[str, Any]]:
        return httpx.get(f"{self.url('controller')}/api/v1/events").json()["events"]

    def loads(self) -> list[Load]:
        """What every engine holds now."""
        credential = JoinAuthority(ensure_network_key(self.home), WallClock().date_s).credential("test")

        async def collect() -> list[Load]:
            found = []
            for name, row in self.processes.items():
                if row["role"] == "engine":
                    connection = GrpcTransport().connect(f"127.0.0.1:{self.processes[name]['port']}", credential=credential)
                    found.append(await ask(connection, "stats", Stats(), Load, deadline_s=5))
                    await connection.close()
            return found

        return asyncio.run(collect())


def eventually(condition: Callable[[], bool], what: str, within_s: float = DEADLINE_S) -> None:
    deadline_s = time.monotonic() + within_s
    while not condition():
        assert time.monotonic() < deadline_s, f"not within {within_s} s: {what}"
        time.sleep(0.02)


@pytest.fixture(scope="module")
def slow(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Network]:
    """`hash` engines with declared timing: the cloud makes ten tokens a second, as a 70B model would."""
    network = Network(tmp_path_factory.mktemp("slow"), "--engine", "hash", "--timing", "declared")
    try:
        yield network
    finally:
        network.down()


def long_story(tokens: int) -> str:
    """A prompt which none of the three models answers in fewer than `tokens` tokens."""
    tokenizer = ByteTokenizer()
    for number in range(1000):
        state = absorb(0, render_chat(tokenizer, [("user", f"story {number}")]))
        if all(_runs_on(f"hash-{tier}", hash_agreement(tier, CAMPUS.agreement), state, tokens) for tier in ("device", "edge", "cloud")):
            return f"story {number}"
    raise AssertionError("no such prompt")


def _runs_on(model: str, agreement: float, state: int, tokens: int) -> bool:
    law = HashLaw(model, agreement)
    for _ in range(tokens):
        token = law.choose(state, GREEDY, 0)[0]
        if token == ByteTokenizer.end_id:
            return False
        state = absorb(state, (token,))
    return True


CAMPUS = load_scenario("campus")
STORY = long_story(60)


def open_stream(network: Network, model: str, max_tokens: int, **more: Any) -> Any:
    body = {"model": model, "stream": True, "max_tokens": max_tokens, "temperature": 0, "messages": [{"role": "user", "content": STORY}], **more}
    return httpx.stream("POST", f"{network.url('device1-door')}/v1/chat/completions", json=body, timeout=30)


def test_an_answer_goes_on_elsewhere_when_its_engine_dies_and_no_token_is_lost_or_repeated(slow: Network):
    text, extras = "", {}
    with open_stream(slow, "auto", 40, stream_options={"include_usage": True}) as reply:
        for line in reply.iter_lines():
            if not line.startswith("data: {"):
                continue
            chunk = json.loads(line[6:])
            assert "error" not in chunk
            if chunk["choices"]:
                text += chunk["choices"][0]["delta"].get("content") or ""
            extras = chunk.get("netgpt") or extras
            if 0 < len(text) < 6 and slow.processes["cloud1-engine"]["pid"]:
                os.kill(slow.pid("cloud1-engine"), signal.SIGKILL)
                slow.processes["cloud1-engine"]["pid"] = 0
    origin = tuple(Span(node=span["node"], tokens=span["tokens"]) for span in extras["origin"])
    assert [span.node for span in origin] == ["cloud1", "edge1"]
    assert len(extras["switches"]) == 1
    request = ChatRequest(request_id="r", model="auto", messages=(("user", STORY),), temperature=0)
    finish = Finish(
        reason="", prompt_tokens=0, completion_tokens=0, cached_tokens=0, strategy="", why="", origin=origin, switches=(), seed=extras["seed"]
    )
    assert text == expected_text(CAMPUS, request, finish)
    door_sees = f"{slow.url('device1-door')}/v1/models/netgpt-cloud"
    eventually(lambda: httpx.get(door_sees).json()["netgpt"]["ready"], "the cloud serves again")
    slow.processes = {row["name"]: row for row in json.loads(slow._netgpt("ps", "--json"))}
    assert slow.processes["cloud1-engine"]["restarts"] == 1


@pytest.mark.parametrize("model", ["netgpt-device", "netgpt-edge", "netgpt-cloud"])
def test_a_client_that_goes_away_frees_slot_and_kv_on_every_node_within_a_second(slow: Network, model: str):
    with open_stream(slow, model, 1500) as reply:
        lines = reply.iter_lines()  # kept: a dropped iterator closes the stream
        next(lines)
        assert sum(load.running for load in slow.loads()) == 1
    gone_s = time.monotonic()
    eventually(lambda: all((load.running, load.waiting, load.held_tokens) == (0, 0, 0) for load in slow.loads()), "slots and KV are free", 1.0)
    assert time.monotonic() - gone_s <= 1.0


def test_the_controller_notices_a_silent_node_within_a_second(slow: Network):
    seen = len(slow.events())
    os.kill(slow.pid("edge1-door"), signal.SIGSTOP)
    silent_since_s = WallClock().date_s()
    try:
        eventually(lambda: any(event["kind"] == "node.lost" for event in slow.events()[seen:]), "the node is declared lost", 2.0)
        lost = next(event for event in slow.events()[seen:] if event["kind"] == "node.lost")
        assert lost["node"] == "edge1"
        assert lost["at_s"] - silent_since_s <= 1.0
    finally:
        os.kill(slow.pid("edge1-door"), signal.SIGCONT)
    eventually(lambda: any(event["kind"] == "node.found" for event in slow.events()[seen:]), "the node is found again")


def test_processes_stay_within_their_memory(tmp_path: Path):
    network = Network(tmp_path, "--engine", "torch")
    try:
        body = {"model": "netgpt-cloud", "max_tokens": 32, "messages": [{"role": "user", "content": "Which delay budget does 5QI 1 have?"}]}
        for node in ("device1", "edge1", "cloud1"):
            for model in ("netgpt-device", "netgpt-edge", "netgpt-cloud"):
                assert httpx.post(f"{network.url(f'{node}-door')}/v1/chat/completions", json={**body, "model": model}, timeout=60).status_code == 200
        weights_bytes = {row["name"]: 4 * _parameters(row["model"]) for row in network.processes.values() if row["role"] == "engine"}
        for name, rss_bytes in network.rss_bytes().items():
            limit_bytes = 450 * MIB + weights_bytes[name] if name in weights_bytes else 120 * MIB
            assert rss_bytes <= limit_bytes, f"{name} has {rss_bytes / MIB:.0f} MiB"
    finally:
        network.down()


def _parameters(model: str) -> int:
    card = Path(__file__).parents[2] / "weights" / model / "card.json"
    return json.loads(card.read_text(encoding="utf-8"))["parameters"]
