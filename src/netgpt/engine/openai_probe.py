"""What an upstream can do, found out by asking it for a few tokens. Nothing is assumed from its name or version.

Every answer is from a stranger: one that fits no expectation means that the upstream cannot do the thing.
Only a server that is not there, or refuses the key or the model, ends a probe with an error.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import replace
from typing import Any

from netgpt.core.errors import InvalidRequest, ModelNotFound, NetgptError, NodeUnreachable
from netgpt.core.spelling import did_you_mean
from netgpt.engine.openai_answer import OpenAIServer
from netgpt.engine.openai_request import CONTINUATIONS, Probed, chat_body, usage_fields
from netgpt.models.generation import Turn

MOST_TOP_LOGPROBS = 20  # of OpenAI's API
PROBE_TOKENS = 4  # so that one of them is text
_QUESTION = (Turn(role="user", content="1"),)
_CONTEXT_KEYS = ("max_model_len", "n_ctx", "context_length", "context_window", "n_ctx_train")
_PARAMETER_KEYS = ("parameters", "n_params")


async def probe(server: OpenAIServer, model: str) -> Probed:
    """Find out what the server does with `model`; the first that it lists if that is empty.

    Raises:
        NodeUnreachable: it is not there, or answers no chat request.
        ModelNotFound: it lists no model and none is named, or it does not have that one.
        AuthenticationFailed: it refuses the key.
    """
    found, names = await _listed(server, model)
    try:
        found = await _streaming(server, found)
    except ModelNotFound as error:
        raise ModelNotFound(f"{server.url} has no model {found.model!r}", hint=did_you_mean(found.model, names[:100]), param="model") from error
    continuation = await _continuation(server, found)
    prompt_ids = await _completes(server, found, {"prompt": [1], "max_tokens": 1}, _counts_one_token)
    scores = await _completes(server, found, {"prompt": "1 2 3", "max_tokens": 1, "echo": True, "logprobs": 1}, _scores_the_prompt)
    return replace(found, continuation=continuation, prompt_ids=prompt_ids, scores=scores)


async def listed_names(server: OpenAIServer) -> list[str] | None:
    """The models that the server lists; None if it lists none at all.

    Raises:
        NodeUnreachable, AuthenticationFailed, Overloaded: it cannot be asked.
    """
    entries = await _entries(server)
    return None if entries is None else [entry["id"] for entry in entries]


async def _entries(server: OpenAIServer) -> list[dict[str, Any]] | None:
    try:
        value = _object(await server.ask("GET", "/models"))
    except (InvalidRequest, ModelNotFound):
        return None  # some servers list nothing
    entries = value.get("data")
    if not isinstance(entries, list) or not all(isinstance(entry, dict) and isinstance(entry.get("id"), str) for entry in entries):
        raise NodeUnreachable(f"{server.url} does not list models as OpenAI's API does", hint="give the base URL that ends in /v1")
    return entries


async def _listed(server: OpenAIServer, model: str) -> tuple[Probed, list[str]]:
    """What the server's list says of the model, and all names in it. One that is not listed may be served all the same."""
    entries = await _entries(server) or []
    names = [entry["id"] for entry in entries]
    if not entries and not model:
        raise ModelNotFound(f"{server.url} lists no model", hint="start one there, or name the model", param="model")
    if model and model not in names:
        return Probed(model=model, context_tokens=await _slot_context(server)), names
    entry = entries[names.index(model)] if model else entries[0]
    places = [entry, *(entry[key] for key in ("meta", "netgpt") if isinstance(entry.get(key), dict))]
    tokenizer = next((place["tokenizer"] for place in places if isinstance(place.get("tokenizer"), str)), "")
    context_tokens = _first_count(places, _CONTEXT_KEYS) or await _slot_context(server)
    found = Probed(
        model=entry["id"], listed=True, context_tokens=context_tokens, parameters=_first_count(places, _PARAMETER_KEYS), tokenizer=tokenizer[:128]
    )
    return found, names


