"""One UE in one direction, as its transmitter and the gNB's scheduler see it.

Bytes are counted cumulatively: offered, known to the scheduler, sent. In the downlink the scheduler knows
everything; in the uplink it knows what the buffer status reports say that it has heard (TS 38.321 clause 5.4.5).
"""

from __future__ import annotations

import math
from collections import deque

from netgpt.core.chance import digest64
from netgpt.network.access import Access
from netgpt.network.activity import Activity
from netgpt.network.bearer import Bearers, Queued
from netgpt.network.efficiency import EfficiencyTrace
from netgpt.network.harq import Draws
from netgpt.network.medium import Direction

NEVER = 1 << 62  # a slot


class Leg:
    """State of one UE in one direction. `network.carrier` moves it."""

    def __init__(self, station: str, direction: Direction, trace: EfficiencyTrace, access: Access, activity: Activity, seed: int) -> None:
        self.station = station
        self.direction: Direction = direction
        self.trace = trace
        self.access = access
        self.activity = activity
        self.queue = Bearers()
        self.offered_bytes = self.sent_bytes = 0  # headers of layer 2 included
        self._known_bytes = 0
        self._reports: deque[tuple[int, int]] = deque()  # (slot from which it counts, offered bytes)
        self.requested = False  # uplink: its next transmission is the one after a scheduling request
        self.ready_slot = NEVER  # nothing can be sent before
        self.blocked_slot = 0  # as long as a handover goes on
        self.block = 0  # transport blocks sent
        self.draws = Draws(digest64(seed, station, direction))
        self._average_bytes = 0.0
        self._average_at = 0
        self._last_done_s: dict[str, float] = {}

    @property
    def waiting_bytes(self) -> int:
        return self.offered_bytes - self.sent_bytes

    def enter(self, item: Queued) -> None:
        """Queue a packet."""
        self.queue.push(item)
        self.offered_bytes += item.left_bytes

    def grantable_bytes(self, slot: int) -> int:
        """What the scheduler would grant for a slot, knowing what it knows."""
        if self.direction == "down":
            return self.waiting_bytes
        while self._reports and self._reports[0][0] <= slot:
            self._known_bytes = self._reports.popleft()[1]
        return max(self._known_bytes - self.sent_bytes, self._unasked_bytes(slot))

    def _unasked_bytes(self, slot: int) -> int:
        """What the gNB grants without knowing of data, or of how much."""
        if self.access.grant == "configured":
            return self.access.configured_bytes if self.access.configured_slot(slot) == slot else 0
        return self.access.first_grant_bytes if self.requested else 0

    def report(self, slot: int) -> None:
        """A transmission in that slot tells the gNB what has been offered so far."""
        if self.direction == "up":
            last = self._reports[-1][1] if self._reports else self._known_bytes
            if self.offered_bytes > last:
                self._reports.append((self.access.reported_slot(slot), self.offered_bytes))

    def after(self, slot: int) -> None:
        """It has transmitted in that slot: set what it can do next."""
        self.requested = False
        if not self.waiting_bytes:
            self._reports.clear()
            self._known_bytes = self.sent_bytes
            self.ready_slot = NEVER
            return
        self.report(slot)
        self.ready_slot = slot + 1
        if not self.grantable_bytes(slot + 1):
            self.ready_slot = self._reports[0][0]
            if self.access.grant == "configured":
                self.ready_slot = min(self.ready_slot, self.access.configured_slot(slot + 1))

    def average_bytes(self, number: int, window: float) -> float:
        """Bytes an opportunity, averaged exponentially over `window` opportunities, up to one."""
        return self._average_bytes * math.exp((self._average_at - number) / window)

    def average_in(self, number: int, count: int, sent_bytes: int, window: float) -> None:
        """Count what `count` opportunities from `number` on have carried."""
        kept = math.exp(-count / window)
        self._average_bytes = self.average_bytes(number, window) * kept + (1 - kept) * sent_bytes / count
        self._average_at = number + count

    def delivered_s(self, item: Queued) -> float:
        """When a packet that is all sent is handed on: after those of its flow before it (PDCP, TS 38.323 clause 5.2.2.1)."""
        at_s = max(item.done_s, self._last_done_s.get(item.flow.name, 0.0))
        self._last_done_s[item.flow.name] = at_s
        return at_s
