"""Calls of functions as text: how one is written in a conversation, and how they are read out of an answer. Pure.

A call is `<tool_call>{"name": "...", "arguments": {...}}</tool_call>`, the convention of Hermes and Qwen
models. What looks like one and is not, or names no function that may be called, stays text.
"""

from __future__ import annotations

import json
import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, NoReturn

from netgpt.core.chance import digest64
from netgpt.inference.text import overlap

CALL_OPEN, CALL_CLOSE = "<tool_call>", "</tool_call>"
_CALL = re.compile(r'\s*\{\s*"name"\s*:\s*("(?:[^"\\]|\\.)*")\s*,\s*"arguments"\s*:\s*(\{.*\})\s*\}\s*', re.DOTALL)
_STRING_OR_CLOSE = re.compile(rf'"(?:[^"\\]|\\.)*(?:"|\\?\Z)|{CALL_CLOSE}', re.DOTALL)  # a close within a string is none


@dataclass(frozen=True, kw_only=True)
class CallFormat:
    """Which calls an answer may hold."""

    names: frozenset[str]
    most: int


@dataclass(frozen=True, kw_only=True)
class ToolCall:
    """One call that the model made."""

    name: str
    arguments: str  # a JSON object, as the model wrote it


Part = str | ToolCall


def call_head(name: str) -> str:
    """A call's JSON up to its arguments."""
    return f'{{"name": {json.dumps(name, ensure_ascii=False)}, "arguments": '


def call_text(call: ToolCall) -> str:
    """A call as it stands in a conversation."""
    return f"{CALL_OPEN}{call_head(call.name)}{call.arguments}}}{CALL_CLOSE}"


class CallReader:
    """Takes a growing answer apart into text and calls, holding back what may become a call.

    Blanks that stand alone before, between and after calls are no text. When the most calls have been
    made, the rest is dropped.
    """

    def __init__(self, form: CallFormat) -> None:
        self.calls = 0
        self._form = form
        self._held = ""
        self._blank = ""  # all that came since the last call, if only blanks did
        self._speaks = False  # something else did

    def feed(self, text: str) -> list[Part]:
        """What has become certain with `text`."""
        self._held += text
        return self._release(final=False)

    def finish(self) -> list[Part]:
        """What was held back, now that nothing follows."""
        parts = self._release(final=True)
        if self._blank and not self.calls:
            parts.append(self._blank)
        return parts

    def _release(self, *, final: bool) -> list[Part]:
        parts: list[Part] = []
        while self._held and self.calls < self._form.most:
            start = self._held.find(CALL_OPEN)
            if start < 0:
                self._say(len(self._held) - (0 if final else overlap(self._held, CALL_OPEN)), parts)
                return parts
            self._say(start, parts)
            end = _end_of_call(self._held)
            if not end and not final:
                return parts
            call = read_call(self._held[len(CALL_OPEN) : end - len(CALL_CLOSE)], self._form) if end else None
            if call is None:
                self._say(len(CALL_OPEN), parts)
                continue
            parts.append(call)
            self.calls += 1
            self._held, self._blank, self._speaks = self._held[end:], "", False
        self._held = ""
        return parts

    def _say(self, size: int, parts: list[Part]) -> None:
        """Let go of the first `size` characters as text."""
        said, self._held = self._held[:size], self._held[size:]
        if not self._speaks:
            said, self._blank = self._blank + said, ""
            if not said.strip():
                self._blank = said
                return
            self._speaks = True
        if said:
            parts.append(said)


def _end_of_call(text: str) -> int:
    """Where the call that `text` begins with ends; 0 if it does not end."""
    if CALL_CLOSE not in text:
        return 0
    return next((found.end() for found in _STRING_OR_CLOSE.finditer(text, len(CALL_OPEN)) if found[0] == CALL_CLOSE), 0)


def read_call(block: str, form: CallFormat) -> ToolCall | None:
    """The call between two tags; None if it is malformed or of an unknown function."""
    found = _CALL.fullmatch(block)
    if found is None:
        return None
    try:
        name, arguments = json.loads(found[1]), json.loads(found[2], parse_constant=_no_json)
    except (ValueError, RecursionError):
        return None
    return ToolCall(name=name, arguments=found[2]) if name in form.names and isinstance(arguments, dict) else None


def _no_json(constant: str) -> NoReturn:
    raise ValueError(f"{constant} is no JSON")


def call_object(call: ToolCall, reply_id: str, choice: int, number: int) -> dict[str, Any]:
    """A call in OpenAI's shape; its id depends on its place alone, so that it is the same whenever it is told."""
    return {
        "id": f"call_{digest64('tool call', reply_id, choice, number):016x}",
        "type": "function",
        "function": {"name": call.name, "arguments": call.arguments},
    }


def finish_reason(reason: str, calls: int) -> str:
    """Why an answer ended, as clients of OpenAI expect it of one with calls."""
    return "tool_calls" if calls and reason == "stop" else reason


def message_of(text: str, form: CallFormat | None, reply_id: str, choice: int) -> tuple[dict[str, Any], int]:
    """The assistant's message that is `text`, and how many calls it makes."""
    message: dict[str, Any] = {"role": "assistant", "content": text, "refusal": None}
    if form is None:
        return message, 0
    reader = CallReader(form)
    parts = [*reader.feed(text), *reader.finish()]
    calls = _calls(parts)
    if not calls:
        return message, 0
    content = "".join(part for part in parts if isinstance(part, str))
    objects = [call_object(call, reply_id, choice, number) for number, call in enumerate(calls)]
    return {**message, "content": content or None, "tool_calls": objects}, len(calls)


def _calls(parts: Sequence[Part]) -> list[ToolCall]:
    return [part for part in parts if isinstance(part, ToolCall)]
