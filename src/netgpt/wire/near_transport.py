"""A transport that calls what this process itself serves without a socket; all else goes over another transport.

A near call's payloads are the messages themselves: nothing is encoded, copied or counted, as no byte leaves the
process. Errors, deadlines and cancellation are those of every transport.
"""

from __future__ import annotations

from collections.abc import AsyncGenerator, Callable, Coroutine
from typing import Any

from netgpt.core.errors import DeadlineExceeded, NetgptError, NodeUnreachable
from netgpt.core.scheduling import Deadline
from netgpt.core.transport import STANDARD, Call, Connection, Handler, Listener, Payload, Peer, Transport
from netgpt.wire.fault import decode_error, encode_error, log_bug


class NearTransport:
    """`far`, with a short way to the addresses that are served here."""

    def __init__(self, far: Transport, own: Callable[[], Peer | None] = lambda: None) -> None:
        """Args:
        own: who this process is, where connections say who calls.
        """
        self._far = far
        self._own = own
        self._served: dict[str, Handler] = {}

    async def listen(self, address: str, handler: Handler) -> Listener:
        """Serve `address` to others too; closing the listener ends both ways in."""
        listener = await self._far.listen(address, handler)
        self._served[listener.address] = handler
        return _NearListener(listener, self._served)

    def connect(self, address: str, *, credential: str = "", peer: str = "") -> Connection:
        if address not in self._served:
            return self._far.connect(address, credential=credential, peer=peer)
        return _NearConnection(address, self._served, credential, self._own)


class _NearListener:
    def __init__(self, far: Listener, served: dict[str, Handler]) -> None:
        self._far = far
        self._served = served

    @property
    def address(self) -> str:
        return self._far.address

    async def close(self) -> None:
        self._served.pop(self._far.address, None)
        await self._far.close()


class _NearConnection:
    near = True

    def __init__(self, address: str, served: dict[str, Handler], credential: str, own: Callable[[], Peer | None]) -> None:
        self._address = address
        self._served = served
        self._credential = credential
        self._own = own

    def call(self, method: str, payload: Payload, *, deadline_s: float, qos: str = STANDARD) -> AsyncGenerator[Payload, None]:
        return _NearReplies(self, method, payload, deadline_s)

    def ask(self, method: str, payload: Payload) -> AsyncGenerator[Payload, None]:
        """The handler's own replies. Raises NodeUnreachable, and what the handler raises at once."""
        handler = self._served.get(self._address)
        if handler is None:
            raise NodeUnreachable(f"nothing listens at {self._address} any more", hint="see which nodes run: netgpt ps")
        return handler(Call(method=method, payload=payload, credential=self._credential, peer=self._own(), near=True))

    def crossed(self, method: str, error: Exception, passed_s: float | None) -> NetgptError:
        """What the caller is told: of a bug of the handler its name alone, as it would come over a wire."""
        if passed_s is not None and isinstance(error, TimeoutError):
            what = f"{method!r} at {self._address} took longer than {passed_s:.3g} s"
            return DeadlineExceeded(what, hint="allow more time, or see the load: netgpt ps")
        log_bug(method, error)
        return decode_error(encode_error(error))

    async def close(self) -> None:
        """There is nothing to close; calls end with their iterators."""


class _NearReplies(AsyncGenerator[Payload, None]):
    """The replies to one call, on time. No generator function: a loop keeps a weak list of those, which costs more than all that is done here."""

    __slots__ = ("_connection", "_deadline", "_deadline_s", "_method", "_payload", "_replies")

    def __init__(self, connection: _NearConnection, method: str, payload: Payload, deadline_s: float) -> None:
        self._connection, self._method, self._payload, self._deadline_s = connection, method, payload, deadline_s
        self._replies: AsyncGenerator[Payload, None] | None = None  # until the first is asked for
        self._deadline: Deadline | None = None

    def __anext__(self) -> Coroutine[Any, Any, Payload]:
        return self.asend(None)

    async def asend(self, value: None, /) -> Payload:
        if self._replies is None:
            self._replies = self._connection.ask(self._method, self._payload)
        if self._deadline is None:
            self._deadline = Deadline(self._deadline_s)
        try:
            with self._deadline:
                return await self._replies.__anext__()
        except (NetgptError, StopAsyncIteration):
            raise
        except Exception as error:
            raise self._connection.crossed(self._method, error, self._deadline_s if self._deadline.passed else None) from None

    async def athrow(self, typ: Any, val: Any = None, tb: Any = None, /) -> Payload:
        await self.aclose()
        raise typ if val is None else val

    async def aclose(self) -> None:
        if self._deadline is not None:
            self._deadline.close()
        if self._replies is not None:
            await self._replies.aclose()
