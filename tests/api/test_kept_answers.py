"""Kept answers over HTTP: two API keys, streamed and whole, with what the reply says of them."""

from __future__ import annotations

import asyncio
from dataclasses import replace
from pathlib import Path
from typing import Any

import httpx
import pytest

from netgpt.api.app import create_door_app
from netgpt.api.auth import Guard
from netgpt.api.key_file import KeyFile, KeyStore, local_key, scope_secret, secrets_folder
from netgpt.api.keys import KeyWishes
from netgpt.cli.main import main
from netgpt.core.chance import SeededChance
from netgpt.core.clock import WallClock
from netgpt.core.storage import DiskStorage
from netgpt.engine.hash_engine import HashEngine
from netgpt.inference import recalling
from netgpt.inference.cache import AnswerCache, engine_embedder
from netgpt.inference.door import Door
from netgpt.models.tokenizer import ByteTokenizer
from netgpt.node.handle import NodeHandle
from netgpt.node.service import EngineService
from netgpt.telemetry.metrics import Metrics

from .hash_door import DirectConnection, card, member

CHAT, TEXT = "/v1/chat/completions", "/v1/completions"
CLOCK = WallClock()
ASKED = "What is the packet delay budget of 5QI 3?"
PARAPHRASE = "Please tell me what the packet delay budget of 5QI 3 is."


def app_of_a_home(home: Path) -> tuple[Any, Door]:
    """A door at an edge node that keeps answers, in front of a home with keys."""
    engine, metrics, edge = HashEngine(card("edge"), CLOCK), Metrics(), replace(member("edge"), keeps=True)
    keeper = AnswerCache(CLOCK, entries=20, embed=engine_embedder(engine, ByteTokenizer()))
    connection = DirectConnection(EngineService("edge1", engine, lambda call: "edge1", keeper=keeper))
    door = Door(
        entry=lambda: edge,
        members=lambda: [edge],
        handle=lambda one: NodeHandle(one, connection, ByteTokenizer(), CLOCK, is_entry=True),
        tokenizer=ByteTokenizer(),
        clock=CLOCK,
        chance=SeededChance(1),
        metrics=metrics,
        record=lambda *_, **__: None,
        scope_secret=scope_secret(home),
    )
    guard = Guard(keys=KeyFile(DiskStorage(secrets_folder(home)), CLOCK), clock=CLOCK, bind="127.0.0.1", metrics=metrics)
    return create_door_app(door, node_id="edge1", metrics=metrics, ready=lambda: True, chance=SeededChance(1), guard=guard), door


def test_each_key_is_given_its_own_answers_alone_and_every_reply_says_where_it_is_from(
    serving: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(recalling, "RECALL_S", 30.0)  # on a busy machine a look takes its time
    store = KeyStore(tmp_path, CLOCK)
    store.renew_local()
    alice, bob = (store.create(KeyWishes(name=name))[0] for name in ("alice", "bob"))
    app, door = app_of_a_home(tmp_path)  # after the keys: it looks for new ones once a second

    async def story() -> None:
        async with serving(app) as url, httpx.AsyncClient(base_url=url, timeout=60) as client:

            async def ask(key: str, text: str = ASKED, path: str = CHAT, **fields: Any) -> Any:
                asked: dict[str, Any] = {"messages": [{"role": "user", "content": text}]} if path == CHAT else {"prompt": text}
                body = {"model": "netgpt-edge", "temperature": 0, "max_tokens": 30, "cache": {"match": "semantic"}} | asked | fields
                reply = await client.post(path, json=body, headers={"Authorization": f"Bearer {key}"})
                while door._recalling._keeping:  # what is to be kept is sent after its user has it
                    await asyncio.sleep(0.01)
                assert reply.status_code == 200, reply.text
                return reply.json() if not fields.get("stream") else reply.text

            first = await ask(alice)
            assert first["netgpt"]["cache"] == {"result": "miss", "node": "edge1", "why": "edge1 keeps no such answer"}
            again = await ask(alice, PARAPHRASE)
            assert again["choices"][0]["message"] == first["choices"][0]["message"]
            use = again["netgpt"]["cache"]
            assert (use["result"], use["match"], use["node"]) == ("hit", "semantic", "edge1")
            assert 0.4 <= use["similarity"] < 1
            assert again["netgpt"]["origin"] == [{"node": "edge1", "tokens": first["usage"]["completion_tokens"], "kept": True}]
            assert again["usage"]["prompt_tokens_details"] == {"cached_tokens": 0}
            assert again["usage"]["prompt_tokens"] > first["usage"]["prompt_tokens"], "of its own prompt"
            for text in (ASKED, PARAPHRASE):
                assert (await ask(bob, text, cache={"match": "semantic", "keep": False}))["netgpt"]["cache"]["result"] == "miss"
            streamed = await ask(alice, stream=True)
            assert '"result":"hit"' in streamed.replace(" ", "")
            raw = [await ask(alice, path=TEXT) for _ in range(2)]
            assert [reply["netgpt"]["cache"]["result"] for reply in raw] == ["miss", "hit"]
            assert raw[0]["choices"][0]["text"] == raw[1]["choices"][0]["text"]
            assert "cache" not in (await ask(alice, cache=None))["netgpt"]
            refused = await ask(alice, cache={}, temperature=1)
            assert "sampled" in refused["netgpt"]["cache"]["why"]
            several = await ask(alice, "What is slicing?", n=3)
            assert len({choice["message"]["content"] for choice in several["choices"]}) == 1
            metrics = (await client.get("/metrics", headers={"Authorization": f"Bearer {local_key(tmp_path)}"})).text
            assert 'netgpt_cache_requests_total{result="semantic"} 1.0' in metrics

    asyncio.run(story())


def test_a_wish_that_is_wrong_is_refused_by_name(serving: Any, tmp_path: Path) -> None:
    store = KeyStore(tmp_path, CLOCK)
    store.renew_local()

    async def story() -> None:
        async with serving(app_of_a_home(tmp_path)[0]) as url, httpx.AsyncClient(base_url=url) as client:
            body = {"model": "netgpt-edge", "messages": [{"role": "user", "content": ASKED}], "cache": {"mach": "semantic"}}
            reply = await client.post(CHAT, json=body)
            assert reply.status_code == 400
            assert reply.json()["error"]["param"] == "cache"
            assert "did you mean 'match'" in reply.json()["hint"]

    asyncio.run(story())


def test_names_of_scopes_come_from_what_a_home_alone_knows(tmp_path: Path) -> None:
    here, there = tmp_path / "here", tmp_path / "there"
    for home in (here, there):
        KeyStore(home, CLOCK).renew_local()
    assert scope_secret(here) == scope_secret(here) != scope_secret(there)
    before = scope_secret(here)
    KeyStore(here, CLOCK).renew_local()
    assert scope_secret(here) != before
    nowhere = tmp_path / "nowhere"
    assert scope_secret(nowhere) != scope_secret(nowhere), "without a key nobody else's guess is right"


@pytest.mark.parametrize("number", ["-1", "1000001", "many"])
def test_a_node_refuses_a_number_of_answers_that_cannot_be(number: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["node", "--listen", "127.0.0.1:7000", "--cache-entries", number]) == 2
    assert "--cache-entries" in capsys.readouterr().err
