"""From the JSON of a chat completion to a `ChatRequest`: pure, strict about types, explicit about limits.

What would change the answer and is not implemented is refused, not ignored. What is unknown is
ignored, as clients send vendors' extras; `privacy` and `deadline_s` are NetGPT's own.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from netgpt.core.errors import InvalidRequest, NotSupported
from netgpt.inference.request import ChatRequest

_ROLES = {"developer": "system"}  # OpenAI's newer name
_SEED_RANGE = range(-(1 << 63), 1 << 63)
_LARGEST = 1e300  # of a number that is not whole; keeps infinities and NaN out

# OpenAI's parameters that are not implemented, and the values with which they change nothing.
_INERT: dict[str, tuple[object, ...]] = {
    "n": (1,),
    "presence_penalty": (0,),
    "frequency_penalty": (0,),
    "logit_bias": ({},),
    "tools": ([],),
    "functions": ([],),
    "response_format": ({"type": "text"},),
    "modalities": (["text"],),
    "audio": (),
    "web_search_options": (),
}


@dataclass(frozen=True, kw_only=True)
class ReplyForm:
    """In which form the client wants its answer."""

    stream: bool = False
    include_usage: bool = False


def parse_chat(body: object, request_id: str) -> ChatRequest:
    """The request that `body` (parsed JSON) makes.

    Raises:
        InvalidRequest: a value of a wrong type or out of range; `param` names it.
        NotSupported: a parameter or kind of message that is not implemented.
    """
    fields = _object(body)
    for name, inert in _INERT.items():
        value = fields.get(name)
        if value is not None and value not in inert:
            raise NotSupported(f"{name} is not supported", hint=f"leave {name} out", param=name)
    return ChatRequest(
        request_id=request_id,
        model=_required_text(fields, "model"),
        messages=_messages(fields.get("messages")),
        max_tokens=_max_tokens(fields),
        temperature=_number(fields, "temperature", 1.0),
        top_p=_number(fields, "top_p", 1.0),
        top_k=_whole(fields, "top_k") or 0,
        seed=_seed(fields),
        stop=_stop(fields.get("stop")),
        logprobs=_flag(fields, "logprobs"),
        top_logprobs=_top_logprobs(fields),
        privacy=_required_text(fields, "privacy") if fields.get("privacy") is not None else ChatRequest.privacy,
        deadline_s=_number(fields, "deadline_s", None),
    )


def parse_form(body: object) -> ReplyForm:
    """The form that `body` asks for. Raises InvalidRequest."""
    fields = _object(body)
    stream = _flag(fields, "stream")
    options = fields.get("stream_options")
    if options is None:
        return ReplyForm(stream=stream)
    if not isinstance(options, dict):
        raise _wrong("stream_options", options, "an object")
    if not stream:
        raise InvalidRequest("stream_options is given without stream", hint="set stream to true, or leave them out", param="stream_options")
    return ReplyForm(stream=stream, include_usage=_flag(options, "include_usage", within="stream_options."))


def _messages(value: object) -> tuple[tuple[str, str], ...]:
    if not isinstance(value, list):
        raise _wrong("messages", value, "a list of messages")
    return tuple(_message(item, f"messages[{position}]") for position, item in enumerate(value))


def _message(value: object, where: str) -> tuple[str, str]:
    if not isinstance(value, dict):
        raise _wrong(where, value, "an object with role and content")
    role, content = value.get("role"), value.get("content")
    if not isinstance(role, str):
        raise _wrong(f"{where}.role", role, "'system', 'user' or 'assistant'")
    if role in ("tool", "function") or value.get("tool_calls"):
        raise NotSupported("tool messages are not supported", hint="send system, user and assistant messages", param=where)
    if isinstance(content, list):
        content = "".join(_part(part, f"{where}.content[{position}]") for position, part in enumerate(content))
    return _ROLES.get(role, role), _text(content, f"{where}.content")


def _part(value: object, where: str) -> str:
    if not isinstance(value, dict):
        raise _wrong(where, value, 'an object such as {"type": "text", "text": "..."}')
    if value.get("type") != "text":
        raise NotSupported(f"{where} is not of type 'text'", hint="send text parts only", param=where)
    return _text(value.get("text"), f"{where}.text")


def _max_tokens(fields: Mapping[str, Any]) -> int | None:
    old, new = _whole(fields, "max_tokens"), _whole(fields, "max_completion_tokens")
    if old is not None and new is not None and old != new:
        raise InvalidRequest(f"max_tokens is {old}, but max_completion_tokens is {new}", hint="give one of them", param="max_completion_tokens")
    return old if new is None else new


def _seed(fields: Mapping[str, Any]) -> int | None:
    seed = _whole(fields, "seed")
    if seed is not None and seed not in _SEED_RANGE:
        raise InvalidRequest(f"seed is {seed}", hint="give a whole number of 64 bits", param="seed")
    return seed


def _stop(value: object) -> tuple[str, ...]:
    if value is None:
        return ()
    if isinstance(value, str):
        value = [value]
    if not isinstance(value, list):
        raise _wrong("stop", value, "a string or a list of strings")
    return tuple(_text(item, "stop") for item in value)


def _top_logprobs(fields: Mapping[str, Any]) -> int:
    count = _whole(fields, "top_logprobs")
    if count and not _flag(fields, "logprobs"):
        raise InvalidRequest(f"top_logprobs is {count}, but logprobs is not true", hint="set logprobs too", param="top_logprobs")
    return count or 0


def _object(body: object) -> Mapping[str, Any]:
    if not isinstance(body, dict):
        raise InvalidRequest(f"the body is {_kind(body)}", hint="send one JSON object with model and messages")
    return body


def _required_text(fields: Mapping[str, Any], name: str) -> str:
    return _text(fields.get(name), name)


def _text(value: object, param: str) -> str:
    if not isinstance(value, str):
        raise _wrong(param, value, "a string")
    try:
        value.encode()
    except UnicodeEncodeError as error:
        raise InvalidRequest(f"{param} holds half of a surrogate pair", hint="send valid Unicode", param=param) from error
    return value


def _flag(fields: Mapping[str, Any], name: str, *, within: str = "") -> bool:
    value = fields.get(name)
    if value is not None and not isinstance(value, bool):
        raise _wrong(within + name, value, "true or false")
    return bool(value)


def _whole(fields: Mapping[str, Any], name: str) -> int | None:
    value = fields.get(name)
    if value is not None and (isinstance(value, bool) or not isinstance(value, int)):
        raise _wrong(name, value, "a whole number")
    return value


def _number(fields: Mapping[str, Any], name: str, default: Any) -> Any:
    value = fields.get(name)
    if value is None:
        return default
    if isinstance(value, bool) or not isinstance(value, int | float) or not -_LARGEST < value < _LARGEST:
        raise _wrong(name, value, "a finite number")
    return value


def _wrong(param: str, value: object, wanted: str) -> InvalidRequest:
    """The value itself is not shown: it may be content."""
    return InvalidRequest(f"{param} is {_kind(value)}", hint=f"give {wanted}", param=param)


def _kind(value: object) -> str:
    kinds = {type(None): "missing or null", bool: "true or false", int: "a number", float: "a number", str: "a string", list: "a list"}
    return kinds.get(type(value), "an object")
