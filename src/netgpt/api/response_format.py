"""`response_format` of a chat completion: the shape that the reply's text is held to. Pure.

It checks what the field says; whether its schema can be followed, the engine says when it compiles it.
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from typing import Any

from netgpt.api.fields import flag, required_text, text, wrong
from netgpt.core.errors import InvalidRequest
from netgpt.core.spelling import did_you_mean
from netgpt.models.grammar import Grammar, json_grammar

PARAM = "response_format"
TYPES = ("text", "json_object", "json_schema")
NAME = re.compile(r"[a-zA-Z0-9_-]{1,64}")  # OpenAI's rule, for schemas and functions


def read_format(value: object) -> Grammar | None:
    """The grammar that `response_format` asks for; None for plain text.

    Whether `strict` is set changes nothing: the reply is always held to the schema.

    Raises:
        InvalidRequest: a wrong type or a missing field; `param` names it.
    """
    if value is None:
        return None
    if not isinstance(value, dict):
        raise wrong(PARAM, value, 'an object such as {"type": "json_object"}')
    kind = text(value.get("type"), f"{PARAM}.type")
    if kind not in TYPES:
        raise InvalidRequest(f"unknown {PARAM} {kind!r}", hint=did_you_mean(kind, TYPES), param=f"{PARAM}.type")
    if kind == "text":
        return None
    return json_grammar('{"type":"object"}' if kind == "json_object" else _schema(value.get("json_schema")), param=PARAM)


def _schema(value: object) -> str:
    where = f"{PARAM}.json_schema"
    if not isinstance(value, dict):
        raise wrong(where, value, "an object with name and schema")
    check_name(value, where)
    flag(value, "strict", within=f"{where}.")
    return schema_text(value.get("schema"), f"{where}.schema")


def check_name(fields: Mapping[str, Any], where: str) -> str:
    """The field `name`, if it is one that OpenAI's API takes.

    Raises:
        InvalidRequest: it is missing, or has other characters or too many.
    """
    try:
        name = required_text(fields, "name")
    except InvalidRequest as error:
        raise InvalidRequest(error.message, hint=error.hint, param=f"{where}.name") from error
    if not NAME.fullmatch(name):
        raise InvalidRequest(f"{where}.name is {name[:80]!r}", hint="use 1 to 64 letters, digits, underscores and dashes", param=f"{where}.name")
    return name


def schema_text(schema: object, where: str) -> str:
    """A JSON Schema as text, its keys in their order: the order in which a reply has its properties.

    Raises:
        InvalidRequest: no object, or what JSON cannot hold.
    """
    if not isinstance(schema, dict):
        raise wrong(where, schema, "a JSON Schema: an object")
    try:
        return text(json.dumps(schema, ensure_ascii=False, allow_nan=False, separators=(",", ":")), where)
    except (ValueError, RecursionError) as error:
        raise InvalidRequest(f"{where} cannot be written as JSON: {error}", hint="give finite numbers, and nest less deeply", param=where) from error
