"""The short way to what this process itself serves."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator

from netgpt.core.transport import Call, Peer
from netgpt.wire.near_transport import NearTransport

from .worlds import SmallNetwork, replies


def test_over_tls_a_call_within_the_process_shows_its_own_certificate() -> None:
    network = SmallNetwork()
    seen: list[Call] = []

    async def handler(call: Call) -> AsyncGenerator[bytes, None]:
        seen.append(call)
        yield call.payload

    async def main() -> None:
        own = Peer(node="cloud1", tier="cloud", role="node", serial="1f")
        near = NearTransport(network.transport("cloud1"), lambda: own)
        listener = await near.listen("127.0.0.1:0", handler)
        inside, outside = near.connect(listener.address, peer="cloud1"), network.transport("phone").connect(listener.address, peer="cloud1")
        assert await replies(inside, "stats", b"a") == await replies(outside, "stats", b"a") == [b"a"]
        assert seen[0].peer == own
        assert seen[1].peer is not None
        assert seen[1].peer.node == "phone"
        for connection in (inside, outside):
            await connection.close()
        await listener.close()

    asyncio.run(main())
