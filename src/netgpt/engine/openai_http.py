"""HTTP/1.1 to one server, as streaming needs it: kept connections, bounded buffers, and an end at once when the caller leaves.

It knows one base URL and no meaning of what crosses. A general client costs more than the door may add:
an answer of 16 chunks took httpx 2.8 ms of processor time, aiohttp 0.5 ms, and this 0.3 ms on the machine
where it was measured. httptools parses; redirects are not followed, since they would carry the key elsewhere.
"""

from __future__ import annotations

import asyncio
import ssl
from collections import deque
from collections.abc import Awaitable, Callable, Mapping
from typing import cast
from urllib.parse import SplitResult, urlsplit

import httptools

from netgpt.core.errors import NodeUnreachable, UsageError

MAX_HEAD_BYTES = 64 * 1024
MAX_UNREAD_BYTES = 256 * 1024  # then the server has to wait
MAX_IDLE = 256  # kept connections
DRAIN_S = 1.0  # for the end of a body whose last words were read
_PORTS = {"http": 80, "https": 443}


def parse_base_url(url: str) -> SplitResult:
    """The parts of a base URL that ends in `/v1`.

    Raises:
        UsageError: no such URL, or one that holds a user or password.
    """
    hint = "give one such as http://127.0.0.1:8080/v1"
    try:
        parts = urlsplit(url.rstrip("/"))
        (parts.hostname or "").encode("idna")
        usable = parts.scheme in _PORTS and bool(parts.hostname) and (parts.port or 1) > 0 and url.isascii() and url.isprintable() and " " not in url
    except ValueError:
        raise UsageError("the upstream's URL cannot be read", hint=hint, param="upstream") from None
    if not usable or parts.query or parts.fragment:
        shown = url.rpartition("@")[2]
        raise UsageError(f"{shown!r} is no base URL", hint=hint, param="upstream")
    if parts.username is not None:
        raise UsageError("the upstream's URL holds a user or password", hint="name the variable that holds the key instead", param="upstream")
    return parts


class Response:
    """One answer: its head is there, its body comes. Whoever asked closes it: before the body's end that closes the connection at once."""

    __slots__ = ("_connection", "_part_from", "has_said_all")

    def __init__(self, connection: _Connection, part_from: Callable[[_Connection, bool], None]) -> None:
        self._connection = connection
        self._part_from = part_from
        self.has_said_all = False  # set by a reader who knows that only the body's end is to come

    @property
    def status(self) -> int:
        return self._connection.status

    @property
    def headers(self) -> Mapping[str, str]:
        """By lower-case name."""
        return self._connection.headers

    def part(self) -> Awaitable[bytes]:
        """What has come of the body since the last part, or comes next; empty at its end.

        Raises:
            NodeUnreachable: it ended too early, or is no HTTP.
        """
        return self._connection.body()

    async def read(self, limit: int) -> bytes:
        """The body, or its first `limit` bytes."""
        body = b""
        while len(body) < limit and (data := await self._connection.body()):
            body += data
        return body[:limit]

    def close(self) -> None:
        self._part_from(self._connection, self.has_said_all)


class HttpClient:
    """Keeps connections to one server.

    Args:
        url: the base URL, without user and password.
        headers: sent with each request.

    Raises:
        UsageError: no base URL.
    """

    def __init__(self, url: str, *, headers: Mapping[str, str], connect_s: float) -> None:
        parts = parse_base_url(url)
        self.url = url.rstrip("/")
        self._host, self._port = parts.hostname or "", parts.port or _PORTS[parts.scheme]
        self._path = parts.path
        self._tls = ssl.create_default_context() if parts.scheme == "https" else None
        self._connect_s = connect_s
        self._idle: deque[_Connection] = deque()
        self._closed = False
        fixed = {"host": parts.netloc, "accept-encoding": "identity", "user-agent": "netgpt", **headers}
        self._head = "".join(f"{name}: {value}\r\n" for name, value in fixed.items()).encode("latin-1")

    async def ask(self, method: str, path: str, body: bytes = b"", *, root: bool = False) -> Response:
        """Ask, and give the answer once its head is there.

        Args:
            root: `path` begins at the server's root instead of the base URL.

        Raises:
            NodeUnreachable: the server cannot be reached, broke off, or does not speak HTTP.
        """
        target = path if root else self._path + path
        kind = b"content-type: application/json\r\n" if body else b""
        request = b"%s %s HTTP/1.1\r\n%s%scontent-length: %d\r\n\r\n%s" % (method.encode(), target.encode(), self._head, kind, len(body), body)
        return Response(await self._ask(request), self._part_from)

    def _part_from(self, connection: _Connection, has_said_all: bool) -> None:
        """Keep the connection, close it, or leave it a moment for the end of a body that says nothing more."""
        if has_said_all and not connection.complete and connection.lost is None:
            timer = asyncio.get_running_loop().call_later(DRAIN_S, connection.abort)
            connection.settle(lambda: (timer.cancel(), self._keep(connection)))
        else:
            self._keep(connection)

    def _keep(self, connection: _Connection) -> None:
        if connection.reusable and len(self._idle) < MAX_IDLE and not self._closed:
            self._idle.append(connection)
        else:
            connection.abort()

    async def _ask(self, request: bytes) -> _Connection:
        """A connection that has the head of the answer to `request`."""
        while self._idle:
            connection = self._idle.pop()
            if connection.lost is None and await self._heard(connection, request, fresh=False):
                return connection
        connection = await self._connect()
        await self._heard(connection, request, fresh=True)
        return connection

    async def _heard(self, connection: _Connection, request: bytes, *, fresh: bool) -> bool:
        """Whether the head came; a kept connection that the server closed meanwhile is no failure."""
        try:
            connection.send(request)
            await connection.head()
        except NodeUnreachable:
            connection.abort()
            if fresh or connection.head_bytes:
                raise
            return False
        except BaseException:
            connection.abort()
            raise
        return True

    async def _connect(self) -> _Connection:
        loop = asyncio.get_running_loop()
        try:
            async with asyncio.timeout(self._connect_s):
                _, connection = await loop.create_connection(lambda: _Connection(self.url), self._host, self._port, ssl=self._tls)
        except TimeoutError:
            hint = "check the URL and that the server runs"
            raise NodeUnreachable(f"{self.url} does not answer: no connection within {self._connect_s:g} s", hint=hint) from None
        except OSError as error:
            raise NodeUnreachable(f"{self.url} does not answer: {error}", hint="check the URL and that the server runs") from error
        return connection

    async def close(self) -> None:
        self._closed = True
        while self._idle:
            self._idle.pop().abort()


