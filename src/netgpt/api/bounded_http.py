"""HTTP/1.1 connections with bounds: the bytes and seconds of a request's head, the rest of a refused body, and how many.

The parser itself takes headers without end. What is bounded here: a head in bytes, fields and seconds, however it trickles;
a body that goes on after its answer; connections. The body of a request that is served is `api.connection`'s matter.

Some things spare every request some work: whoever answers may be called when its client has gone, where ASGI alone would have it
wait in a task of its own; it may take a body that has come without a wait, and ask whether what it sends leaves at once; and a
reply's head leaves together with what follows it.
"""

from __future__ import annotations

import asyncio
import json
from collections.abc import Callable
from typing import Any

from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol, RequestResponseCycle

from netgpt.api.connection import TAKE_WHOLE, WHEN_GONE, WRITABLE
from netgpt.api.reply import REQUEST_ID_HEADER
from netgpt.core.errors import InvalidRequest, NetgptError, Overloaded
from netgpt.core.units import format_bytes

MAX_HEAD_BYTES = 32 << 10
MAX_FIELDS = 100
HEAD_DEADLINE_S = 15.0  # for a head from its connection's or its own first byte, and for the rest of an answered body
MAX_LEFTOVER_BYTES = 8 << 20  # of a body that is no longer wanted; a client that hears its answer stops before
MAX_CONNECTIONS = 2048


class HeadTooLarge(InvalidRequest):
    """A request line and headers beyond the limits."""

    status = 431


class HeadTooLate(InvalidRequest):
    """A request line and headers that trickle."""

    status = 408


