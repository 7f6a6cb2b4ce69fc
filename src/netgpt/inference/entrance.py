"""A door's queue on the event loop: requests come in, wait for their turn, and leave whenever they like.

`admission` decides who goes next; here are the waits, their deadlines, and the metrics. A request that is turned away, or whose
deadline passes, has cost no engine anything.
"""

from __future__ import annotations

import asyncio
from types import TracebackType

from netgpt.core.clock import Clock
from netgpt.core.errors import DeadlineExceeded, Overloaded
from netgpt.inference.admission import Admission, Lane, Place, Ticket
from netgpt.telemetry.metrics import Metrics

RECHECK_S = 0.2  # a heartbeat: what nodes have room may change without a request that ends here


class HeldPlace:
    """A request's place at the door, while it is entered."""

    __slots__ = ("_entrance", "_key", "_lane", "_ticket")

    def __init__(self, entrance: Entrance, key: str, lane: Lane) -> None:
        self._entrance, self._key, self._lane = entrance, key, lane

    def __enter__(self) -> Ticket:
        self._ticket = self._entrance.enter(self._key, self._lane)
        return self._ticket

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        self._entrance.leave(self._ticket)


class Entrance:
    """Where requests of one door wait until an engine can have them."""

    def __init__(self, admission: Admission, place: Place, clock: Clock, metrics: Metrics) -> None:
        self._admission = admission
        self._place = place
        self._clock = clock
        self._turns: dict[Ticket, asyncio.Future[None]] = {}
        self._recheck: asyncio.TimerHandle | None = None
        metrics.requests_waiting.set_function(lambda: admission.waiting)
        metrics.requests_running.set_function(lambda: sum(admission.running.values()))

    def place(self, key: str, lane: Lane) -> HeldPlace:
        """A context: it holds a place, first in the queue, then, once `turn` has returned, at the ticket's node.

        Entering it raises:
            Overloaded, RateLimited: there is none.
        """
        return HeldPlace(self, key, lane)

    def enter(self, key: str, lane: Lane) -> Ticket:
        """What entering a place does."""
        if (ticket := self._admission.let_in(key, lane, self._place, self._clock.now_s())) is not None:
            return ticket
        ticket, evicted = self._admission.enter(key, lane)
        if evicted is not None:
            self._turn_away(evicted)
        self._grant()
        if ticket.node is None:
            self._turns[ticket] = asyncio.get_running_loop().create_future()
        return ticket

    def leave(self, ticket: Ticket) -> None:
        """What leaving a place does."""
        if self._turns and (turn := self._turns.pop(ticket, None)) is not None:
            turn.cancel()
        self._admission.leave(ticket, self._clock.now_s())
        self._grant()

    async def turn(self, ticket: Ticket, *, deadline_s: float) -> None:
        """Wait until the ticket may go to its node.

        Raises:
            DeadlineExceeded: `deadline_s` came first; the request never began.
            Overloaded, RateLimited: it had to make room for another key.
        """
        turn = self._turns.get(ticket)
        if turn is None:
            return None  # it was let go at once
        if turn.done():
            return turn.result()
        begin_s = self._clock.now_s()
        try:
            async with asyncio.timeout(deadline_s - begin_s):
                await asyncio.shield(turn)  # a wait that ends leaves the future to `place`
        except TimeoutError:
            waited_s = self._clock.now_s() - begin_s
            hint = "raise deadline_s, retry later, or enter at another node"
            raise DeadlineExceeded(f"the deadline passed after {waited_s:.3g} s in the queue", hint=hint, param="deadline_s") from None

    def _turn_away(self, ticket: Ticket) -> None:
        why = f"the queue is full, and key {ticket.key!r} has most of it" if ticket.key else "the queue is full"
        error: Overloaded = self._admission.refusal(ticket.key, why)
        if not (turn := self._turns[ticket]).done():
            turn.set_exception(error)
            turn.exception()  # marks it as seen: the request may end before it looks

    def _grant(self) -> None:
        if not self._admission.waiting:
            return
        for ticket in self._admission.grant(self._place, self._clock.now_s()):
            turn = self._turns.get(ticket)
            if turn is not None and not turn.done():
                turn.set_result(None)
        if self._admission.waiting and self._recheck is None:
            self._recheck = asyncio.get_running_loop().call_later(RECHECK_S, self._check_again)

    def _check_again(self) -> None:
        self._recheck = None
        self._grant()
