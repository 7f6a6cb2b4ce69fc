"""When members are to be heard: how long each waits until its next heartbeat, and who is overdue. Pure.

A member is heard every `BEAT_INTERVAL_S`, in a network of more than some hundred members less often: each is told to wait until the
next free place in a row of `BEATS_PER_S` places a second. So heartbeats come evenly spread, and the controller's work
does not grow with the network. Devices, whom few depend on, have a row of their own, so that however many there are, edge and
cloud are heard as often as if they were alone. A member waits from the answer to its last heartbeat on, so that its round trip comes on
top, which behind a satellite is longer than the wait: what each of its last gaps had beyond its wait is granted to it.
"""

from __future__ import annotations

import heapq
from collections import deque

from netgpt.network.member import Tier

BEAT_INTERVAL_S = 0.2
BEATS_PER_S = 1000.0  # of each row; one costs a controller some 0.4 ms of its core over gRPC
LATE_S = 0.35  # beyond two waits and a round trip: what a heartbeat may take longer than others
GAPS = 4  # of a member that tell its round trip, by the least of them: that one was late delays nothing
LONGEST_TRIP_S = 1.0  # a call that takes longer has failed


def lost_after_s(wait_s: float, trip_s: float = 0.0) -> float:
    """How long a member may be silent that was told to wait `wait_s`: one heartbeat may be lost."""
    return 2 * wait_s + trip_s + LATE_S


class Pace:
    """The rows of places, and until when each member must be heard."""

    def __init__(self) -> None:
        self._next_s: dict[bool, float] = {True: 0.0, False: 0.0}  # the next free place in the devices' row, and in that of all others
        self._places_s: dict[str, float] = {}  # the place that each member was last given
        self._heard: dict[str, tuple[float, float]] = {}  # when each member was last heard or expected, and how long it was told to wait then
        self._beyond_s: dict[str, deque[float]] = {}  # how much longer than that its last gaps were
        self._expected: dict[str, tuple[float, float]] = {}  # when each member was heard, and until when it must be heard again
        self._watched: list[tuple[float, str]] = []  # a heap, each member once: it is due then, later, or not any more
        self._on_heap: set[str] = set()

    def wait_s(self, node: str, tier: Tier, now_s: float) -> float:
        """How long a member that is heard now is to wait. Who comes before its time keeps its place: nobody takes places from others."""
        place_s = self._places_s.get(node, 0.0)
        if place_s <= now_s:
            row = tier == "device"
            place_s = self._places_s[node] = max(now_s + BEAT_INTERVAL_S, self._next_s[row])
            self._next_s[row] = place_s + 1 / BEATS_PER_S
        return max(place_s - now_s, BEAT_INTERVAL_S)

    def expect(self, node: str, now_s: float, wait_s: float) -> None:
        """The member is heard, or expected for another reason, and was told to wait so long."""
        due_s = now_s + lost_after_s(wait_s, self._trip_s(node, now_s))
        self._heard[node] = (now_s, wait_s)
        self._expected[node] = (now_s, due_s)
        if node not in self._on_heap:
            self._on_heap.add(node)
            heapq.heappush(self._watched, (due_s, node))

    def _trip_s(self, node: str, now_s: float) -> float:
        """The round trip of a member that is heard now, as its gaps tell it; 0 of one that was never heard before."""
        if node not in self._heard:
            return 0.0
        heard_s, wait_s = self._heard[node]
        gaps = self._beyond_s.setdefault(node, deque(maxlen=GAPS))
        gaps.append(min(max(now_s - heard_s - wait_s, 0.0), LONGEST_TRIP_S))
        return min(gaps)

    def forget(self, node: str) -> None:
        """Expect nothing of it any more."""
        self._expected.pop(node, None)
        self._heard.pop(node, None)
        self._beyond_s.pop(node, None)
        self._places_s.pop(node, None)

    def overdue(self, now_s: float) -> list[tuple[str, float]]:
        """Members that should have been heard by now, with the seconds since they were; they are not expected any more."""
        late: list[tuple[str, float]] = []
        while self._watched and self._watched[0][0] < now_s:
            _, node = heapq.heappop(self._watched)
            heard_s, due_s = self._expected.get(node, (now_s, -1.0))
            if due_s >= now_s:
                heapq.heappush(self._watched, (due_s, node))
                continue
            self._on_heap.discard(node)
            if self._expected.pop(node, None):
                late.append((node, now_s - heard_s))
        return late
