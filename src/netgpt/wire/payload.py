"""What both transports know of a payload: how large it may be, and who is told that it was sent.

Payload bytes are what a message encodes to, the same in all worlds. What gRPC, TCP and IP add is not
counted here.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal

from netgpt.core.errors import InvalidRequest
from netgpt.core.transport import Payload

MAX_PAYLOAD_BYTES = 16 * 2**20

Way = Literal["request", "reply"]

# Called once for each payload, by the side that sends it: (peer, way, method, payload_bytes). The
# peer of a request is the address called; that of a reply is the caller, as the transport knows it.
Observer = Callable[[str, Way, str, int], None]


def no_observer(peer: str, way: Way, method: str, payload_bytes: int) -> None:
    """Tells nobody."""


@dataclass(frozen=True)
class Sent:
    """How much was sent."""

    payloads: int = 0
    payload_bytes: int = 0

    def plus(self, payload_bytes: int) -> Sent:
        return Sent(self.payloads + 1, self.payload_bytes + payload_bytes)


class ByteLog:
    """An observer that adds up, by (peer, way, method)."""

    def __init__(self) -> None:
        self.sent: dict[tuple[str, Way, str], Sent] = {}

    def __call__(self, peer: str, way: Way, method: str, payload_bytes: int) -> None:
        key = (peer, way, method)
        self.sent[key] = self.sent.get(key, Sent()).plus(payload_bytes)

    def payload_bytes(self, way: Way, method: str) -> int:
        """Bytes sent one way for one method, to all peers."""
        return sum(sent.payload_bytes for (_, way_, method_), sent in self.sent.items() if (way_, method_) == (way, method))


def size_of(payload: Payload) -> int:
    """How many bytes cross: none of a message that stays within its process."""
    return len(payload) if isinstance(payload, bytes) else 0


def check_size(method: str, payload: bytes) -> None:
    """Refuse a payload that no transport carries.

    Raises:
        InvalidRequest: larger than `MAX_PAYLOAD_BYTES`.
    """
    if len(payload) > MAX_PAYLOAD_BYTES:
        raise InvalidRequest(
            f"a payload of {len(payload)} bytes for {method!r} is larger than {MAX_PAYLOAD_BYTES}",
            hint="send it in chunks, or shorten the prompt",
        )
