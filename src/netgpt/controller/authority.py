"""The network's certificate authority: its root, what it signs, and what it has revoked.

It lives in one folder, `home/ca`, of the controller's machine: the root's key, which never leaves it, the
root's certificate, and the ledger. It signs what its caller has decided; who may ask is `controller.gate`.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path

from netgpt.controller.ledger import Issued, Ledger
from netgpt.core.errors import StorageFailed, UsageError
from netgpt.core.spelling import did_you_mean
from netgpt.core.storage import DiskStorage
from netgpt.wire.certificates import (
    CONTROLLER,
    check_node_name,
    new_key,
    new_request,
    new_root,
    public_key_of,
    read_certificate,
    requested_node,
    sign,
)
from netgpt.wire.join_token import write_token
from netgpt.wire.own_identity import Identity

ROOT_KEY, ROOT, LEDGER = "root.key", "root.pem", "ledger.jsonl"
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
        self.root, self._root_key = _read_root(folder)
        self._life_s = life_s
        self._ledger = Ledger(folder / LEDGER)

    def issue(self, request: bytes, *, node: str, tier: str, role: str = "node", life_s: float | None = None) -> bytes:
        """A certificate (PEM) for the key of `request`, which `requested_node` has accepted. The name is the caller's to check."""
        now_s = self.date_s()
        certificate = sign(
            public_key_of(request),
            node=node,
            tier=tier,
            role=role,
            root=self.root,
            root_key=self._root_key,
            date_s=now_s,
            life_s=self._life_s if life_s is None else life_s,
        )
        facts = read_certificate(certificate)
        self._ledger.add(Issued(serial=facts.peer.serial, node=node, tier=tier, role=role, issued_s=round(now_s, 3), ends_s=facts.ends_s))
        return certificate

    def new_identity(self, *, node: str, tier: str, role: str = "node", life_s: float | None = None) -> Identity:
        """A fresh key with its certificate, for a process of this very machine or for a join token."""
        key = new_key()
        request = new_request(key, node)
        requested_node(request)
        return Identity(key=key, certificate=self.issue(request, node=node, tier=tier, role=role, life_s=life_s), root=self.root)

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

    def revoked(self) -> Mapping[str, str]:
        """The node of every revoked certificate that has not expired, by serial."""
        now_s = self.date_s()
        return {each.serial: each.node for each in self._ledger.revoked() if now_s < each.ends_s}


def ensure_authority(folder: Path, date_s: Callable[[], float]) -> None:
    """Make the root of a new network, if there is none. Both files are readable by their owner alone.

    Raises:
        StorageFailed: the folder cannot be written.
    """
    storage = DiskStorage(folder)
    if not storage.read(ROOT_KEY):
        folder.mkdir(parents=True, exist_ok=True, mode=0o700)
        storage.replace(ROOT_KEY, new_key())
    if not storage.read(ROOT):
        storage.replace(ROOT, new_root(storage.read(ROOT_KEY), date_s()))


def _read_root(folder: Path) -> tuple[bytes, bytes]:
    """(certificate, key).

    Raises:
        StorageFailed: one is missing, or others can read the key.
    """
    storage = DiskStorage(folder)
    root, key = storage.read(ROOT), storage.read(ROOT_KEY)
    if not root or not key:
        raise StorageFailed(f"no certificate authority in {str(folder)!r}", hint="this is for the controller's machine: netgpt controller")
    if (folder / ROOT_KEY).stat().st_mode & _OTHERS_BITS:
        raise StorageFailed(f"others can read the root's key {str(folder / ROOT_KEY)!r}", hint=f"run: chmod 600 {folder / ROOT_KEY}")
    return root, key
