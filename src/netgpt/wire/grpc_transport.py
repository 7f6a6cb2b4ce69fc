"""The transport of the emulated and deployed worlds: gRPC over TCP, without generated stubs.

Every method is one unary-stream path, `/netgpt.Node/<method>`, whose messages are payloads as they
are. With an identity every connection is mutual TLS (`wire.grpc_tls`); without one it is plain text, which is
meant for loopback alone.
"""

from __future__ import annotations

import errno
import socket

import grpc.aio

from netgpt.core.errors import PortInUse, UsageError
from netgpt.core.transport import Handler
from netgpt.wire.grpc_connection import GrpcConnection
from netgpt.wire.grpc_listener import GrpcListener
from netgpt.wire.grpc_tls import TlsEnd, target_option
from netgpt.wire.payload import MAX_PAYLOAD_BYTES, Observer, no_observer

KEEPALIVE_S = 2.0  # a silent peer is asked for a sign of life after this, and again after each answer
KEEPALIVE_TIMEOUT_S = 3.0  # and is given up when it has not answered for this long

_COMMON = (
    ("grpc.max_send_message_length", MAX_PAYLOAD_BYTES),
    ("grpc.max_receive_message_length", MAX_PAYLOAD_BYTES),
    ("grpc.max_metadata_size", 64 * 1024),
    ("grpc.keepalive_time_ms", round(KEEPALIVE_S * 1000)),
    ("grpc.keepalive_timeout_ms", round(KEEPALIVE_TIMEOUT_S * 1000)),
    ("grpc.http2.ping_timeout_ms", round(KEEPALIVE_TIMEOUT_S * 1000)),  # without it the answer is awaited for 60 s
    ("grpc.http2.max_pings_without_data", 0),  # 0: no limit
)
_LISTENER_OPTIONS = (
    *_COMMON,
    ("grpc.so_reuseport", 0),  # a taken port is an error, not a second server
    ("grpc.http2.min_ping_interval_without_data_ms", round(KEEPALIVE_S * 500)),
    ("grpc.http2.max_ping_strikes", 0),
)
_CONNECTION_OPTIONS = (
    *_COMMON,
    ("grpc.enable_retries", 0),  # whoever calls decides what may be done twice
    ("grpc.use_local_subchannel_pool", 1),  # a connection shares no back-off with another
    ("grpc.initial_reconnect_backoff_ms", 100),
    ("grpc.min_reconnect_backoff_ms", 1000),  # in fact the longest that one attempt to connect may take
    ("grpc.max_reconnect_backoff_ms", 500),
    ("grpc.enable_http_proxy", 0),
)


class GrpcTransport:
    """Addresses are `host:port`; port 0 of `listen` takes a free one."""

    def __init__(self, *, observer: Observer = no_observer, tls: TlsEnd | None = None) -> None:
        """Args:
        tls: this process's end of every connection; None: plain text.
        """
        self._observer = observer
        self._tls = tls

    async def listen(self, address: str, handler: Handler) -> GrpcListener:
        """Serve `handler` at `address`.

        Raises:
            PortInUse: another socket holds the port.
            UsageError: not an address of this machine.
        """
        host, port = _split(address)
        _check_free(host, port)
        server = grpc.aio.server(options=_LISTENER_OPTIONS)
        try:
            bound_port = server.add_insecure_port(address) if self._tls is None else server.add_secure_port(address, self._tls.server_credentials())
        except RuntimeError as error:
            raise _port_in_use(address) from error
        listener = GrpcListener(server, f"{host}:{bound_port}", handler, self._observer, self._tls)
        await server.start()
        return listener

    def connect(self, address: str, *, credential: str = "", peer: str = "") -> GrpcConnection:
        """Raises UsageError: over TLS, if no `peer` is named."""
        options = _CONNECTION_OPTIONS if self._tls is None else (*_CONNECTION_OPTIONS, target_option(peer))
        return GrpcConnection(address, options, credential, self._observer, tls=self._tls, peer=peer)


def _split(address: str) -> tuple[str, int]:
    """("[::1]", 80) of "[::1]:80"."""
    host, _, port = address.rpartition(":")
    if not host or not port.isdecimal() or int(port) > 65535:
        raise UsageError(f"{address!r} is not host:port", hint="write 127.0.0.1:0 for any free port")
    return host, int(port)


def _check_free(host: str, port: int) -> None:
    """Bind and let go: the operating system's own reason is clearer than gRPC's."""
    bare = host.strip("[]")
    family = socket.AF_INET6 if ":" in bare else socket.AF_INET
    try:
        socket.create_server((bare, port), family=family).close()
    except OSError as error:
        if error.errno == errno.EADDRINUSE:
            raise _port_in_use(f"{host}:{port}") from error
        raise UsageError(f"cannot listen on {host}:{port}: {error.strerror}", hint="use this machine's address, and a port above 1023") from error


def _port_in_use(address: str) -> PortInUse:
    return PortInUse(f"{address} is taken by another process", hint="choose another port, or look whose it is: netgpt ps")
