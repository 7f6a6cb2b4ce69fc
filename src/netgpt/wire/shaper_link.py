"""What the link shaper's packets cross: wires between two nodes, and the hops of devices to the cells that serve them.

A link is a station of a medium with a name, an end each way, and a count of what it has carried.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, NamedTuple, Protocol

from netgpt.core.errors import UsageError
from netgpt.network.medium import Direction, Medium
from netgpt.network.radio import Radio
from netgpt.network.service import service_of
from netgpt.network.wired import OneWay, PointToPoint, independent_loss

DIRECTIONS: tuple[Direction, ...] = ("up", "down")
DEFAULT_QUEUE_S = 0.1  # of a link whose description names none: a node's memory is not its link's
RADIO_DELAY_S = 0.01  # nominal, one way: a request, a grant and a slot; see docs/radio.md

Wires = Mapping[Direction, OneWay]  # how a wire is, each way


@dataclass(kw_only=True)
class Carried:
    """What one direction of a link was given and did with it, since the start."""

    charged_bytes: int = 0  # taken into the queue, headers included
    delivered_bytes: int = 0
    dropped: int = 0  # packets that found the queue full
    lost: int = 0
    second: int = 0  # the second that `this_bytes` belong to, by the caller's clock
    this_bytes: int = 0
    last_bytes: int = 0  # of the second before

    def deliver(self, at_s: float, size_bytes: int) -> None:
        self.roll(at_s)
        self.delivered_bytes += size_bytes
        self.this_bytes += size_bytes

    def roll(self, at_s: float) -> None:
        second = int(at_s)
        if second > self.second:
            self.last_bytes = self.this_bytes if second == self.second + 1 else 0
            self.second, self.this_bytes = second, 0


def _nothing_carried() -> dict[Direction, Carried]:
    return {direction: Carried() for direction in DIRECTIONS}


class ShapedLink(Protocol):
    """A link between two nodes; "up" is from its first end, the station."""

    carried: dict[Direction, Carried]

    @property
    def id(self) -> str: ...

    @property
    def ends(self) -> tuple[str, str]:
        """The station, and where its packets come out now."""
        ...

    @property
    def medium(self) -> Medium:
        """Several links may share one."""
        ...

    def rate_bps(self, direction: Direction) -> float:
        """For the size of buffers and for listings: of a trace the mean, of a cell what the device gets now."""
        ...

    def delay_s(self, direction: Direction) -> float:
        """Nominal, after the last byte was sent."""
        ...

    def facts(self, direction: Direction) -> dict[str, Any]:
        """What a listing says of it, in base units; None for no limit, or for what such a link does not have."""
        ...

    def change(self, now_s: float, wires: Wires) -> None:
        """Be like this from now on.

        Raises:
            UsageError: it cannot be set.
        """
        ...

    def wires(self) -> Wires:
        """How it is now, each way.

        Raises:
            UsageError: it cannot be set.
        """
        ...


class Wire:
    """A link that no one else uses."""

    def __init__(self, ends: tuple[str, str], wires: Wires, *, seed: int = 0, mean_bps: Mapping[Direction, float] | None = None) -> None:
        """Args:
        mean_bps: of directions whose rate varies.
        """
        self.carried = _nothing_carried()
        self.ends = ends
        self.medium = PointToPoint(ends[0], up=wires["up"], down=wires["down"], seed=seed)
        self._mean_bps = dict(mean_bps or {})

    @property
    def id(self) -> str:
        return "-".join(self.ends)

    def rate_bps(self, direction: Direction) -> float:
        mean_bps = self._mean_bps.get(direction)
        return self.medium.spec(direction).service.rate_bps(0.0) if mean_bps is None else mean_bps

    def delay_s(self, direction: Direction) -> float:
        return self.medium.spec(direction).delay_s

    def facts(self, direction: Direction) -> dict[str, Any]:
        spec = self.medium.spec(direction)
        return {
            "kind": "wire",
            "delay_s": spec.delay_s,
            "jitter_s": spec.jitter_s,
            "loss": spec.loss.share,
            "queue_limit_s": _finite(spec.queue_s),
            "cell": None,
            "rlc": None,
            "adjustable": True,
        }

    def wires(self) -> Wires:
        return {direction: self.medium.spec(direction) for direction in DIRECTIONS}

    def change(self, now_s: float, wires: Wires) -> None:
        for direction, spec in wires.items():
            if spec.service is not self.medium.spec(direction).service:
                self._mean_bps.pop(direction, None)
            self.medium.change(now_s, direction, spec)


@dataclass(eq=False)
class RadioHop:
    """A device and whichever cell serves it. All of them share one medium."""

    station: str
    medium: Radio
    carried: dict[Direction, Carried] = field(default_factory=_nothing_carried)

    @property
    def id(self) -> str:
        return f"{self.station}-radio"

    @property
    def ends(self) -> tuple[str, str]:
        return self.station, self.medium.site(self.station)

    def rate_bps(self, direction: Direction) -> float:
        return self.medium.rate_bps(self.station, direction)

    def delay_s(self, direction: Direction) -> float:
        return RADIO_DELAY_S

    def facts(self, direction: Direction) -> dict[str, Any]:
        cell = self.medium.cell_of(self.station)
        return {
            "kind": "radio",
            "delay_s": None,
            "jitter_s": None,
            "loss": None,
            "queue_limit_s": _finite(self.medium.cells[cell].profile.queue_s),
            "cell": cell,
            "rlc": "am, datagrams um",
            "adjustable": False,
        }

    def wires(self) -> Wires:
        cell = self.medium.cell_of(self.station)
        message = f"link {self.id!r} cannot be set: its rate is what cell {cell!r} gives {self.station!r}"
        raise UsageError(message, hint="change [[cell]] or [[attach]] in the scenario, and start again: netgpt up --links stream", param="link")

    def change(self, now_s: float, wires: Wires) -> None:
        self.wires()


class Crossing(NamedTuple):
    """One link of a route, in the direction in which it is crossed."""

    link: ShapedLink
    direction: Direction


Route = tuple[Crossing, ...]


def plain_wires(
    *, up_bps: float = math.inf, down_bps: float = math.inf, delay_s: float = 0.0, loss: float = 0.0, queue_s: float = DEFAULT_QUEUE_S
) -> Wires:
    """Constant rates (`math.inf`: no limit), the same delay, loss and queue each way."""

    def one_way(rate_bps: float) -> OneWay:
        return OneWay(service=service_of(rate_bps), delay_s=delay_s, queue_s=queue_s, loss=independent_loss(loss))

    return {"up": one_way(up_bps), "down": one_way(down_bps)}


def _finite(value: float) -> float | None:
    return None if math.isinf(value) else value
