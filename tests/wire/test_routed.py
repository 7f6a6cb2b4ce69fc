"""Ways around: what a node calls instead of the address that another publishes."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator

import pytest

from netgpt.core.errors import NodeUnreachable
from netgpt.core.transport import Call
from netgpt.wire.grpc_transport import GrpcTransport
from netgpt.wire.routed_transport import NO_WAY, RoutedTransport

from .worlds import replies


def test_an_address_is_called_by_its_way_and_others_directly() -> None:
    async def main() -> None:
        async def handler(call: Call) -> AsyncGenerator[bytes, None]:
            yield call.payload

        plain = GrpcTransport()
        listener = await plain.listen("127.0.0.1:0", handler)
        routed = RoutedTransport(plain, {"10.0.0.1:7000": listener.address, "10.0.0.2:7000": NO_WAY})
        by_way, direct, nowhere = (routed.connect(address, peer="edge1") for address in ("10.0.0.1:7000", listener.address, "10.0.0.2:7000"))
        assert await replies(by_way, "stats", b"a") == await replies(direct, "stats", b"a") == [b"a"]
        with pytest.raises(NodeUnreachable, match="no links lead to 'edge1'"):
            await replies(nowhere, "stats", b"a")
        own = await routed.listen("127.0.0.1:0", handler)
        for each in (by_way, direct, nowhere, own, listener):
            await each.close()

    asyncio.run(main())