class _Connection(asyncio.Protocol):
    """One socket: at most one request at a time."""

    def __init__(self, url: str) -> None:
        self._url = url
        self._loop = asyncio.get_running_loop()
        self._waiter: asyncio.Future[None] | None = None  # of the caller
        self._transport: asyncio.Transport | None = None
        self._paused = False
        self.lost: str | None = None  # why nothing more will come
        self._begin()

    def _begin(self) -> None:
        self.status = 0
        self.headers: dict[str, str] = {}
        self.head_bytes = 0
        self._unread: list[bytes] = []
        self.on_body = self._unread.append  # the parser's call for each part of the body: hundreds in a long answer
        self._unread_bytes = 0
        self._head_done = self.complete = False
        self._kept_alive = False
        self._sized = False  # the head says where the body ends
        self._settled: Callable[[], None] | None = None
        self._parser: httptools.HttpResponseParser | None = httptools.HttpResponseParser(self)

    # ---- the caller's side

    def send(self, request: bytes) -> None:
        self._begin()
        assert self._transport is not None
        self._transport.write(request)

    async def head(self) -> None:
        while not self._head_done:
            await self._news()

    async def body(self) -> bytes:
        """More of the body; empty at its end."""
        while not self._unread and not self.complete:
            await self._news()
        data = self._unread[0] if len(self._unread) == 1 else b"".join(self._unread)
        self._unread.clear()
        self._unread_bytes = 0
        if self._paused and self._transport is not None and not self._transport.is_closing():
            self._paused = False
            self._transport.resume_reading()
        return data

    def _news(self) -> asyncio.Future[None]:
        """Done once there is something new; raises NodeUnreachable if there never will be."""
        if self.lost is not None:
            raise NodeUnreachable(f"{self._url} {self.lost}", hint="see that server's log")
        self._waiter = self._loop.create_future()
        return self._waiter

    def _wake(self) -> None:
        if self._waiter is not None and not self._waiter.done():
            self._waiter.set_result(None)

    @property
    def reusable(self) -> bool:
        return self.complete and self.lost is None and self._sized and self._kept_alive

    def settle(self, when_settled: Callable[[], object]) -> None:
        """Drop what still comes; call back once the body has ended or is lost."""
        self._unread.clear()

        def once() -> None:
            self._settled = None
            when_settled()

        self._settled = once

    def abort(self) -> None:
        """Close at once: the server learns that nobody listens."""
        self.lost = self.lost or "was closed on this side"
        if self._transport is not None:
            self._transport.abort()

    # ---- asyncio's side

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast(asyncio.Transport, transport)  # uvloop's is no subclass

    def data_received(self, data: bytes) -> None:
        if self._parser is None:
            return
        if not self._head_done:
            self.head_bytes += len(data)
        try:
            self._parser.feed_data(data)
        except (httptools.HttpParserError, httptools.HttpParserUpgrade):
            self._break("sends what is no HTTP answer")
        if not self._head_done and self.head_bytes > MAX_HEAD_BYTES:
            self._break("sends a head that does not end")
        if self._settled is not None:
            self._unread.clear()
            if self.complete or self.lost is not None:
                self._settled()
        elif self._head_done:
            self._hold_back(len(data))
        self._wake()

    def _hold_back(self, more_bytes: int) -> None:
        """Let the server wait while nobody reads what it said."""
        self._unread_bytes += more_bytes
        if self._unread_bytes > MAX_UNREAD_BYTES and self._transport is not None and not self._paused:
            self._paused = True
            self._transport.pause_reading()

    def connection_lost(self, exc: Exception | None) -> None:
        self._parser = None  # it leads back here: nothing of a connection shall wait for the garbage collector
        if self._head_done and not self._sized and exc is None:
            self.complete = True  # a body without a length ends with its connection
        if self._settled is not None:
            self._settled()
        if self.lost is None:
            self.lost = "broke off" if self.head_bytes else "closed the connection without an answer"
        self._wake()

    def _break(self, why: str) -> None:
        self.lost = self.lost or why
        self._wake()
        if self._transport is not None:
            self._transport.abort()

    # ---- httptools' side

    def on_header(self, name: bytes, value: bytes) -> None:
        if not self._head_done:  # not of a trailer, which has no bound
            self.headers[name.decode("latin-1").lower()] = value.decode("latin-1")

    def on_headers_complete(self) -> None:
        assert self._parser is not None
        self.status = self._parser.get_status_code()
        if self.status >= 200:
            self._sized = "content-length" in self.headers or "chunked" in self.headers.get("transfer-encoding", "").lower()
            self._head_done = True

    def on_message_complete(self) -> None:
        if self.status < 200:
            self.headers.clear()  # 100 Continue: the answer follows
            return
        assert self._parser is not None
        self.complete = True
        self._kept_alive = self._parser.should_keep_alive()