class BoundedHttp(HttpToolsProtocol):
    """uvicorn's protocol that gives up on connections which cost more than a request may."""

    _head_bytes = 0
    _is_in_head = True
    _is_in_body = False
    _leftover_bytes = 0
    _is_given_up = False
    _deadline: asyncio.TimerHandle | None = None
    _is_lost = False
    _answered: RequestResponseCycle | None = None  # `cycle` is the newest one, and may have to wait for this
    _leave: Callable[[], object] | None = None  # called when the client of the reply under way has gone

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        super().connection_made(transport)
        if len(self.connections) > MAX_CONNECTIONS:
            self._give_up(Overloaded(f"{MAX_CONNECTIONS} connections are open", hint="retry after a second, on a connection that is kept"))
        self._watch()

    def connection_lost(self, exc: Exception | None) -> None:
        self._unwatch()
        super().connection_lost(exc)
        self._unset_keepalive_if_required()
        self._is_lost = True
        if self._leave is not None:
            self._leave()
        # What leads back here is let go, so that nothing of a connection waits for the garbage collector.
        self.pipeline.clear()
        self.scope = self.cycle = self._answered = self._leave = None  # type: ignore[assignment]

    def data_received(self, data: bytes) -> None:
        if self._is_given_up:
            return
        super().data_received(data)
        if self._is_given_up:
            return
        if self._is_in_head:  # also of a header that never ends, which the parser does not show
            self._head_bytes += len(data)
            if self._head_bytes > MAX_HEAD_BYTES:
                self._give_up(_too_large())
        self._watch()

    def on_message_begin(self) -> None:
        super().on_message_begin()
        self._is_in_head, self._head_bytes, self._leftover_bytes = True, 0, 0

    def on_headers_complete(self) -> None:
        size_bytes = len(self.url) + sum(len(name) + len(value) for name, value in self.headers)
        if len(self.headers) > MAX_FIELDS or size_bytes > MAX_HEAD_BYTES:
            self._give_up(_too_large())
            raise HeadTooLarge("the parser stops here")
        self._is_in_head, self._is_in_body = False, True
        self.scope.update({WHEN_GONE: self._when_gone, TAKE_WHOLE: self._take_whole, WRITABLE: self._is_writable})  # type: ignore[typeddict-item]
        super().on_headers_complete()

    def on_body(self, body: bytes) -> None:
        super().on_body(body)
        if self.cycle.response_complete:
            self._leftover_bytes += len(body)
            if self._leftover_bytes > MAX_LEFTOVER_BYTES:
                self._close()

    def on_message_complete(self) -> None:
        self._is_in_body = False
        super().on_message_complete()

    def on_response_complete(self) -> None:
        self._reply.flush()  # a reply without a body
        super().on_response_complete()
        self._watch()

    def send_400_response(self, msg: str) -> None:
        if not self._is_given_up:  # else it was answered
            self._give_up(InvalidRequest("this is not HTTP/1.1", hint="check the URL and the client"))

    def _start_asgi_task(self, cycle: RequestResponseCycle, app: Any) -> None:
        self._reply = _HeadFirst(cycle.transport)
        cycle.transport = self._reply  # type: ignore[assignment]
        self._answered = cycle
        super()._start_asgi_task(cycle, app)

    def _when_gone(self, leave: Callable[[], object]) -> Callable[[], None]:
        """A `connection.WhenGone`."""
        self.flow.resume_reading()  # else a long body would have been the last that is heard of the client
        self._leave = leave
        if self._is_lost:
            self.loop.call_soon(leave)
        return self._forget

    def _take_whole(self) -> bytearray | None:
        """A `connection.TakeWhole`."""
        cycle = self._answered
        if cycle is None or cycle.more_body or cycle.disconnected:
            return None
        body, cycle.body = cycle.body, bytearray()
        cycle.message_event.clear()
        return body

    def _is_writable(self) -> bool:
        """A `connection.Writable`."""
        return not self.flow.write_paused

    def _forget(self) -> None:
        self._leave = None

    def _watch(self) -> None:
        """Keep a deadline while only the client can go on. It is not put off by bytes that trickle."""
        answered = self.cycle is None or self.cycle.response_complete
        if self._is_in_head or (self._is_in_body and answered):
            if self._deadline is None and not self._is_given_up:
                self._deadline = self.loop.call_later(HEAD_DEADLINE_S, self._expire)
            return
        self._unwatch()
        if answered and self.timeout_keep_alive_task is None and not self.transport.is_closing():
            self.timeout_keep_alive_task = self.loop.call_later(self.timeout_keep_alive, self.timeout_keep_alive_handler)

    def _unwatch(self) -> None:
        if self._deadline is not None:
            self._deadline.cancel()
            self._deadline = None

    def _expire(self) -> None:
        self._deadline = None
        if self._is_in_head and self._head_bytes:
            self._give_up(HeadTooLate(f"the request's head was not whole within {HEAD_DEADLINE_S:g} s", hint="send the request again"))
        else:
            self._close()

    def _give_up(self, error: NetgptError) -> None:
        """Answer and close, unless an answer is under way on this connection."""
        self._is_given_up = True
        cycle = self.cycle
        is_waiting = self._is_in_body and cycle is self._answered and not cycle.response_started  # for a body that will never be whole
        if cycle is None or cycle.response_complete or is_waiting:
            self.transport.write(_refusal(error))
        if is_waiting:
            cycle.disconnected = True  # whoever waits is told that nobody hears the answer
            cycle.message_event.set()
        self._close()

    def _close(self) -> None:
        self._is_given_up = True
        self._unwatch()
        if not self.transport.is_closing():
            self.transport.close()


class _HeadFirst:
    """A connection's transport for one reply: the head, which uvicorn writes alone, waits for what is written next.

    Both are written in one go of the application's, but each write would wake the client.
    """

    def __init__(self, transport: asyncio.Transport) -> None:
        self._transport = transport
        self._head = b""
        self._is_next = True  # the head is what is written next

    def write(self, data: bytes) -> None:
        if self._is_next and not data.startswith(b"HTTP/1.1 100 "):
            self._head, self._is_next = data, False
        else:
            self._transport.write(self._head + data)
            self._head = b""

    def flush(self) -> None:
        if self._head:
            self.write(b"")

    def close(self) -> None:
        self.flush()
        self._transport.close()

    def is_closing(self) -> bool:
        return self._transport.is_closing()


def _too_large() -> HeadTooLarge:
    return HeadTooLarge(
        f"the request's head has more than {format_bytes(MAX_HEAD_BYTES)} or {MAX_FIELDS} fields", hint="send fewer or shorter headers"
    )


def _refusal(error: NetgptError) -> bytes:
    """A whole reply. The request has no id yet: none was read."""
    body = json.dumps(error.body("")).encode()
    after = "retry-after: 1\r\n" if isinstance(error, Overloaded) else ""
    head = f"HTTP/1.1 {error.status} Refused\r\ncontent-type: application/json\r\n{REQUEST_ID_HEADER}:\r\n{after}"
    return f"{head}content-length: {len(body)}\r\nconnection: close\r\n\r\n".encode() + body
