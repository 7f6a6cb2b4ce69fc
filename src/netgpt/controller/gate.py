"""Who may enter and who may speak, in the two ways that a network can know its nodes.

`TokenGate` is for one machine: HMAC tokens and credentials under a secret that its processes share.
`CertificateGate` is for many: the caller is who its certificate says, and a join token is a certificate that
is good for one call. A gate keeps no state; which tokens were used is the controller's to remember.
"""

from __future__ import annotations

from collections.abc import Container, Mapping
from dataclasses import dataclass
from typing import Protocol

from netgpt.controller.authority import CertificateAuthority
from netgpt.core.errors import AuthenticationFailed, NotSupported
from netgpt.core.transport import Call
from netgpt.network.member import Member
from netgpt.wire.certificates import requested_node
from netgpt.wire.identity import JoinAuthority, certified_peer, check_peer
from netgpt.wire.join_token import NEW_TOKEN
from netgpt.wire.messages import Certified, Certify, Join


@dataclass(frozen=True, kw_only=True)
class Entry:
    """Whom a gate lets in."""

    node: str
    tier: str = ""  # empty: the gate does not know, the node's word counts
    token: str = ""  # the id of the token that is now used; empty: none was


class Gate(Protocol):
    """What the controller asks of a call. All raise AuthenticationFailed for one that may not."""

    def identify(self, call: Call) -> str:
        """The member that calls."""
        ...

    def admit(self, call: Call, request: Join, used: Container[str]) -> Entry:
        """Whom a join lets in."""
        ...

    def credential(self, node: str) -> str:
        """What a member shows on its calls; empty if its connection says who it is."""
        ...

    def certify(self, call: Call, request: Certify, used: Container[str]) -> tuple[Entry, Certified]:
        """A certificate for the caller: its first, for a join token, or a new one before the old one ends."""
        ...

    def revoked(self) -> Mapping[str, str]:
        """The nodes of revoked certificates by serial."""
        ...

    def roots(self) -> tuple[str, ...]:
        """The ids of the roots that members are to trust, the signing one first; none without certificates."""
        ...


class TokenGate:
    """Knows nodes by the network's secret."""

    def __init__(self, authority: JoinAuthority) -> None:
        self._authority = authority

    def identify(self, call: Call) -> str:
        return self._authority.identify(call)

    def admit(self, call: Call, request: Join, used: Container[str]) -> Entry:
        if request.credential:
            return Entry(node=self._authority.check(request.credential))
        admission = self._authority.redeem(request.token, used)
        return Entry(node=admission.node, token=admission.token_id)

    def credential(self, node: str) -> str:
        return self._authority.credential(node)

    def certify(self, call: Call, request: Certify, used: Container[str]) -> tuple[Entry, Certified]:
        raise NotSupported("this network has no certificates", hint="start it over TLS: netgpt controller, or netgpt up --tls on")

    def revoked(self) -> Mapping[str, str]:
        return {}

    def roots(self) -> tuple[str, ...]:
        return ()


class CertificateGate:
    """Knows nodes by their certificates."""

    def __init__(self, authority: CertificateAuthority) -> None:
        self._authority = authority

    def identify(self, call: Call) -> str:
        return certified_peer(call, self._authority.revoked()).node

    def admit(self, call: Call, request: Join, used: Container[str]) -> Entry:
        peer = certified_peer(call, self._authority.revoked())
        return Entry(node=peer.node, tier=peer.tier)

    def credential(self, node: str) -> str:
        return ""

    def certify(self, call: Call, request: Certify, used: Container[str]) -> tuple[Entry, Certified]:
        peer = check_peer(call, self._authority.revoked())
        if peer.role == "join" and peer.serial in used:
            raise AuthenticationFailed(f"the join token of {peer.node!r} was already used", hint=NEW_TOKEN)
        name = requested_node(request.request)
        if name != peer.node or peer.role == "controller":
            hint = "ask for its own name; another node needs a token of its own"
            raise AuthenticationFailed(f"node {peer.node!r} asks for a certificate of {name!r}", hint=hint)
        certificate = self._authority.issue(request.request, node=peer.node, tier=peer.tier)
        token = peer.serial if peer.role == "join" else ""
        return Entry(node=peer.node, tier=peer.tier, token=token), Certified(certificate=certificate, root=self._authority.roots.trusted)

    def revoked(self) -> Mapping[str, str]:
        return self._authority.revoked()

    def roots(self) -> tuple[str, ...]:
        return self._authority.roots.ids


def check_entry(entry: Entry, member: Member) -> None:
    """Refuse a node that says to be another, or of another tier: content is withheld from tiers, so that it matters.

    Raises:
        AuthenticationFailed: names both.
    """
    if entry.node != member.id:
        raise AuthenticationFailed(f"the join token is for node {entry.node!r}, not {member.id!r}", hint="ask for a token of that node")
    if entry.tier and entry.tier != member.tier:
        raise AuthenticationFailed(f"node {member.id!r} was let in as {entry.tier!r}, not {member.tier!r}", hint="ask for a token of that tier")
