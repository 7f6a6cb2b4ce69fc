"""What a strategy tells the door, step by step. Only `Accept` reaches the client, and it is final."""

from __future__ import annotations

from collections.abc import AsyncGenerator, Callable, Sequence
from typing import NamedTuple

from netgpt.node.handle import NodeHandle
from netgpt.node.session import Piece, Session


class Hold(NamedTuple):
    """A piece that is not shown until an `Accept`."""

    piece: Piece


class Accept(NamedTuple):
    """Everything held so far, and `piece` after it, is final."""

    piece: Piece | None = None


class Switch(NamedTuple):
    """What is held is dropped; another node goes on from the last accepted token."""

    reason: str
    escalates: bool = False  # what was said was not sure enough; else a node failed


Step = Hold | Accept | Switch

# A strategy continues a session over the given nodes, best first. Closing the iterator cancels its
# work on every node.
Strategy = Callable[[Session, Sequence[NodeHandle]], AsyncGenerator[Step, None]]
