"""One chat completion of an OpenAI-compatible server, heard token by token with the time of each.

Knows the protocol's spellings, not what is asked or kept. A server without log-probabilities is heard
piece by piece. Keys stay in the headers: no error, log or value here holds one.
"""

from __future__ import annotations

import json
import re
from collections.abc import AsyncGenerator, Sequence
from contextlib import aclosing
from dataclasses import dataclass, field
from typing import Any

import httpx

from netgpt.core.clock import Clock
from netgpt.core.errors import AuthenticationFailed, DeadlineExceeded, InvalidRequest, ModelNotFound, NetgptError, NodeUnreachable, UsageError
from netgpt.core.spelling import did_you_mean

CONNECT_S, SILENCE_S = 10.0, 300.0
RETRIES, FIRST_RETRY_S, LONGEST_RETRY_S = 5, 1.0, 60.0
_BUSY = (429, 503)
_END_TOKEN = re.compile(r"<\|[^<>|]*\|>|</?s>|<(end|start)_of_turn>|<eos>|")


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
        self._base = url.rstrip("/")
        try:
            parsed = httpx.URL(self._base)
        except httpx.InvalidURL:
            parsed = httpx.URL("")
        if parsed.scheme not in ("http", "https") or not parsed.host:
            raise UsageError(f"{url!r} is no base URL", hint="give one such as http://127.0.0.1:8080/v1", param="upstream")
        self.url = str(parsed.copy_with(username=None, password=None)) if parsed.userinfo else self._base
        self.model = model
        self.warnings: list[str] = []
        self._clock = clock
        self._logprobs = True
        local = parsed.host in ("localhost", "::1") or parsed.host.startswith("127.")
        headers = {"Authorization": f"Bearer {api_key}"} if api_key else {}
        limits = httpx.Limits(max_connections=None)
        self._http = httpx.AsyncClient(timeout=httpx.Timeout(SILENCE_S, connect=CONNECT_S), headers=headers, trust_env=not local, limits=limits)

    @property
    def source(self) -> tuple[str, str]:
        return (self.url, self.model)

    async def close(self) -> None:
        await self._http.aclose()

    async def find_model(self) -> None:
        """Take the first model that the server lists, unless one was named.

        Raises:
            NodeUnreachable: it does not answer.
            ModelNotFound: it lists no model, or not the named one.
        """
        try:
            response = await self._http.get(f"{self._base}/models")
        except httpx.HTTPError as error:
            raise self._lost(error) from error
        if response.status_code != 200 and self.model:
            return  # some servers list nothing; the first question will tell
        self._refuse(response.status_code, response.content)
        try:
            names = [str(one["id"]) for one in response.json()["data"]]
        except (ValueError, LookupError, TypeError) as error:
            raise NodeUnreachable(f"{self.url} does not list models as OpenAI's API does", hint="give the base URL that ends in /v1") from error
        if self.model and self.model not in names:
            raise ModelNotFound(f"{self.url} has no model {self.model!r}", hint=did_you_mean(self.model, names), param="model")
        if not names:
            raise ModelNotFound(f"{self.url} lists no model", hint="start one there, or name it: --upstream URL=MODEL", param="model")
        self.model = self.model or names[0]

    async def ask(self, messages: Sequence[tuple[str, str]], *, max_tokens: int | None, top_logprobs: int) -> Heard:
        """The greedy answer to a conversation.

        Raises:
            NodeUnreachable, DeadlineExceeded: the server is not there, broke off, or stayed busy.
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
        for attempt in range(RETRIES + 1):
            heard = await self._once(body, last=attempt == RETRIES)
            if isinstance(heard, Heard):
                return heard
            await self._clock.sleep(min(heard or FIRST_RETRY_S * 2**attempt, LONGEST_RETRY_S))
        raise AssertionError("the last attempt answers or raises")

    async def _once(self, body: dict[str, Any], *, last: bool) -> Heard | float:
        """The answer, or how many seconds a busy server wants to be left alone (0: it does not say)."""
        start_s = self._clock.now_s()
        heard, chunks = Heard(), []
        try:
            async with self._http.stream("POST", f"{self._base}/chat/completions", json=body) as response:
                if response.status_code in _BUSY and not last:
                    wait = response.headers.get("retry-after", "")
                    return float(wait) if re.fullmatch(r"\d+(\.\d+)?", wait) else 0.0
                if response.status_code != 200:
                    self._refuse(response.status_code, await response.aread(), asked="logprobs" in body)
                async with aclosing(self._chunks(response)) as received:
                    async for chunk in received:
                        _take(heard, chunks, chunk, self._clock.now_s() - start_s)
        except httpx.HTTPError as error:
            raise self._lost(error) from error
        heard.total_s = self._clock.now_s() - start_s
        if not heard.finish_reason:
            raise NodeUnreachable(f"{self.url} broke off an answer", hint="see its log, then go on with --resume")
        self._settle(heard, chunks)
        return heard

    async def _chunks(self, response: httpx.Response) -> AsyncGenerator[dict[str, Any], None]:
        async for line in response.aiter_lines():
            if not line.startswith("data:"):
                continue
            data = line[len("data:") :].strip()
            if data == "[DONE]":
                return
            try:
                chunk = json.loads(data)
            except ValueError:
                chunk = None
            if not isinstance(chunk, dict) or "error" in chunk:
                raise NetgptError(f"{self.url} failed within an answer: {_said(data.encode())}", hint="see its log, then go on with --resume")
            yield chunk

    def _settle(self, heard: Heard, chunks: list[tuple[str, float]]) -> None:
        """Make the tokens' bytes the answer's; without log-probabilities the pieces are the tokens."""
        if heard.logprobs is not None and _trim(heard):
            return
        if heard.answer:
            self._without_logprobs("gives no logprobs" if heard.logprobs is None else "gives tokens that are not its text")
        heard.logprobs, heard.top_tokens, heard.top_logprobs = None, [], []
        heard.tokens = [text.encode() for text, _ in chunks]
        heard.arrivals_s = [at_s for _, at_s in chunks]

    def _refuse(self, status: int, content: bytes, *, asked: bool = False) -> None:
        """Raise what a status other than 200 means."""
        if status == 200:
            return
        said = _said(content)
        if asked and status in (400, 422) and "logprob" in said:
            raise _NoLogprobs(said)
        message = f"{self.url} answers {status}: {said}"
        if status in (401, 403):
            raise AuthenticationFailed(message, hint="name the variable that holds the key: --api-key-env NAME")
        if status == 404:
            raise ModelNotFound(message, hint="give the base URL that ends in /v1, and a model that it lists: --upstream URL=MODEL")
        if status in _BUSY or status >= 500:
            raise NodeUnreachable(message, hint="lower --concurrency, or go on later with --resume")
        raise InvalidRequest(message, hint="lower --top-logprobs or --max-tokens, or take the task out; then go on with --resume")

    def _lost(self, error: httpx.HTTPError) -> NetgptError:
        if isinstance(error, httpx.ReadTimeout):
            return DeadlineExceeded(f"{self.url} was silent for {SILENCE_S:g} s", hint="lower --concurrency, then go on with --resume")
        what = "does not answer" if isinstance(error, httpx.ConnectError | httpx.ConnectTimeout) else "broke off"
        return NodeUnreachable(f"{self.url} {what}: {error or type(error).__name__}", hint="check the URL and that the server runs")


def _said(content: bytes) -> str:
    """What an error's body says, in one short line."""
    text = content.decode("utf-8", "replace")
    try:
        value = json.loads(text)
        told = value["error"] if isinstance(value, dict) and "error" in value else value
        text = str(told["message"]) if isinstance(told, dict) and "message" in told else str(told)
    except (ValueError, LookupError):
        pass
    return " ".join(text.split())[:300]


