"""The keys of one home on storage: read by servers as they run, changed by `netgpt keys`.

`secrets/api-keys.json` holds the records of all keys, `secrets/local.key` the key with which this home's own commands
enter its own network; both readable by their owner alone. A server reads them again at most once a second and parses
them when their bytes have changed: bytes and not dates, because two changes within a file system's tick have one date.
So a key that is revoked is refused a second later at the latest. A file that cannot be understood lets nobody in.
"""

from __future__ import annotations

import fcntl
import hashlib
import os
import secrets
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

from netgpt.api.keys import ENTROPY_BYTES, ApiKey, KeyRing, KeyWishes, digest_of, make_key, read_ring, write_ring
from netgpt.core.clock import Clock
from netgpt.core.errors import StorageFailed
from netgpt.core.storage import DiskStorage, Storage

KEYS, LOCAL = "api-keys.json", "local.key"
CHECK_INTERVAL_S = 1.0
LOCAL_ID = "local"


class KeyFile:
    """The keys as a server sees them: `ring()` is at most `CHECK_INTERVAL_S` old."""

    def __init__(self, storage: Storage, clock: Clock) -> None:
        self._storage = storage
        self._clock = clock
        self._checked_s = -float("inf")
        self._content: tuple[bytes, bytes] | None = None
        self._made = KeyRing()
        self._ring = KeyRing()

    def ring(self) -> KeyRing:
        """All keys, the home's own among them.

        Raises:
            StorageFailed: the file cannot be read or understood.
        """
        self._refresh()
        return self._ring

    def made(self) -> KeyRing:
        """The keys that somebody made, valid or not. Raises StorageFailed."""
        self._refresh()
        return self._made

    def _refresh(self) -> None:
        now_s = self._clock.now_s()
        if self._content is not None and now_s - self._checked_s < CHECK_INTERVAL_S:
            return
        content = (self._storage.read(KEYS), self._storage.read(LOCAL))
        if content != self._content:
            self._made = read_ring(content[0])
            self._ring = self._made.with_key(_local_record(content[1])) if content[1] else self._made
            self._content = content
        self._checked_s = now_s


def _local_record(secret: bytes) -> ApiKey:
    text = secret.strip()
    return ApiKey(id=LOCAL_ID, name="this home's own commands", digest=digest_of(text), last4="", scopes=("admin",), created_s=0.0)


class KeyStore:
    """The keys as `netgpt keys` changes them. Two commands at once do not lose each other's change."""

    def __init__(self, home: Path, clock: Clock, entropy: Callable[[int], bytes] = secrets.token_bytes) -> None:
        self._folder = secrets_folder(home)
        self._storage = DiskStorage(self._folder)
        self._clock = clock
        self._entropy = entropy

    def ring(self) -> KeyRing:
        """All keys that were made. Raises StorageFailed."""
        return read_ring(self._storage.read(KEYS)) if self._folder.exists() else KeyRing()

    def create(self, wishes: KeyWishes) -> tuple[str, ApiKey]:
        """Make and store a key. The first value is the key itself, which nothing can show again."""
        with self._locked():
            ring = self.ring()
            secret, key = make_key(wishes, entropy=self._entropy(ENTROPY_BYTES + 8), taken=[one.id for one in ring.keys], now_s=self._clock.date_s())
            self._storage.replace(KEYS, write_ring(ring.with_key(key)))
        return secret, key

    def revoke(self, key_id: str) -> None:
        """Raises UsageError: there is no such key."""
        with self._locked():
            self._storage.replace(KEYS, write_ring(self.ring().revoke(key_id, self._clock.date_s())))

    def renew_local(self) -> None:
        """Give the home's own commands a new key; the earlier one ends."""
        with self._locked():
            secret, _ = make_key(KeyWishes(scopes=("admin",)), entropy=self._entropy(ENTROPY_BYTES + 8), taken=(), now_s=0.0)
            self._storage.replace(LOCAL, secret.encode() + b"\n")

    @contextmanager
    def _locked(self) -> Iterator[None]:
        try:
            self._folder.mkdir(parents=True, exist_ok=True, mode=0o700)
            handle = os.open(self._folder / "keys.lock", os.O_RDWR | os.O_CREAT, 0o600)
        except OSError as error:
            raise StorageFailed(f"cannot write {str(self._folder)!r}: {error.strerror}", hint="choose another folder with --home") from error
        try:
            fcntl.flock(handle, fcntl.LOCK_EX)
            yield
        finally:
            os.close(handle)


def secrets_folder(home: Path) -> Path:
    return home / "secrets"


def scope_secret(home: Path) -> bytes:
    """What this home's doors know and nobody else does: nodes that keep answers tell keys apart by names made from it.

    It is made from the home's own key, so it changes with each start of a network; what was kept before is then found by nobody.
    """
    return hashlib.sha256(b"scopes of kept answers\0" + (local_key(home).encode() or secrets.token_bytes(ENTROPY_BYTES))).digest()


def local_key(home: Path) -> str:
    """The key of this home's own commands; empty if no network was ever started here."""
    folder = secrets_folder(home)
    return DiskStorage(folder).read(LOCAL).decode("ascii", "replace").strip() if folder.exists() else ""
