"""What is foreseen for one request, and whether it comes so.

Who answers is decided before the request goes. Where there is nothing to decide, what is to be said of it is found out while its node works:
who asks waits for the node then, and for nothing else.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Any

from netgpt.core.clock import Clock
from netgpt.inference.estimates import Estimates
from netgpt.inference.planning import Decision
from netgpt.inference.reading import Read
from netgpt.inference.showing import told


class Prospect:
    """Of one request: a context, from the choice to the end. What is overdue says something of its node."""

    __slots__ = ("_call", "_clock", "_ended", "_estimates", "_later", "_node", "_service", "_since_s", "_told", "decision", "read")

    def __init__(
        self, estimates: Estimates, clock: Clock, *, call: str, since_s: float, service: str, later: Callable[[], Decision] | None = None
    ) -> None:
        """Args:
        call: the request's id.
        since_s: when it came.
        service: its class.
        later: decides, once the request is on its way; None: `decide` says it before, or nothing is foreseen.
        """
        self._estimates, self._clock, self._call, self._since_s, self._service, self._later = estimates, clock, call, since_s, service, later
        self.decision: Decision | None = None  # made so far
        self.read: Read | None = None  # what the entry node had read of the prompt before
        self._told: dict[str, Any] | None = None
        self._node = ""  # that is watched
        self._ended = False

    def decide(self, decision: Decision, read: Read | None = None) -> None:
        self.decision, self.read = decision, read

    def told(self) -> dict[str, Any]:
        """`showing.told` of the decision, which is made if it was not; empty: nothing is foreseen."""
        if self.decision is None and self._later is not None:
            self.decision = self._later()
        if self._told is None:
            self._told = {} if self.decision is None else told(self.decision, self._service, self.read)
        return self._told

    def __enter__(self) -> Prospect:
        if self.decision is not None:
            self._watch()
        elif self._later is not None:
            asyncio.get_running_loop().call_soon(self._watch)  # once the node has been asked
        return self

    def _watch(self) -> None:
        if self._ended or self._node:
            return
        self.told()
        if self.decision is None:
            return
        foretold = self.decision.chosen.prediction
        self._node = foretold.candidate.nodes[0]
        self._estimates.ask(self._node, self._call, self._since_s, foretold.ttft_s)
        self._estimates.send(self._node, self._call, self._since_s, foretold.ttft_s, foretold.total_s)

    def heard(self) -> None:
        """The first token is there."""
        if self._node:
            self._estimates.hear(self._node, self._call, self._clock.now_s())

    def __exit__(self, *_: object) -> None:
        self._ended = True
        if self._node:
            self._estimates.forget(self._node, self._call)
            self._estimates.end(self._node, self._call)
