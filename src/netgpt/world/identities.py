"""Where identities lie in a home, and what a process makes of its own.

    home/ca/                         the network's authority, on the controller's machine alone
    home/identity/NAME.pem           key, certificate and root of one node, or of the controller
    home/identity/NAME.revoked.json  what that node's door has heard of revocations

Everything here is readable by its owner alone.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path

from netgpt.controller.authority import CertificateAuthority, ensure_authority
from netgpt.core.clock import WallClock
from netgpt.core.transport import Call
from netgpt.wire.certificates import CONTROLLER, check_node_name
from netgpt.wire.grpc_tls import TlsEnd
from netgpt.wire.grpc_transport import GrpcTransport
from netgpt.wire.identity import JoinAuthority, certified_peer
from netgpt.wire.own_identity import Identity, IdentityFile, RevocationFile


def authority_folder(home: Path) -> Path:
    return home / "ca"


def identity_file(home: Path, name: str) -> Path:
    return home / "identity" / f"{name}.pem"


def revocation_file(identity: Path) -> RevocationFile:
    """What the node of this identity knows of revoked certificates."""
    return RevocationFile(identity.with_suffix(".revoked.json"))


def issue_identities(home: Path, tiers: Mapping[str, str], date_s: Callable[[], float]) -> None:
    """Certificates for the controller and for nodes of this very machine; those that are still good stay.

    Args:
        tiers: of the nodes, by name.

    Raises:
        UsageError: no name for a certificate.
    """
    ensure_authority(authority_folder(home), date_s)
    authority = CertificateAuthority(authority_folder(home), date_s)
    _ensure(home, CONTROLLER, authority.controller_identity, authority)
    for node, tier in tiers.items():
        check_node_name(node)
        _ensure(home, node, lambda node=node, tier=tier: authority.new_identity(node=node, tier=tier), authority)


def _ensure(home: Path, name: str, make: Callable[[], Identity], authority: CertificateAuthority) -> None:
    file = IdentityFile(identity_file(home, name))
    if file.exists():
        stored = file.read()
        if stored.root == authority.roots.trusted and authority.date_s() < stored.renewal_s and stored.facts.peer.serial not in authority.revoked():
            return
    file.write(make())


def make_transport(identity: str) -> GrpcTransport:
    """Mutual TLS with the identity in that file, or plain text if there is none."""
    return GrpcTransport(tls=TlsEnd(IdentityFile(Path(identity)).read) if identity else None)


def make_check(identity: str, network_key_file: str) -> Callable[[Call], object]:
    """How an engine knows the network's members."""
    if not identity:
        return token_authority(network_key_file).identify
    revoked = revocation_file(Path(identity))
    return lambda call: certified_peer(call, revoked.read())


def token_authority(network_key_file: str) -> JoinAuthority:
    return JoinAuthority(bytes.fromhex(Path(network_key_file).read_text(encoding="ascii").strip()), WallClock().date_s)
