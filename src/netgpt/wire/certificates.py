"""X.509 as a network uses it: a root, and certificates that say a node's name, tier and role. Pure.

A certificate names its node twice: as the DNS name `<node>.netgpt`, by which TLS checks who answers, and
as the URI `netgpt://<network>/<role>/<tier>/<node>`, which says all. Requests give a public key and a
name; whether that name is the caller's is for the authority that signs to decide. Keys are ECDSA P-256.

Knows neither files nor sockets. Dates are seconds since the epoch; keys and certificates are PEM.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from datetime import UTC, datetime

from cryptography import x509
from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat, PublicFormat, load_pem_private_key
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

from netgpt.core.errors import AuthenticationFailed, UsageError
from netgpt.core.transport import Peer

SKEW_S = 300.0  # a certificate is valid from so long before it is made: the clocks of two machines differ
ROOT_LIFE_S = 10 * 365 * 86400.0
CONTROLLER = "controller"

_BLOCK = re.compile(rb"-----BEGIN ([A-Z ]+)-----\n.*?-----END \1-----\n", re.DOTALL)
_NODE = re.compile(r"[a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?")  # a DNS label
_URI = re.compile(r"netgpt://([0-9a-f]{16})/(node|controller|join)/(device|edge|cloud|-)/([a-z0-9-]+)")


@dataclass(frozen=True, kw_only=True)
class CertificateFacts:
    """What a certificate says, read once."""

    peer: Peer
    network: str
    begins_s: float
    ends_s: float


def dns_name(node: str) -> str:
    """What TLS calls a node."""
    return f"{node}.netgpt"


def check_node_name(node: str) -> str:
    """`node`, if a certificate can name it so.

    Raises:
        UsageError: not a DNS label, or the controller's name.
    """
    if not _NODE.fullmatch(node) or node == CONTROLLER:
        hint = f"use 1 to 63 lower-case letters, digits and hyphens, and not {CONTROLLER!r}"
        raise UsageError(f"{node!r} cannot be a node's name", hint=hint, param="node")
    return node


def new_key() -> bytes:
    return _pem_of(ec.generate_private_key(ec.SECP256R1()))


def new_root(key: bytes, date_s: float) -> bytes:
    """The self-signed certificate of a network whose key is `key`."""
    private = _private(key)
    name = _name(f"NetGPT network {network_id(private.public_key())}")
    builder = _builder(name, name, private.public_key(), date_s, ROOT_LIFE_S)
    builder = builder.add_extension(x509.BasicConstraints(ca=True, path_length=0), critical=True)
    builder = builder.add_extension(_key_usage(sign_certificates=True), critical=True)
    builder = builder.add_extension(x509.SubjectKeyIdentifier.from_public_key(private.public_key()), critical=False)
    return builder.sign(private, hashes.SHA256()).public_bytes(Encoding.PEM)


def new_request(key: bytes, node: str) -> bytes:
    """A certificate request (PKCS #10, DER) for the holder of `key`."""
    builder = x509.CertificateSigningRequestBuilder().subject_name(_name(node))
    return builder.sign(_private(key), hashes.SHA256()).public_bytes(Encoding.DER)


def requested_node(request: bytes) -> str:
    """The name that a certificate request asks for.

    Raises:
        AuthenticationFailed: no request, not signed by the key that it names, or a key of another kind.
    """
    try:
        parsed = x509.load_der_x509_csr(request)
        names = parsed.subject.get_attributes_for_oid(NameOID.COMMON_NAME)
        sound = parsed.is_signature_valid and isinstance(parsed.public_key(), ec.EllipticCurvePublicKey) and len(names) == 1
    except ValueError:
        sound, names = False, []
    if not sound or not isinstance(parsed.public_key().curve, ec.SECP256R1):  # type: ignore[union-attr]
        raise AuthenticationFailed("the certificate request cannot be used", hint="it must be signed by the ECDSA P-256 key that it names")
    return str(names[0].value)


def sign(
    public_key: ec.EllipticCurvePublicKey, *, node: str, tier: str, role: str, root: bytes, root_key: bytes, date_s: float, life_s: float
) -> bytes:
    """A certificate for `public_key`, signed by the network's root; nothing of a request but its key enters it."""
    issuer = x509.load_pem_x509_certificate(root)
    uri = f"netgpt://{network_of(root)}/{role}/{tier or '-'}/{node}"
    uses = [ExtendedKeyUsageOID.CLIENT_AUTH] if role == "join" else [ExtendedKeyUsageOID.CLIENT_AUTH, ExtendedKeyUsageOID.SERVER_AUTH]
    builder = _builder(_name(node), issuer.subject, public_key, date_s, life_s)
    builder = builder.add_extension(x509.BasicConstraints(ca=False, path_length=None), critical=True)
    builder = builder.add_extension(_key_usage(sign_certificates=False), critical=True)
    builder = builder.add_extension(x509.ExtendedKeyUsage(uses), critical=False)
    names = x509.SubjectAlternativeName([x509.DNSName(dns_name(node)), x509.UniformResourceIdentifier(uri)])
    builder = builder.add_extension(names, critical=False)
    issuer_key = x509.AuthorityKeyIdentifier.from_issuer_public_key(issuer.public_key())  # type: ignore[arg-type]
    return builder.add_extension(issuer_key, critical=False).sign(_private(root_key), hashes.SHA256()).public_bytes(Encoding.PEM)


def read_certificate(certificate: bytes) -> CertificateFacts:
    """What `certificate` says. Whether it is true is for TLS, or `check_issued`, to find out.

    Raises:
        AuthenticationFailed: not a certificate of NetGPT's.
    """
    try:
        parsed = x509.load_pem_x509_certificate(certificate)
        names = parsed.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
    except (ValueError, x509.ExtensionNotFound) as error:
        raise _foreign() from error
    match = _URI.fullmatch(next(iter(names.get_values_for_type(x509.UniformResourceIdentifier)), ""))
    if match is None:
        raise _foreign()
    network, role, tier, node = match.groups()
    return CertificateFacts(
        peer=Peer(node=node, tier="" if tier == "-" else tier, role=role, serial=f"{parsed.serial_number:x}"),
        network=network,
        begins_s=parsed.not_valid_before_utc.timestamp(),
        ends_s=parsed.not_valid_after_utc.timestamp(),
    )


def _foreign() -> AuthenticationFailed:
    return AuthenticationFailed("this is no certificate of a NetGPT node", hint="join the network with a token: netgpt node --join TOKEN")


def check_issued(certificate: bytes, *, root: bytes, key: bytes) -> None:
    """Refuse a certificate that none of the certificates in `root` signed, or that is not of `key`.

    Raises:
        AuthenticationFailed: says which.
    """
    try:
        parsed = x509.load_pem_x509_certificate(certificate)
        roots = x509.load_pem_x509_certificates(root)
    except ValueError as error:
        raise AuthenticationFailed("the certificate or its root cannot be read", hint="join again with a new token") from error
    if not any(_is_signed(parsed, each) for each in roots):
        raise AuthenticationFailed("the certificate was not signed by this network's root", hint="join again with a new token")
    if parsed.public_key() != _private(key).public_key():
        raise AuthenticationFailed("the certificate is not of the key beside it", hint="join again with a new token")


def _is_signed(certificate: x509.Certificate, root: x509.Certificate) -> bool:
    try:
        certificate.verify_directly_issued_by(root)
    except (ValueError, TypeError, InvalidSignature):
        return False
    return True


def split_pem(pem: bytes) -> list[tuple[str, bytes]]:
    """The blocks of a PEM file in their order: what each is called, and the block."""
    return [(match.group(1).decode(), match.group(0)) for match in _BLOCK.finditer(pem)]


def networks_of(roots: bytes) -> tuple[str, ...]:
    """The network's id by each of several roots, in their order."""
    return tuple(network_of(block) for _, block in split_pem(roots))


def network_of(root: bytes) -> str:
    """The network's id: it follows from the root's public key."""
    return network_id(x509.load_pem_x509_certificate(root).public_key())  # type: ignore[arg-type]


def network_id(public_key: ec.EllipticCurvePublicKey) -> str:
    digest = hashes.Hash(hashes.SHA256())
    digest.update(public_key.public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo))
    return digest.finalize()[:8].hex()


