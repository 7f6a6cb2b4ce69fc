"""Who is in the network, as the controller tells every door: values without behaviour.

A door routes on its last `Snapshot`, with or without the controller. A snapshot knows nothing of
sessions, prompts or tokens, and nothing of how a state was decided.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal, get_args

Tier = Literal["device", "edge", "cloud"]
State = Literal["starting", "ready", "degraded", "lost"]


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

    def __post_init__(self) -> None:
        if self.tier not in get_args(Tier):
            raise ValueError(f"member {self.id!r} has the unknown tier {self.tier!r}")
        if self.state not in get_args(State):
            raise ValueError(f"member {self.id!r} has the unknown state {self.state!r}")


@dataclass(frozen=True, kw_only=True)
class Snapshot:
    """All members at one version; a higher version replaces a lower one as a whole."""

    version: int = 0
    members: tuple[Member, ...] = ()
    revoked: tuple[str, ...] = ()  # serials of certificates that are refused though they have not expired
    roots: tuple[str, ...] = ()  # ids of the roots that members are to trust, the signing one first

    def find(self, node: str) -> Member | None:
        return next((member for member in self.members if member.id == node), None)
