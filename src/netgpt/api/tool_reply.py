"""Frames of one streamed choice that may call functions: text as it comes, each call whole once it is. Pure."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from netgpt.api.account import ReplyHead
from netgpt.api.chat_reply import ChunkWriter
from netgpt.api.chat_request import ReplyForm
from netgpt.api.tool_calls import CallFormat, CallReader, Part, call_object, finish_reason
from netgpt.core.compact import to_json
from netgpt.inference.request import ChatRequest, Delta, Finish


def chunk_writer(head: ReplyHead, request: ChatRequest, form: ReplyForm, index: int = 0) -> ChunkWriter | ToolChunkWriter:
    """The writer that the form of the reply needs."""
    if form.calls is None:
        return ChunkWriter(head, request, form, index)
    return ToolChunkWriter(head, request, form, index, form.calls)


class ToolChunkWriter:
    """Reads calls out of the text and puts them into OpenAI's `delta.tool_calls`."""

    def __init__(self, head: ReplyHead, request: ChatRequest, form: ReplyForm, index: int, calls: CallFormat) -> None:
        self._chunks = ChunkWriter(head, request, form, index)
        self._reader = CallReader(calls)
        self._reply_id = head.id
        self._index = index
        self._scored = request.logprobs
        self._told = 0  # calls

    def text(self, delta: Delta) -> bytes:
        """The chunks that a delta completes; none while what it says may become a call."""
        parts = self._reader.feed(delta.text)
        if not self._scored:
            return self._frames(parts, delta)
        unsaid = delta._replace(text="")  # log-probabilities do not wait for the text
        return self._chunks.text(unsaid) + self._frames(parts, Delta(text="", origin=delta.origin))

    def finish(self, finish: Finish) -> bytes:
        """What was held back, and the chunk with the finish reason."""
        rest = self._frames(self._reader.finish(), Delta(text="", origin=""))
        return rest + self._chunks.finish(replace(finish, reason=finish_reason(finish.reason, self._told)))

    def _frames(self, parts: Sequence[Part], delta: Delta) -> bytes:
        frames = b""
        for part in parts:
            if isinstance(part, str):
                frames += self._chunks.text(delta._replace(text=part))
                continue
            call = {"index": self._told, **call_object(part, self._reply_id, self._index, self._told)}
            frames += self._chunks.part(to_json({"tool_calls": [call]}))
            self._told += 1
        return frames
