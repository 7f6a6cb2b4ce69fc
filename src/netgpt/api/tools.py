"""`tools`, `tool_choice` and `parallel_tool_calls` of a chat completion: what may be called, and what must be. Pure.

A call that must be made is a matter of grammar; one that may be made is text, which `api.tool_calls`
reads. No function is run here: the client does that, and sends the result.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from netgpt.api.fields import flag, text, wrong
from netgpt.api.response_format import check_name, schema_text
from netgpt.api.tool_calls import CALL_CLOSE, CALL_OPEN, CallFormat, call_head
from netgpt.core.errors import InvalidRequest, NotSupported
from netgpt.core.spelling import did_you_mean
from netgpt.models.grammar import Form, Grammar

PARAM = "tools"
MAX_FUNCTIONS = 128
MAX_CALLS = 16  # in one reply
_CHOICES = ("none", "auto", "required")
_NO_ARGUMENTS: dict[str, Any] = {"properties": {}, "additionalProperties": False}


@dataclass(frozen=True, kw_only=True)
class Function:
    """One function that the client can run."""

    name: str
    listing: str  # the client's own description, as JSON
    arguments: str  # JSON Schema of its arguments, as JSON


@dataclass(frozen=True, kw_only=True)
class Tools:
    """What one request may call."""

    functions: tuple[Function, ...]
    forced: tuple[Function, ...]  # of these one at least must be called; empty: the model may also just speak
    most: int  # calls in the reply

    @property
    def calls(self) -> CallFormat:
        """How the reply is to be read."""
        return CallFormat(names=frozenset(function.name for function in self.functions), most=self.most)


_PARAMS = frozenset({PARAM, "tool_choice", "parallel_tool_calls"})


def read_tools(fields: Mapping[str, Any]) -> Tools | None:
    """What the fields of a body allow to call; None where nothing may be called.

    Raises:
        InvalidRequest: a wrong type, a name given twice, a choice that is not among the tools.
        NotSupported: a tool that is not a function.
    """
    if _PARAMS.isdisjoint(fields):
        return None
    functions = _functions(fields.get(PARAM))
    choice, named = _choice(fields.get("tool_choice"))
    parallel = fields.get("parallel_tool_calls") is None or flag(fields, "parallel_tool_calls")
    if not functions:
        if named or choice == "required":
            raise InvalidRequest("tool_choice is given without tools", hint="give tools too", param="tool_choice")
        return None
    by_name = {function.name: function for function in functions}
    if len(by_name) < len(functions):
        raise InvalidRequest("two tools have the same name", hint="give each function a name of its own", param=PARAM)
    if named and named not in by_name:
        raise InvalidRequest(f"tool_choice names {named!r}, which is not among the tools", hint=did_you_mean(named, by_name), param="tool_choice")
    if choice == "none":
        return None
    forced = (by_name[named],) if named else functions if choice == "required" else ()
    return Tools(functions=functions, forced=forced, most=MAX_CALLS if parallel and not named else 1)


def tool_grammar(tools: Tools | None, wanted: Grammar | None) -> Grammar | None:
    """What the answer is held to, given what `response_format` wants of its text.

    Calls that must be made leave no text; where they may be made beside a format, the answer is one of both.
    """
    if tools is None or not (tools.forced or wanted):
        return wanted
    calls = tuple(_form(function) for function in tools.forced or tools.functions)
    if tools.forced or wanted is None:
        return Grammar(forms=calls, most=tools.most, param=PARAM)
    return Grammar(forms=(*wanted.forms, *calls), most=1, param=wanted.param)


def _form(function: Function) -> Form:
    return Form(before=CALL_OPEN + call_head(function.name), schema=function.arguments, after="}" + CALL_CLOSE)


def _choice(value: object) -> tuple[str, str]:
    """(choice, the function that it names)."""
    if value is None:
        return "auto", ""
    if isinstance(value, str):
        if value not in _CHOICES:
            raise InvalidRequest(f"unknown tool_choice {text(value, 'tool_choice')!r}", hint=did_you_mean(value, _CHOICES), param="tool_choice")
        return value, ""
    if not isinstance(value, dict):
        raise wrong("tool_choice", value, "'none', 'auto', 'required', or an object that names a function")
    if value.get("type") != "function":
        raise NotSupported("tool_choice is not of type 'function'", hint="name a function", param="tool_choice")
    function = value.get("function")
    if not isinstance(function, dict):
        raise wrong("tool_choice.function", function, "an object with name")
    return "required", check_name(function, "tool_choice.function")


def _functions(value: object) -> tuple[Function, ...]:
    if value is None:
        return ()
    if not isinstance(value, list):
        raise wrong(PARAM, value, "a list of functions")
    if len(value) > MAX_FUNCTIONS:
        raise InvalidRequest(f"{len(value)} tools are given", hint=f"give at most {MAX_FUNCTIONS}", param=PARAM)
    return tuple(_function(item, f"{PARAM}[{position}]") for position, item in enumerate(value))


def _function(value: object, where: str) -> Function:
    if not isinstance(value, dict):
        raise wrong(where, value, 'an object such as {"type": "function", "function": {"name": "..."}}')
    if value.get("type") != "function":
        raise NotSupported(f"{where} is not of type 'function'", hint="give functions only", param=where)
    function, where = value.get("function"), f"{where}.function"
    if not isinstance(function, dict):
        raise wrong(where, function, "an object with name and parameters")
    listing: dict[str, Any] = {"name": check_name(function, where)}
    if function.get("description") is not None:
        listing["description"] = text(function["description"], f"{where}.description")
    flag(function, "strict", within=f"{where}.")  # arguments that must be made are always held to their schema
    parameters = function.get("parameters")
    if parameters is not None:
        listing["parameters"] = _parameters(parameters, f"{where}.parameters")
    arguments = {"type": "object", **(_NO_ARGUMENTS if parameters is None else parameters)}
    return Function(
        name=listing["name"],
        listing=schema_text({"type": "function", "function": listing}, where),
        arguments=schema_text(arguments, f"{where}.parameters"),
    )


def _parameters(value: object, where: str) -> dict[str, Any]:
    if not isinstance(value, dict):
        raise wrong(where, value, "a JSON Schema of type 'object'")
    if value.get("type", "object") != "object":
        raise InvalidRequest(f"{where} are not of type 'object'", hint="arguments have names: give a schema of type 'object'", param=f"{where}.type")
    return value
