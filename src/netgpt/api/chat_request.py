"""From the JSON of a chat completion to a `ChatRequest`: pure, strict about types, explicit about limits.

What would change the answer and is not implemented is refused, not ignored (`api.unsupported`); `strategy`, `privacy`, `deadline_s`,
`cache`, `compress`, `service`, `max_cost` and `max_energy_j` are NetGPT's own.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from typing import Any

from netgpt.api.cache_wish import read_cache
from netgpt.api.compress_wish import read_compress
from netgpt.api.fields import as_object, count, flag, number, refuse_unsupported, required_text, seed, text, whole, wrong
from netgpt.api.response_format import read_format
from netgpt.api.tool_calls import CallFormat
from netgpt.api.tool_messages import check_results, conversation, said_calls
from netgpt.api.tools import Tools, read_tools, tool_grammar
from netgpt.api.unsupported import CHAT
from netgpt.core.errors import InvalidRequest, NotSupported
from netgpt.core.spelling import did_you_mean
from netgpt.core.value import value
from netgpt.inference.choice import AUTO, CASCADE, ROUTE, TIER_OF_MODEL
from netgpt.inference.objective import LINK_CLASS, objective_of
from netgpt.inference.request import ChatRequest

MAX_CHOICES = 16  # answers that one request may ask for
MODEL_OF_STRATEGY = {name: name for name in (AUTO, CASCADE, ROUTE)} | {tier: model for model, tier in TIER_OF_MODEL.items()}
_TOKEN_ID = re.compile(r"0|[1-9][0-9]{0,8}")
_ROLES = {"developer": "system"}  # OpenAI's newer name
MOST_TOKENS = (1 << 31) - 1  # that a body may ask for; what fits, the model's context says


@value
class ReplyForm:
    """In which form the client wants its answer."""

    stream: bool = False
    include_usage: bool = False
    choices: int = 1  # answers to each prompt
    calls: CallFormat | None = None  # which calls are read out of the text; None: it is all text


def parse_chat(body: object, request_id: str, key: str = "") -> ChatRequest:
    """The request that `body` (parsed JSON) makes.

    Args:
        key: id of the API key that asks.

    Raises:
        InvalidRequest: a value of a wrong type or out of range; `param` names it.
        NotSupported: a parameter or kind of message that is not implemented.
    """
    fields = as_object(body)
    refuse_unsupported(fields, CHAT)
    tools = read_tools(fields)
    return ChatRequest(
        request_id=request_id,
        key=key,
        messages=_messages(fields.get("messages"), tools),
        grammar=tool_grammar(tools, read_format(fields.get("response_format"))),
        max_tokens=_max_tokens(fields),
        logprobs=flag(fields, "logprobs"),
        top_logprobs=_top_logprobs(fields),
        cache=read_cache(fields, tools=tools is not None),
        compress=read_compress(fields),
        **answer_fields(fields),
    )


def answer_fields(fields: Mapping[str, Any]) -> dict[str, Any]:
    """What every request for an answer may say, as fields of `ChatRequest`; those alone that are given. Raises InvalidRequest."""
    given = {"model": _model(fields), **{name: read(fields) for name, read in _OPTIONAL.items() if fields.get(name) is not None}}
    if "service" in given:
        given["qos"] = LINK_CLASS[given["service"]]
    return given


def _model(fields: Mapping[str, Any]) -> str:
    """The model that answers: the one that is named, or with `auto` the one of the strategy's tier."""
    model = required_text(fields, "model")
    strategy = AUTO if fields.get("strategy") is None else required_text(fields, "strategy")
    if strategy not in MODEL_OF_STRATEGY:
        raise InvalidRequest(f"unknown strategy {strategy!r}", hint=did_you_mean(strategy, MODEL_OF_STRATEGY), param="strategy")
    wanted = MODEL_OF_STRATEGY[strategy]
    if model == AUTO or wanted == AUTO:
        return wanted if model == AUTO else model
    if model in TIER_OF_MODEL and model != wanted:
        raise InvalidRequest(f"strategy {strategy!r} answers by {wanted!r}, not {model!r}", hint=f"ask model {AUTO!r} with it", param="strategy")
    return model


def parse_form(body: object) -> ReplyForm:
    """The form that `body` asks for. Raises InvalidRequest."""
    fields = as_object(body)
    stream = flag(fields, "stream")
    choices = count(fields, "n", least=1, most=MAX_CHOICES) or 1
    options = fields.get("stream_options")
    if options is None:
        return ReplyForm(stream=stream, choices=choices)
    if not isinstance(options, dict):
        raise wrong("stream_options", options, "an object")
    if not stream:
        raise InvalidRequest("stream_options is given without stream", hint="set stream to true, or leave them out", param="stream_options")
    return ReplyForm(stream=stream, include_usage=flag(options, "include_usage", within="stream_options."), choices=choices)


