"""Connections that ask too much: heads without end, trickles, leftovers, and too many of them. Under the virtual clock."""

import asyncio
import json
from collections.abc import Awaitable, Callable
from typing import Any

import pytest
import uvicorn
from starlette.types import ASGIApp
from uvicorn.server import ServerState

from netgpt.api import bounded_http
from netgpt.api.bounded_http import HEAD_DEADLINE_S, MAX_FIELDS, MAX_HEAD_BYTES, MAX_LEFTOVER_BYTES, BoundedHttp
from netgpt.api.connection import BODY_DEADLINE_S
from netgpt.core.clock import run_virtual

HEAD = b"GET /health HTTP/1.1\r\nHost: localhost\r\n"
POST = b"POST /v1/chat/completions HTTP/1.1\r\nHost: localhost\r\nContent-Length: %d\r\n\r\n"


class Line(asyncio.Transport):
    """A client's end of a connection: what the server wrote, and whether it hung up."""

    def __init__(self, config: uvicorn.Config, state: ServerState) -> None:
        super().__init__()
        self.heard = b""
        self.writes = 0
        self.is_closed = False
        self.protocol = BoundedHttp(config, state, {})
        self.protocol.connection_made(self)

    def say(self, data: bytes) -> None:
        self.protocol.data_received(data)

    def told(self) -> tuple[int, dict[str, Any]]:
        """Status and body of the only reply."""
        head, _, body = self.heard.partition(b"\r\n\r\n")
        return int(head.split()[1]), json.loads(body)

    def write(self, data: bytes) -> None:  # type: ignore[override]
        self.heard += data
        self.writes += 1

    def close(self) -> None:
        if not self.is_closed:
            self.is_closed = True
            asyncio.get_running_loop().call_soon(self.protocol.connection_lost, None)

    def is_closing(self) -> bool:
        return self.is_closed

    def pause_reading(self) -> None: ...

    def resume_reading(self) -> None: ...


Work = Callable[[Callable[[], Line]], Awaitable[None]]


@pytest.fixture
def talk(scripted: Any, door_app: Any) -> Callable[[Work], None]:
    """Runs some work that may open connections to a door."""

    def run(work: Work) -> None:
        async def main() -> None:
            app: ASGIApp = door_app(scripted([]))
            config = uvicorn.Config(app, http=BoundedHttp, ws="none", lifespan="off", log_config=None, access_log=False, timeout_keep_alive=75)
            config.load()
            state = ServerState()
            await work(lambda: Line(config, state))

        run_virtual(main())

    return run


