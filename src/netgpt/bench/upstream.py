"""One chat completion of an OpenAI-compatible server, heard token by token with the time of each.

Knows what a recording wants of an answer, not what is asked or kept; the protocol is `engine.openai_answer`'s.
A server without log-probabilities is heard piece by piece. Keys stay in the headers: no error, log or value
here holds one.
"""

from __future__ import annotations

import asyncio
import json
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

from netgpt.core.clock import Clock
from netgpt.core.errors import AuthenticationFailed, DeadlineExceeded, InvalidRequest, ModelNotFound, NetgptError, NodeUnreachable, Overloaded
from netgpt.core.spelling import did_you_mean
from netgpt.engine.openai_answer import OpenAIServer, StreamedAnswer
from netgpt.engine.openai_probe import listed_names
from netgpt.engine.openai_stream import Chunk, spoken

CONNECT_S, SILENCE_S = 10.0, 300.0
RETRIES, LONGEST_RETRY_S = 5, 60.0
_KEY = "name the variable that holds the key: --api-key-env NAME"
_RESUME = "then go on with --resume"


@dataclass(kw_only=True)
class Heard:
    """An answer as it came."""

    answer: str = ""
    finish_reason: str = ""
    tokens: list[bytes] = field(default_factory=list)
    logprobs: list[float] | None = None
    top_tokens: list[list[bytes]] = field(default_factory=list)
    top_logprobs: list[list[float]] = field(default_factory=list)
    arrivals_s: list[float] = field(default_factory=list)
    first_s: float | None = None
    total_s: float = 0.0
    prompt_tokens: int | None = None
    completion_tokens: int | None = None


class _NoLogprobs(Exception):
    """The server refuses a request because of `logprobs`."""


class Upstream:
    """A model behind a base URL that ends in `/v1`."""

    def __init__(self, url: str, clock: Clock, *, model: str = "", api_key: str = "") -> None:
        self._server = OpenAIServer(url, key=api_key, connect_s=CONNECT_S)
        self.url = self._server.url
        self.model = model
        self.warnings: list[str] = []
        self._clock = clock
        self._logprobs = True

    @property
    def source(self) -> tuple[str, str]:
        return (self.url, self.model)

    async def close(self) -> None:
        await self._server.close()

    async def find_model(self) -> None:
        """Take the first model that the server lists, unless one was named.

        Raises:
            NodeUnreachable: it does not answer.
            ModelNotFound: it lists no model, or not the named one.
        """
        try:
            names = await listed_names(self._server)
        except AuthenticationFailed as error:
            error.hint = _KEY
            raise
        if names is None and self.model:
            return  # some servers list nothing; the first question will tell
        if not names:
            raise ModelNotFound(f"{self.url} lists no model", hint="start one there, or name it: --upstream URL=MODEL", param="model")
        if self.model and self.model not in names:
            raise ModelNotFound(f"{self.url} has no model {self.model!r}", hint=did_you_mean(self.model, names), param="model")
        self.model = self.model or names[0]

    async def ask(self, messages: Sequence[tuple[str, str]], *, max_tokens: int | None, top_logprobs: int) -> Heard:
        """The greedy answer to a conversation.

        Raises:
            NodeUnreachable, DeadlineExceeded, Overloaded: the server is not there, broke off, or stayed busy.
            AuthenticationFailed, ModelNotFound, InvalidRequest: it refuses.
        """
        body: dict[str, Any] = {
            "model": self.model,
            "messages": [{"role": role, "content": content} for role, content in messages],
            "temperature": 0,
            "stream": True,
            "stream_options": {"include_usage": True},
        }
        if max_tokens is not None:
            body["max_tokens"] = max_tokens
        try:
            return await self._patiently(body | ({"logprobs": True, "top_logprobs": top_logprobs} if self._logprobs else {}))
        except _NoLogprobs as refusal:
            self._without_logprobs(f"refuses logprobs ({refusal})")
            return await self._patiently(body)

    def _without_logprobs(self, why: str) -> None:
        if self._logprobs:
            self._logprobs = False
            self.warnings.append(f"{self.model} at {self.url} {why}: its log-probabilities are recorded as null")

    async def _patiently(self, body: dict[str, Any]) -> Heard:
        """Ask; a busy server is asked again, some times."""
        for attempt in range(RETRIES):
            try:
                return await self._once(body)
            except Overloaded as busy:
                await self._clock.sleep(min(busy.retry_after_s * 2**attempt, LONGEST_RETRY_S))
        return await self._once(body)

    async def _once(self, body: dict[str, Any]) -> Heard:
        start_s = self._clock.now_s()
        heard, pieces, answer = Heard(), [], self._server.answer(json.dumps(body).encode())
        try:
            while chunks := await self._next(answer):
                at_s = self._clock.now_s() - start_s
                for chunk in chunks:
                    _take(heard, pieces, chunk, at_s)
        except NetgptError as error:
            if isinstance(error, InvalidRequest) and "logprobs" in body and "logprob" in error.message:
                raise _NoLogprobs(error.message) from None
            error.hint = _KEY if isinstance(error, AuthenticationFailed) else f"{error.hint}; {_RESUME}"
            raise
        finally:
            answer.close()
        heard.total_s = self._clock.now_s() - start_s
        if not heard.finish_reason:
            raise NodeUnreachable(f"{self.url} broke off an answer", hint=f"see its log, {_RESUME}")
        self._settle(heard, pieces)
        return heard

    async def _next(self, answer: StreamedAnswer) -> list[Chunk]:
        """The chunks that come next; none at the end."""
        try:
            async with asyncio.timeout(SILENCE_S):
                return await answer.chunks()
        except TimeoutError:
            raise DeadlineExceeded(f"{self.url} was silent for {SILENCE_S:g} s", hint="lower --concurrency") from None

    def _settle(self, heard: Heard, pieces: list[tuple[str, float]]) -> None:
        """Make the tokens' bytes the answer's; without log-probabilities the pieces are the tokens."""
        if heard.logprobs is not None and _text(heard.tokens) == heard.answer:
            return
        if heard.answer:
            self._without_logprobs("gives no logprobs" if heard.logprobs is None else "gives tokens that are not its text")
        heard.logprobs, heard.top_tokens, heard.top_logprobs = None, [], []
        heard.tokens = [text.encode("utf-8", "replace") for text, _ in pieces]
        heard.arrivals_s = [at_s for _, at_s in pieces]


def _take(heard: Heard, pieces: list[tuple[str, float]], chunk: Chunk, at_s: float) -> None:
    """Add one chunk of the stream, which arrived at `at_s`."""
    if chunk.completion_tokens is not None:
        heard.prompt_tokens, heard.completion_tokens = chunk.prompt_tokens, chunk.completion_tokens
    heard.finish_reason = chunk.finish or heard.finish_reason
    if chunk.text:
        pieces.append((chunk.text, at_s))
        heard.answer += chunk.text
    if heard.first_s is None and (chunk.text or chunk.scored):
        heard.first_s = at_s
    for one in spoken(chunk):
        heard.tokens.append(one.token)
        heard.logprobs = [*(heard.logprobs or ()), one.logprob]
        heard.top_tokens.append([token for token, _ in one.top])
        heard.top_logprobs.append([logprob for _, logprob in one.top])
        heard.arrivals_s.append(at_s)


def _text(tokens: Sequence[bytes]) -> str:
    return b"".join(tokens).decode("utf-8", "replace")