def _messages(value: object, tools: Tools | None) -> tuple[tuple[str, str], ...]:
    if not isinstance(value, list):
        raise wrong("messages", value, "a list of messages")
    if not value:
        raise InvalidRequest("messages is empty", hint="send at least one message", param="messages")
    messages = [_message(item, f"messages[{position}]") for position, item in enumerate(value)]
    check_results(value)
    return conversation(messages, tools)


def _message(value: object, where: str) -> tuple[str, str]:
    if not isinstance(value, dict):
        raise wrong(where, value, "an object with role and content")
    role, content = value.get("role"), value.get("content")
    if not isinstance(role, str):
        raise wrong(f"{where}.role", role, "'system', 'user' or 'assistant'")
    if role == "function":
        raise NotSupported("function messages are not supported", hint="send the result as a message of role 'tool'", param=where)
    calls = said_calls(value, where)
    if content is None and calls:
        content = ""
    if isinstance(content, list):
        content = "".join(_part(part, f"{where}.content[{position}]") for position, part in enumerate(content))
    said = text(content, f"{where}.content")
    return _ROLES.get(role, role), f"{said}\n{calls}" if said and calls else said or calls


def _part(value: object, where: str) -> str:
    if not isinstance(value, dict):
        raise wrong(where, value, 'an object such as {"type": "text", "text": "..."}')
    if value.get("type") != "text":
        raise NotSupported(f"{where} is not of type 'text'", hint="send text parts only", param=where)
    return text(value.get("text"), f"{where}.text")


def _max_tokens(fields: Mapping[str, Any]) -> int | None:
    old, new = (count(fields, name, least=1, most=MOST_TOKENS) for name in ("max_tokens", "max_completion_tokens"))
    if old is not None and new is not None and old != new:
        raise InvalidRequest(f"max_tokens is {old}, but max_completion_tokens is {new}", hint="give one of them", param="max_completion_tokens")
    return old if new is None else new


def _stop(value: object) -> tuple[str, ...]:
    if isinstance(value, str):
        value = [value]
    if not isinstance(value, list):
        raise wrong("stop", value, "a string or a list of strings")
    return tuple(text(item, "stop") for item in value)


def _logit_bias(value: object) -> tuple[tuple[int, float], ...]:
    """Token ids, as JSON has keys, and what each gains."""
    if not isinstance(value, dict):
        raise wrong("logit_bias", value, "an object of token ids and numbers")
    if not all(_TOKEN_ID.fullmatch(name) for name in value):
        raise InvalidRequest(
            "logit_bias has a key that is no token id", hint='give ids of tokens as strings, such as {"50": -100}', param="logit_bias"
        )
    biases = [(int(name), number({"logit_bias": bias}, "logit_bias", None)) for name, bias in value.items()]
    if any(bias is None for _, bias in biases):
        raise wrong("logit_bias", None, "a number for each token")
    return tuple(biases)


def _top_logprobs(fields: Mapping[str, Any]) -> int:
    likeliest = whole(fields, "top_logprobs")
    if likeliest and not flag(fields, "logprobs"):
        raise InvalidRequest(f"top_logprobs is {likeliest}, but logprobs is not true", hint="set logprobs too", param="top_logprobs")
    return likeliest or 0


_OPTIONAL: Mapping[str, Callable[[Mapping[str, Any]], Any]] = {
    "temperature": lambda fields: number(fields, "temperature", 1.0),
    "top_p": lambda fields: number(fields, "top_p", 1.0),
    "top_k": lambda fields: whole(fields, "top_k"),
    "presence_penalty": lambda fields: number(fields, "presence_penalty", 0.0),
    "frequency_penalty": lambda fields: number(fields, "frequency_penalty", 0.0),
    "logit_bias": lambda fields: _logit_bias(fields["logit_bias"]),
    "seed": seed,
    "stop": lambda fields: _stop(fields["stop"]),
    "privacy": lambda fields: required_text(fields, "privacy"),
    "deadline_s": lambda fields: number(fields, "deadline_s", None),
    "service": lambda fields: objective_of(required_text(fields, "service")).name,
    "max_cost": lambda fields: number(fields, "max_cost", None),
    "max_energy_j": lambda fields: number(fields, "max_energy_j", None),
}
