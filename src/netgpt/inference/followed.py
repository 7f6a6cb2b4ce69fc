"""Whether a request comes as it was foretold: what is overdue says something of its node."""

from __future__ import annotations

from netgpt.core.clock import Clock
from netgpt.inference.estimates import Estimates


class Followed:
    """A request on its way to the node that was chosen: a context, from the choice to the end. Overdue ones say something of their node."""

    __slots__ = ("_call", "_clock", "_estimates", "_node")

    def __init__(self, estimates: Estimates, node: str, call: str, clock: Clock) -> None:
        self._estimates, self._node, self._call, self._clock = estimates, node, call, clock

    def heard(self) -> None:
        """The first token is there."""
        if self._node:
            self._estimates.hear(self._node, self._call, self._clock.now_s())

    def __enter__(self) -> Followed:
        return self

    def __exit__(self, *_: object) -> None:
        if self._node:
            self._estimates.forget(self._node, self._call)
            self._estimates.end(self._node, self._call)
