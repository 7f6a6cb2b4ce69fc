"""A client that costs little itself: many connections, raw requests, and the time of every piece of an answer.

Knows HTTP/1.1 and nothing of what is asked; what answers mean is read afterwards, when no clock runs.
"""

from __future__ import annotations

import asyncio
import json
import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import pairwise
from typing import Any, cast
from urllib.parse import urlsplit

import httptools

from netgpt.core.clock import WallClock
from netgpt.core.scheduling import TaskGroup

ANSWER_DEADLINE_S = 120.0
LOST = 0  # the status of an answer that broke off or never came
_TOKEN = re.compile(r"([^:]+):(\d+):(\d+)")
_CLOCK = WallClock()


@dataclass(kw_only=True)
class Answer:
    """What came for one request; times are of the machine's monotonic clock."""

    asked_s: float
    status: int = LOST
    ended_s: float = 0.0
    pieces: list[tuple[float, bytes]] = field(default_factory=list)

    @property
    def total_s(self) -> float:
        return self.ended_s - self.asked_s


@dataclass(frozen=True, kw_only=True)
class Target:
    """Where requests go: a base URL without `/v1`."""

    url: str
    model: str
    key: str = ""

    def request(self, content: str, **fields: Any) -> bytes:
        """The bytes of a chat completion's request."""
        body = json.dumps({"model": self.model, "messages": [{"role": "user", "content": content}], **fields}).encode()
        key = f"Authorization: Bearer {self.key}\r\n" if self.key else ""
        head = f"POST /v1/chat/completions HTTP/1.1\r\nHost: {urlsplit(self.url).netloc}\r\nContent-Type: application/json\r\n{key}"
        return f"{head}Content-Length: {len(body)}\r\n\r\n".encode() + body


class Caller(asyncio.Protocol):
    """One connection, kept open; one request at a time."""

    def __init__(self, url: str) -> None:
        parts = urlsplit(url)
        self._address = (parts.hostname or "", parts.port or 80)
        self._transport: asyncio.Transport | None = None
        self._answer: Answer | None = None
        self._done: asyncio.Future[None] | None = None
        self._parser = httptools.HttpResponseParser(self)

    async def ask(self, request: bytes) -> Answer:
        """Send a request and take its answer, whatever it is."""
        loop = asyncio.get_running_loop()
        answer = Answer(asked_s=_CLOCK.now_s())
        try:
            if self._transport is None or self._transport.is_closing():
                self._parser = httptools.HttpResponseParser(self)
                await loop.create_connection(lambda: self, *self._address)
            assert self._transport is not None
            self._answer, self._done = answer, loop.create_future()
            answer.asked_s = _CLOCK.now_s()
            self._transport.write(request)
            async with asyncio.timeout(ANSWER_DEADLINE_S):
                await self._done
        except (OSError, TimeoutError):
            self.close()
            answer.status = LOST
        answer.ended_s = answer.ended_s or _CLOCK.now_s()
        return answer

    def close(self) -> None:
        if self._transport is not None:
            self._transport.abort()

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast(asyncio.Transport, transport)  # uvloop's own class is not derived from it

    def connection_lost(self, exc: Exception | None) -> None:
        self._transport = None
        if self._done is not None and not self._done.done():
            self._done.set_exception(ConnectionError("the answer broke off"))

    def data_received(self, data: bytes) -> None:
        try:
            self._parser.feed_data(data)
        except httptools.HttpParserError:
            self.close()

    def on_body(self, body: bytes) -> None:
        if self._answer is not None:
            self._answer.pieces.append((_CLOCK.now_s(), body))

    def on_message_complete(self) -> None:
        status = self._parser.get_status_code()
        if status >= 200 and self._answer is not None and self._done is not None and not self._done.done():
            self._answer.status, self._answer.ended_s = status, _CLOCK.now_s()
            self._done.set_result(None)


async def ask_all(target: Target, requests: Iterable[bytes], *, connections: int) -> list[Answer]:
    """Ask everything, each connection the next request as soon as it has its answer; answers in no set order."""
    callers = [Caller(target.url) for _ in range(connections)]
    left, answers = iter(requests), list[Answer]()

    async def drain(caller: Caller) -> None:
        answers.extend([await caller.ask(request) for request in left])

    try:
        async with TaskGroup() as group:
            for caller in callers:
                group.create_task(drain(caller), name="caller")
    finally:
        for caller in callers:
            caller.close()
    return answers


async def ask_at(target: Target, timed: Iterable[tuple[float, bytes]]) -> list[Answer]:
    """Ask each request at its time, in seconds from now, whether or not others have been answered: an open loop."""
    idle: list[Caller] = []
    answers: list[Answer] = []
    start_s = _CLOCK.now_s()

    async def ask(request: bytes) -> None:
        caller = idle.pop() if idle else Caller(target.url)
        answers.append(await caller.ask(request))
        idle.append(caller)

    try:
        async with TaskGroup() as group:
            for at_s, request in timed:
                await _CLOCK.sleep(max(0.0, start_s + at_s - _CLOCK.now_s()))
                group.create_task(ask(request), name="request")
    finally:
        for caller in idle:
            caller.close()
    return answers


@dataclass(frozen=True, kw_only=True)
class Token:
    """One token of a tagged stream: when it was sent and when it arrived."""

    tag: str
    number: int
    sent_s: float
    arrived_s: float


def events(answer: Answer) -> Iterator[tuple[float, Mapping[str, Any]]]:
    """The events of a streamed answer; one that spans pieces arrived with its last."""
    rest = b""
    for at_s, piece in answer.pieces:
        *whole, rest = (rest + piece).split(b"\n\n")
        for event in whole:
            data = event.strip().removeprefix(b"data:").strip()
            if data and data != b"[DONE]" and not event.lstrip().startswith(b":"):
                yield at_s, json.loads(data)


def stream_tokens(answer: Answer) -> list[Token] | None:
    """The tokens of a stream in the order of their arrival; None if its text is not made of tagged tokens."""
    tokens: list[Token] = []
    rest = ""
    for at_s, event in events(answer):
        for choice in event.get("choices") or ():
            *words, rest = (rest + ((choice.get("delta") or {}).get("content") or "")).split(" ")
            for word in words:
                match = _TOKEN.fullmatch(word)
                if match is None:
                    return None
                tokens.append(Token(tag=match[1], number=int(match[2]), sent_s=int(match[3]) / 1e6, arrived_s=at_s))
    return None if rest.strip() else tokens


def is_whole(answer: Answer) -> bool:
    """Whether a streamed answer ended as it should."""
    return answer.status == 200 and any(b"[DONE]" in piece for _, piece in answer.pieces[-3:])


def jitters_s(tokens: Sequence[Token]) -> list[float]:
    """How much longer or shorter each gap was on arrival than when it was sent."""
    return [abs((b.arrived_s - a.arrived_s) - (b.sent_s - a.sent_s)) for a, b in pairwise(tokens)]
