"""Who is in the network, as the controller tells every door.

A door routes on its last `Snapshot`, with or without the controller. It is told of the members whose engines it
might ask, and only counts the others: a device's door is told of edge and cloud, not of thousands of devices. A
snapshot knows nothing of sessions, prompts or tokens, and nothing of how a state was decided.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Literal, get_args

from netgpt.network.offer import Offer

Tier = Literal["device", "edge", "cloud"]
State = Literal["starting", "ready", "degraded", "lost"]


def may_ask(entry: Tier, other: Tier) -> bool:
    """Whether a door of tier `entry` ever asks another node of tier `other`: a device's model serves its own user, not other devices'."""
    return not (entry == other == "device")


@dataclass(frozen=True, kw_only=True)
class Member:
    """One node as its door last described it, with its engine's load at that instant.

    Raises:
        ValueError: a tier or state that no version of the protocol knows.
    """

    id: str
    tier: Tier
    engine_address: str  # what `Transport.connect` takes
    door_url: str  # of the node's HTTP API
    model: str = ""  # id of the model card; "" while the engine has not said it
    tokenizer: str = ""  # SHA-256 (hex): members with equal ones continue each other's sessions from ids
    parameters: int = 0
    state: State = "starting"
    epoch: int = 0  # counts the node's starts; a report of an older epoch is dropped
    running: int = 0  # requests that hold a slot
    waiting: int = 0  # requests in the engine's queue
    slots: int = 0
    context_tokens: int = 0  # prompt and answer together
    grammar: bool = False  # its engine can hold an answer to a grammar
    text: bool = False  # its engine takes text where a session's tokenizer is not its own
    lacks: tuple[str, ...] = ()  # capabilities that its engine states not to have, "logprobs" for example
    protocol_version: int = 1  # that its engine speaks
    quality: float = 0.0  # share of tasks that its model answers rightly, as its operator or its card says; 0: not stated
    offer: Offer | None = None  # what asking it means in time, power and price; None: an older release
    keeps: bool = False  # it keeps answers for doors that ask
    reads: bool = False  # its engine says how likely a prompt's tokens are

    def __post_init__(self) -> None:
        if self.tier not in get_args(Tier):
            raise ValueError(f"member {self.id!r} has the unknown tier {self.tier!r}")
        if self.state not in get_args(State):
            raise ValueError(f"member {self.id!r} has the unknown state {self.state!r}")


@dataclass(frozen=True, kw_only=True)
class Snapshot:
    """The members that one door may ask, at one version; a higher version replaces a lower one as a whole."""

    version: int = 0
    members: tuple[Member, ...] = ()
    revoked: tuple[str, ...] = ()  # serials of certificates that are refused though they have not expired
    roots: tuple[str, ...] = ()  # ids of the roots that members are to trust, the signing one first
    untold: int = 0  # how many members there are beside `members`: `may_ask` says why

    def find(self, node: str) -> Member | None:
        return next((member for member in self.members if member.id == node), None)

    def after(self, changes: Changes) -> Snapshot:
        """The snapshot of the version that `changes` lead to."""
        members = {member.id: member for member in self.members}
        for node in changes.left:
            members.pop(node, None)
        members.update({member.id: member for member in changes.members})
        return replace(self, version=changes.version, members=tuple(members.values()), untold=changes.untold)


@dataclass(frozen=True, kw_only=True)
class Changes:
    """What leads from an earlier snapshot of the same door to that of `version`."""

    version: int
    members: tuple[Member, ...] = ()  # that joined or changed, as they are now
    left: tuple[str, ...] = ()  # ids
    untold: int = 0  # as in the snapshot
