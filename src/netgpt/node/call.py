"""One message out, one message back: the short way to make a call that has a single reply."""

from __future__ import annotations

from contextlib import aclosing
from typing import TypeVar

from netgpt.core.errors import NodeUnreachable
from netgpt.core.transport import Connection
from netgpt.wire.codec import decode, pack

Reply = TypeVar("Reply")


async def ask(connection: Connection, method: str, message: object, reply: type[Reply], *, deadline_s: float) -> Reply:
    """The only reply to `message`.

    Raises:
        NodeUnreachable: the peer is not there or ended the call without a reply.
        DeadlineExceeded, and whatever the peer raised.
    """
    async with aclosing(connection.call(method, pack(message, near=connection.near), deadline_s=deadline_s)) as replies:
        async for payload in replies:
            return decode(reply, payload)
    raise NodeUnreachable(f"no reply to {method!r}", hint="see which nodes are up: netgpt ps")
