"""A process's own identity: its key, its certificate, the root that it trusts, and where they lie.
While the network changes its root, there are two that it trusts.

One file holds all three, readable by its owner alone and replaced as a whole, so that several processes of
a node always see a key beside its own certificate. Whoever reads the file through `IdentityFile` notices
a renewal by itself. Decides nothing about whom to let in: that is `wire.identity`.
"""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Generic, TypeVar

from netgpt.core.errors import AuthenticationFailed, StorageFailed
from netgpt.core.storage import DiskStorage
from netgpt.wire.certificates import SKEW_S, CertificateFacts, check_issued, networks_of, read_certificate, split_pem

RENEWAL_SHARE = 2 / 3  # of its life: a certificate is renewed then

_REJOIN = "join the network again with a new token: netgpt node --join TOKEN"

T = TypeVar("T")


@dataclass(frozen=True, kw_only=True)
class Identity:
    """A certificate, the key that it names, and the roots that it trusts, one of which signed it: all PEM.

    Raises:
        AuthenticationFailed: the three do not belong together.
    """

    key: bytes = field(repr=False)
    certificate: bytes
    root: bytes
    facts: CertificateFacts = field(init=False)

    def __post_init__(self) -> None:
        check_issued(self.certificate, root=self.root, key=self.key)
        object.__setattr__(self, "facts", read_certificate(self.certificate))

    @property
    def renewal_s(self) -> float:
        """The date at which it is to be renewed."""
        made_s = self.facts.begins_s + SKEW_S
        return made_s + RENEWAL_SHARE * (self.facts.ends_s - made_s)

    @property
    def roots(self) -> tuple[str, ...]:
        """The ids of the roots that it trusts, as the authority ordered them."""
        return networks_of(self.root)

    def check_valid(self, date_s: float) -> None:
        """Refuse to use it past its end. TLS would refuse it too, but without saying why.

        Raises:
            AuthenticationFailed: expired, or not valid yet.
        """
        if date_s >= self.facts.ends_s:
            late_h = (date_s - self.facts.ends_s) / 3600
            raise AuthenticationFailed(f"the certificate of {self.facts.peer.node!r} expired {late_h:.1f} h ago", hint=_REJOIN)
        if date_s < self.facts.begins_s:
            early_s = self.facts.begins_s - date_s
            hint = "set this machine's clock: it is behind the controller's"
            raise AuthenticationFailed(f"the certificate of {self.facts.peer.node!r} begins only in {early_s:.0f} s", hint=hint)

    def pem(self) -> bytes:
        return self.key + self.certificate + self.root


def parse_identity(pem: bytes) -> Identity:
    """The inverse of `Identity.pem`.

    Raises:
        AuthenticationFailed: parts are missing or do not belong together.
    """
    blocks = [block for _, block in split_pem(pem)]
    if len(blocks) < 3:
        raise AuthenticationFailed(f"an identity has 3 parts, this one {len(blocks)}", hint=_REJOIN)
    try:
        return Identity(key=blocks[0], certificate=blocks[1], root=b"".join(blocks[2:]))
    except ValueError as error:
        raise AuthenticationFailed("an identity whose key cannot be read", hint=_REJOIN) from error


class Watched(Generic[T]):
    """A small file that is read again when it was replaced. While it cannot be read, the last reading counts."""

    def __init__(self, path: Path, parse: Callable[[bytes], T]) -> None:
        self.path = path
        self._parse = parse
        self._mark: tuple[int, int, int] | None = None
        self._value: T | None = None

    def read(self) -> T | None:
        """What the file says; None if there never was one."""
        try:
            found = self.path.stat()
            mark = (found.st_ino, found.st_mtime_ns, found.st_size)
            if mark != self._mark:
                self._value = self._parse(self.path.read_bytes())
                self._mark = mark
        except OSError as error:
            if self._value is None and not isinstance(error, FileNotFoundError):
                raise StorageFailed(f"cannot read {str(self.path)!r}: {error.strerror}", hint="check the folder's permissions") from error
        return self._value

    def write(self, data: bytes) -> None:
        DiskStorage(self.path.parent).replace(self.path.name, data)


class IdentityFile:
    """Where an identity lies: `home/identity/NAME.pem`."""

    def __init__(self, path: Path) -> None:
        self._file = Watched(path, parse_identity)

    def exists(self) -> bool:
        return self._file.path.exists()

    def read(self) -> Identity:
        """The newest identity; the same object as long as nothing changed.

        Raises:
            AuthenticationFailed: there is none, or it is damaged.
            StorageFailed: the file cannot be read.
        """
        identity = self._file.read()
        if identity is None:
            raise AuthenticationFailed(f"no certificate in {str(self._file.path)!r}", hint=_REJOIN)
        return identity

    def write(self, identity: Identity) -> None:
        self._file.write(identity.pem())


class RevocationFile:
    """The serials of revoked certificates, as the node's door last heard them: `home/identity/revoked.json`.

    The engine reads what the door writes, so that it needs no way to the controller of its own.
    """

    def __init__(self, path: Path) -> None:
        self._file = Watched(path, lambda data: frozenset(json.loads(data)))

    def read(self) -> frozenset[str]:
        return self._file.read() or frozenset()

    def write(self, serials: tuple[str, ...]) -> None:
        if frozenset(serials) != self.read():
            self._file.write(json.dumps(sorted(serials)).encode())
