"""One request for text on its way from HTTP to the door and back, whatever words the route uses.

It turns a lost client into closed door iterators, which frees what the answers hold on every node. A
request for several choices is several of the door's, side by side. It chooses nothing: who answers,
and how, is the door's; how a route reads a body and words a reply is its `Wording`.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, Awaitable, Callable, Sequence
from dataclasses import dataclass, replace
from typing import Any, Protocol

from starlette.types import Receive, Scope, Send

from netgpt.api.account import ReplyHead, Told, error_frame, last_frames
from netgpt.api.auth import KEY_ID
from netgpt.api.chat_request import ReplyForm
from netgpt.api.connection import WRITABLE, ClientStalled, EventStream, read_json, while_connected
from netgpt.api.reply import REQUEST_ID, as_netgpt_error, send_json
from netgpt.core.chance import digest64
from netgpt.core.clock import Clock
from netgpt.core.errors import NetgptError
from netgpt.core.scheduling import TaskGroup
from netgpt.core.value import value
from netgpt.inference.request import Answer, ChatRequest, Delta, Finish


class AnswerDoor(Protocol):
    """What a route for text needs of `inference.door.Door`."""

    def chat(self, request: ChatRequest) -> AsyncGenerator[Answer, None]: ...


class ChoiceWriter(Protocol):
    """Frames of one streamed choice."""

    def text(self, delta: Delta) -> bytes: ...

    def finish(self, finish: Finish) -> bytes: ...


@value
class Asked:
    """A body, understood."""

    requests: tuple[ChatRequest, ...]  # one for each prompt
    form: ReplyForm


@dataclass(frozen=True, kw_only=True)
class Wording:
    """How one route reads a body and words a reply."""

    chunk: str  # the kind of object that a streamed chunk is
    parse: Callable[[object, str, str], Asked]  # body, request id, id of the API key; raises InvalidRequest, NotSupported
    whole: Callable[[ReplyHead, ChatRequest, ReplyForm, Sequence[Told]], dict[str, Any]]
    writer: Callable[[ReplyHead, ChatRequest, ReplyForm, int], ChoiceWriter]


def choices(asked: Asked) -> tuple[ChatRequest, ...]:
    """One request for each choice: those of the first prompt, then those of the second, and so on.

    Each is a session of its own, named after its place. With a client's seed the first choice to a prompt
    has that seed, so that it is the answer which the same request would get with `n` 1.
    """
    if len(asked.requests) == asked.form.choices == 1:
        return asked.requests
    alone = [(request, number) for request in asked.requests for number in range(asked.form.choices)]
    return tuple(
        replace(request, request_id=f"{request.request_id}-{place}", seed=choice_seed(request.seed, number))
        for place, (request, number) in enumerate(alone)
    )


def choice_seed(seed: int | None, number: int) -> int | None:
    """The seed of choice `number`. Derived ones have 53 bits: every JSON reader keeps them exactly."""
    return seed if seed is None or number == 0 else digest64("choice", seed, number) >> 11


class AnswerEndpoint:
    """The ASGI application behind a route for text."""

    def __init__(self, door: AnswerDoor, wording: Wording, *, node_id: str, clock: Clock) -> None:
        self._door = door
        self._wording = wording
        self._node_id = node_id
        self._clock = clock

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        asked = self._wording.parse(await read_json(scope, receive), scope[REQUEST_ID], scope[KEY_ID])
        head = ReplyHead(id=scope[REQUEST_ID], model=asked.requests[0].model, created=int(self._clock.date_s()), entry=self._node_id)
        work = self._stream(asked, head, scope, send) if asked.form.stream else self._whole(asked, head, send)
        await while_connected(scope, receive, work)

    async def _whole(self, asked: Asked, head: ReplyHead, send: Send) -> None:
        requests = choices(asked)
        told: dict[int, Told] = {}

        async def tell(index: int, request: ChatRequest) -> None:
            told[index] = await self._told(request)

        await side_by_side(requests, tell)
        await send_json(send, self._wording.whole(head, requests[0], asked.form, [told[index] for index in range(len(requests))]))

    async def _told(self, request: ChatRequest) -> Told:
        deltas: list[Delta] = []
        finish: Finish | None = None
        answers = self._door.chat(request)
        try:
            async for answer in answers:
                if isinstance(answer, Finish):
                    finish = answer
                else:
                    deltas.append(answer)
        finally:
            await answers.aclose()
        if finish is None:
            raise _unfinished()
        return Told(deltas=tuple(deltas), finish=finish)

    async def _stream(self, asked: Asked, head: ReplyHead, scope: Scope, send: Send) -> None:
        """Until the first frame an error is a plain error reply; after it, the stream's last frame."""
        stream = EventStream(send, scope.get(WRITABLE))
        try:
            await self._send_stream(asked, head, scope, stream)
        finally:
            stream.close()

    async def _send_stream(self, asked: Asked, head: ReplyHead, scope: Scope, stream: EventStream) -> None:
        try:
            last = await self._stream_choices(asked, head, stream)
        except ClientStalled:
            raise
        except Exception as error:
            if not stream.started:
                raise
            await stream.end(error_frame(as_netgpt_error(error, scope), head.id))
            if not isinstance(error, NetgptError):
                raise
            return
        await stream.end(last)

    async def _stream_choices(self, asked: Asked, head: ReplyHead, stream: EventStream) -> bytes:
        """Send the chunks of all choices as they come; return the last frames, which end the reply."""
        requests = choices(asked)
        finishes: dict[int, Finish] = {}
        last = b""
        turn = asyncio.Lock() if len(requests) > 1 else None  # one choice writes at a time

        async def tell(index: int, request: ChatRequest) -> None:
            nonlocal last
            writer = self._wording.writer(head, request, asked.form, index)
            answers = self._door.chat(request)
            try:
                async for answer in answers:
                    if isinstance(answer, Finish):
                        finishes[index] = answer
                        frames = writer.finish(answer)
                        if len(finishes) == len(requests):
                            last = frames
                            continue
                    else:
                        frames = writer.text(answer)
                    if not frames:  # what may become a call is held back
                        continue
                    if turn is None:
                        await stream.write(frames)
                    else:
                        async with turn:
                            await stream.write(frames)
            finally:
                await answers.aclose()
            if index not in finishes:
                raise _unfinished()

        await side_by_side(requests, tell)
        return last + last_frames(head, self._wording.chunk, asked.form, [finishes[index] for index in range(len(requests))])


def _unfinished() -> NetgptError:
    return NetgptError("the answer ended without a finish", hint="report it with the request id")


def side_by_side(requests: Sequence[ChatRequest], work: Callable[[int, ChatRequest], Awaitable[None]]) -> Awaitable[None]:
    """Run `work` for every request, each in a task unless it is the only one. The first failure ends all and is raised."""
    return work(0, requests[0]) if len(requests) == 1 else _in_tasks(requests, work)


async def _in_tasks(requests: Sequence[ChatRequest], work: Callable[[int, ChatRequest], Awaitable[None]]) -> None:
    async def run(index: int, request: ChatRequest) -> None:
        await work(index, request)

    try:
        async with TaskGroup() as tasks:
            for index, request in enumerate(requests):
                tasks.create_task(run(index, request), name=request.request_id)
    except ExceptionGroup as failures:
        raise failures.exceptions[0] from None
