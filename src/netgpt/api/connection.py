"""One HTTP exchange at the ASGI level: read a body, stream a reply, notice that the client has gone.

Every wait on a client has a bound here: bytes and seconds for a body, seconds for a reader that does
not read. It knows nothing of what is sent.
"""

from __future__ import annotations

import asyncio
import json
from collections.abc import Awaitable, Callable, Coroutine
from typing import Any

from starlette.types import Message, Receive, Scope, Send

from netgpt.api.reply import BodyTooLarge
from netgpt.core.errors import InvalidRequest
from netgpt.core.scheduling import Deadline
from netgpt.core.units import format_bytes

MAX_BODY_BYTES = 1 << 20
BODY_DEADLINE_S = 30.0
STALLED_AFTER_S = 30.0  # a client that takes nothing for so long is treated as gone

WHEN_GONE = "netgpt.when_gone"  # where a request's ASGI scope has its server's `WhenGone`, if it has one
TAKE_WHOLE = "netgpt.take_whole"  # and its `TakeWhole`, if it has one
WRITABLE = "netgpt.writable"  # and its `Writable`, if it has one
TakeWhole = Callable[[], bytes | bytearray | None]  # the body, if it has come already
Writable = Callable[[], bool]  # whether what is sent now leaves without waiting for the client
WhenGone = Callable[[Callable[[], object]], Callable[[], object]]  # calls back once the client is gone; what it returns ends that

_SSE_START = {
    "type": "http.response.start",
    "status": 200,
    "headers": [(b"content-type", b"text/event-stream; charset=utf-8"), (b"cache-control", b"no-cache"), (b"x-accel-buffering", b"no")],
}


class ClientStalled(Exception):
    """The client has stopped reading its stream."""


async def read_json(scope: Scope, receive: Receive) -> object:
    """The request's body as JSON, whatever its content type says.

    Raises:
        BodyTooLarge: more than `MAX_BODY_BYTES`.
        InvalidRequest: not JSON, or not whole within `BODY_DEADLINE_S`.
    """
    take_whole: TakeWhole | None = scope.get(TAKE_WHOLE)
    if take_whole is None or (body := take_whole()) is None:
        body = await _body_in_time(receive)
    if len(body) > MAX_BODY_BYTES:
        raise BodyTooLarge(f"the body has more than {format_bytes(MAX_BODY_BYTES)}", hint="shorten the messages")
    try:
        return json.loads(body)
    except (ValueError, RecursionError) as error:
        raise InvalidRequest(f"the body is not JSON: {_fault(error)}", hint="send one JSON object") from error


def _fault(error: ValueError | RecursionError) -> str:
    """What is wrong with a body, in words for whoever sent it."""
    if isinstance(error, RecursionError):
        return "it is nested too deeply"
    return str(error) if isinstance(error, json.JSONDecodeError | UnicodeDecodeError) else "a number has too many digits"


async def _body_in_time(receive: Receive) -> bytes:
    deadline = Deadline(BODY_DEADLINE_S)
    try:
        with deadline:
            return await _read_body(receive)
    except TimeoutError as error:
        raise InvalidRequest(f"the body was not whole within {BODY_DEADLINE_S:g} s", hint="send the request again") from error
    finally:
        deadline.close()


async def _read_body(receive: Receive) -> bytes:
    body = bytearray()  # a body in many small parts must not be copied for each of them
    while True:
        message = await receive()
        if message["type"] == "http.disconnect":
            raise InvalidRequest("the client left before its body was whole", hint="send the request again")
        body += message.get("body", b"")
        if len(body) > MAX_BODY_BYTES or not message.get("more_body", False):
            return bytes(body)


async def while_connected(scope: Scope, receive: Receive, work: Coroutine[Any, Any, None]) -> None:
    """Run `work` to its end, or cancel it as soon as the client is gone. Its errors pass through,
    but for `ClientStalled`, which ends it as if the client were gone.

    `work` must not wait for anything after it has sent the last part of its reply: a server reports a
    finished reply in the same way as a lost client.
    """
    task = asyncio.current_task()
    assert task is not None
    others, is_gone = task.cancelling(), False

    def leave() -> None:
        nonlocal is_gone
        is_gone = is_gone or task.cancel()

    stop_watching = (scope.get(WHEN_GONE) or _watch(receive))(leave)
    try:
        await work
    except ClientStalled:
        pass
    except asyncio.CancelledError:
        if not is_gone or task.cancelling() > others + 1:
            raise
    finally:
        stop_watching()
        if is_gone:
            task.uncancel()


def _watch(receive: Receive) -> WhenGone:
    """The long way to know that the client is gone, for servers that have no other: a task that waits for it."""

    async def wait_until_gone() -> None:
        while (await receive())["type"] != "http.disconnect":
            pass

    def when_gone(leave: Callable[[], object]) -> Callable[[], object]:
        watcher = asyncio.get_running_loop().create_task(wait_until_gone(), name="watch-client")
        is_watched = True

        def tell(_: asyncio.Task[None]) -> None:
            if is_watched:
                leave()

        def stop() -> None:
            nonlocal is_watched
            is_watched = False
            watcher.cancel()

        watcher.add_done_callback(tell)
        return stop

    return when_gone


class EventStream:
    """A reply of server-sent events. Nothing is sent, not even the status, before the first frame."""

    def __init__(self, send: Send, writable: Writable | None = None) -> None:
        self._send = send
        self._writable = writable or (lambda: False)
        self._deadline = Deadline(STALLED_AFTER_S)
        self.started = False

    def write(self, frames: bytes) -> Awaitable[None]:
        return self._write(frames, more=True)

    def end(self, frames: bytes = b"") -> Awaitable[None]:
        """Send the last frames and close the reply."""
        return self._write(frames, more=False)

    def close(self) -> None:
        """Free what the stream holds, however it ended."""
        self._deadline.close()

    async def _write(self, frames: bytes, *, more: bool) -> None:
        if not self.started:
            self.started = True
            await self._send_in_time(_SSE_START)
        await self._send_in_time({"type": "http.response.body", "body": frames, "more_body": more})

    def _send_in_time(self, message: Message) -> Awaitable[None]:
        return self._send(message) if self._writable() else self._wait_for_reader(message)

    async def _wait_for_reader(self, message: Message) -> None:
        self._deadline.put_off(STALLED_AFTER_S)
        try:
            with self._deadline:
                await self._send(message)
        except TimeoutError as error:
            raise ClientStalled(f"nothing was taken for {STALLED_AFTER_S:g} s") from error
