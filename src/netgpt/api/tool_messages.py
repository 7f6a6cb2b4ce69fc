"""A conversation with tools as the plain messages that models know: system, user, assistant. Pure.

The functions are listed at the end of the system message, a call is text of the assistant, and results
are one message of the user, each in its own tags. Models have no other roles.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from typing import Any

from netgpt.api.fields import required_text, text, wrong
from netgpt.api.response_format import check_name
from netgpt.api.tool_calls import ToolCall, call_text
from netgpt.api.tools import Tools
from netgpt.core.errors import InvalidRequest, NotSupported

RESULT_OPEN, RESULT_CLOSE = "<tool_response>", "</tool_response>"
TOOL = "tool"  # the role of a result
_PAGE = """# Tools

You may call these functions. Each line is one, with the JSON Schema of its arguments:
<tools>
{listings}
</tools>

To call a function, write one line with its name and its arguments:
<tool_call>{{"name": "...", "arguments": {{...}}}}</tool_call>
Its result comes back between <tool_response> and </tool_response>."""


def conversation(messages: Sequence[tuple[str, str]], tools: Tools | None) -> tuple[tuple[str, str], ...]:
    """The messages with the functions listed and with results, those of role `tool`, in the user's name."""
    told: list[tuple[str, str]] = []
    before = ""
    for role, content in messages:
        if role != TOOL:
            told.append((role, content))
        elif before == TOOL:
            told[-1] = ("user", f"{told[-1][1]}\n{_result(content)}")
        else:
            told.append(("user", _result(content)))
        before = role
    if tools is None:
        return tuple(told)
    page = _PAGE.format(listings="\n".join(function.listing for function in tools.functions))
    if told and told[0][0] == "system":
        return (("system", f"{told[0][1]}\n\n{page}"), *told[1:])
    return (("system", page), *told)


def _result(content: str) -> str:
    """A result in its tags. It is data: an end tag in it is broken up, so that it cannot pose as what follows."""
    return f"{RESULT_OPEN}\n{content.replace(RESULT_CLOSE, '</' + chr(0x200B) + RESULT_CLOSE[2:])}\n{RESULT_CLOSE}"


def said_calls(message: Mapping[str, Any], where: str) -> str:
    """The calls of an assistant's message as its text; empty if it has none.

    Raises:
        InvalidRequest: calls of another role, or one that is malformed; `param` names it.
        NotSupported: a call of something that is not a function.
    """
    calls = message.get("tool_calls")
    if calls is None or calls == []:
        return ""
    if not isinstance(calls, list) or message.get("role") != "assistant":
        raise wrong(f"{where}.tool_calls", calls, "a list of calls, in a message of the assistant")
    return "\n".join(call_text(_said_call(call, f"{where}.tool_calls[{position}]")) for position, call in enumerate(calls))


def _said_call(value: object, where: str) -> ToolCall:
    if not isinstance(value, dict):
        raise wrong(where, value, "an object with id, type and function")
    if value.get("type") != "function":
        raise NotSupported(f"{where} is not of type 'function'", hint="send calls of functions only", param=where)
    text(value.get("id"), f"{where}.id")
    function = value.get("function")
    if not isinstance(function, dict):
        raise wrong(f"{where}.function", function, "an object with name and arguments")
    arguments = text(function.get("arguments"), f"{where}.function.arguments").strip() or "{}"
    try:
        parsed = json.loads(arguments)
    except (ValueError, RecursionError):
        parsed = None
    if not isinstance(parsed, dict):
        raise InvalidRequest(
            f"{where}.function.arguments are no JSON object", hint="send the call back as it came", param=f"{where}.function.arguments"
        )
    return ToolCall(name=check_name(function, f"{where}.function"), arguments=arguments)


def check_results(messages: Sequence[object]) -> None:
    """Refuse a result that answers no earlier call.

    Raises:
        InvalidRequest: `param` names the message.
    """
    made: set[object] = set()
    for position, message in enumerate(messages):
        if not isinstance(message, dict):
            continue
        if message.get("role") == TOOL and _call_id(message, position) not in made:
            raise InvalidRequest(
                f"messages[{position}] answers a call that no earlier message makes",
                hint="send the assistant's message with its tool_calls before their results",
                param=f"messages[{position}].tool_call_id",
            )
        calls = message.get("tool_calls")
        if isinstance(calls, list):
            made.update(call["id"] for call in calls if isinstance(call, dict) and isinstance(call.get("id"), str))


def _call_id(message: Mapping[str, Any], position: int) -> str:
    try:
        return required_text(message, "tool_call_id")
    except InvalidRequest as error:
        raise InvalidRequest(error.message, hint="say which call this is the result of", param=f"messages[{position}].tool_call_id") from error