@pytest.mark.parametrize(
    "parts",
    [
        [b"GET /" + b"a" * (MAX_HEAD_BYTES + 1)],
        [HEAD + b"X-Long: "] + [b"a" * 1000] * (MAX_HEAD_BYTES // 1000 + 1),
        [HEAD + b"X: 1\r\n" * (MAX_FIELDS + 1) + b"\r\n"],
        [HEAD] + [b"X-%d: 1\r\n" % number for number in range(5000)],
        [HEAD + b"Authorization: Bearer " + b"a" * 200_000 + b"\r\n\r\n"],
    ],
)
def test_a_head_beyond_the_limits_is_answered_and_ended(parts: list[bytes], talk: Callable[[Work], None]) -> None:
    async def work(connect: Callable[[], Line]) -> None:
        line = connect()
        for part in parts:
            line.say(part)
        status, body = line.told()
        assert (status, body["error"]["code"]) == (431, "invalid_request")
        assert body["hint"]
        assert line.is_closed

    talk(work)


def test_what_is_not_http_is_told_so_in_the_shape_of_all_errors(talk: Callable[[Work], None]) -> None:
    async def work(connect: Callable[[], Line]) -> None:
        line = connect()
        line.say(b"\x16\x03\x01 hello\r\n\r\n")
        line.say(b"more of it")
        status, body = line.told()
        assert (status, body["error"]["type"]) == (400, "invalid_request_error")
        assert line.is_closed

    talk(work)


def test_a_head_that_trickles_is_ended_however_often_a_byte_comes(talk: Callable[[Work], None]) -> None:
    async def work(connect: Callable[[], Line]) -> None:
        line = connect()
        line.say(HEAD)
        for _ in range(int(HEAD_DEADLINE_S)):
            assert not line.is_closed
            line.say(b"x")
            await asyncio.sleep(1.0)
        assert line.told()[0] == 408
        assert line.is_closed

    talk(work)


def test_a_connection_that_says_nothing_is_ended_without_a_word(talk: Callable[[Work], None]) -> None:
    async def work(connect: Callable[[], Line]) -> None:
        line = connect()
        await asyncio.sleep(HEAD_DEADLINE_S + 1)
        assert line.is_closed
        assert line.heard == b""

    talk(work)


def test_a_kept_connection_may_rest_between_requests_and_then_trickle_no_more_than_another(talk: Callable[[Work], None]) -> None:
    async def work(connect: Callable[[], Line]) -> None:
        line = connect()
        for count in range(1, 4):
            line.say(HEAD + b"\r\n")
            await asyncio.sleep(HEAD_DEADLINE_S + 1)
            assert line.heard.count(b"200 OK") == count
            line.say(b"\r\n")  # allowed between requests, and no beginning of one
        line.say(b"GET")
        await asyncio.sleep(HEAD_DEADLINE_S + 1)
        assert line.is_closed
        assert b" 408 " in line.heard

    talk(work)


def test_a_body_that_never_ends_is_given_up_and_its_connection_with_it(talk: Callable[[Work], None]) -> None:
    async def work(connect: Callable[[], Line]) -> None:
        line = connect()
        line.say(POST % 1000)
        for _ in range(int(BODY_DEADLINE_S) + 1):
            line.say(b" ")
            await asyncio.sleep(1.0)
        assert b" 400 " in line.heard
        assert b"was not whole within" in line.heard
        for _ in range(int(HEAD_DEADLINE_S) + 1):
            line.say(b" ")
            await asyncio.sleep(1.0)
        assert line.is_closed

    talk(work)


def test_a_body_that_breaks_is_answered_once_and_its_connection_ended(talk: Callable[[Work], None]) -> None:
    async def work(connect: Callable[[], Line]) -> None:
        line = connect()
        line.say(b"POST /v1/chat/completions HTTP/1.1\r\nHost: localhost\r\nTransfer-Encoding: chunked\r\n\r\n")
        await asyncio.sleep(0.1)  # the application waits for it
        line.say(b"no length\r\n")
        await asyncio.sleep(0.1)
        status, body = line.told()
        assert (status, body["error"]["code"]) == (400, "invalid_request")
        assert line.is_closed

    talk(work)


def test_a_client_that_goes_on_sending_a_refused_body_is_let_go(talk: Callable[[Work], None]) -> None:
    async def work(connect: Callable[[], Line]) -> None:
        line = connect()
        line.say(POST % (1 << 40))
        await asyncio.sleep(0.1)
        assert b" 413 " in line.heard
        sent = 0
        while not line.is_closed:
            line.say(bytes(1 << 16))
            sent += 1 << 16
        assert sent <= MAX_LEFTOVER_BYTES + (1 << 16)

    talk(work)


def test_a_request_that_is_answered_in_time_leaves_no_timer_that_could_end_its_connection(talk: Callable[[Work], None]) -> None:
    async def work(connect: Callable[[], Line]) -> None:
        line = connect()
        line.say(POST % 2)
        await asyncio.sleep(1.0)
        line.say(b"{}")
        await asyncio.sleep(HEAD_DEADLINE_S + 1)
        assert b" 400 " in line.heard
        assert not line.is_closed

    talk(work)


def test_connections_are_counted(talk: Callable[[Work], None], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(bounded_http, "MAX_CONNECTIONS", 1)

    async def work(connect: Callable[[], Line]) -> None:
        first, second = connect(), connect()
        status, body = second.told()
        assert (status, body["error"]["code"]) == (503, "overloaded")
        assert b"retry-after: 1" in second.heard
        assert (first.is_closed, second.is_closed) == (False, True)

    talk(work)


@pytest.mark.parametrize(("head", "status"), [(HEAD + b"\r\n", 200), (HEAD.replace(b"GET", b"HEAD") + b"\r\n", 200), (POST % 1 + b"{", 400)])
def test_a_replys_head_and_body_leave_together(head: bytes, status: int, talk: Callable[[Work], None]) -> None:
    async def work(connect: Callable[[], Line]) -> None:
        line = connect()
        for count in range(1, 4):
            line.say(head)
            await asyncio.sleep(0.1)
            assert line.writes == count
        assert line.heard.startswith(b"HTTP/1.1 %d " % status)
        assert line.heard.count(b"HTTP/1.1") == 3

    talk(work)


def test_a_client_that_waits_to_be_asked_for_its_body_is_asked_at_once(talk: Callable[[Work], None]) -> None:
    async def work(connect: Callable[[], Line]) -> None:
        line = connect()
        line.say((POST % 1).replace(b"Host", b"Expect: 100-continue\r\nHost"))
        await asyncio.sleep(0.1)
        assert line.heard == b"HTTP/1.1 100 Continue\r\n\r\n"
        line.say(b"{")
        await asyncio.sleep(0.1)
        assert line.heard.startswith(b"HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 400 ")

    talk(work)
