"""Who calls: by a certificate where there are many machines, by HMAC where processes share one.

On one machine a join token lets one named node in, once, until a date, and a credential says which node
calls. Both are HMAC-SHA256 under keys derived from the network's secret; whoever holds the secret can make
any of them, so it stays with the controller and the engines that check. Which tokens were used is the
caller's state. Over TLS a call carries its caller's certificate instead: `certified_peer`.
"""

from __future__ import annotations

import hashlib
import hmac
import json
import secrets
from base64 import urlsafe_b64decode, urlsafe_b64encode
from collections.abc import Callable, Container
from dataclasses import dataclass

from netgpt.core.errors import AuthenticationFailed, CertificateRevoked, UsageError
from netgpt.core.transport import Call, Peer

MIN_SECRET_BYTES = 16

_TOKEN = "ngt1"
_CREDENTIAL = "ngc1"


@dataclass(frozen=True, kw_only=True)
class Admission:
    """What a valid join token says."""

    node: str
    token_id: str  # to be remembered as used, until `expires_s`
    expires_s: float  # seconds since the epoch


class JoinAuthority:
    """Makes and checks tokens and credentials; holds no state but the secret, and which credentials were found good.

    Args:
        secret: the network's, at least `MIN_SECRET_BYTES` random bytes.
        date_s: seconds since the epoch (`Clock.date_s`).
        new_token_id: a name that was never used before.
    """

    def __init__(self, secret: bytes, date_s: Callable[[], float], new_token_id: Callable[[], str] = lambda: secrets.token_hex(12)) -> None:
        if len(secret) < MIN_SECRET_BYTES:
            raise UsageError(f"the network secret has {len(secret)} bytes", hint=f"use at least {MIN_SECRET_BYTES} random bytes")
        self._keys = {kind: hmac.digest(secret, kind.encode(), hashlib.sha256) for kind in (_TOKEN, _CREDENTIAL)}  # neither passes for the other
        self._date_s = date_s
        self._new_token_id = new_token_id
        self._good: dict[str, str] = {}  # credential -> node: at most one for each node

    def issue(self, node: str, ttl_s: float) -> str:
        """A token, "ngt1.…", with which `node` may join once within `ttl_s` seconds."""
        claims = {"node": node, "id": self._new_token_id(), "expires_s": self._date_s() + ttl_s}
        return self._sign(_TOKEN, json.dumps(claims, separators=(",", ":")).encode())

    def redeem(self, token: str, used: Container[str]) -> Admission:
        """Whom `token` lets in. The caller adds `token_id` to `used` before it acts on it.

        Raises:
            AuthenticationFailed: not ours, altered, expired, or its id is in `used`.
        """
        claims = json.loads(self._verified(_TOKEN, token, "join token"))
        admission = Admission(node=claims["node"], token_id=claims["id"], expires_s=claims["expires_s"])
        late_s = self._date_s() - admission.expires_s
        if late_s >= 0:
            raise AuthenticationFailed(f"the join token of {admission.node!r} expired {late_s:.0f} s ago", hint=_NEW_TOKEN)
        if admission.token_id in used:
            raise AuthenticationFailed(f"the join token of {admission.node!r} was already used", hint=_NEW_TOKEN)
        return admission

    def credential(self, node: str) -> str:
        """What `node` shows on every call, "ngc1.…"; the same each time it is asked for."""
        return self._sign(_CREDENTIAL, node.encode())

    def check(self, credential: str) -> str:
        """The node whose credential this is.

        Raises:
            AuthenticationFailed: missing, not ours, or altered.
        """
        node = self._good.get(credential)
        if node is None:
            node = self._good[credential] = self._verified(_CREDENTIAL, credential, "credential").decode()
        return node

    def identify(self, call: Call) -> str:
        """The node that calls, by its credential; raises as `check` does."""
        return self.check(call.credential)

    def _sign(self, kind: str, body: bytes) -> str:
        return ".".join((kind, _text(body), _text(self._mac(kind, body))))

    def _verified(self, kind: str, text: str, what: str) -> bytes:
        """The signed body of `text`."""
        if not text:
            raise AuthenticationFailed(f"no {what} was given", hint=_NEW_TOKEN)
        try:
            body = _bytes(text.split(".")[1])
        except (IndexError, ValueError):
            body = b""
        if not hmac.compare_digest(text.encode(errors="replace"), self._sign(kind, body).encode()):
            raise AuthenticationFailed(f"this {what} was not made by this network", hint=_NEW_TOKEN)
        return body

    def _mac(self, kind: str, body: bytes) -> bytes:
        return hmac.digest(self._keys[kind], body, hashlib.sha256)


def check_peer(call: Call, revoked: Container[str]) -> Peer:
    """Who calls over TLS, be it with a join token.

    Raises:
        CertificateRevoked: its certificate's serial is in `revoked`.
        AuthenticationFailed: the call did not come over TLS.
    """
    if call.peer is None:
        raise AuthenticationFailed("the call shows no certificate", hint="call over TLS, with the certificate of a member")
    if call.peer.serial in revoked:
        hint = "its operator must let it in anew: netgpt join-token create, then netgpt node --join TOKEN"
        raise CertificateRevoked(f"the certificate of {call.peer.node!r} was revoked: it is no member of this network", hint=hint)
    return call.peer


def certified_peer(call: Call, revoked: Container[str]) -> Peer:
    """The member, or the controller, that calls over TLS.

    Raises:
        CertificateRevoked, AuthenticationFailed: as `check_peer`; also for a join token, which is good for joining alone.
    """
    peer = check_peer(call, revoked)
    if peer.role == "join":
        raise AuthenticationFailed(f"the join token of {peer.node!r} is good for joining alone", hint="join first: netgpt node --join TOKEN")
    return peer


_NEW_TOKEN = "ask the network's operator for a join token"


def _text(data: bytes) -> str:
    return urlsafe_b64encode(data).rstrip(b"=").decode()


def _bytes(text: str) -> bytes:
    return urlsafe_b64decode(text + "=" * (-len(text) % 4))