def public_key_of(request: bytes) -> ec.EllipticCurvePublicKey:
    """The key of a request that `requested_node` has accepted."""
    return x509.load_der_x509_csr(request).public_key()  # type: ignore[return-value]


def public_part(key: bytes) -> ec.EllipticCurvePublicKey:
    return _private(key).public_key()


def secret_number(key: bytes) -> bytes:
    """A private key in its shortest form: 32 bytes."""
    return _private(key).private_numbers().private_value.to_bytes(32, "big")


def key_of_secret(number: bytes) -> bytes:
    """The inverse of `secret_number`; ValueError for a number that is no key."""
    return _pem_of(ec.derive_private_key(int.from_bytes(number, "big"), ec.SECP256R1()))


def _builder(subject: x509.Name, issuer: x509.Name, key: ec.EllipticCurvePublicKey, date_s: float, life_s: float) -> x509.CertificateBuilder:
    begins, ends = (datetime.fromtimestamp(int(moment_s), UTC) for moment_s in (date_s - SKEW_S, date_s + life_s))
    builder = x509.CertificateBuilder().subject_name(subject).issuer_name(issuer).public_key(key)
    return builder.serial_number(x509.random_serial_number()).not_valid_before(begins).not_valid_after(ends)


def _key_usage(*, sign_certificates: bool) -> x509.KeyUsage:
    return x509.KeyUsage(
        digital_signature=not sign_certificates,
        content_commitment=False,
        key_encipherment=False,
        data_encipherment=False,
        key_agreement=False,
        key_cert_sign=sign_certificates,
        crl_sign=sign_certificates,
        encipher_only=False,
        decipher_only=False,
    )


def _name(text: str) -> x509.Name:
    return x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, text)])


def _private(key: bytes) -> ec.EllipticCurvePrivateKey:
    private = load_pem_private_key(key, password=None)
    if not isinstance(private, ec.EllipticCurvePrivateKey):
        raise ValueError("not an ECDSA key")
    return private


def _pem_of(private: ec.EllipticCurvePrivateKey) -> bytes:
    return private.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())
