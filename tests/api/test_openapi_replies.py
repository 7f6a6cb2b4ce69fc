"""What a door replies is what its OpenAPI document says, field by field, whatever the reply has in it."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from typing import Any

import httpx
import jsonschema
import pytest

from netgpt.api.account import ReplyHead, Told
from netgpt.api.chat import CHAT
from netgpt.api.openapi import openapi_document
from netgpt.api.openapi_bodies import Served
from netgpt.api.reply import to_json
from netgpt.api.tool_calls import ToolCall, call_text
from netgpt.core.clock import WallClock
from netgpt.inference.request import CacheUse, Compression, Delta, Finish, Span

from .hash_door import hash_app, served_in_a_thread

DOCUMENT = openapi_document(Served(models=("auto",), context_tokens=2048, vocabulary=261))
COMPONENTS = DOCUMENT["components"]["schemas"]
HEAD = ReplyHead(id="chatcmpl-1", model="auto", created=1, entry="device1")
HELLO = [{"role": "user", "content": "hello"}]
WEATHER = {"type": "function", "function": {"name": "weather"}}


@pytest.fixture(scope="module")
def door() -> Iterator[httpx.Client]:
    with served_in_a_thread(hash_app(WallClock())) as url, httpx.Client(base_url=url) as client:
        yield client


def undescribed(schema: Any, value: Any, where: str = "") -> Iterator[str]:
    """Fields of a value that its schema does not name; in a map, every name is as good as another."""
    schema = next((one for one in schema.get("anyOf", ()) if (one == {"type": "null"}) == (value is None)), schema)
    if "$ref" in schema:
        schema = COMPONENTS[schema["$ref"].rpartition("/")[2]]
    if isinstance(value, list):
        for item in value:
            yield from undescribed(schema.get("items", {}), item, f"{where}[]")
    elif isinstance(value, dict):
        known, rest = schema.get("properties", {}), schema.get("additionalProperties")
        for name, inner in value.items():
            if name not in known and rest is None:
                yield f"{where}.{name}"
            else:
                yield from undescribed(known.get(name, rest), inner, f"{where}.{name}")


def check(name: str, reply: Any) -> None:
    reply = json.loads(to_json(reply))
    jsonschema.validate(reply, {"$ref": f"#/components/schemas/{name}", "components": {"schemas": COMPONENTS}}, jsonschema.Draft202012Validator)
    assert sorted(set(undescribed(COMPONENTS[name], reply))) == []


@pytest.mark.parametrize(
    ("path", "name", "fields"),
    [
        ("/v1/chat/completions", "ChatCompletion", {"messages": HELLO}),
        ("/v1/chat/completions", "ChatCompletion", {"messages": HELLO, "n": 2, "logprobs": True, "top_logprobs": 2}),
        ("/v1/chat/completions", "ChatCompletion", {"messages": HELLO, "cache": {}, "compress": True, "service": "batch"}),
        ("/v1/completions", "Completion", {"prompt": ["a", "b"], "logprobs": 2}),
        ("/v1/embeddings", "Embeddings", {"input": ["a", "b"]}),
        ("/api/v1/plan", "Plan", {"messages": HELLO}),
        ("/v1/chat/completions", "Error", {"messages": []}),
    ],
)
def test_a_reply_has_no_field_that_the_document_does_not_describe(path: str, name: str, fields: dict[str, Any], door: httpx.Client) -> None:
    check(name, door.post(path, json={"model": "auto", "max_tokens": 5, **fields}).json())


@pytest.mark.parametrize(("path", "name"), [("/v1/models", "Models"), ("/v1/models/auto", "Model"), ("/health", "Health"), ("/ready", "Readiness")])
def test_so_has_what_is_only_read(path: str, name: str, door: httpx.Client) -> None:
    check(name, door.get(path).json())


def test_a_call_and_its_finish_reason_are_described(make_finish: Callable[..., Finish]) -> None:
    asked = CHAT.parse({"model": "auto", "messages": HELLO, "tools": [WEATHER]}, "chatcmpl-1", "")
    text = call_text(ToolCall(name="weather", arguments="{}"))
    reply = CHAT.whole(HEAD, asked.requests[0], asked.form, [Told(deltas=(Delta(text=text, origin="e"),), finish=make_finish())])
    assert reply["choices"][0]["finish_reason"] == "tool_calls"
    check("ChatCompletion", reply)


def test_all_that_an_account_may_tell_is_described(make_finish: Callable[..., Finish]) -> None:
    told = [
        make_finish(
            origin=(Span(node="edge1", tokens=1, recoded=True), Span(node="cloud1", tokens=1, kept=True)),
            switches=("edge1 failed (node_unreachable); cloud1 goes on",),
            counted_by={"prompt_tokens": ("edge1",)},
            cache=CacheUse(result="hit", node="edge1", match="semantic", age_s=3.0, similarity=0.9),
            compression=compression,
        )
        for compression in (
            Compression(fidelity="compressed", by="words", rate=0.5, prompt_tokens=90, left_out_tokens=30, left_out_parts=3, took_s=0.1),
            Compression(fidelity="whole", why="short", prompt_tokens=9),
        )
    ]
    asked = CHAT.parse({"model": "auto", "messages": HELLO, "n": 2}, "chatcmpl-1", "")
    deltas = (Delta(text="a", origin="edge1"),)
    check("ChatCompletion", CHAT.whole(HEAD, asked.requests[0], asked.form, [Told(deltas=deltas, finish=finish) for finish in told]))
    alone = CHAT.parse({"model": "auto", "messages": HELLO}, "chatcmpl-1", "")
    for finish in told:
        check("ChatCompletion", CHAT.whole(HEAD, alone.requests[0], alone.form, [Told(deltas=deltas, finish=finish)]))
