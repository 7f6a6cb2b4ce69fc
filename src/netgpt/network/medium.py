"""What carries packets between two nodes, as a machine that is told the time and never asks for it.

A medium is a cell that many user equipments share, or a point-to-point link. It is pure in what it is
given: the same offers at the same times give the same deliveries. So the simulated world drives it with its
virtual clock, the link shaper of the emulated world with the machine's, and a test with neither.

How to drive one: `offer` packets as they come; call `advance` at `next_s` at the latest, and whenever an
offer may have changed it; hand on what it returns.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal, Protocol

Direction = Literal["up", "down"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Packet:
    """Bytes that travel together and arrive as a whole: an IP packet for the shaper, a payload for the simulated world."""

    size_bytes: int  # all that the medium carries, headers of the layers above included
    flow: str = "background"  # kind of traffic; `network.flow` knows its 5QI and priority
    reliable: bool = True  # False: a datagram that the medium may lose
    content: object = None  # the caller's own; a medium never looks at it


@dataclass(frozen=True, slots=True, kw_only=True)
class Delivery:
    """A packet that has reached the other end, or that is known to be lost."""

    at_s: float
    station: str
    direction: Direction
    packet: Packet
    lost: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class Backlog:
    """What waits in front of a transmitter."""

    bytes: int = 0
    packets: int = 0
    delay_s: float = 0.0  # until a packet offered now would begin to be sent, at today's rate; inf in an outage


class Medium(Protocol):
    """One shared resource between stations and what serves them. "up" is from the station."""

    def offer(self, now_s: float, station: str, direction: Direction, packet: Packet) -> bool:
        """Queue a packet; False if the queue is full and it was dropped.

        Raises:
            KeyError: unknown station.
        """
        ...

    def next_s(self) -> float:
        """When `advance` has something to do if nothing else is offered; `math.inf` while all is idle."""
        ...

    def advance(self, now_s: float) -> list[Delivery]:
        """Let time pass until `now_s`; what has arrived by then, by time and then in the order of offers.

        Packets of one station, direction and flow arrive in the order in which they were offered.
        """
        ...

    def backlog(self, station: str, direction: Direction) -> Backlog:
        """What waits for this station."""
        ...
