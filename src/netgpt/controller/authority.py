"""The network's certificate authority: its roots, what it signs, and what it has revoked.

It lives in one folder, `home/ca`, of the controller's machine: the roots with their keys, which never leave it,
and the ledger. The operator's commands change both while the controller runs: it reads what was replaced. It
signs what its caller has decided; who may ask is `controller.gate`.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path

from netgpt.controller.ledger import Issued, Ledger
from netgpt.controller.roots import Roots, new_signing_root, parse_roots
from netgpt.core.errors import StorageFailed, UsageError
from netgpt.core.spelling import did_you_mean
from netgpt.core.storage import DiskStorage
from netgpt.wire.certificates import (
    CONTROLLER,
    check_node_name,
    new_key,
    new_request,
    public_key_of,
    read_certificate,
    requested_node,
    sign,
)
from netgpt.wire.join_token import write_token
from netgpt.wire.own_identity import Identity, Watched

ROOTS, LEDGER = "roots.pem", "ledger.jsonl"
CERTIFICATE_LIFE_S = 7 * 86400.0
_OTHERS_BITS = 0o077


class CertificateAuthority:
    """Signs for one network.

    Args:
        folder: `ensure_authority` has made it.
        date_s: seconds since the epoch (`Clock.date_s`).
        life_s: of the certificates of nodes and of the controller.
    """

    def __init__(self, folder: Path, date_s: Callable[[], float], *, life_s: float = CERTIFICATE_LIFE_S) -> None:
        self.date_s = date_s
        self._file = Watched(folder / ROOTS, parse_roots)
        _check_private(folder / ROOTS)
        self._life_s = life_s
        self._ledger = Ledger(folder / LEDGER)

    @property
    def roots(self) -> Roots:
        """The roots as they are now; raises StorageFailed if their file cannot be read."""
        roots = self._file.read()
        if roots is None:
            raise _no_authority(self._file.path.parent)
        return roots

    def issue(self, request: bytes, *, node: str, tier: str, role: str = "node", life_s: float | None = None) -> bytes:
        """A certificate (PEM) for the key of `request`, which `requested_node` has accepted. The name is the caller's to check."""
        now_s, roots = self.date_s(), self.roots
        certificate = sign(
            public_key_of(request),
            node=node,
            tier=tier,
            role=role,
            root=roots.signing.certificate,
            root_key=roots.signing.key,
            date_s=now_s,
            life_s=self._life_s if life_s is None else life_s,
        )
        facts = read_certificate(certificate)
        issued_s, trusted = round(now_s, 3), " ".join(roots.ids)
        self._ledger.add(Issued(serial=facts.peer.serial, node=node, tier=tier, role=role, issued_s=issued_s, ends_s=facts.ends_s, roots=trusted))
        return certificate

    def new_identity(self, *, node: str, tier: str, role: str = "node", life_s: float | None = None) -> Identity:
        """A fresh key with its certificate, for a process of this very machine or for a join token."""
        key = new_key()
        request = new_request(key, node)
        requested_node(request)
        return Identity(key=key, certificate=self.issue(request, node=node, tier=tier, role=role, life_s=life_s), root=self.roots.trusted)

    def controller_identity(self) -> Identity:
        return self.new_identity(node=CONTROLLER, tier="", role="controller")

    def join_token(self, node: str, tier: str, *, valid_s: float) -> str:
        """A token with which one machine may join once as `node`, within `valid_s` seconds.

        Raises:
            UsageError: no name for a node.
        """
        return write_token(self.new_identity(node=check_node_name(node), tier=tier, role="join", life_s=valid_s))

    def issued(self) -> list[Issued]:
        """Everything that was signed, in order."""
        return list(self._ledger.issued().values())

    def revoke(self, name: str, reason: str) -> list[Issued]:
        """Revoke a certificate by its serial, or all that a node or an unused token of it still has.

        Raises:
            UsageError: nothing valid has that name.
        """
        now_s = self.date_s()
        valid = [each for each in self.issued() if each.state(now_s) == "valid" and each.role != "controller"]
        chosen = [each for each in valid if name in (each.node, each.serial)]
        if not chosen:
            hint = did_you_mean(name, {each.node for each in valid}) if valid else "see them: netgpt certs list"
            raise UsageError(f"no valid certificate is of {name!r}", hint=hint, param="name")
        for each in chosen:
            self._ledger.revoke(each.serial, now_s, reason)
        return chosen

    def rotate(self) -> Roots:
        """Take the next step from the present root to another (`controller.roots`).

        Raises:
            UsageError: somebody who holds a valid certificate has not heard of the last step.
        """
        roots = self.roots
        if roots.other is not None and (behind := self.behind()):
            names = ", ".join(repr(name) for name in behind)
            hint = (
                "a running node renews its certificate within a minute; on its machine: netgpt certs renew; if it is gone: netgpt certs revoke NAME"
            )
            raise UsageError(f"the change of the root waits for new certificates of {names}", hint=hint)
        following = roots.next(self.date_s())
        self._file.write(following.pem())
        return following

    def behind(self) -> list[str]:
        """The nodes, and the controller, whose newest valid certificate or join token came before the roots' last step."""
        now_s, trusted = self.date_s(), " ".join(self.roots.ids)
        newest = {each.node: each for each in self.issued() if each.state(now_s) == "valid"}
        return sorted(each.node for each in newest.values() if each.roots != trusted)

    def revoked(self) -> Mapping[str, str]:
        """The node of every revoked certificate that has not expired, by serial."""
        now_s = self.date_s()
        return {each.serial: each.node for each in self._ledger.revoked() if now_s < each.ends_s}


def ensure_authority(folder: Path, date_s: Callable[[], float]) -> None:
    """Make the root of a new network, if there is none. Its file is readable by its owner alone.

    Raises:
        StorageFailed: the folder cannot be written.
    """
    storage = DiskStorage(folder)
    if not storage.read(ROOTS):
        folder.mkdir(parents=True, exist_ok=True, mode=0o700)
        storage.replace(ROOTS, Roots(signing=new_signing_root(date_s())).pem())


def _check_private(path: Path) -> None:
    """Refuse a file with keys that is missing, or that others can read.

    Raises:
        StorageFailed: says which.
    """
    if not path.exists():
        raise _no_authority(path.parent)
    if path.stat().st_mode & _OTHERS_BITS:
        raise StorageFailed(f"others can read the root's key {str(path)!r}", hint=f"run: chmod 600 {path}")


def _no_authority(folder: Path) -> StorageFailed:
    return StorageFailed(f"no certificate authority in {str(folder)!r}", hint="this is for the controller's machine: netgpt controller")
