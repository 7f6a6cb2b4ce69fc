"""The calling end of gRPC: a call's replies as an async generator, its failures as our errors.

Retries nothing and waits for nobody: an address that does not answer is `NodeUnreachable` at once.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, Sequence
from typing import Any

import grpc
import grpc.aio

from netgpt.core.errors import DeadlineExceeded, NetgptError, NodeUnreachable, Overloaded
from netgpt.core.transport import STANDARD
from netgpt.wire.fault import decode_error
from netgpt.wire.grpc_listener import BEARER, FAULT_KEY, SERVICE
from netgpt.wire.grpc_tls import TlsEnd, refusal
from netgpt.wire.own_identity import Identity
from netgpt.wire.payload import Observer, check_size

_HINT = "see which nodes run: netgpt ps"
_TLS_HINT = "see whether it runs: netgpt ps there; whether certificates and clocks agree: netgpt certs show on both machines"


class GrpcConnection:
    """One channel. It connects at the first call and again, by itself, after a loss.

    Over TLS a renewed certificate opens a new channel for the next call; calls in flight end on the old one.
    """

    near = False

    def __init__(
        self,
        address: str,
        options: Sequence[tuple[str, Any]],
        credential: str,
        observer: Observer,
        *,
        tls: TlsEnd | None = None,
        peer: str = "",
    ) -> None:
        self._tls = tls
        self._peer = peer
        self._identity: Identity | None = None  # with which the channel was opened
        self._address = address
        self._options = options
        self._metadata = (("authorization", BEARER + credential),) if credential else ()
        self._observer = observer
        self._channel: grpc.aio.Channel | None = None  # belongs to the loop of the first call
        self._calls: dict[grpc.aio.UnaryStreamCall[bytes, bytes], grpc.aio.Channel] = {}
        self._retired: list[grpc.aio.Channel] = []  # of an older certificate
        self._closed = False

    async def call(self, method: str, payload: bytes, *, deadline_s: float, qos: str = STANDARD) -> AsyncGenerator[bytes, None]:
        check_size(method, payload)
        channel = self._open()
        replies = channel.unary_stream(SERVICE + method)(payload, timeout=deadline_s, metadata=self._metadata)
        self._calls[replies] = channel
        self._observer(self._address, "request", method, len(payload))
        try:
            async for reply in replies:
                yield reply
        except grpc.aio.AioRpcError as error:
            raise self._error_of(error, method, deadline_s) from None
        except asyncio.CancelledError:
            if self._closed and not _being_cancelled():
                raise self._closed_error() from None
            raise
        finally:
            del self._calls[replies]
            replies.cancel()  # does nothing to a call that has ended
            if self._retired:
                await self._close_retired()

    def _open(self) -> grpc.aio.Channel:
        if self._closed:
            raise self._closed_error()
        if self._tls is not None and self._channel is not None and self._tls.identity() is not self._identity:
            self._retired.append(self._channel)
            self._channel = None
        if self._channel is None:
            self._channel = self._new_channel()
        return self._channel

    def _new_channel(self) -> grpc.aio.Channel:
        if self._tls is None:
            return grpc.aio.insecure_channel(self._address, options=self._options)
        self._identity = self._tls.identity()
        return grpc.aio.secure_channel(self._address, self._tls.channel_credentials(), options=self._options)

    async def _close_retired(self) -> None:
        """Close the channels of older certificates on which no call is left."""
        used = set(self._calls.values())
        idle = [channel for channel in self._retired if channel not in used]
        self._retired = [channel for channel in self._retired if channel in used]
        for channel in idle:
            await channel.close()

    def _error_of(self, error: grpc.aio.AioRpcError, method: str, deadline_s: float) -> NetgptError:
        why = refusal(error.details() or "", self._address, self._peer) if self._tls is not None else ""
        if why and error.code() is grpc.StatusCode.UNAVAILABLE:
            return NodeUnreachable(why, hint=_TLS_HINT)
        return _error_of(error, self._address, method, deadline_s)

    def _closed_error(self) -> NodeUnreachable:
        return NodeUnreachable(f"the connection to {self._address} is closed on this side", hint=_HINT)

    async def close(self) -> None:
        """End the calls in flight; each raises `NodeUnreachable`."""
        self._closed = True
        for replies in self._calls:  # a channel forgets, on some versions of grpcio, the calls that nobody waits for
            replies.cancel()
        for channel in (*self._retired, *([self._channel] if self._channel else [])):
            await channel.close()


def _being_cancelled() -> bool:
    task = asyncio.current_task()
    return task is not None and task.cancelling() > 0


def _error_of(error: grpc.aio.AioRpcError, address: str, method: str, deadline_s: float) -> NetgptError:
    """What a failed call means to its caller: the peer's own fault if it sent one, else the status."""
    fault = next((value for key, value in error.trailing_metadata() or () if key == FAULT_KEY), None)
    if isinstance(fault, bytes):
        return decode_error(fault)
    code = error.code()
    if code is grpc.StatusCode.DEADLINE_EXCEEDED:
        return DeadlineExceeded(f"{method!r} at {address} took longer than {deadline_s:.3g} s", hint="allow more time, or see the load: netgpt ps")
    if code is grpc.StatusCode.RESOURCE_EXHAUSTED:
        return Overloaded(f"{address} takes no more calls: {error.details()}", hint="retry later")
    if code in (grpc.StatusCode.UNAVAILABLE, grpc.StatusCode.CANCELLED):
        return NodeUnreachable(f"{address} does not answer: {error.details()}", hint=_HINT)
    return NetgptError(f"{method!r} at {address} failed: {code.name} {error.details()}", hint="is it a NetGPT node? see: netgpt ps")
