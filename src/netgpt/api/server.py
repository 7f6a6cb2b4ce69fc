"""Serves an ASGI application on one address until told to stop.

It owns the socket and the drain. Signals, processes and ports that were chosen elsewhere are not its
matter: it runs inside a loop that belongs to its caller.
"""

from __future__ import annotations

import asyncio
import errno
import socket
from collections.abc import Callable, Iterator
from contextlib import contextmanager

import uvicorn
from starlette.types import ASGIApp

from netgpt.api.bounded_http import BoundedHttp
from netgpt.core.errors import PortInUse, UsageError
from netgpt.core.scheduling import TaskGroup

DRAIN_S = 2.0  # answers in flight may go on for so long after `stop`
_BACKLOG = 1024
_KEEP_ALIVE_S = 75
_ACCEPTED_A_TURN = 8  # connections; uvloop takes one a turn of its loop from each listener, and turns are long where many requests are answered


async def serve_http(app: ASGIApp, *, host: str, port: int, ready: Callable[[int], None], stop: asyncio.Event) -> None:
    """Serve `app` until `stop` is set, then let answers in flight end within `DRAIN_S`.

    Args:
        port: 0 takes a free one.
        ready: called with the port once connections are accepted.

    Raises:
        PortInUse: another process holds the port.
        UsageError: the address is not this machine's, or may not be used.
    """
    listening = listen(host, port)
    listeners = [listening, *(listening.dup() for _ in range(_ACCEPTED_A_TURN - 1))]
    config = uvicorn.Config(
        app,
        http=BoundedHttp,
        ws="none",
        lifespan="off",
        access_log=False,
        proxy_headers=False,  # nothing here depends on who a proxy says that it calls for
        log_config=None,
        server_header=False,
        backlog=_BACKLOG,
        timeout_keep_alive=_KEEP_ALIVE_S,
        timeout_graceful_shutdown=int(DRAIN_S) + 2,  # a backstop: the drain below closes every connection earlier
    )
    server = _Server(config, lambda: ready(listening.getsockname()[1]))
    try:
        async with TaskGroup() as tasks:
            drain = tasks.create_task(_drain(server, stop), name="drain")
            await server.serve(sockets=listeners)
            drain.cancel()
    finally:
        server.abandon()
        for listener in listeners:
            listener.close()


def listen(host: str, port: int) -> socket.socket:
    """A bound socket, so that a port in use is known before anything else is started."""
    if not 0 <= port < 1 << 16:
        raise UsageError(f"port is {port}", hint="give a port from 0 to 65535; 0 takes a free one")
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    try:
        listening = socket.create_server((host, port), family=family, backlog=_BACKLOG)
    except OSError as error:
        if error.errno == errno.EADDRINUSE:
            hint = f"choose another port, 0 for any free one, or see who holds it: ss -ltnp 'sport = :{port}'"
            raise PortInUse(f"port {port} on {host} is held by another process", hint=hint) from error
        raise UsageError(f"cannot listen on {host}:{port}: {error.strerror}", hint="use an address of this machine and a port above 1023") from error
    # Accepted sockets inherit it. asyncio itself would not set it, as `create_server` names no protocol,
    # and Nagle's algorithm would then hold every reply's body back for a delayed ACK: 40 ms.
    listening.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    return listening


async def _drain(server: _Server, stop: asyncio.Event) -> None:
    await stop.wait()
    server.should_exit = True
    await asyncio.sleep(DRAIN_S)
    server.hang_up()


class _Server(uvicorn.Server):
    """uvicorn inside somebody else's loop: it takes no signals, and its connections can be ended."""

    def __init__(self, config: uvicorn.Config, on_started: Callable[[], None]) -> None:
        super().__init__(config)
        self._on_started = on_started
        self.servers: list[asyncio.Server] = []

    @contextmanager
    def capture_signals(self) -> Iterator[None]:
        yield

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        await super().startup(sockets)
        self._on_started()

    def hang_up(self) -> None:
        """Close every connection; the requests on them see their client gone."""
        for connection in list(self.server_state.connections):
            if connection.transport is not None:
                connection.transport.close()

    def abandon(self) -> None:
        """Free the port also when `serve` was cancelled."""
        for listener in self.servers:
            listener.close()
        self.hang_up()
