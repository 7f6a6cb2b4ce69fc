"""What a door answers, in the shapes of OpenAI's text completions: one object, or a stream of chunks. Pure.

What stands beside the text, usage and NetGPT's own account, is `api.account`'s.
"""

from __future__ import annotations

import codecs
from collections.abc import Sequence
from typing import Any

from netgpt.api.account import LEAST_LOGPROB, ReplyHead, Told, account, chunk_fields, frame, summary
from netgpt.api.chat_request import ReplyForm
from netgpt.inference.request import ChatRequest, Delta, Finish

OBJECT = "text_completion"  # of a whole reply and of a chunk


def text_completion(head: ReplyHead, request: ChatRequest, form: ReplyForm, told: Sequence[Told]) -> dict[str, Any]:
    """The whole reply as one `text_completion`."""
    choices = [_choice(index, Scores(request), one) for index, one in enumerate(told)]
    return {**head.fields(OBJECT), "choices": choices, **summary(head, form, [one.finish for one in told])}


def _choice(index: int, scores: Scores, told: Told) -> dict[str, Any]:
    return {"text": told.text, "index": index, "logprobs": scores.read(told.deltas), "finish_reason": told.finish.reason}


class Scores:
    """Log-probabilities of one choice in the legacy shape: four lists, one entry a token."""

    def __init__(self, request: ChatRequest) -> None:
        self._wanted = request.logprobs
        self._with_top = request.top_logprobs > 0
        self._decoder = codecs.getincrementaldecoder("utf-8")(errors="replace")
        self._offset = 0  # characters of the tokens so far

    def read(self, deltas: Sequence[Delta]) -> dict[str, Any] | None:
        """The scores of the next deltas; None if the request wants none.

        `text_offset` is the index of the character in which a token begins; a token that ends the turn has
        no text and no entry.
        """
        if not self._wanted:
            return None
        lists: dict[str, Any] = {"tokens": [], "token_logprobs": [], "top_logprobs": [], "text_offset": []}
        for delta in deltas:
            for place, (token, logprob) in enumerate(zip(delta.tokens, delta.logprobs, strict=False)):
                if token:
                    self._add(lists, delta, place, token, max(logprob, LEAST_LOGPROB))
        return lists if self._with_top else lists | {"top_logprobs": None}

    def _add(self, lists: dict[str, Any], delta: Delta, place: int, token: bytes, logprob: float) -> None:
        lists["tokens"].append(token_text(token))
        lists["token_logprobs"].append(logprob)
        lists["text_offset"].append(self._offset)
        self._offset += len(self._decoder.decode(token))
        if self._with_top:
            lists["top_logprobs"].append({**_alternatives(delta, place), token_text(token): logprob})


def _alternatives(delta: Delta, place: int) -> dict[str, float]:
    if place >= len(delta.top):
        return {}
    pairs = zip(delta.top_tokens[place], delta.top[place].logprobs, strict=True)
    return {token_text(token): max(logprob, LEAST_LOGPROB) for token, logprob in pairs}


def token_text(token: bytes) -> str:
    r"""A token as a key: its text, or OpenAI's `bytes:\xc3` where it is a part of a character."""
    try:
        return token.decode()
    except UnicodeDecodeError:
        return "bytes:" + "".join(f"\\x{byte:02x}" for byte in token)


class TextWriter:
    """Frames of one streamed choice."""

    def __init__(self, head: ReplyHead, request: ChatRequest, form: ReplyForm, index: int = 0) -> None:
        self._head = head
        self._form = form
        self._index = index
        self._scores = Scores(request)
        self._fields = chunk_fields(head, OBJECT, form)

    def text(self, delta: Delta) -> bytes:
        return self._frame(delta.text, self._scores.read([delta]), None)

    def finish(self, finish: Finish) -> bytes:
        """The chunk with the finish reason. `netgpt` rides on it, unless a chunk with usage is to follow."""
        told = {} if self._form.include_usage else {"netgpt": account(self._head, [finish])}
        return self._frame("", None, finish.reason, **told)

    def _frame(self, text: str, logprobs: dict[str, Any] | None, reason: str | None, **told: Any) -> bytes:
        choice = {"text": text, "index": self._index, "logprobs": logprobs, "finish_reason": reason}
        return frame({**self._fields, "choices": [choice], **told})
