"""Schemas of `tools`, `tool_choice` and `response_format`, and of the messages that make and answer calls. Pure.

They admit what `api.tools`, `api.tool_messages` and `api.response_format` read. What they cannot say: that the
arguments of a call are JSON, that a result answers a call that was made, that a choice names one of the tools,
and that no two tools share a name.
"""

from __future__ import annotations

from typing import Any

from netgpt.api.tools import MAX_FUNCTIONS

_NAME = {"type": "string", "pattern": "^[a-zA-Z0-9_-]+$", "minLength": 1, "maxLength": 64}
_FLAG = {"type": ["boolean", "null"]}
_TEXT = {"type": ["string", "null"]}

CHOICE_NEEDS_TOOLS: dict[str, Any] = {
    "if": {"properties": {"tool_choice": {"anyOf": [{"const": "required"}, {"type": "object"}]}}, "required": ["tool_choice"]},
    "then": {"properties": {"tools": {"type": "array", "minItems": 1}}, "required": ["tools"]},
}


def _object(required: list[str], **properties: Any) -> dict[str, Any]:
    return {"type": "object", "required": required, "properties": properties}


def _of_function(function: dict[str, Any], **more: Any) -> dict[str, Any]:
    return _object(["type", "function", *more], type={"type": "string", "enum": ["function"]}, function=function, **more)


def callable_tools() -> dict[str, Any]:
    """`tools`, `tool_choice` and `parallel_tool_calls`."""
    arguments = {"type": ["object", "null"], "properties": {"type": {"enum": ["object"]}}, "description": "JSON Schema of the arguments."}
    function = _object(["name"], name=_NAME, description=_TEXT, parameters=arguments, strict=_FLAG)
    named = _of_function(_object(["name"], name=_NAME))
    return {
        "tools": {
            "type": ["array", "null"],
            "items": _of_function(function),
            "maxItems": MAX_FUNCTIONS,
            "description": "Functions that the client can run, each with a name of its own.",
        },
        "tool_choice": {
            "anyOf": [{"type": "string", "enum": ["none", "auto", "required"]}, named, {"type": "null"}],
            "description": "Whether the reply may, must or must not call, or the function that it must call.",
        },
        "parallel_tool_calls": {"type": ["boolean", "null"], "default": True, "description": "Whether a reply may make several calls."},
    }


def response_format() -> dict[str, Any]:
    """`response_format`."""
    plain = _object(["type"], type={"type": "string", "enum": ["text", "json_object"]})
    json_schema = _object(["name", "schema"], name=_NAME, schema={"type": "object"}, strict=_FLAG)
    held = _object(["type", "json_schema"], type={"type": "string", "enum": ["json_schema"]}, json_schema=json_schema)
    return {"anyOf": [plain, held, {"type": "null"}], "description": "What the text is held to: nothing, any JSON object, or a JSON Schema."}


def call_messages(content: dict[str, Any]) -> tuple[dict[str, Any], dict[str, Any]]:
    """The assistant's message that makes calls, and the message that answers one.

    Args:
        content: the schema of what every message says.
    """
    arguments = {"type": "string", "contentMediaType": "application/json", "description": "A JSON object, as text."}
    call = _of_function(_object(["name", "arguments"], name=_NAME, arguments=arguments), id={"type": "string"})
    content_or_none = {"anyOf": [*content["anyOf"], {"type": "null"}]}
    calling = _object(
        ["role", "tool_calls"],
        role={"type": "string", "enum": ["assistant"]},
        content=content_or_none,
        tool_calls={"type": "array", "items": call, "minItems": 1},
    )
    result = _object(
        ["role", "content", "tool_call_id"],
        role={"type": "string", "enum": ["tool"]},
        content=content,
        tool_call_id={"type": "string", "minLength": 1},
    )
    return calling, result
