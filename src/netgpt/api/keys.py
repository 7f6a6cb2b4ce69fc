"""API keys: what one is, how it is stored, and how a request's key is found. Pure.

A key is `ngpt_` and 256 random bits. Only its SHA-256 is stored. A slow hash (scrypt, Argon2) protects secrets that
people choose, because those can be guessed; nobody guesses 256 bits, so a fast hash loses nothing, and a server that
hashes slowly can be kept busy by wrong keys. A key is found by its digest in a table, which takes the same time
wherever digests differ that an attacker cannot steer; the digests are then compared in constant time all the same.

It knows neither files, nor HTTP, nor what a key's limits are counted with.
"""

from __future__ import annotations

import dataclasses
import hashlib
import hmac
import json
import re
from base64 import urlsafe_b64encode
from collections.abc import Iterable
from dataclasses import dataclass
from types import MappingProxyType
from typing import Any

from netgpt.core.errors import StorageFailed, UsageError
from netgpt.core.spelling import did_you_mean

PREFIX = "ngpt_"
ENTROPY_BYTES = 32
SCOPES = ("use", "view", "admin")  # ask models; read metrics, nodes and events; everything
FILE_VERSION = 1
MAX_NAME_CHARS = 64
_SHAPE = re.compile(rb"ngpt_[A-Za-z0-9_-]{43}")


@dataclass(frozen=True, kw_only=True)
class ApiKey:
    """One key as it is stored. Dates are seconds since the epoch; the key itself is not here."""

    id: str
    name: str
    digest: str  # SHA-256 of the key, hex
    last4: str  # of the key, for people who hold several
    scopes: tuple[str, ...]
    created_s: float
    expires_s: float | None = None
    revoked_s: float | None = None
    rate_per_minute: int | None = None  # requests; None: no limit
    concurrency: int | None = None  # requests open at once at one server; None: no limit

    def allows(self, scope: str) -> bool:
        return scope in self.scopes or "admin" in self.scopes

    def state(self, now_s: float) -> str:
        """`valid`, `expired` or `revoked` at that date."""
        if self.revoked_s is not None:
            return "revoked"
        return "expired" if self.expires_s is not None and now_s >= self.expires_s else "valid"

    def shown(self, now_s: float) -> dict[str, Any]:
        """What may be shown of it: everything but the digest."""
        return {
            **{field.name: getattr(self, field.name) for field in dataclasses.fields(self) if field.name != "digest"},
            "scopes": list(self.scopes),
            "state": self.state(now_s),
        }


@dataclass(frozen=True, kw_only=True)
class KeyWishes:
    """What a new key is to be. Raises UsageError for what it cannot be."""

    name: str = ""
    scopes: tuple[str, ...] = ("use",)
    rate_per_minute: int | None = None
    concurrency: int | None = None
    lifetime_s: float | None = None

    def __post_init__(self) -> None:
        for scope in self.scopes:
            if scope not in SCOPES:
                raise UsageError(f"unknown scope {scope!r}", hint=did_you_mean(scope, SCOPES), param="scope")
        for name in ("rate_per_minute", "concurrency", "lifetime_s"):
            value = getattr(self, name)
            if value is not None and not 0 < value < 1e12:
                raise UsageError(f"{name} is {value}", hint="give a number above 0, or leave it out for no limit", param=name)
        if not self.scopes or len(self.name) > MAX_NAME_CHARS or not (self.name.isprintable() or not self.name):
            raise UsageError(
                f"a key of the name {self.name!r} with {len(self.scopes)} scopes",
                hint=f"give a printable name of at most {MAX_NAME_CHARS} characters",
            )


def make_key(wishes: KeyWishes, *, entropy: bytes, taken: Iterable[str], now_s: float) -> tuple[str, ApiKey]:
    """A new key and its record.

    Args:
        entropy: `ENTROPY_BYTES` from the operating system for the key, and more for its id.
        taken: ids that it must not get.
    """
    secret = PREFIX + urlsafe_b64encode(entropy[:ENTROPY_BYTES]).rstrip(b"=").decode()
    ids = (f"key_{hashlib.sha256(entropy[ENTROPY_BYTES:] + bytes([again])).hexdigest()[:8]}" for again in range(256))
    used = set(taken)
    return secret, ApiKey(
        id=next(one for one in ids if one not in used),
        name=wishes.name,
        digest=digest_of(secret.encode()),
        last4=secret[-4:],
        scopes=tuple(scope for scope in SCOPES if scope in wishes.scopes),
        created_s=now_s,
        expires_s=None if wishes.lifetime_s is None else now_s + wishes.lifetime_s,
        rate_per_minute=wishes.rate_per_minute,
        concurrency=wishes.concurrency,
    )


def digest_of(secret: bytes) -> str:
    return hashlib.sha256(secret).hexdigest()


class KeyRing:
    """All keys of a home, found by what a client shows. Never changes: a changed file is a new ring."""

    def __init__(self, keys: Iterable[ApiKey] = ()) -> None:
        self.keys = tuple(keys)
        self._by_digest = MappingProxyType({key.digest: key for key in self.keys})

    def find(self, secret: bytes) -> ApiKey | None:
        """The record of `secret`, valid or not; None for what is no key of ours, whatever its bytes or length."""
        if not _SHAPE.fullmatch(secret):
            return None
        digest = digest_of(secret)
        key = self._by_digest.get(digest)
        return key if key is not None and hmac.compare_digest(key.digest, digest) else None

    def any_valid(self, now_s: float) -> bool:
        return any(key.state(now_s) == "valid" for key in self.keys)

    def with_key(self, key: ApiKey) -> KeyRing:
        return KeyRing((*self.keys, key))

    def revoke(self, key_id: str, now_s: float) -> KeyRing:
        """The ring with that key revoked. Its record stays, so that its id in old events keeps its meaning.

        Raises:
            UsageError: there is no such key.
        """
        if key_id not in (ids := [key.id for key in self.keys]):
            raise UsageError(f"no key {key_id!r}", hint=did_you_mean(key_id, ids) if ids else "there is no key; make one: netgpt keys create")
        return KeyRing(dataclasses.replace(key, revoked_s=now_s) if key.id == key_id and key.revoked_s is None else key for key in self.keys)


def write_ring(ring: KeyRing) -> bytes:
    """The ring as a file's content."""
    return json.dumps({"v": FILE_VERSION, "keys": [dataclasses.asdict(key) for key in ring.keys]}, indent=1).encode() + b"\n"


def read_ring(content: bytes) -> KeyRing:
    """The inverse of `write_ring`; no content is no key.

    Raises:
        StorageFailed: not what `write_ring` writes. Whoever asks must then refuse everybody.
    """
    if not content:
        return KeyRing()
    try:
        record = json.loads(content)
        if record["v"] != FILE_VERSION:
            raise ValueError(f"version {record['v']!r}")
        return KeyRing(ApiKey(**(key | {"scopes": tuple(key["scopes"])})) for key in record["keys"])
    except (ValueError, TypeError, KeyError, AttributeError, RecursionError) as error:
        message = f"the file of API keys cannot be understood ({type(error).__name__})"
        raise StorageFailed(message, hint="restore secrets/api-keys.json in the home from a backup, or remove it and make new keys") from error