def _take(heard: Heard, chunks: list[tuple[str, float]], chunk: dict[str, Any], at_s: float) -> None:
    """Add one chunk of the stream, which arrived at `at_s`."""
    if usage := chunk.get("usage"):
        heard.prompt_tokens, heard.completion_tokens = usage.get("prompt_tokens"), usage.get("completion_tokens")
    for choice in chunk.get("choices") or ():
        heard.finish_reason = choice.get("finish_reason") or heard.finish_reason
        if text := (choice.get("delta") or {}).get("content"):
            chunks.append((text, at_s))
            heard.answer += text
            heard.first_s = at_s if heard.first_s is None else heard.first_s
        for entry in (choice.get("logprobs") or {}).get("content") or ():
            heard.first_s = at_s if heard.first_s is None else heard.first_s
            heard.tokens.append(_bytes(entry))
            heard.logprobs = [*(heard.logprobs or ()), float(entry["logprob"])]
            top = entry.get("top_logprobs") or ()
            heard.top_tokens.append([_bytes(other) for other in top])
            heard.top_logprobs.append([float(other["logprob"]) for other in top])
            heard.arrivals_s.append(at_s)


def _bytes(entry: dict[str, Any]) -> bytes:
    data = entry.get("bytes")
    return bytes(data) if data is not None else str(entry["token"]).encode()


def _trim(heard: Heard) -> bool:
    """Drop tokens that are no text, such as the one that ends the turn; false if the rest is not the answer."""
    if _text(heard.tokens) != heard.answer:
        kept = [place for place, token in enumerate(heard.tokens) if not _END_TOKEN.fullmatch(token.decode("utf-8", "replace"))]
        columns: list[list[Any]] = [heard.tokens, heard.logprobs or [], heard.top_tokens, heard.top_logprobs, heard.arrivals_s]
        for values in columns:
            values[:] = [values[place] for place in kept]
    return _text(heard.tokens) == heard.answer


def _text(tokens: Sequence[bytes]) -> str:
    return b"".join(tokens).decode("utf-8", "replace")
