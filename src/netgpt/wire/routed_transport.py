"""A transport that reaches some addresses by another way: through the link shaper's ports, as one node sees them."""

from __future__ import annotations

from collections.abc import AsyncGenerator, Mapping

from netgpt.core.errors import NodeUnreachable
from netgpt.core.transport import STANDARD, Connection, Handler, Listener, Payload, Transport

NO_WAY = ""


class RoutedTransport:
    """`transport`, with ways around: what others publish as their address is where they listen, and not where this node finds them."""

    def __init__(self, transport: Transport, ways: Mapping[str, str]) -> None:
        """Args:
        ways: for the addresses that are not called directly, what to call instead; `NO_WAY` where no links lead.
        """
        self._transport = transport
        self._ways = ways

    async def listen(self, address: str, handler: Handler) -> Listener:
        return await self._transport.listen(address, handler)

    def connect(self, address: str, *, credential: str = "", peer: str = "") -> Connection:
        way = self._ways.get(address, address)
        return _Nowhere(address, peer) if way == NO_WAY else self._transport.connect(way, credential=credential, peer=peer)


class _Nowhere:
    """A connection to a node that no links join to this one."""

    near = False

    def __init__(self, address: str, peer: str) -> None:
        self._what = peer or address

    async def call(self, method: str, payload: Payload, *, deadline_s: float, qos: str = STANDARD) -> AsyncGenerator[Payload, None]:
        raise NodeUnreachable(f"no links lead to {self._what!r}", hint="see the links: netgpt links")
        yield b""  # makes it a generator

    async def close(self) -> None:
        """There is nothing to close."""
