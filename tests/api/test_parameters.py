"""Every parameter of the OpenAPI document with values of every wrong kind: it is taken, or refused by its name with a next step."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import httpx
import pytest

from netgpt.api.chat import CHAT
from netgpt.api.completion import COMPLETION
from netgpt.api.connection import MAX_BODY_BYTES
from netgpt.api.embedding import parse_embedding, parse_encoding
from netgpt.api.openapi import openapi_document
from netgpt.api.openapi_bodies import Served
from netgpt.core.clock import WallClock
from netgpt.core.errors import MOST_TOLD_CHARS, InvalidRequest, NotSupported

from .hash_door import hash_app, served_in_a_thread

SCHEMAS = openapi_document(Served(models=("auto",), context_tokens=2048, vocabulary=261))["components"]["schemas"]
HOSTILE: list[Any] = [
    *(True, False, 0, -1, 1, 1.5, 1e308, -1e308, float("nan"), float("inf"), 10**30, 10**400, 2**63, -(2**63) - 1),
    *("", "x", "null", "\ud800", "\x00", "\u202e\uffff", "a" * 100_000, "\N{PILE OF POO}" * 1000),
    *([], [None], [1], ["a"], [[]], [{}], ["\ud800"], [["a"]], [True] * 1000),
    *({}, {"a": 1}, {"type": "x"}, {"\ud800": 1}, {"when": "\ud800"}, {"match": []}, {"x" * 100_000: 1}),
]
LEAST = {
    "ChatBody": {"model": "auto", "messages": [{"role": "user", "content": "hi"}]},
    "CompletionBody": {"model": "auto", "prompt": "hi"},
    "EmbeddingBody": {"model": "auto", "input": "hi"},
}


def read_embedding(body: object, request_id: str, key: str = "") -> None:
    parse_embedding(body, request_id)
    parse_encoding(body)


READERS: dict[str, Callable[..., object]] = {"ChatBody": CHAT.parse, "CompletionBody": COMPLETION.parse, "EmbeddingBody": read_embedding}


def refusal(read: Callable[..., object], body: dict[str, Any]) -> InvalidRequest | NotSupported | None:
    try:
        read(body, "r", "")
    except (InvalidRequest, NotSupported) as error:
        return error
    return None


@pytest.mark.parametrize("schema", READERS)
def test_whatever_a_parameter_is_given_it_is_taken_or_refused_by_name(schema: str) -> None:
    for name in SCHEMAS[schema]["properties"]:
        for value in HOSTILE:
            if error := refusal(READERS[schema], {**LEAST[schema], name: value}):
                assert (error.param or "").startswith(name), (name, value)
                assert error.hint
                assert len(str(error.body("r"))) < MOST_TOLD_CHARS + 1500


def test_a_refusal_is_short_and_quick_however_long_the_value_was() -> None:
    with served_in_a_thread(hash_app(WallClock())) as url, httpx.Client(base_url=url) as client:
        for field in ("model", "strategy", "privacy", "service", "cache", "tool_choice"):
            value: Any = "x" * (MAX_BODY_BYTES - 1000)
            body = {**LEAST["ChatBody"], field: {value: 1} if field == "cache" else value}
            reply = client.post("/v1/chat/completions", json=body)
            assert reply.status_code in (400, 404)
            assert len(reply.content) < 2000
            assert reply.json()["hint"], field


def test_a_plan_checks_the_form_of_the_reply_too() -> None:
    with served_in_a_thread(hash_app(WallClock())) as url, httpx.Client(base_url=url) as client:
        for field, value in (("n", 0), ("stream", "yes"), ("stream_options", {"include_usage": True})):
            reply = client.post("/api/v1/plan", json={**LEAST["ChatBody"], field: value})
            assert (reply.status_code, reply.json()["error"]["param"]) == (400, field)
        assert client.post("/api/v1/plan", json={**LEAST["ChatBody"], "n": 2, "stream": True}).status_code == 200
