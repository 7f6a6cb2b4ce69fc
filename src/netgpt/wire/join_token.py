"""Join tokens of networks with certificates: a short-lived certificate with its key, good for one call.

A token, "ngt2.…", holds all that a machine needs to reach a network that it has never seen: the root by
which it knows the controller, and a certificate by which the controller knows it, for the name and tier
that the operator chose. With it the node calls `certify` and nothing else; that it does so only once is
for the controller to see. Who holds a token can join with it: it is a secret until it is used or expires.
"""

from __future__ import annotations

from base64 import urlsafe_b64decode, urlsafe_b64encode
from collections.abc import Iterator

from cryptography import x509
from cryptography.hazmat.primitives.serialization import Encoding

from netgpt.core.errors import AuthenticationFailed
from netgpt.wire.certificates import key_of_secret, secret_number
from netgpt.wire.own_identity import Identity

PREFIX = "ngt2."
NEW_TOKEN = "ask the network's operator for a join token: netgpt join-token create"

_KEY_BYTES = 32
_LENGTH_BYTES = 2


def write_token(identity: Identity) -> str:
    """The token that stands for a certificate of the role `join`."""
    certificates = x509.load_pem_x509_certificates(identity.certificate + identity.root)
    data = secret_number(identity.key) + b"".join(_with_length(each.public_bytes(Encoding.DER)) for each in certificates)
    return PREFIX + urlsafe_b64encode(data).rstrip(b"=").decode()


def read_token(token: str) -> Identity:
    """The inverse of `write_token`.

    Raises:
        AuthenticationFailed: no token, cut short, or altered.
    """
    text = token.strip()
    if not text.startswith(PREFIX):
        raise AuthenticationFailed("this is no join token of a network with certificates", hint=NEW_TOKEN)
    body = text.removeprefix(PREFIX)
    try:
        data = urlsafe_b64decode(body + "=" * (-len(body) % 4))
        certificate, *roots = map(_pem, _parts(data[_KEY_BYTES:]))
        return Identity(key=key_of_secret(data[:_KEY_BYTES]), certificate=certificate, root=b"".join(roots))
    except (ValueError, AuthenticationFailed) as error:
        raise AuthenticationFailed("the join token is damaged or incomplete", hint="copy it again, all of it") from error


def check_token(token: Identity, date_s: float) -> None:
    """Refuse a token that is not valid at `date_s`.

    Raises:
        AuthenticationFailed: expired, or not valid yet.
    """
    if date_s >= token.facts.ends_s:
        late_s = date_s - token.facts.ends_s
        raise AuthenticationFailed(f"the join token of {token.facts.peer.node!r} expired {late_s:.0f} s ago", hint=NEW_TOKEN)
    token.check_valid(date_s)


def _with_length(der: bytes) -> bytes:
    return len(der).to_bytes(_LENGTH_BYTES, "big") + der


def _parts(data: bytes) -> Iterator[bytes]:
    """The inverse of `_with_length`, for one after another; ValueError for what was cut short."""
    while data:
        end = _LENGTH_BYTES + int.from_bytes(data[:_LENGTH_BYTES], "big")
        if end > len(data):
            raise ValueError("cut short")
        yield data[_LENGTH_BYTES:end]
        data = data[end:]


def _pem(der: bytes) -> bytes:
    return x509.load_der_x509_certificate(der).public_bytes(Encoding.PEM)
