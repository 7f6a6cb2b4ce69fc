"""Moves parcels over shared links under a clock, and counts what each link was given to carry.

Knows parcels, links and times; not calls. No task and no thread: each hop is one timer of the running
loop, so that under the virtual clock a run is a pure function of what was sent.
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass

from netgpt.core.clock import Clock
from netgpt.network.link import Lane, Path, SharedLink
from netgpt.wire.payload import Sent


@dataclass(frozen=True)
class Parcel:
    """Something under way from one node to another."""

    method: str
    payload: bytes | None  # None: a sign (end, error, cancel), which weighs nothing
    deliver: Callable[[], None]
    wanted: Callable[[], bool]  # once False, the parcel is dropped where it is


class Carrier:
    """All parcels of one network."""

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        # Parcels of one lane arrive in the order in which they were admitted, also where timers of one
        # instant run in any order: each timer takes the lane's oldest parcel, whichever timer it is.
        self._under_way: dict[Lane, deque[Callable[[], None]]] = {}
        self.carried: dict[tuple[str, str, str], Sent] = {}  # by (link id, direction, method)

    def send(self, path: Path, parcel: Parcel) -> None:
        """Carry `parcel` along `path`; it is delivered later, even over a path without links."""
        asyncio.get_running_loop().call_soon(self._forward, path, parcel)

    def _forward(self, path: Path, parcel: Parcel) -> None:
        if not parcel.wanted():
            return
        if not path:
            parcel.deliver()
            return
        hop, rest = path[0], path[1:]
        payload_bytes = len(parcel.payload or b"")
        if parcel.payload is not None:
            key = (hop.link.id, hop.direction, parcel.method)
            self.carried[key] = self.carried.get(key, Sent()).plus(payload_bytes)
        now_s = self._clock.now_s()
        arrival_s = hop.lane.admit(now_s, payload_bytes)
        under_way = self._under_way.setdefault(hop.lane, deque())
        under_way.append(lambda: self._forward(rest, parcel))
        asyncio.get_running_loop().call_later(arrival_s - now_s, _arrive, under_way)

    def clear(self, link: SharedLink) -> None:
        """Start the queues of a link that was cut anew, once every parcel on it is unwanted."""
        for lane in link.lanes.values():
            self._under_way.pop(lane, None)  # its timers still run, and find parcels that nobody wants


def _arrive(under_way: deque[Callable[[], None]]) -> None:
    under_way.popleft()()