async def _slot_context(server: OpenAIServer) -> int:
    """The context of a llama.cpp server's slots, which its list of models may leave out."""
    try:
        value = _object(await server.ask("GET", "/props", root=True))
    except NetgptError:
        return 0
    settings = value.get("default_generation_settings")
    return _first_count([settings], _CONTEXT_KEYS) if isinstance(settings, dict) else 0


async def _streaming(server: OpenAIServer, found: Probed) -> Probed:
    """Streams one short answer with everything that is wanted, then with less until the server takes it."""
    keys = ("max_tokens", "max_completion_tokens")
    wishes = [(top, usage, key) for key in keys for top, usage in ((MOST_TOP_LOGPROBS, True), (5, True), (None, True), (None, False))]
    refused: NetgptError | None = None
    for top, usage, key in wishes:
        fields = {key: PROBE_TOKENS, "temperature": 0, "stream": True} | usage_fields(usage)
        fields |= {} if top is None else {"logprobs": True, "top_logprobs": top}
        try:
            scored, counted = await _stream_once(server, chat_body(found, _QUESTION, "", fields))
        except InvalidRequest as error:
            refused = error
            continue
        return replace(found, limit_key=key, usage=counted, top_logprobs=top if scored else None)
    raise NodeUnreachable(f"{server.url} refuses every chat request: {refused}", hint="give the name of a chat model that it serves")


async def _stream_once(server: OpenAIServer, body: bytes) -> tuple[bool, bool]:
    """Whether log-probabilities came, and whether usage did."""
    scored = counted = False
    answer = server.answer(body)
    try:
        while chunks := await answer.chunks():
            scored = scored or any(chunk.scored for chunk in chunks)
            counted = counted or any(chunk.completion_tokens is not None for chunk in chunks)
    finally:
        answer.close()
    return scored, counted


async def _continuation(server: OpenAIServer, found: Probed) -> str:
    """The way in which the server goes on from a last message of the assistant.

    Told by the prompt's length: going on from "1" adds its token (with some tokenizers a blank before it),
    while a closed turn and the head of a new one add more.
    """
    alone = await _prompt_tokens(server, chat_body(found, _QUESTION, "", {found.limit_key: 1}))
    if alone is None:
        return ""
    for name in CONTINUATIONS:
        whole = await _prompt_tokens(server, chat_body(replace(found, continuation=name), _QUESTION, "1", {found.limit_key: 1}))
        if whole is not None and 1 <= whole - alone <= 2:
            return name
    return ""


async def _prompt_tokens(server: OpenAIServer, body: bytes) -> int | None:
    try:
        usage = _object(await server.ask("POST", "/chat/completions", body)).get("usage")
    except (InvalidRequest, NodeUnreachable):
        return None
    count = usage.get("prompt_tokens") if isinstance(usage, dict) else None
    return count if isinstance(count, int) else None


async def _completes(server: OpenAIServer, found: Probed, fields: Mapping[str, Any], fits: Any) -> bool:
    """Whether `/v1/completions` answers as a server does that understands `fields`."""
    try:
        return bool(fits(_object(await server.ask("POST", "/completions", json.dumps({"model": found.model, **fields}).encode()))))
    except (NetgptError, LookupError, TypeError, AttributeError):
        return False


def _counts_one_token(value: Mapping[str, Any]) -> bool:
    return 1 <= value["usage"]["prompt_tokens"] <= 2  # perhaps with a token that begins the text


def _scores_the_prompt(value: Mapping[str, Any]) -> bool:
    choice = value["choices"][0]
    return choice["text"].startswith("1 2 3") and len(choice["logprobs"]["token_logprobs"]) > 2


def _object(content: bytes) -> dict[str, Any]:
    try:
        value = json.loads(content)
    except (ValueError, RecursionError):
        value = None
    if not isinstance(value, dict):
        raise NodeUnreachable(
            "the upstream answers with what is no JSON object", hint="give the base URL of an OpenAI-compatible API, which ends in /v1"
        )
    return value


def _first_count(places: list[dict[str, Any]], keys: tuple[str, ...]) -> int:
    """The first positive whole number under one of `keys`; 0 if there is none."""
    found = (place.get(key) for key in keys for place in places)
    return next((value for value in found if isinstance(value, int) and not isinstance(value, bool) and 0 < value < 1 << 53), 0)
