"""A transport that calls what this process itself serves without a socket; all else goes over another transport.

A near call's payloads are the messages themselves: nothing is encoded, copied or counted, as no byte leaves the
process. Errors, deadlines and cancellation are those of every transport.
"""

from __future__ import annotations

from collections.abc import AsyncGenerator, Callable

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

    async def call(self, method: str, payload: Payload, *, deadline_s: float, qos: str = STANDARD) -> AsyncGenerator[Payload, None]:
        handler = self._served.get(self._address)
        if handler is None:
            raise NodeUnreachable(f"nothing listens at {self._address} any more", hint="see which nodes run: netgpt ps")
        call = Call(method=method, payload=payload, credential=self._credential, peer=self._own(), near=True)
        replies, deadline = handler(call), Deadline(deadline_s)
        try:
            while True:
                try:
                    with deadline:
                        reply = await replies.__anext__()
                except StopAsyncIteration:
                    return
                except NetgptError:
                    raise
                except Exception as error:
                    raise self._crossed(method, error, deadline_s if deadline.passed else None) from None
                yield reply
        finally:
            deadline.close()
            await replies.aclose()

    def _crossed(self, method: str, error: Exception, passed_s: float | None) -> NetgptError:
        """What the caller is told: of a bug of the handler its name alone, as it would come over a wire."""
        if passed_s is not None and isinstance(error, TimeoutError):
            what = f"{method!r} at {self._address} took longer than {passed_s:.3g} s"
            return DeadlineExceeded(what, hint="allow more time, or see the load: netgpt ps")
        log_bug(method, error)
        return decode_error(encode_error(error))

    async def close(self) -> None:
        """There is nothing to close; calls end with their iterators."""
