"""Mutual TLS for gRPC: this process's end of every connection, and who is at the other.

Both ends show a certificate of the network's root, or there is no connection. A caller also checks that
the node it means is the node that answers. A renewed certificate is used from the next handshake on;
connections that stand go on. Whether a caller may do what it asks is the handler's matter.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from functools import lru_cache
from typing import Any, cast

import grpc

from netgpt.core.errors import UsageError
from netgpt.core.transport import Peer
from netgpt.wire.certificates import dns_name, read_certificate
from netgpt.wire.own_identity import Identity

_MOST_PEERS = 1024  # whose certificates are kept as read
_CERTIFICATE = "x509_pem_cert"  # its name in gRPC's auth context


class TlsEnd:
    """One process's identity as gRPC takes it.

    Args:
        identity: the newest one; the same object as long as it has not changed.
    """

    def __init__(self, identity: Callable[[], Identity]) -> None:
        self.identity = identity
        self._peer = lru_cache(_MOST_PEERS)(lambda certificate: read_certificate(certificate).peer)

    def channel_credentials(self) -> grpc.ChannelCredentials:
        identity = self.identity()
        return grpc.ssl_channel_credentials(identity.root, identity.key, identity.certificate)

    def server_credentials(self) -> grpc.ServerCredentials:
        served = self.identity()

        def renewed() -> grpc.ServerCertificateConfiguration | None:
            """Asked at every handshake; None means: as before."""
            nonlocal served
            newest = self.identity()
            if newest is served:
                return None
            served = newest
            return _configuration(served)

        return grpc.dynamic_ssl_server_credentials(_configuration(served), cast(Any, renewed), require_client_authentication=True)

    def peer(self, authenticated: Mapping[str, Iterable[bytes]]) -> Peer:
        """Who calls, by the auth context of its call."""
        return self._peer(next(iter(authenticated[_CERTIFICATE])))


def target_option(peer: str) -> tuple[str, str]:
    """The channel option by which TLS expects `peer` at the other end.

    Raises:
        UsageError: nobody is expected; anybody of the network could then answer.
    """
    if not peer:
        raise UsageError("a connection over TLS needs the name of the node that must answer", hint="give it: connect(address, peer=...)")
    return "grpc.ssl_target_name_override", dns_name(peer)


def refusal(details: str, address: str, peer: str) -> str:
    """What a handshake that failed means, as far as this side can tell; empty if it was no handshake."""
    if "Hostname Verification" in details:
        return f"{address} is not {peer!r}: it shows the certificate of another node"
    if "handshake failed" in details.lower() or "CERTIFICATE_VERIFY_FAILED" in details:
        return f"{address} shows no certificate of this network that is valid now"
    if "Socket closed" in details:
        return f"{address} closes the connection: it may not accept this node's certificate, or is no NetGPT node"
    return ""


def _configuration(identity: Identity) -> grpc.ServerCertificateConfiguration:
    return grpc.ssl_server_certificate_configuration([(identity.key, identity.certificate)], identity.root)
