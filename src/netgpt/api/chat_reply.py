"""What a door answers, in the shapes of OpenAI's chat completions: one object, or a stream of chunks. Pure.

What stands beside the text, usage and NetGPT's own account, is `api.account`'s.
"""

from __future__ import annotations

from collections.abc import Sequence
from json.encoder import encode_basestring
from typing import Any

from netgpt.api.account import LEAST_LOGPROB, ReplyHead, Told, account, chunk_fields, frame, summary
from netgpt.api.chat_request import ReplyForm
from netgpt.api.tool_calls import finish_reason, message_of
from netgpt.core.compact import to_json
from netgpt.inference.request import ChatRequest, Delta, Finish

CHUNK = "chat.completion.chunk"


def chat_completion(head: ReplyHead, request: ChatRequest, form: ReplyForm, told: Sequence[Told]) -> dict[str, Any]:
    """The whole reply as one `chat.completion`."""
    choices = [_choice(head, request, form, index, one) for index, one in enumerate(told)]
    return {**head.fields("chat.completion"), "choices": choices, **summary(head, form, [one.finish for one in told])}


def _choice(head: ReplyHead, request: ChatRequest, form: ReplyForm, index: int, told: Told) -> dict[str, Any]:
    message, calls = message_of(told.text, form.calls, head.id, index)
    scored = request.logprobs and any(delta.logprobs for delta in told.deltas)  # null where the node gave none, whatever was asked
    logprobs = {"content": [entry for delta in told.deltas for entry in logprob_entries(delta)], "refusal": None} if scored else None
    return {"index": index, "message": message, "logprobs": logprobs, "finish_reason": finish_reason(told.finish.reason, calls)}


def logprob_entries(delta: Delta) -> list[dict[str, Any]]:
    """One entry for each token of the delta that has bytes; the token that ends a turn has none."""
    entries: list[dict[str, Any]] = []
    for position, (token, logprob) in enumerate(zip(delta.tokens, delta.logprobs, strict=False)):
        if token:
            entries.append({**_logprob(token, logprob), "top_logprobs": _alternatives(delta, position)})
    return entries


def _alternatives(delta: Delta, position: int) -> list[dict[str, Any]]:
    if position >= len(delta.top):
        return []
    return [_logprob(token, logprob) for token, logprob in zip(delta.top_tokens[position], delta.top[position].logprobs, strict=True)]


def _logprob(token: bytes, logprob: float) -> dict[str, Any]:
    return {"token": token.decode("utf-8", "replace"), "bytes": list(token), "logprob": max(logprob, LEAST_LOGPROB)}


class ChunkWriter:
    """Frames of one streamed choice. Everything but a chunk's text is serialised once."""

    def __init__(self, head: ReplyHead, request: ChatRequest, form: ReplyForm, index: int = 0) -> None:
        self._head = head
        self._logprobs = request.logprobs
        self._form = form
        self._index = index
        self._fields = chunk_fields(head, CHUNK, form)
        self._before = b"data: " + to_json(self._fields)[:-1] + b',"choices":[{"index":%d,"delta":' % index
        self._after = b',"finish_reason":null}]}\n\n'
        self._begun = False

    def text(self, delta: Delta) -> bytes:
        """The chunk of a delta; before the first one goes the chunk that names the role."""
        logprobs = to_json({"content": logprob_entries(delta), "refusal": None}) if self._logprobs and delta.logprobs else b"null"
        content = encode_basestring(delta.text).encode()
        return self.part(b'{"content":' + content + b"}", logprobs)

    def part(self, delta: bytes, logprobs: bytes = b"null") -> bytes:
        """A chunk of any delta, given as JSON."""
        return self._role() + self._before + delta + b',"logprobs":' + logprobs + self._after

    def _role(self) -> bytes:
        if self._begun:
            return b""
        self._begun = True
        return self._before + b'{"role":"assistant","content":""},"logprobs":null' + self._after

    def finish(self, finish: Finish) -> bytes:
        """The chunk with the finish reason. `netgpt` rides on it, unless a chunk with usage is to follow."""
        last = {**self._fields, "choices": [{"index": self._index, "delta": {}, "logprobs": None, "finish_reason": finish.reason}]}
        told = {} if self._form.include_usage else {"netgpt": account(self._head, [finish])}
        return self._role() + frame(last | told)
