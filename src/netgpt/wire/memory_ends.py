"""The two ends of a simulated call: the listener that serves it and the connection that makes it.

They know exchanges, not links, nor that a network is simulated around them.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, Callable
from contextlib import aclosing

from netgpt.core.errors import NodeUnreachable
from netgpt.core.scheduling import TaskOwner
from netgpt.core.transport import STANDARD, Call, Handler
from netgpt.wire.fault import log_bug
from netgpt.wire.memory_exchange import Exchange
from netgpt.wire.payload import Observer, check_size

Accept = Callable[[Exchange, Call], None]


class MemoryListener:
    """A served address; owns the tasks that serve its calls."""

    def __init__(self, address: str, handler: Handler, observer: Observer, remove: Callable[[str, Accept], None]) -> None:
        self._address = address
        self._handler = handler
        self._observer = observer
        self._remove = remove
        self._tasks = TaskOwner()

    @property
    def address(self) -> str:
        return self._address

    def accept(self, exchange: Exchange, call: Call) -> None:
        exchange.serve(self._tasks.spawn(self._serve(exchange, call), name=f"{self._address} {call.method}"))

    async def _serve(self, exchange: Exchange, call: Call) -> None:
        try:
            async with aclosing(self._handler(call)) as replies:  # closed, it learns that the caller went away
                async for reply in replies:
                    check_size(call.method, reply)
                    self._observer(exchange.caller, "reply", call.method, len(reply))
                    await exchange.reply(reply)
        except asyncio.CancelledError:
            exchange.end(NodeUnreachable(f"{self._address} does not answer: the node stops", hint="see which nodes run: netgpt ps"))
            raise
        except Exception as error:
            log_bug(call.method, error)
            exchange.end(error)
        else:
            exchange.end(None)

    async def close(self) -> None:
        """End every call in flight, wait until their handlers have ended, and give the address back."""
        self._remove(self._address, self.accept)
        await self._tasks.close()


class MemoryConnection:
    """A caller's end. Each call finds its own path."""

    near = False

    def __init__(self, address: str, open_call: Callable[[str, bytes, str], Exchange], observer: Observer) -> None:
        self._address = address
        self._open_call = open_call
        self._observer = observer
        self._calls: dict[Exchange, None] = {}
        self._closed = False

    async def call(self, method: str, payload: bytes, *, deadline_s: float, qos: str = STANDARD) -> AsyncGenerator[bytes, None]:
        check_size(method, payload)
        if self._closed:
            raise self._closed_error()
        deadline_at_s = asyncio.get_running_loop().time() + deadline_s
        exchange = self._open_call(method, payload, qos)
        self._calls[exchange] = None
        self._observer(self._address, "request", method, len(payload))
        try:
            while (reply := await exchange.next_reply(deadline_at_s, deadline_s)) is not None:
                yield reply
        finally:
            del self._calls[exchange]
            exchange.hang_up()

    async def close(self) -> None:
        """End the calls in flight; each raises `NodeUnreachable`."""
        self._closed = True
        for exchange in self._calls:
            exchange.fail(self._closed_error())

    def _closed_error(self) -> NodeUnreachable:
        return NodeUnreachable(f"the connection to {self._address} is closed on this side", hint="connect again")
