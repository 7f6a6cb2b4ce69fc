"""The OpenAPI document says what the door does, and its page needs nothing but itself."""

from __future__ import annotations

import asyncio
import json
import re
from collections.abc import Callable, Iterator, Mapping
from html import unescape
from typing import Any

import httpx
import pytest
from starlette.applications import Starlette
from starlette.routing import Route

from netgpt.api.chat import CHAT
from netgpt.api.completion import COMPLETION
from netgpt.api.docs_page import allowed, docs_page
from netgpt.api.embedding import parse_embedding, parse_encoding
from netgpt.api.openapi import openapi_document
from netgpt.api.openapi_bodies import Served

SERVED = Served(models=("netgpt-device", "auto"), context_tokens=2048, vocabulary=261)
DOCUMENT = openapi_document(SERVED)
SCHEMAS = DOCUMENT["components"]["schemas"]


class Watched(dict[str, Any]):
    """A body that knows which of its fields were read."""

    def __init__(self, values: Mapping[str, Any]) -> None:
        super().__init__(values)
        self.read: set[str] = set()

    def get(self, key: str, default: Any = None) -> Any:
        self.read.add(key)
        return super().get(key, default)


def read_embedding(body: object, request_id: str) -> None:
    parse_embedding(body, request_id)
    parse_encoding(body)


def test_every_route_of_the_door_is_in_the_document(scripted: Any, door_app: Callable[..., Starlette]) -> None:
    routes = {(route.path, method) for route in door_app(scripted([])).routes if isinstance(route, Route) for method in route.methods or ()}
    told = {(path, method.upper()) for path, methods in DOCUMENT["paths"].items() for method in methods}
    assert told == {(path, method) for path, method in routes if method != "HEAD"}


@pytest.mark.parametrize(
    ("schema", "parse", "least"),
    [
        ("ChatBody", CHAT.parse, {"messages": [{"role": "user", "content": "hi"}]}),
        ("CompletionBody", COMPLETION.parse, {"prompt": "hi"}),
        ("EmbeddingBody", read_embedding, {"input": "hi"}),
    ],
)
def test_every_field_that_is_read_is_in_the_document_and_no_other(schema: str, parse: Callable[..., Any], least: dict[str, Any]) -> None:
    unsaid = dict.fromkeys(("tools", "audio", "echo", "dimensions"))  # where none of some rare fields is there, they are not read one by one
    scored = {"top_logprobs": 1, "logprobs": True} if schema == "ChatBody" else {}
    body = Watched({"model": "auto", **least, **unsaid, **scored})
    parse(body, "r")
    assert set(SCHEMAS[schema]["properties"]) == body.read
    assert set(SCHEMAS[schema]["required"]) == {"model", *least}


def test_every_reference_leads_somewhere_and_ids_are_unique() -> None:
    def references(value: Any) -> Iterator[str]:
        if isinstance(value, dict):
            yield from (value["$ref"],) if "$ref" in value else ()
            for inner in value.values():
                yield from references(inner)
        elif isinstance(value, list):
            for inner in value:
                yield from references(inner)

    for reference in references(DOCUMENT):
        _, *steps = reference.split("/")
        target: Any = DOCUMENT
        for step in steps:
            target = target[step]
    ids = [operation["operationId"] for methods in DOCUMENT["paths"].values() for operation in methods.values()]
    assert len(set(ids)) == len(ids) == 11
    assert json.loads(json.dumps(DOCUMENT)) == DOCUMENT


def test_the_examples_are_bodies_that_parse() -> None:
    for path, parse in (("/v1/chat/completions", CHAT.parse), ("/v1/completions", COMPLETION.parse), ("/v1/embeddings", parse_embedding)):
        parse(DOCUMENT["paths"][path]["post"]["requestBody"]["content"]["application/json"]["example"], "r")


def test_the_page_names_every_route_and_field_and_loads_nothing() -> None:
    page = docs_page(DOCUMENT, "http://127.0.0.1:8000")
    text = unescape(re.sub(r"<[^>]+>", "", page))
    assert all(f"{method.upper()} {path}" in text for path, methods in DOCUMENT["paths"].items() for method in methods)
    assert all(name in text for body in ("ChatBody", "CompletionBody", "EmbeddingBody") for name in SCHEMAS[body]["properties"])
    assert not re.search(r"<script|<link|<img|src=|@import|url\(", page)
    assert {address for address in re.findall(r"https?://[\w.:]+", page)} == {"http://127.0.0.1:8000"}


def test_what_a_schema_admits_is_said_in_a_few_words() -> None:
    assert allowed(SCHEMAS["ChatBody"]["properties"]["temperature"]) == "number from 0 to 2, default 1"
    assert allowed(SCHEMAS["ChatBody"]["properties"]["stop"]) == "string, or array, each string"
    assert allowed(SCHEMAS["ChatBody"]["properties"]["presence_penalty"]) == "number from -2 to 2, default 0"
    assert allowed(SCHEMAS["ChatBody"]["properties"]["audio"]) == "leave out"
    assert allowed(SCHEMAS["EmbeddingBody"]["properties"]["dimensions"]) == "leave out"


def test_a_door_serves_both(scripted: Any, door_app: Any, serving: Any) -> None:
    async def main() -> None:
        async with serving(door_app(scripted([]))) as url, httpx.AsyncClient(base_url=url) as client:
            document = (await client.get("/openapi.json")).json()
            assert document["components"]["schemas"]["ChatBody"]["properties"]["model"]["enum"] == ["netgpt-edge", "auto"]
            page = await client.get("/docs")
            assert page.headers["content-type"] == "text/html; charset=utf-8"
            assert page.headers["content-security-policy"].startswith("default-src 'none'")
            assert f"curl {url}/v1/completions" in unescape(page.text)

    asyncio.run(main())
