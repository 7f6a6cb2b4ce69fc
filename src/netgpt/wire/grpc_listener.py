"""The serving end of gRPC: one incoming call becomes one iteration of the handler.

Knows no method by name: the handler decides what it serves and whom it believes.
"""

from __future__ import annotations

import asyncio
from contextlib import aclosing
from typing import Any, cast

import grpc
import grpc.aio

from netgpt.core.errors import NetgptError
from netgpt.core.transport import Call, Handler
from netgpt.wire.fault import encode_error, log_bug
from netgpt.wire.grpc_tls import TlsEnd
from netgpt.wire.payload import Observer, check_size

SERVICE = "/netgpt.Node/"
FAULT_KEY = "netgpt-fault-bin"
BEARER = "Bearer "

_GRACE_S = 1.0  # for a call that comes in while the server stops

_STATUS_OF_HTTP = {
    400: grpc.StatusCode.INVALID_ARGUMENT,
    401: grpc.StatusCode.UNAUTHENTICATED,
    403: grpc.StatusCode.PERMISSION_DENIED,
    404: grpc.StatusCode.NOT_FOUND,
    409: grpc.StatusCode.FAILED_PRECONDITION,
    503: grpc.StatusCode.UNAVAILABLE,
    504: grpc.StatusCode.DEADLINE_EXCEEDED,
}


class GrpcListener:
    """A started server. The calls that it serves end with it."""

    def __init__(self, server: grpc.aio.Server, address: str, handler: Handler, observer: Observer, tls: TlsEnd | None) -> None:
        self._server = server
        self.tls = tls
        self._address = address
        self._handler = handler
        self._observer = observer
        self._serving: dict[asyncio.Task[Any], None] = {}
        self._closing = False
        server.add_generic_rpc_handlers((_Methods(self),))

    @property
    def address(self) -> str:
        return self._address

    async def serve(self, call: Call, context: grpc.aio.ServicerContext[bytes, bytes]) -> None:
        """Send what the handler yields. gRPC cancels this task when the caller goes away."""
        task = asyncio.current_task()
        assert task is not None
        self._serving[task] = None
        try:
            async with aclosing(self._handler(call)) as replies:  # closed, it learns that the caller went away
                async for reply in replies:
                    check_size(call.method, reply)
                    self._observer(context.peer(), "reply", call.method, len(reply))
                    await context.write(reply)
        except asyncio.CancelledError:
            if not self._closing:
                raise
            await context.abort(grpc.StatusCode.UNAVAILABLE, "the node stops")
        except Exception as error:
            log_bug(call.method, error)
            await _abort(context, error)
        finally:
            del self._serving[task]

    async def close(self) -> None:
        """End every call in flight, wait until their handlers have ended, and give the port back."""
        self._closing = True
        for task in list(self._serving):
            task.cancel()
        if self._serving:
            await asyncio.wait(list(self._serving))
        await self._server.stop(_GRACE_S)  # returns as soon as no call is left


class _Methods(grpc.GenericRpcHandler):
    """Every path below `/netgpt.Node/` is a method."""

    def __init__(self, listener: GrpcListener) -> None:
        self._listener = listener

    def service(self, handler_call_details: grpc.HandlerCallDetails) -> grpc.RpcMethodHandler[bytes, bytes] | None:
        path = str(handler_call_details.method)
        if not path.startswith(SERVICE):
            return None
        metadata = dict(handler_call_details.invocation_metadata or ())
        credential = str(metadata.get("authorization", "")).removeprefix(BEARER)

        async def serve(payload: bytes, context: grpc.aio.ServicerContext[bytes, bytes]) -> None:
            tls = self._listener.tls
            peer = None if tls is None else tls.peer(context.auth_context())
            await self._listener.serve(Call(method=path.removeprefix(SERVICE), payload=payload, credential=credential, peer=peer), context)

        return grpc.unary_stream_rpc_method_handler(cast(Any, serve))


async def _abort(context: grpc.aio.ServicerContext[bytes, bytes], error: Exception) -> None:
    status = error.status if isinstance(error, NetgptError) else 500
    code = _STATUS_OF_HTTP.get(status, grpc.StatusCode.INTERNAL)
    await context.abort(code, type(error).__name__, ((FAULT_KEY, encode_error(error)),))
