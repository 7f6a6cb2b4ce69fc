"""What a door answers, in OpenAI's shapes: one object, or a stream of chunks. Pure.

Beside OpenAI's fields stand `metrics` under vLLM's names, which clients already read, and `netgpt`:
who answered, why, and what it cost on the links.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from netgpt.api.chat_request import ReplyForm
from netgpt.api.reply import to_json
from netgpt.core.errors import NetgptError
from netgpt.inference.request import ChatRequest, Delta, Finish

LEAST_LOGPROB = -9999.0  # OpenAI's stand-in for minus infinity, which JSON cannot hold
DONE = b"data: [DONE]\n\n"


@dataclass(frozen=True, kw_only=True)
class ReplyHead:
    """What is the same in every part of one reply."""

    id: str
    model: str
    created: int  # seconds since the epoch
    entry: str  # the node whose door was asked

    def fields(self, kind: str) -> dict[str, Any]:
        return {"id": self.id, "object": kind, "created": self.created, "model": self.model, "system_fingerprint": None}


def chat_completion(head: ReplyHead, request: ChatRequest, deltas: Sequence[Delta], finish: Finish) -> dict[str, Any]:
    """The whole answer as one `chat.completion`."""
    message = {"role": "assistant", "content": "".join(delta.text for delta in deltas), "refusal": None}
    scored = request.logprobs and any(delta.logprobs for delta in deltas)  # null where the node gave none, whatever was asked
    logprobs = {"content": [entry for delta in deltas for entry in logprob_entries(delta)], "refusal": None} if scored else None
    choice = {"index": 0, "message": message, "logprobs": logprobs, "finish_reason": finish.reason}
    return {
        **head.fields("chat.completion"),
        "choices": [choice],
        "usage": usage(finish),
        "metrics": metrics(finish),
        "netgpt": account(head, finish),
    }


def usage(finish: Finish) -> dict[str, Any]:
    return {
        "prompt_tokens": finish.prompt_tokens,
        "completion_tokens": finish.completion_tokens,
        "total_tokens": finish.prompt_tokens + finish.completion_tokens,
        "prompt_tokens_details": {"cached_tokens": finish.cached_tokens},
    }


def metrics(finish: Finish) -> dict[str, float | None]:
    """vLLM's per-request metrics (its docs/features/per_request_metrics.md), seen from the door.

    The first token counts from scheduling, hence without the queue; generation runs from the first
    token to the last; tokens per second from scheduling to the last token.
    """
    generation_s = finish.duration_s - finish.time_to_first_token_s
    working_s = finish.duration_s - finish.queue_s
    count = finish.completion_tokens
    return {
        "time_to_first_token_ms": _ms(max(finish.time_to_first_token_s - finish.queue_s, 0.0)),
        "generation_time_ms": _ms(generation_s),
        "queue_time_ms": _ms(finish.queue_s),
        "mean_itl_ms": _ms(generation_s / (count - 1)) if count > 1 else None,
        "tokens_per_second": round(count / working_s, 3) if working_s > 0 else None,
    }


def _ms(duration_s: float) -> float:
    return round(duration_s * 1e3, 3)


def account(head: ReplyHead, finish: Finish) -> dict[str, Any]:
    """How the answer came about: the root object `netgpt`."""
    return {
        "strategy": finish.strategy,
        "why": finish.why,
        "entry": head.entry,
        "origin": [{"node": span.node, "tokens": span.tokens} | ({"recoded": True} if span.recoded else {}) for span in finish.origin],
        "switches": list(finish.switches),
        "link_bytes": {node: dict(count) for node, count in finish.link_bytes.items()},
        "modelled": finish.modelled,
        "seed": finish.seed,
        **({"counted_by": {name: list(nodes) for name, nodes in finish.counted_by.items()}} if finish.counted_by else {}),
    }


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
    """Frames of one streamed answer. Everything but a chunk's text is serialised once."""

    def __init__(self, head: ReplyHead, request: ChatRequest, form: ReplyForm) -> None:
        self._head = head
        self._logprobs = request.logprobs
        self._form = form
        usage_field: dict[str, Any] = {"usage": None} if form.include_usage else {}
        self._fields = {**head.fields("chat.completion.chunk"), **usage_field}
        self._before = b"data: " + to_json(self._fields)[:-1] + b',"choices":[{"index":0,"delta":'
        self._after = b',"finish_reason":null}]}\n\n'
        self._begun = False

    def text(self, delta: Delta) -> bytes:
        """The chunk of a delta; before the first one goes the chunk that names the role."""
        logprobs = to_json({"content": logprob_entries(delta), "refusal": None}) if self._logprobs and delta.logprobs else b"null"
        content = json.dumps(delta.text, ensure_ascii=False).encode()
        return self._role() + self._before + b'{"content":' + content + b'},"logprobs":' + logprobs + self._after

    def _role(self) -> bytes:
        if self._begun:
            return b""
        self._begun = True
        return self._before + b'{"role":"assistant","content":""},"logprobs":null' + self._after

    def finish(self, finish: Finish) -> bytes:
        """The chunk with the finish reason and, if asked for, the one with usage; then the end mark.

        `metrics` and `netgpt` ride on the usage chunk; without one, `netgpt` rides on the last chunk.
        """
        last = {**self._fields, "choices": [{"index": 0, "delta": {}, "logprobs": None, "finish_reason": finish.reason}]}
        told = account(self._head, finish)
        if not self._form.include_usage:
            return self._role() + _frame({**last, "netgpt": told}) + DONE
        summary = {**self._fields, "choices": [], "usage": usage(finish), "metrics": metrics(finish), "netgpt": told}
        return self._role() + _frame(last) + _frame(summary) + DONE

    def error(self, error: NetgptError) -> bytes:
        """The last frame of a stream that fails."""
        return _frame(error.body(self._head.id))


def _frame(value: object) -> bytes:
    return b"data: " + to_json(value) + b"\n\n"
