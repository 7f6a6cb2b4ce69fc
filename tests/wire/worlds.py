"""The worlds in which the transport tests run: sockets in plain text and over TLS, and a described link under virtual time."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, Awaitable, Callable
from typing import Protocol

from netgpt.core.clock import VirtualClock, WallClock, run_virtual
from netgpt.core.transport import Call, Connection, Handler, Listener, Peer, Transport
from netgpt.network.link import Link, Ways
from netgpt.network.service import ConstantRate
from netgpt.network.wired import OneWay
from netgpt.wire.certificates import new_key, new_request, new_root, public_key_of, sign
from netgpt.wire.grpc_tls import TlsEnd
from netgpt.wire.grpc_transport import GrpcTransport
from netgpt.wire.memory_transport import MemoryNetwork
from netgpt.wire.own_identity import Identity
from netgpt.wire.payload import ByteLog


class World(Protocol):
    """A server and a caller who can reach it."""

    server: Transport
    caller: Transport
    free_address: str
    log: ByteLog  # of both
    peer: Peer | None  # whom the server sees


Story = Callable[[World], Awaitable[None]]


class SmallNetwork:
    """A root, and identities that it signs at dates of the test's choice."""

    def __init__(self) -> None:
        self.root_key = new_key()
        self.root = new_root(self.root_key, WallClock().date_s())

    def identity(self, node: str, *, tier: str = "edge", role: str = "node", made_s: float = 0.0, life_s: float = 3600.0) -> Identity:
        """Args:
        made_s: when it was made, from now; negative is the past.
        """
        key = new_key()
        certificate = sign(
            public_key_of(new_request(key, node)),
            node=node,
            tier=tier,
            role=role,
            root=self.root,
            root_key=self.root_key,
            date_s=WallClock().date_s() + made_s,
            life_s=life_s,
        )
        return Identity(key=key, certificate=certificate, root=self.root)

    def transport(self, node: str) -> GrpcTransport:
        identity = self.identity(node)
        return GrpcTransport(tls=TlsEnd(lambda: identity))


class Sockets:
    free_address = "127.0.0.1:0"
    peer = None

    def __init__(self) -> None:
        self.log = ByteLog()
        self.server: Transport = GrpcTransport(observer=self.log)
        self.caller: Transport = self.server


class SecureSockets:
    free_address = "127.0.0.1:0"

    def __init__(self) -> None:
        self.log = ByteLog()
        network = SmallNetwork()
        phone, edge = network.identity("phone"), network.identity("edge")
        self.peer: Peer | None = phone.facts.peer
        self.server: Transport = GrpcTransport(observer=self.log, tls=TlsEnd(lambda: edge))
        self.caller: Transport = GrpcTransport(observer=self.log, tls=TlsEnd(lambda: phone))


class Links:
    free_address = "edge"
    peer = None

    def __init__(self) -> None:
        self.log = ByteLog()
        up, down = (OneWay(service=ConstantRate(rate_bps), delay_s=0.01) for rate_bps in (20e6, 100e6))
        self.link = Link(("phone", "edge"), up=up, down=down)
        self.network = MemoryNetwork(VirtualClock(), Ways([self.link]))
        self.server: Transport = self.network.transport("edge", observer=self.log)
        self.caller: Transport = self.network.transport("phone", observer=self.log)


def over_sockets(story: Story) -> None:
    async def main() -> None:
        await story(Sockets())

    asyncio.run(main())


def over_tls(story: Story) -> None:
    async def main() -> None:
        await story(SecureSockets())

    asyncio.run(main())


def over_links(story: Story) -> None:
    async def main() -> None:
        await story(Links())

    run_virtual(main())


async def serve(world: World, handler: Handler) -> tuple[Listener, Connection]:
    listener = await world.server.listen(world.free_address, handler)
    return listener, world.caller.connect(listener.address, credential="ngc1.me", peer="edge")


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
