"""A network's roots: the one that signs, beside it the next one or the last one, and the steps from one to another.

A root is replaced in three steps, so that no two members distrust each other meanwhile:

    settled    one root signs, and is all that members trust
    announced  the next root is there: members are told to trust it too, the old one still signs
    switched   the next root signs; its key is the only one left, and members still trust the old one
    settled    the old root is forgotten

Each step waits until every member has heard of the one before: that is the authority's to see. Pure.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from functools import cached_property

from netgpt.core.errors import StorageFailed
from netgpt.wire.certificates import network_of, new_key, new_root, split_pem


@dataclass(frozen=True, kw_only=True)
class Root:
    """One root: its certificate, PEM, and the key to it, empty once it signs no more."""

    certificate: bytes
    key: bytes = field(default=b"", repr=False)

    @property
    def id(self) -> str:
        return network_of(self.certificate)


@dataclass(frozen=True, kw_only=True)
class Roots:
    """All roots that members are to trust.

    Args:
        other: with its key it is the next one, without the last one.
    """

    signing: Root
    other: Root | None = None

    @property
    def step(self) -> str:
        if self.other is None:
            return "settled"
        return "announced" if self.other.key else "switched"

    @property
    def trusted(self) -> bytes:
        """What members trust, PEM; the signing root first."""
        return b"".join(root.certificate for root in self._all())

    @cached_property
    def ids(self) -> tuple[str, ...]:
        """The networks' ids by each root, in the same order. The controller asks for them twenty times a second."""
        return tuple(root.id for root in self._all())

    def next(self, date_s: float) -> Roots:
        """After one more step; from `settled` it makes a root, valid from `date_s`."""
        if self.other is None:
            return Roots(signing=self.signing, other=new_signing_root(date_s))
        if self.other.key:
            return Roots(signing=self.other, other=Root(certificate=self.signing.certificate))
        return Roots(signing=self.signing)

    def pem(self) -> bytes:
        return b"".join(root.certificate + root.key for root in self._all())

    def _all(self) -> tuple[Root, ...]:
        return (self.signing, self.other) if self.other else (self.signing,)


def new_signing_root(date_s: float) -> Root:
    key = new_key()
    return Root(certificate=new_root(key, date_s), key=key)


def parse_roots(pem: bytes) -> Roots:
    """The inverse of `Roots.pem`.

    Raises:
        StorageFailed: damaged.
    """
    found: list[Root] = []
    for kind, block in split_pem(pem):
        if kind == "CERTIFICATE":
            found.append(Root(certificate=block))
        elif kind == "PRIVATE KEY" and found:
            found[-1] = Root(certificate=found[-1].certificate, key=block)
    if len(found) not in (1, 2) or not found[0].key:
        raise StorageFailed("the authority's file of roots is damaged", hint="restore ca/roots.pem from a backup")
    return Roots(signing=found[0], other=found[1] if len(found) == 2 else None)
