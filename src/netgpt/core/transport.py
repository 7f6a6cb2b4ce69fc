"""The transport protocol: how the bytes of one call cross from a caller to a node.

A call is one request payload and a stream of reply payloads. The payload is what a message encodes
to, the same bytes in every world; what a transport adds around it (HTTP/2 framing, say) is its
own, published, overhead. Implementations: `wire.grpc_transport` (emulated, deployed) and
`wire.memory_transport` (simulated). What stays within a process is not encoded: there the payload is
the message itself (`wire.near_transport`), and no byte crosses.

A transport knows nothing of what a payload means.
"""

from __future__ import annotations

from collections.abc import AsyncGenerator, Callable
from dataclasses import dataclass
from typing import Any, Protocol

from netgpt.core.value import value

STANDARD = "standard"  # the class of users who have no other; see `network.scenario.QOS_CLASSES`
Payload = Any  # bytes; of a near call a message, which nobody changes


@dataclass(frozen=True, kw_only=True)
class Peer:
    """Who is at the other end of a connection, as its certificate says."""

    node: str
    tier: str  # empty for the controller
    role: str  # "node", "controller", or "join": a node-to-be that may ask for its certificate and for nothing else
    serial: str  # of the certificate, in hexadecimal


@value
class Call:
    """One incoming call, as the serving side sees it."""

    method: str
    payload: Payload
    credential: str = ""
    peer: Peer | None = None  # None: the transport does not know who calls
    near: bool = False  # from within this process: request and replies are messages, not bytes


# Serves one call. The iterator is closed (aclose) as soon as the caller goes away. A NetgptError that
# it raises reaches the caller as the same class with the same message and hint.
Handler = Callable[[Call], AsyncGenerator[Payload, None]]


class Listener(Protocol):
    """A served address; closing it ends every call in flight."""

    @property
    def address(self) -> str: ...

    async def close(self) -> None: ...


class Connection(Protocol):
    """A caller's end of the way to one address."""

    @property
    def near(self) -> bool:
        """Whether it stays within this process, so that payloads are messages as they are."""
        ...

    def call(self, method: str, payload: Payload, *, deadline_s: float, qos: str = STANDARD) -> AsyncGenerator[Payload, None]:
        """Send `payload` and yield the reply payloads in order.

        Closing the iterator (aclose) cancels the work on the serving side.

        Args:
            qos: the class of the user for whom it is, where the transport's network tells classes apart.

        Raises:
            NodeUnreachable: the peer is not there, or vanished before the last reply.
            DeadlineExceeded: `deadline_s` seconds passed before the last reply.
            NetgptError: what the handler raised.
        """
        ...

    async def close(self) -> None: ...


class Transport(Protocol):
    """Makes listeners and connections. Addresses are `host:port` or a node's name, as the world has it."""

    async def listen(self, address: str, handler: Handler) -> Listener: ...

    def connect(self, address: str, *, credential: str = "", peer: str = "") -> Connection:
        """A connection object; no byte is sent before the first call.

        Args:
            peer: the node that must answer there, where the transport can tell.
        """
        ...
