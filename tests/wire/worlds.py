"""The two worlds in which the transport tests run: real sockets, and a described link under virtual time."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, Awaitable, Callable
from typing import Protocol

from netgpt.core.clock import VirtualClock, run_virtual
from netgpt.core.transport import Call, Connection, Handler, Listener, Transport
from netgpt.network.link import LinkProfile, Path, SharedLink, shortest_path
from netgpt.wire.grpc_transport import GrpcTransport
from netgpt.wire.memory_transport import MemoryNetwork
from netgpt.wire.payload import ByteLog


class World(Protocol):
    """A server and a caller who can reach it."""

    server: Transport
    caller: Transport
    free_address: str
    log: ByteLog  # of both


Story = Callable[[World], Awaitable[None]]


class Sockets:
    free_address = "127.0.0.1:0"

    def __init__(self) -> None:
        self.log = ByteLog()
        self.server: Transport = GrpcTransport(observer=self.log)
        self.caller: Transport = self.server


class Links:
    free_address = "edge"

    def __init__(self) -> None:
        self.log = ByteLog()
        self.link = SharedLink(("phone", "edge"), up=LinkProfile(rate_bps=20e6, delay_s=0.01), down=LinkProfile(rate_bps=100e6, delay_s=0.01))
        self.network = MemoryNetwork(VirtualClock(), self.path)
        self.server: Transport = self.network.transport("edge", observer=self.log)
        self.caller: Transport = self.network.transport("phone", observer=self.log)

    def path(self, source: str, target: str) -> Path | None:
        return shortest_path([self.link], source, target)


def over_sockets(story: Story) -> None:
    async def main() -> None:
        await story(Sockets())

    asyncio.run(main())


def over_links(story: Story) -> None:
    async def main() -> None:
        await story(Links())

    run_virtual(main())


async def serve(world: World, handler: Handler) -> tuple[Listener, Connection]:
    listener = await world.server.listen(world.free_address, handler)
    return listener, world.caller.connect(listener.address, credential="ngc1.me")


async def replies(connection: Connection, method: str, payload: bytes = b"", deadline_s: float = 10.0) -> list[bytes]:
    return [reply async for reply in connection.call(method, payload, deadline_s=deadline_s)]


class Worker:
    """A handler that counts for ever and notes what becomes of its calls."""

    def __init__(self, pause_s: float = 0.0) -> None:
        self.pause_s = pause_s
        self.made = 0
        self.closed = asyncio.Event()

    async def __call__(self, call: Call) -> AsyncGenerator[bytes, None]:
        try:
            while True:
                self.made += 1
                yield b"%d" % self.made
                await asyncio.sleep(self.pause_s)
        finally:
            self.closed.set()
