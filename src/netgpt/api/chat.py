"""`POST /v1/chat/completions`: one request's way from HTTP to the door and back.

It turns a lost client into a closed door iterator, which frees what the answer holds on every node.
It chooses nothing: who answers, and how, is the door's.
"""

from __future__ import annotations

from collections.abc import AsyncGenerator
from contextlib import aclosing
from dataclasses import replace
from typing import Protocol

from starlette.types import Receive, Scope, Send

from netgpt.api.auth import KEY_ID
from netgpt.api.chat_reply import ChunkWriter, ReplyHead, chat_completion
from netgpt.api.chat_request import parse_chat, parse_form
from netgpt.api.connection import ClientStalled, EventStream, read_json, while_connected
from netgpt.api.reply import REQUEST_ID, as_netgpt_error, json_response
from netgpt.core.clock import Clock
from netgpt.core.errors import NetgptError
from netgpt.inference.request import Answer, ChatRequest, Delta, Finish, ServedModel


class ChatDoor(Protocol):
    """What the HTTP surface needs of `inference.door.Door`."""

    def models(self) -> list[ServedModel]: ...

    def chat(self, request: ChatRequest) -> AsyncGenerator[Answer, None]: ...


class ChatEndpoint:
    """The ASGI application behind the route."""

    def __init__(self, door: ChatDoor, *, node_id: str, clock: Clock) -> None:
        self._door = door
        self._node_id = node_id
        self._clock = clock

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        body = await read_json(receive)
        request, form = replace(parse_chat(body, scope[REQUEST_ID]), key=scope[KEY_ID]), parse_form(body)
        head = ReplyHead(id=request.request_id, model=request.model, created=int(self._clock.date_s()), entry=self._node_id)
        if form.stream:
            work = self._stream(request, ChunkWriter(head, request, form), scope, send)
        else:
            work = self._whole(request, head, scope, receive, send)
        await while_connected(receive, work)

    async def _whole(self, request: ChatRequest, head: ReplyHead, scope: Scope, receive: Receive, send: Send) -> None:
        deltas: list[Delta] = []
        finish: Finish | None = None
        async with aclosing(self._door.chat(request)) as answers:
            async for answer in answers:
                if isinstance(answer, Finish):
                    finish = answer
                else:
                    deltas.append(answer)
        if finish is None:
            raise NetgptError("the answer ended without a finish", hint="report it with the request id")
        await json_response(chat_completion(head, request, deltas, finish))(scope, receive, send)

    async def _stream(self, request: ChatRequest, writer: ChunkWriter, scope: Scope, send: Send) -> None:
        """Until the first frame an error is a plain error reply; after it, the stream's last frame."""
        stream = EventStream(send)
        last = b""
        try:
            async with aclosing(self._door.chat(request)) as answers:
                async for answer in answers:
                    if isinstance(answer, Finish):
                        last = writer.finish(answer)
                    else:
                        await stream.write(writer.text(answer))
        except ClientStalled:
            raise
        except Exception as error:
            if not stream.started:
                raise
            await stream.end(writer.error(as_netgpt_error(error, scope)))
            if not isinstance(error, NetgptError):
                raise
            return
        await stream.end(last)
