"""Moves parcels over the links and cells of a simulated network, and counts what each was given to carry.

Knows streams, parcels and times; not calls. A parcel finds its way hop by hop, so that a device that is handed over
to another cell is reached there. No task and no thread: timers of the running loop alone, so that under the virtual
clock a run is a pure function of what was sent.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from typing import cast

from netgpt.network.link import Hop, Link, Ways
from netgpt.network.medium import Delivery, Packet
from netgpt.wire.memory_drive import Drive
from netgpt.wire.memory_processes import SHAPER, Processes
from netgpt.wire.payload import Sent
from netgpt.wire.segments import HEADER_BYTES, SEGMENT_BYTES, charged_bytes

PIECE_S = 0.0005  # a payload is cut into pieces that take this long on its first link, or into segments
MOST_PIECE_SEGMENTS = 181  # 256 KiB
AIR_PIECE_SEGMENTS = 8  # a cell divides what it carries by itself


class Stream:
    """One way of one call: what goes in comes out whole and in the same order, whatever way each parcel takes."""

    def __init__(self, method: str, flow: str, source: str, target: str, lost: Callable[[], None]) -> None:
        """Args:
        lost: called when something of it was lost for good.
        """
        self.method = method
        self.flow = flow
        self.source = source
        self.target = target
        self.lost = lost
        self.is_open = True  # once False, what is on its way is dropped where it is
        self._sent = 0  # parcels
        self._due = 0  # the number of the parcel that comes out next
        self._early: dict[int, Parcel] = {}

    @property
    def under_way(self) -> int:
        """Parcels that went in and did not come out."""
        return self._sent - self._due

    def parcel(self, payload_bytes: int, *, first: bool, arrive: Callable[[], None] | None) -> Parcel:
        """The next one to go in."""
        self._sent += 1
        return Parcel(self, self._sent - 1, payload_bytes, charged_bytes(payload_bytes) or HEADER_BYTES, first, arrive)

    def take(self, parcel: Parcel) -> None:
        """A parcel has reached the target."""
        self._early[parcel.number] = parcel
        while self.is_open and (next_one := self._early.pop(self._due, None)) is not None:
            self._due += 1
            if next_one.arrive is not None:
                next_one.arrive()


@dataclass(slots=True, eq=False)
class Parcel:
    """A payload or a piece of one, or a sign (end, error, cancel), which is a header alone."""

    stream: Stream
    number: int
    payload_bytes: int
    size_bytes: int  # headers included
    first: bool  # piece of its payload
    arrive: Callable[[], None] | None  # called when the last piece has come


class Carrier:
    """All parcels of one network."""

    def __init__(self, ways: Ways, processes: Processes | None = None) -> None:
        """Args:
        processes: with the link shaper's, which takes time; None: none does.
        """
        self._ways = ways
        self._processes = processes
        self._drives: dict[Link | None, Drive[Stream]] = {}  # None: all cells together
        self._carried: dict[tuple[str, str, str], list[int]] = {}  # [payloads, their bytes]

    @property
    def carried(self) -> dict[tuple[str, str, str], Sent]:
        """By (name of link or cell, direction, method)."""
        return {key: Sent(*counts) for key, counts in self._carried.items()}

    def send(self, stream: Stream, payload: bytes | None, arrive: Callable[[], None]) -> None:
        """Carry a payload, or a sign, to the stream's target; it arrives later, even where no link is crossed."""
        asyncio.get_running_loop().call_soon(self._depart, stream, payload, arrive)

    def lose(self, link: Link) -> None:
        """Lose all that is on a link or waits for it."""
        drive = self._drives.get(link)
        for packet in (*link.medium.clear(asyncio.get_running_loop().time()), *(drive.clear() if drive else ())):
            cast(Parcel, packet.content).stream.lost()

    def lose_at(self, device: str) -> None:
        """Lose all that is on the air from and to a device, or waits for it."""
        assert self._ways.radio is not None
        self._ways.radio.drop(asyncio.get_running_loop().time(), device)
        if drive := self._drives.get(None):
            drive.clear(device)

    def _depart(self, stream: Stream, payload: bytes | None, arrive: Callable[[], None]) -> None:
        hop = self._ways.next_hop(stream.source, stream.target) if stream.source != stream.target else None
        left_bytes, first = len(payload or b""), payload is not None
        if hop is not None and left_bytes > SEGMENT_BYTES:
            most_bytes = _piece_bytes(hop)
            while left_bytes > most_bytes:
                self._forward(stream.source, stream.parcel(most_bytes, first=first, arrive=None))
                left_bytes, first = left_bytes - most_bytes, False
        self._forward(stream.source, stream.parcel(left_bytes, first=first, arrive=arrive))

    def _forward(self, here: str, parcel: Parcel) -> None:
        """Take a parcel on from a node, when the link shaper has come to it."""
        work_s = self._processes.shaper_s(parcel.stream.source, parcel.stream.target) if self._processes else 0.0
        if self._processes and work_s:
            self._processes.do(SHAPER, work_s, lambda: self._go_on(here, parcel))
        else:
            self._go_on(here, parcel)

    def _go_on(self, here: str, parcel: Parcel) -> None:
        stream = parcel.stream
        if not stream.is_open:
            return
        if here == stream.target:
            stream.take(parcel)
            return
        hop = self._ways.next_hop(here, stream.target)
        if hop is None or (hop.link is not None and hop.link.cut_at_s is not None):
            stream.lost()
            return
        self._count(hop, parcel)
        packet = Packet(size_bytes=parcel.size_bytes, flow=stream.flow, content=parcel)
        self._drive(hop).offer(hop.station, hop.direction, packet, stream)

    def _count(self, hop: Hop, parcel: Parcel) -> None:
        if parcel.first or parcel.payload_bytes:
            counts = self._carried.setdefault((hop.name, hop.direction, parcel.stream.method), [0, 0])
            counts[0] += parcel.first
            counts[1] += parcel.payload_bytes

    def _drive(self, hop: Hop) -> Drive[Stream]:
        drive = self._drives.get(hop.link)
        if drive is None:
            arrived = self._arrived_over_the_air if hop.link is None else partial(self._arrived, hop.link)
            drive = self._drives[hop.link] = Drive(hop.medium, arrived)
        return drive

    def _arrived(self, link: Link, delivery: Delivery) -> None:
        self._forward(link.ends[delivery.direction == "up"], cast(Parcel, delivery.packet.content))

    def _arrived_over_the_air(self, delivery: Delivery) -> None:
        radio = self._ways.radio
        assert radio is not None
        here = delivery.station if delivery.direction == "down" else radio.site(delivery.station)
        self._forward(here, cast(Parcel, delivery.packet.content))


def _piece_bytes(hop: Hop) -> int:
    """Payload of a piece: whole segments, so that a message which comes later has few bytes ahead beyond what is queued."""
    if hop.link is None:
        return AIR_PIECE_SEGMENTS * SEGMENT_BYTES
    rate_bps = hop.link.oneway[hop.direction].service.rate_bps(asyncio.get_running_loop().time())
    return max(1, int(min(rate_bps * PIECE_S / (8 * (SEGMENT_BYTES + HEADER_BYTES)), MOST_PIECE_SEGMENTS))) * SEGMENT_BYTES
