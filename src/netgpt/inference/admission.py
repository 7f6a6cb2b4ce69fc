"""Which request goes next, and which is turned away: a door's queue as a data structure. Pure.

Requests of one key wait in their order, keys take turns: whoever floods lengthens its own queue, and delays another key
by one request a turn. When the queue is full, the newest request of the key that holds most of it makes room for a key
that holds less, so that a flood cannot keep others out either.

A request waits in a lane: what it asks for, as far as that decides which engines can serve it. Whether a lane has room
now is the caller's knowledge. No clock, no task and no engine here: `inference.entrance` has those.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import NamedTuple

from netgpt.core.errors import Overloaded, RateLimited

FIRST_GUESS_S = 1.0  # of a request's duration, before one has ended
SHORTEST_RETRY_S = 0.1


class Lane(NamedTuple):
    """Requests of one lane can be served by the same engines. A named tuple: its hash costs no call."""

    model: str
    privacy: str
    needs: tuple[str, ...] = ()  # capabilities, as `choice.serving_nodes` has them
    raw: str = ""  # the parameter that is no conversation: only nodes of the door's own tokenizer can read it
    prefer: str = ""  # the node that `auto` chose; others only when it is gone


@dataclass(eq=False, kw_only=True, slots=True)
class Ticket:
    """One request's place, from its arrival to its end."""

    key: str  # id of an API key; empty where none is needed
    lane: Lane
    number: int  # in order of arrival
    node: str | None = None  # where it was let go; None while it waits; empty: nobody serves its lane
    granted_s: float = 0.0


# The node that a request of the lane may go to now; None: it must wait; empty: no node serves it, so waiting is in vain.
Place = Callable[[Lane], str | None]


@dataclass
class _Waiting:
    """What one key has in the queue."""

    lanes: dict[Lane, deque[Ticket]] = field(default_factory=dict)
    count: int = 0


class Admission:
    """Requests that wait, fair between keys, and how many are at each node."""

    def __init__(self, *, queue: int, queue_per_key: int) -> None:
        """Args:
        queue: the most requests that wait.
        queue_per_key: the most of one key; requests without a key share the queue and this does not bind them.
        """
        self._queue = queue
        self._queue_per_key = queue_per_key
        self._keys: dict[str, _Waiting] = {}  # in the order of their turns
        self._arrivals = 0
        self._duration_s = FIRST_GUESS_S  # moving average, from a request's turn to its end
        self.waiting = 0
        self.running: dict[str, int] = {}  # by node
        self.peak: dict[str, int] = {}  # the most at a node since `forget_peak`

    def enter(self, key: str, lane: Lane) -> tuple[Ticket, Ticket | None]:
        """A place at the end of the key's queue, and the ticket that had to make room, if one had to.

        Raises:
            RateLimited: the key has its share of the queue.
            Overloaded: the queue is full, and nobody has more of it than this key.
        """
        mine = self._keys[key].count if key in self._keys else 0
        if key and mine >= self._queue_per_key:
            raise self.refusal(key, f"{mine} requests of key {key!r} wait already")
        evicted = None
        if self.waiting >= self._queue:
            longest = max(self._keys, key=lambda one: self._keys[one].count, default=key)
            if longest == key or self._keys[longest].count <= mine + 1:
                raise self.refusal("", f"{self.waiting} requests wait at this door")
            evicted = self._newest(longest)
            self._remove(evicted)
        ticket = Ticket(key=key, lane=lane, number=self._arrivals)
        self._arrivals += 1
        waiting = self._keys.setdefault(key, _Waiting())
        waiting.lanes.setdefault(lane, deque()).append(ticket)
        waiting.count += 1
        self.waiting += 1
        return ticket, evicted

    def let_in(self, key: str, lane: Lane, place: Place, now_s: float) -> Ticket | None:
        """A ticket that may go at once, as nobody waits; None if it must queue."""
        if self.waiting or (node := place(lane)) is None:
            return None
        ticket = Ticket(key=key, lane=lane, number=self._arrivals, node=node)
        self._arrivals += 1
        self._let_go(ticket, node, now_s)
        return ticket

    def grant(self, place: Place, now_s: float) -> list[Ticket]:
        """Let go everybody who can go, in turns; their `node` is set."""
        granted: list[Ticket] = []
        full: set[Lane] = set()  # nothing gets free meanwhile, so a full lane stays full
        while (ticket := self._next(place, full)) is not None:
            self._remove(ticket)
            if ticket.key in self._keys:
                self._keys[ticket.key] = self._keys.pop(ticket.key)  # its turn is over
            self._let_go(ticket, ticket.node or "", now_s)
            granted.append(ticket)
        return granted

    def _let_go(self, ticket: Ticket, node: str, now_s: float) -> None:
        ticket.granted_s = now_s
        running = self.running[node] = self.running.get(node, 0) + 1
        if running > self.peak.get(node, 0):
            self.peak[node] = running

    def leave(self, ticket: Ticket, now_s: float) -> None:
        """The request has ended, or its client has gone, wherever it was."""
        if ticket.node is None:
            self._remove(ticket)
            return
        self.running[ticket.node] -= 1
        if ticket.node:
            self._duration_s += 0.1 * (now_s - ticket.granted_s - self._duration_s)

    def waiting_for(self) -> dict[str, int]:
        """How many wait for a node that was chosen for them, by node."""
        found: dict[str, int] = {}
        for waiting in self._keys.values():
            for lane, tickets in waiting.lanes.items():
                if lane.prefer:
                    found[lane.prefer] = found.get(lane.prefer, 0) + len(tickets)
        return found

    def forget_peak(self, node: str) -> int:
        """The peak at a node, which begins anew."""
        peak, self.peak[node] = self.peak.get(node, 0), self.running.get(node, 0)
        return peak

    def refusal(self, key: str, why: str) -> Overloaded:
        """The error for a request that finds no place; for a key it is the key's own fault."""
        running = max(sum(self.running.values()), 1)
        ahead = min(self._keys[key].count * len(self._keys), self.waiting) if key in self._keys else self.waiting
        wait_s = max((ahead + 1) * self._duration_s / running, SHORTEST_RETRY_S)
        kind = RateLimited if key else Overloaded
        return kind(why, hint=f"retry after about {wait_s:.1f} s, or enter at another node", retry_after_s=wait_s)

    def _next(self, place: Place, full: set[Lane]) -> Ticket | None:
        for waiting in self._keys.values():
            for ticket in sorted((lane[0] for lane in waiting.lanes.values()), key=lambda head: head.number):
                if ticket.lane in full:
                    continue
                ticket.node = place(ticket.lane)
                if ticket.node is not None:
                    return ticket
                full.add(ticket.lane)
        return None

    def _newest(self, key: str) -> Ticket:
        return max((lane[-1] for lane in self._keys[key].lanes.values()), key=lambda tail: tail.number)

    def _remove(self, ticket: Ticket) -> None:
        """Take a ticket out of the queue; one that is not there has left already."""
        waiting = self._keys.get(ticket.key)
        lane = waiting.lanes.get(ticket.lane) if waiting else None
        if waiting is None or lane is None or ticket not in lane:
            return
        lane.remove(ticket)
        waiting.count -= 1
        self.waiting -= 1
        if not lane:
            del waiting.lanes[ticket.lane]
        if not waiting.count:
            del self._keys[ticket.key]
