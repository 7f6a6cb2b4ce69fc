"""One attempt at one answer of an upstream: its chunks as `Tokens`, on time, and no more than was asked for.

An upstream is not trusted: silence has three limits, an answer ends with a reason or is lost, and text beyond
what `max_tokens` can be ends it.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from netgpt.core.clock import Clock
from netgpt.core.errors import NodeUnreachable
from netgpt.core.scheduling import Deadline
from netgpt.engine.openai_answer import OpenAIServer
from netgpt.engine.openai_request import Upstream
from netgpt.engine.openai_stream import Chunk, Scored, spoken
from netgpt.models.generation import Generate, Timings, Tokens, TopLogprobs

USAGE_S = 1.0  # for the counts that follow the last words
_NO_USAGE = Chunk()
MOST_BYTES_PER_TOKEN = 1024  # the longest tokens of public vocabularies have some hundred


class Talk:
    """Hears one answer, within `with talk`. `began` tells whether any of it was passed on."""

    def __init__(
        self, upstream: Upstream, server: OpenAIServer, clock: Clock, request: Generate, body: bytes, *, queue_s: float, tail: bytes
    ) -> None:
        """Args:
        body: of the request to the upstream.
        tail: bytes of an unfinished character that the session has already; the upstream says them again.
        """
        self.began = False
        self._upstream, self._server, self._clock, self._request = upstream, server, clock, request
        self._queue_s = queue_s
        self._tail = tail
        self._made = 0
        self._left_bytes = request.max_tokens * MOST_BYTES_PER_TOKEN
        self._wants_scores = request.text is not None and request.text.logprobs
        self._usage = _NO_USAGE
        self._finish = ""
        self._is_moving = False  # it said something when it was last heard
        self._is_over = self._is_told = False  # no chunk is to come; the last item was given
        self._start_s = self._first_s = clock.now_s()
        self._deadline = Deadline(upstream.first_token_s)
        self._answer = server.answer(body)

    def __enter__(self) -> Talk:
        return self

    def __exit__(self, *_: object) -> None:
        self._deadline.close()
        self._answer.close()

    async def next(self) -> Tokens | None:
        """What is said next; the last item has `finish`, and after it there is nothing.

        Raises:
            NodeUnreachable: silent for too long, broke off, or is no OpenAI-compatible server.
            NetgptError: what `StreamedAnswer.chunks` raises.
        """
        while not self._is_over:
            if self._is_moving:
                self._deadline.put_off(self._upstream.next_token_s)
            if self._finish:
                self._deadline.hasten(USAGE_S)
            try:
                with self._deadline:
                    chunks = await self._answer.chunks()
            except TimeoutError:
                if not self._finish:
                    raise self._silent() from None
                chunks = []  # only counts are missing
            tokens = self._take(chunks)
            if tokens is not None:
                if not self.began:
                    self.began, self._first_s = True, self._clock.now_s()
                return self._ended(tokens) if self._finish and self._answer.has_said_all and not tokens.tokens else tokens
        if self._is_told:
            return None
        if not self._finish:
            raise NodeUnreachable(f"{self._server.url} ended an answer without a reason", hint="see that server's log")
        self._is_told = True
        return self._last()

    def _silent(self) -> NodeUnreachable:
        limit_s, what = (self._upstream.next_token_s, "next") if self.began else (self._upstream.first_token_s, "first")
        return NodeUnreachable(f"{self._server.url} sent no {what} token within {limit_s:g} s", hint=f"raise {what}_token_timeout of the node")

    def _take(self, chunks: Sequence[Chunk]) -> Tokens | None:
        """What some chunks say, in one; None if that is no part of the answer."""
        self._is_over = not chunks
        self._is_moving = False
        scored: list[Scored] = []
        data, made = b"", 0
        for chunk in chunks:
            if chunk.finish or chunk.thinks or chunk.completion_tokens is not None:
                self._note(chunk)
            new = chunk.text.encode("utf-8", "replace")
            if self._tail and new:  # the upstream says again what the session has already
                new, self._tail = new.removeprefix(self._tail), b""
            if len(new) > self._left_bytes:
                new, self._is_over, self._finish = new[: self._left_bytes], True, "length"
            scores = spoken(chunk) if self._wants_scores else ()
            if new or scores:
                data += new
                scored += scores
                made += max(len(scores), chunk.pieces)
                self._left_bytes -= len(new)
            if self._is_over:
                break
        if not made:
            return None
        self._is_moving = True
        self._made += made
        tokens = Tokens(epoch=self._request.epoch, position=0, data=data, made=made)
        if not scored:
            return tokens
        return replace(
            tokens,
            tokens=tuple(one.token for one in scored),
            logprobs=tuple(one.logprob for one in scored),
            top=tuple(map(self._top, scored)) if self._request.top_logprobs else (),
        )

    def _note(self, chunk: Chunk) -> None:
        """What a chunk says beside text."""
        if chunk.thinks:
            self._is_moving = True
        if chunk.finish and not self._finish:
            self._finish = "length" if chunk.finish == "length" else "stop"
        if chunk.completion_tokens is not None:
            self._usage = chunk

    def _top(self, scored: Scored) -> TopLogprobs:
        top = scored.top[: self._request.top_logprobs]
        return TopLogprobs(ids=(), logprobs=tuple(logprob for _, logprob in top), tokens=tuple(token for token, _ in top))

    def _ended(self, tokens: Tokens) -> Tokens:
        """What is said last, with the end."""
        self._is_over = self._is_told = True
        end = self._last()
        return replace(end, data=tokens.data, made=tokens.made + end.made)

    def _last(self) -> Tokens:
        """The end, with the upstream's own counts where it gave them."""
        counted = min(self._usage.completion_tokens or self._made, self._request.max_tokens)
        return Tokens(
            epoch=self._request.epoch,
            position=0,
            made=max(counted - self._made, 0),
            finish=self._finish,
            timings=Timings(queue_s=self._queue_s, prefill_s=self._first_s - self._start_s, decode_s=self._clock.now_s() - self._first_s),
            cached=self._usage.cached_tokens,
            prompt_tokens=self._usage.prompt_tokens or 0,
        )
