"""A point-to-point link as a medium: in each direction a queue, a transmitter with a service curve, and a delay that may vary.

Every packet's end is known when it is offered, since the service curve is and the queue is first-in first-out: nothing
happens in between, so that how often one calls `advance` changes nothing. Datagrams may be lost after they were sent; reliable
packets never are. A change of the link (`change`) sends anew, from then on, what has not left by then.

Jitter: the delay of packet number n of a direction is drawn from a gamma distribution, by a function of (seed, direction, n). Its
mean is `delay_s` and its standard deviation `jitter_s`, both exactly; it is never below 0, close to normal where the
deviation is a small part of the mean, and has a longer tail above where it is not, as one-way delays in the Internet have
(Mukherjee, Internetworking: Research and Experience 5, 1994: a shifted gamma). Nobody overtakes: a packet arrives with the one
before it at the earliest, so that those sent close together see a higher mean and a smaller deviation.
"""

from __future__ import annotations

import math
from collections import deque
from dataclasses import dataclass, field

from netgpt.core.chance import digest64, gammas, uniforms
from netgpt.network.medium import Backlog, Delivery, Direction, Packet
from netgpt.network.service import Cursor, Service

DRAWS_A_BLOCK = 256


@dataclass(frozen=True, kw_only=True)
class Loss:
    """Loss of datagrams by a chain of two states, stepped once a datagram.

    Source: Gilbert, Capacity of a burst-noise channel, BSTJ 1960; Elliott, BSTJ 1963.
    """

    good_to_bad: float = 0.0
    bad_to_good: float = 1.0
    lost_in_good: float = 0.0
    lost_in_bad: float = 1.0

    def __post_init__(self) -> None:
        for name in ("good_to_bad", "bad_to_good", "lost_in_good", "lost_in_bad"):
            if not 0 <= getattr(self, name) <= 1:
                raise ValueError(f"{name} is {getattr(self, name)}: give a probability, 0 to 1")
        if self.good_to_bad > 0 and self.bad_to_good == 0:
            raise ValueError("bad_to_good is 0: the bad state would never end")

    @property
    def bad_share(self) -> float:
        """Of all datagrams, in the long run."""
        return self.good_to_bad / (self.good_to_bad + self.bad_to_good) if self.good_to_bad else 0.0

    @property
    def mean_burst(self) -> float:
        """Datagrams that the bad state lasts for, on average."""
        return 1 / self.bad_to_good if self.bad_to_good else math.inf

    @property
    def share(self) -> float:
        """Of datagrams lost, in the long run."""
        return self.bad_share * self.lost_in_bad + (1 - self.bad_share) * self.lost_in_good


def independent_loss(share: float) -> Loss:
    """Each datagram is lost with this probability, whatever became of the one before."""
    return Loss(lost_in_good=share)


def burst_loss(share: float, mean_burst: float) -> Loss:
    """A share of datagrams is lost, in bursts of `mean_burst` (>= 1) datagrams on average.

    Raises:
        ValueError: no chain has these figures: bursts so short do not lose so much.
    """
    if not (0 <= share < 1 and mean_burst >= 1 and share <= (1 - share) * mean_burst):
        raise ValueError(f"no bursts of {mean_burst} datagrams lose {share:.3g} of all: lose less, or in longer bursts")
    return Loss(good_to_bad=share / (1 - share) / mean_burst, bad_to_good=1 / mean_burst)


def loss_of(share: float, mean_burst: float) -> Loss:
    """Of datagrams; by themselves if `mean_burst` is 1. Raises ValueError: see `burst_loss`."""
    return burst_loss(share, mean_burst) if mean_burst > 1 else independent_loss(share)


@dataclass(frozen=True, kw_only=True)
class OneWay:
    """One direction of a link as it is described."""

    service: Service
    delay_s: float  # propagation, after the last byte was sent
    queue_s: float = math.inf  # a packet is dropped that would wait longer, at the rate of now; with nothing waiting it is never dropped
    queue_bytes: float = math.inf  # nor may more bytes wait than this; a single packet may
    loss: Loss = Loss()
    jitter_s: float = 0.0  # standard deviation of the delay, whose mean is `delay_s`

    def __post_init__(self) -> None:
        if not (math.isfinite(self.delay_s) and self.delay_s >= 0):
            raise ValueError(f"a delay of {self.delay_s} s: give a finite number, 0 or more")
        if not (math.isfinite(self.jitter_s) and self.jitter_s >= 0):
            raise ValueError(f"a jitter of {self.jitter_s} s: give a finite number, 0 or more")
        if self.jitter_s and not self.delay_s:
            raise ValueError(f"a jitter of {self.jitter_s} s around a delay of 0 s: give a delay above 0")
        if not (self.queue_s >= 0 and self.queue_bytes >= 0):
            raise ValueError(f"a queue of {self.queue_s} s, {self.queue_bytes} bytes: give 0 or more")


