"""What processes say to each other: the control messages, and the table of all calls.

The messages about tokens are values of `models.generation`; `netgpt.proto` gives each message its
bytes. Nothing here knows how those bytes are made (`wire.codec`) or cross (`wire.*_transport`).
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, fields
from types import MappingProxyType

from netgpt.core.errors import NotSupported
from netgpt.models.card import ModelCard
from netgpt.models.generation import (
    Capabilities,
    Embed,
    Embedding,
    Generate,
    Held,
    Load,
    Prefill,
    Recall,
    Recalled,
    Remember,
    Remembered,
    Rollback,
    Score,
    Scores,
    Tokens,
    Verdict,
    Verify,
)
from netgpt.network.member import Changes, Member, Snapshot
from netgpt.network.offer import Offer

PROTOCOL_VERSION = 2

# The version with which a call came; the others are of version 1.
CALLS_SINCE: Mapping[str, int] = MappingProxyType({"certify": 2, "embed": 2, "recall": 2, "remember": 2, "score": 2})

# The version with which a field came, for fields that change what an answer means: an older node would ignore
# them. Fields that can be ignored without harm are not here.
FIELDS_SINCE: Mapping[type, Mapping[str, int]] = MappingProxyType({
    Generate: {"grammar": 2, "answer_from": 2, "text": 2, "penalties": 2, "variant": 2},
    Embed: {"parts": 2},
})  # fmt: skip


@dataclass(frozen=True, kw_only=True, slots=True)
class Hello:
    """The first call on a new connection to an engine."""

    protocol_version: int  # always sent: `PROTOCOL_VERSION`
    node: str  # the caller
    release: str = ""  # NetGPT's version there, for people


@dataclass(frozen=True, kw_only=True, slots=True)
class Welcome:
    """What an engine says of itself."""

    protocol_version: int  # always sent: `PROTOCOL_VERSION`
    node: str
    card: ModelCard
    capabilities: Capabilities
    offer: Offer | None = None  # None: an older release


@dataclass(frozen=True, kw_only=True, slots=True)
class Join:
    """A node asks to be let in: the first time with a token, then with the credential it bought."""

    token: str = ""
    credential: str = ""
    member: Member
    takes_changes: bool = False  # and partial snapshots: older nodes want to be told of everybody


@dataclass(frozen=True, kw_only=True, slots=True)
class Joined:
    credential: str
    snapshot: Snapshot


@dataclass(frozen=True, kw_only=True, slots=True)
class Certify:
    """A node asks for a certificate: its first, over a join token's connection, or a new one over its own."""

    request: bytes  # PKCS #10, DER


@dataclass(frozen=True, kw_only=True, slots=True)
class Certified:
    certificate: bytes  # PEM, as is the root
    root: bytes


@dataclass(frozen=True, kw_only=True, slots=True)
class Heartbeat:
    """A node lives, and this is its load."""

    node: str
    epoch: int = 0  # of the node's start
    member: Member
    known_version: int = 0  # of the snapshot that the node has
    takes_changes: bool = False  # and partial snapshots, and waits as it is told


@dataclass(frozen=True, kw_only=True, slots=True)
class Beat:
    """The controller's answer."""

    snapshot: Snapshot | None = None  # None: the node's is the newest, or will be with `changes`
    controller_epoch: int = 0  # counts the controller's starts
    changes: Changes | None = None  # since the node's `known_version`
    wait_s: float = 0.0  # until the node's next heartbeat; 0: as nodes do that are not told


@dataclass(frozen=True, kw_only=True, slots=True)
class Leave:
    node: str


@dataclass(frozen=True, kw_only=True, slots=True)
class Empty:
    """Nothing to say."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Stats:
    """Asks an engine for its `Load`."""

    padding: bytes = b""  # ignored: makes the request as large as one whose time on the way is to be learnt


@dataclass(frozen=True, kw_only=True, slots=True)
class Fault:
    """A `NetgptError` on its way to the caller: see `wire.fault`."""

    code: str
    message: str = ""
    hint: str = ""
    param: str = ""
    retry_after_s: float = 0.0


@dataclass(frozen=True)
class CallKind:
    """What a method takes and gives; only `streams` gives more than one reply."""

    request: type
    reply: type
    streams: bool = False


CALLS: Mapping[str, CallKind] = MappingProxyType({
    "hello": CallKind(Hello, Welcome),
    "generate": CallKind(Generate, Tokens, streams=True),
    "verify": CallKind(Verify, Verdict),
    "prefill": CallKind(Prefill, Held),
    "rollback": CallKind(Rollback, Held),
    "embed": CallKind(Embed, Embedding),
    "score": CallKind(Score, Scores),
    "stats": CallKind(Stats, Load),
    "recall": CallKind(Recall, Recalled),
    "remember": CallKind(Remember, Remembered),
    "join": CallKind(Join, Joined),
    "certify": CallKind(Certify, Certified),
    "heartbeat": CallKind(Heartbeat, Beat),
    "leave": CallKind(Leave, Empty),
})  # fmt: skip


def agreed_version(theirs: int, *, ours: int = PROTOCOL_VERSION) -> int:
    """The protocol version that both sides speak: the lower one, if they are at most one apart.

    Raises:
        NotSupported: no common version; the hint says which side to upgrade.
    """
    if theirs >= 1 and abs(ours - theirs) <= 1:
        return min(ours, theirs)
    older = "the other node" if theirs < ours else "this node"
    raise NotSupported(
        f"the other node speaks protocol version {theirs}, this node {ours}: only neighbouring versions understand each other",
        hint=f"upgrade {older}: pip install --upgrade netgpt",
    )


def least_version(method: str, message: object, *, fields_since: Mapping[type, Mapping[str, int]] = FIELDS_SINCE) -> int:
    """The oldest protocol version whose nodes do with this call what is meant."""
    versions = [CALLS_SINCE.get(method, 1)]
    for name, since in fields_since.get(type(message), {}).items():
        default = next(field.default for field in fields(message) if field.name == name)  # type: ignore[arg-type]
        if getattr(message, name) != default:
            versions.append(since)
    return max(versions)


def check_understood(method: str, message: object, theirs: int, *, node: str) -> None:
    """Refuse to send what `node`, which speaks version `theirs`, would misunderstand.

    Raises:
        NotSupported: names the node and the version that it lacks.
    """
    if theirs >= PROTOCOL_VERSION:
        return
    needed = least_version(method, message)
    if needed > theirs:
        message_text = f"node {node!r} speaks protocol version {theirs}, and this {method!r} needs {needed}"
        raise NotSupported(message_text, hint=f"upgrade {node!r}: pip install --upgrade netgpt; or ask another node")