@dataclass(slots=True)
class _Sent:
    """A packet on its way through one direction."""

    order: int  # of offers, both directions together
    packet: Packet
    lost: bool
    done_s: float  # its last byte leaves
    at_s: float = math.nan  # it arrives; told once it has left


@dataclass(slots=True)
class _Lane:
    """One direction at work."""

    spec: OneWay
    seed: int
    cursor: Cursor = field(default_factory=Cursor)
    waiting: deque[_Sent] = field(default_factory=deque)  # in order; those that have left are moved on when time is told
    flying: deque[_Sent] = field(default_factory=deque)
    last_at_s: float = -math.inf  # arrival of the last that has left: a shorter delay lets nobody overtake
    datagrams: int = 0
    bad: bool = False
    draws: list[float] = field(default_factory=list)  # of the block that holds the next datagram
    left: int = 0  # packets that have left: the number of the first that waits
    delays: list[float] = field(default_factory=list)  # of the block that holds that packet; [] if it is not drawn

    def settle(self, now_s: float) -> None:
        """Move on what has left by now."""
        while self.waiting and self.waiting[0].done_s <= now_s:
            sent = self.waiting.popleft()
            sent.at_s = self.last_at_s = max(sent.done_s + self.travel_s(), self.last_at_s)
            self.flying.append(sent)
            self.left += 1
            if self.left % DRAWS_A_BLOCK == 0:
                self.delays = []

    def travel_s(self) -> float:
        """How long the first that waits will be on its way."""
        spec = self.spec
        if not spec.jitter_s:
            return spec.delay_s
        if not self.delays:
            shape = (spec.delay_s / spec.jitter_s) ** 2
            self.delays = (gammas(self.seed, self.left // DRAWS_A_BLOCK, DRAWS_A_BLOCK, shape) * (spec.delay_s / shape)).tolist()
        return self.delays[self.left % DRAWS_A_BLOCK]

    def next_s(self) -> float:
        if self.flying:
            return self.flying[0].at_s
        return max(self.waiting[0].done_s + self.travel_s(), self.last_at_s) if self.waiting else math.inf

    def arrived(self, now_s: float) -> list[_Sent]:
        done: list[_Sent] = []
        if not (self.waiting or self.flying):
            return done
        self.settle(now_s)
        while self.flying and self.flying[0].at_s <= now_s:
            done.append(self.flying.popleft())
        return done

    def has_room(self, now_s: float, size_bytes: int) -> bool:
        waiting_bytes = self.spec.service.backlog_bytes(self.cursor, now_s)
        if waiting_bytes <= 0:
            return True
        if waiting_bytes + size_bytes > self.spec.queue_bytes:
            return False
        return self.spec.queue_s == math.inf or self.delay_s(waiting_bytes, now_s) <= self.spec.queue_s

    def delay_s(self, waiting_bytes: float, now_s: float) -> float:
        """Until so many bytes have left, if the rate stays as it is now."""
        rate_bps = self.spec.service.rate_bps(now_s)
        return 8 * waiting_bytes / rate_bps if rate_bps > 0 else math.inf if waiting_bytes else 0.0

    def draw_loss(self) -> bool:
        """Whether the next datagram is lost: a function of the seed, its number, and the chain so far."""
        place = self.datagrams % DRAWS_A_BLOCK
        if place == 0:
            self.draws = uniforms(self.seed, self.datagrams // DRAWS_A_BLOCK, 2 * DRAWS_A_BLOCK).tolist()
        loss, turn, luck = self.spec.loss, self.draws[2 * place], self.draws[2 * place + 1]
        self.bad = turn < (loss.bad_share if self.datagrams == 0 else 1 - loss.bad_to_good if self.bad else loss.good_to_bad)
        self.datagrams += 1
        return luck < (loss.lost_in_bad if self.bad else loss.lost_in_good)

    def change(self, spec: OneWay, now_s: float) -> None:
        self.settle(now_s)
        before, self.spec, self.delays = self.spec.service, spec, []
        if spec.service is not before:
            self._send_anew(before.backlog_bytes(self.cursor, now_s), now_s)

    def _send_anew(self, left_bytes: float, now_s: float) -> None:
        """Follow another service curve with what waits."""
        sizes = [float(sent.packet.size_bytes) for sent in self.waiting]
        self.cursor = Cursor(now_s)
        for place, (sent, size) in enumerate(zip(self.waiting, sizes, strict=True)):
            rest = size if place else min(size, max(0.0, left_bytes - sum(sizes[1:])))  # some of the first may have left
            self.cursor = self.spec.service.serve(self.cursor, now_s, rest)
            sent.done_s = self.cursor.time_s

    def clear(self, now_s: float) -> list[_Sent]:
        """Forget all that has not arrived."""
        self.settle(now_s)
        gone = [*self.flying, *self.waiting]
        self.flying.clear()
        self.waiting.clear()
        self.cursor, self.last_at_s = Cursor(now_s), -math.inf
        return gone


class PointToPoint:
    """A medium with one station: the nearer end of a link. "up" is from the station to the other end."""

    def __init__(self, station: str, *, up: OneWay, down: OneWay, seed: int = 0) -> None:
        self.station = station
        self._lanes: dict[Direction, _Lane] = {
            "up": _Lane(up, digest64(seed, station, "up")),
            "down": _Lane(down, digest64(seed, station, "down")),
        }
        self._now_s = 0.0
        self._offers = 0

    def offer(self, now_s: float, station: str, direction: Direction, packet: Packet) -> bool:
        """See `Medium.offer`. A datagram takes its time on the link also if it is then lost."""
        lane = self._lane(station, direction)
        now_s = self._pass_to(now_s)
        if not lane.has_room(now_s, packet.size_bytes):
            return False
        lane.cursor = lane.spec.service.serve(lane.cursor, now_s, packet.size_bytes)
        lost = not packet.reliable and lane.draw_loss()
        lane.waiting.append(_Sent(self._offers, packet, lost, lane.cursor.time_s))
        self._offers += 1
        return True

    def next_s(self) -> float:
        return min(self._lanes["up"].next_s(), self._lanes["down"].next_s())

    def advance(self, now_s: float) -> list[Delivery]:
        now_s = self._pass_to(now_s)
        arrived: list[tuple[Direction, _Sent]] = [(direction, sent) for direction, lane in self._lanes.items() for sent in lane.arrived(now_s)]
        if len(arrived) > 1:
            arrived.sort(key=lambda one: (one[1].at_s, one[1].order))
        return [Delivery(at_s=sent.at_s, station=self.station, direction=way, packet=sent.packet, lost=sent.lost) for way, sent in arrived]

    def backlog(self, station: str, direction: Direction) -> Backlog:
        lane = self._lane(station, direction)
        lane.settle(self._now_s)
        waiting_bytes = lane.spec.service.backlog_bytes(lane.cursor, self._now_s)
        return Backlog(bytes=math.ceil(waiting_bytes - 1e-6), packets=len(lane.waiting), delay_s=lane.delay_s(waiting_bytes, self._now_s))

    def spec(self, direction: Direction) -> OneWay:
        """How the link is now, that way."""
        return self._lanes[direction].spec

    def change(self, now_s: float, direction: Direction, spec: OneWay) -> None:
        """From `now_s` on the link is like this. What has left keeps its arrival; nothing is dropped, and nobody overtakes."""
        self._lanes[direction].change(spec, self._pass_to(now_s))

    def clear(self, now_s: float) -> list[Packet]:
        """Lose all that waits and all that is under way, reliable or not; returns it."""
        now_s = self._pass_to(now_s)
        return [sent.packet for lane in self._lanes.values() for sent in lane.clear(now_s)]

    def _lane(self, station: str, direction: Direction) -> _Lane:
        if station != self.station:
            raise KeyError(f"no station {station!r}: this link has {self.station!r} alone")
        return self._lanes[direction]

    def _pass_to(self, now_s: float) -> float:
        """The time that it is now: never before one that was told already, so that a driver who is late does no harm."""
        if now_s > self._now_s:
            self._now_s = now_s
        return self._now_s
