"""A cell: user equipments that share resource blocks. A `Medium`, pure in what it is given.

A UE's rate is an outcome: its spectral efficiency over time comes from a trace, what it gets of the resource blocks
from the scheduler and from who else has data. What a small packet waits for is in `network.access`, how a direction
is divided in `network.carrier`.
"""

from __future__ import annotations

import heapq
import math
from collections.abc import Callable, Collection, Iterator
from dataclasses import dataclass, field

from netgpt.core.chance import SeededChance, digest64
from netgpt.core.errors import ScenarioInvalid, UsageError
from netgpt.network.access import Access
from netgpt.network.activity import Activity
from netgpt.network.background import BackgroundLoad, bursts
from netgpt.network.bearer import Queued
from netgpt.network.carrier import Carrier
from netgpt.network.efficiency import ConstantEfficiency, EfficiencyTrace, checked_efficiency
from netgpt.network.flow import Flow, flow_named
from netgpt.network.frame import resource_blocks
from netgpt.network.leg import Leg
from netgpt.network.medium import Backlog, Delivery, Direction, Packet
from netgpt.network.schedulers import scheduler_named

BACKGROUND = "background"
_BACKGROUND_USER = "background:"  # starts the names of the UEs that make background load
DIRECTIONS: tuple[Direction, Direction] = ("up", "down")


@dataclass(frozen=True, kw_only=True)
class CellProfile:
    """A cell as it is described.

    Raises:
        ScenarioInvalid: a value out of range; names it.
    """

    id: str
    bandwidth_mhz: float = 100.0  # of an FDD cell: each way
    access: Access = field(default_factory=Access)
    scheduler: str = "proportional-fair"
    fairness_window_s: float = 0.2  # over which the scheduler averages throughput: assumption, 100 to 1,000 slots are usual
    overhead_up: float = 0.08  # TS 38.306 clause 4.1.2, FR1: DM-RS, control
    overhead_down: float = 0.14  # as above
    queue_bytes: int = 3_000_000  # of each UE, direction and priority level: what would not fit is dropped
    queue_s: float = math.inf  # as above, at the UE's present rate
    background: BackgroundLoad = field(default_factory=BackgroundLoad)

    def __post_init__(self) -> None:
        for name in ("overhead_up", "overhead_down"):
            if not 0 <= getattr(self, name) < 1:
                raise ScenarioInvalid(f"{name!r} of cell {self.id!r} is {getattr(self, name)!r}", hint="give a share, 0 or more and less than 1")
        for name in ("fairness_window_s", "queue_bytes", "queue_s"):
            if not getattr(self, name) > 0:
                raise ScenarioInvalid(f"{name!r} of cell {self.id!r} is {getattr(self, name)!r}", hint="give a number above 0")

    def overhead(self, direction: Direction) -> float:
        return self.overhead_up if direction == "up" else self.overhead_down


@dataclass(slots=True)
class FlowTotals:
    """Bytes of one flow in one direction, since the cell began."""

    offered: int = 0  # and taken
    delivered: int = 0
    lost: int = 0  # on the air
    dropped: int = 0  # the queue was full


class Cell:
    """A cell; see `CellProfile` and `network.medium.Medium`.

    Args:
        profile: its description.
        seed: of all its chance; with the same seed the same offers meet the same fate.
        flow_of: what a packet's flow means; `flow.flow_without_qos` puts all on one bearer.

    Raises:
        ScenarioInvalid: a bandwidth that its numerology does not have.
        UsageError: unknown scheduler.
    """

    def __init__(self, profile: CellProfile, *, seed: int, flow_of: Callable[[str], Flow] = flow_named) -> None:
        self.profile = profile
        self.totals: dict[tuple[Direction, str], FlowTotals] = {}
        self._seed = seed
        self._flow_of = flow_of
        self._access = profile.access
        blocks = resource_blocks(profile.access.frame.numerology, profile.bandwidth_mhz)
        scheduler = scheduler_named(profile.scheduler)
        self._carriers: dict[Direction, Carrier] = {
            way: Carrier(
                way,
                profile.access,
                blocks=blocks,
                overhead=profile.overhead(way),
                scheduler=scheduler,
                window_s=profile.fairness_window_s,
                sink=self._sent,
            )
            for way in DIRECTIONS
        }
        self._legs: dict[str, dict[Direction, Leg]] = {}
        self._now_s = 0.0
        self._offers = 0
        self._deliveries: list[tuple[float, int, Delivery]] = []
        self._bursts = self._background() if profile.background.up or profile.background.down else iter(())
        self._burst = next(self._bursts, None)

    # --- who is there ---

    def attach(self, station: str, *, up: EfficiencyTrace, down: EfficiencyTrace, now_s: float = 0.0) -> None:
        """A UE joins, connected.

        Raises:
            ScenarioInvalid: it is here already, or a trace starts with a negative efficiency or one that is not finite.
        """
        if station in self._legs:
            raise ScenarioInvalid(f"UE {station!r} is in cell {self.profile.id!r} already", hint="give every UE its own name, and attach it once")
        for way, trace in (("up", up), ("down", down)):
            checked_efficiency(trace.at(now_s), f"{way}link efficiency of UE {station!r}")
            if not trace.step_s > 0:
                raise ScenarioInvalid(f"{way}link efficiency of UE {station!r} has a step of {trace.step_s!r} s", hint="give a time above 0")
        activity = Activity(now_s)
        key = digest64(self._seed, self.profile.id)
        self._legs[station] = {
            "up": Leg(station, "up", up, self._access, activity, key),
            "down": Leg(station, "down", down, self._access, activity, key),
        }

    @property
    def stations(self) -> Collection[str]:
        """The UEs, those of the background load included."""
        return self._legs.keys()

    def last_delivery_s(self, station: str) -> float:
        """When the last that this UE has sent or been sent is delivered, also after it has left; 0 if nothing is under way."""
        return max((at_s for at_s, _, delivery in self._deliveries if delivery.station == station), default=0.0)

    def detach(self, now_s: float, station: str) -> list[tuple[Direction, Packet]]:
        """A UE leaves, for another cell perhaps; returns what waited for it, to be offered there (data forwarding, TS 38.300 clause 9.2.3).

        Raises:
            KeyError: unknown UE.
        """
        self._settle(now_s)
        legs = self._legs_of(station)
        waiting: list[tuple[Direction, Packet]] = []
        for way, leg in legs.items():
            self._carriers[way].remove(leg)
            for item in leg.queue.drain():
                waiting.append((way, item.packet))
                self._totals(way, item.packet).offered -= item.packet.size_bytes
        del self._legs[station]
        return waiting

    def interrupt(self, now_s: float, station: str, for_s: float | None = None) -> None:
        """A UE can neither send nor receive for some time, by default a handover's; what waits stays.

        Raises:
            KeyError: unknown UE.
        """
        self._settle(now_s)
        until_s = now_s + (self._access.handover_interruption_s if for_s is None else for_s)
        until_slot = math.ceil(until_s / self._access.frame.slot_s - 1e-9)
        for way, leg in self._legs_of(station).items():
            self._carriers[way].hold(leg, until_slot)

    # --- Medium ---

    def offer(self, now_s: float, station: str, direction: Direction, packet: Packet) -> bool:
        """Queue a packet; False if the queue is full and it was dropped.

        Raises:
            KeyError: unknown UE.
            UsageError: unknown flow, or a size below 0.
        """
        leg = self._legs_of(station)[direction]
        flow = self._flow_of(packet.flow)
        if packet.size_bytes < 0:
            raise UsageError(f"a packet of {packet.size_bytes} bytes for UE {station!r}", hint="sizes are 0 or more")
        self._settle(now_s)
        totals = self._totals(direction, packet)
        if not self._fits(leg, flow, packet):
            totals.dropped += packet.size_bytes
            return False
        totals.offered += packet.size_bytes
        head = leg.queue.head()
        self._offers += 1
        size_bytes = packet.size_bytes + self._access.header_bytes
        leg.enter(Queued(packet, flow, offered_s=self._now_s, number=self._offers, size_bytes=max(size_bytes, 1)))
        if head is None:
            self._carriers[direction].wake(leg, self._ready_slot(station, direction))
        else:
            self._carriers[direction].added(leg, urgent=flow.priority < head.flow.priority)
        return True

    def next_s(self) -> float:
        """When `advance` may have a delivery, at the earliest; inf while nothing waits. Never before what it was told last."""
        arrives_s = self._deliveries[0][0] if self._deliveries else math.inf
        return max(min(arrives_s, *(carrier.next_s() for carrier in self._carriers.values())), self._now_s)

    def advance(self, now_s: float) -> list[Delivery]:
        """Let time pass until `now_s`; what has arrived by then."""
        self._settle(now_s)
        found: list[Delivery] = []
        while self._deliveries and self._deliveries[0][0] <= self._now_s:
            found.append(heapq.heappop(self._deliveries)[2])
            self._count(found[-1].direction, found[-1].packet, found[-1].lost)
        return found

    def backlog(self, station: str, direction: Direction) -> Backlog:
        """What waits for this UE, as of the last offer or advance.

        Raises:
            KeyError: unknown UE.
        """
        leg, carrier = self._legs_of(station)[direction], self._carriers[direction]
        if not leg.waiting_bytes:
            return Backlog()
        rate_bps = carrier.rate_bps(leg, self._now_s)
        access_s = max(carrier.start_s(leg) - self._now_s, 0.0)
        delay_s = access_s + 8 * leg.waiting_bytes / rate_bps if rate_bps else math.inf
        return Backlog(bytes=leg.waiting_bytes, packets=leg.queue.packets, delay_s=delay_s)

    def rate_bps(self, station: str, direction: Direction) -> float:
        """What this UE gets now, or would get beside those who send if it sends nothing; 0 in an outage. As of the last offer or advance.

        Raises:
            KeyError: unknown UE.
        """
        return self._carriers[direction].rate_bps(self._legs_of(station)[direction], self._now_s)

    def activity(self, now_s: float, station: str) -> Activity:
        """When the UE's radio was at work until now: `network.energy` makes joules of it.

        Raises:
            KeyError: unknown UE.
        """
        self._settle(now_s)
        return self._legs_of(station)["up"].activity

    def utilisation(self, now_s: float, direction: Direction) -> float:
        """The share of the resource blocks that were used until now, by the background load too."""
        self._settle(now_s)
        return self._carriers[direction].utilisation(self._access.frame.slot_of(self._now_s))

    def served_bytes(self, direction: Direction) -> int:
        """What was delivered over the air, the background load included."""
        return sum(totals.delivered for (way, _), totals in self.totals.items() if way == direction)

    # --- inside ---

    def _legs_of(self, station: str) -> dict[Direction, Leg]:
        if station not in self._legs:
            raise KeyError(f"no UE {station!r} in cell {self.profile.id!r}")
        return self._legs[station]

    def _totals(self, direction: Direction, packet: Packet) -> FlowTotals:
        return self.totals.setdefault((direction, packet.flow), FlowTotals())

    def _count(self, direction: Direction, packet: Packet, lost: bool) -> None:
        totals = self._totals(direction, packet)
        if lost:
            totals.lost += packet.size_bytes
        else:
            totals.delivered += packet.size_bytes

    def _fits(self, leg: Leg, flow: Flow, packet: Packet) -> bool:
        """Drop tail. A queue that is empty takes a packet of any size."""
        ahead_bytes = leg.queue.level_bytes(flow.priority)
        if not ahead_bytes:
            return True
        if ahead_bytes + packet.size_bytes > self.profile.queue_bytes:
            return False
        return self.profile.queue_s == math.inf or 8 * ahead_bytes <= self.profile.queue_s * self._carriers[leg.direction].rate_bps(leg, self._now_s)

    def _ready_slot(self, station: str, direction: Direction) -> int:
        """The first slot in which a UE that had nothing to send this way can send what it has just got."""
        legs, access, now_s = self._legs[station], self._access, self._now_s
        leg = legs[direction]
        other = legs["down"] if direction == "up" else legs["up"]
        last_active_s = now_s if other.waiting_bytes else leg.activity.last_s
        connected_s = access.rrc.connected_from_s(direction, now_s, last_active_s)
        next_slot = access.frame.slot_of(now_s) + 1
        if direction == "up":
            leg.requested = access.grant == "dynamic" or connected_s > now_s  # a resumed connection ends with a grant
            return self._asked_slot(leg, next_slot) if connected_s <= now_s else access.granted_slot(access.frame.slot_of(connected_s) + 1)
        if connected_s <= now_s and access.drx is not None:
            connected_s = access.drx.awake_from_s(now_s, last_active_s)
        return access.frame.slot_of(connected_s) + 1 + access.gnb_preparation_slots

    def _asked_slot(self, leg: Leg, next_slot: int) -> int:
        """The first slot in which a connected UE that has had no data can send."""
        if self._access.grant == "configured":
            return self._access.configured_slot(next_slot + self._access.ue_preparation_slots)
        return self._access.requested_slot(next_slot)

    def _sent(self, leg: Leg, item: Queued) -> None:
        """A packet is all sent: it arrives, or is known to be lost, when its last piece is."""
        at_s = leg.delivered_s(item)
        if leg.station.startswith(_BACKGROUND_USER):
            self._count(leg.direction, item.packet, item.lost)
            return
        delivery = Delivery(at_s=at_s, station=leg.station, direction=leg.direction, packet=item.packet, lost=item.lost)
        heapq.heappush(self._deliveries, (at_s, item.number, delivery))

    def _settle(self, now_s: float) -> None:
        """Run all slots whose content is fixed by now, and let the background's bursts come in between."""
        if now_s < self._now_s - 1e-9:
            raise UsageError(f"cell {self.profile.id!r} was at {self._now_s} s and is told {now_s} s", hint="time does not run backwards")
        while self._burst is not None and self._burst[0] <= now_s:
            at_s, way, station, packet = self._burst
            self._burst = next(self._bursts)
            self.offer(at_s, station, way, packet)
        self._now_s = max(now_s, self._now_s)
        for way, carrier in self._carriers.items():
            carrier.run(self._access.frame.slot_of(self._now_s) + self._access.frozen_slots(way))

    def _background(self) -> Iterator[tuple[float, Direction, str, Packet]]:
        load = self.profile.background
        trace = ConstantEfficiency(load.efficiency)
        names = [f"{_BACKGROUND_USER}{user}" for user in range(load.users)]
        for name in names:
            self.attach(name, up=trace, down=trace)
        streams: dict[Direction, Iterator[tuple[float, int, int]]] = {}
        for way in DIRECTIONS:
            generator = SeededChance(self._seed).stream(f"background {self.profile.id} {way}")
            capacity_bps = self._carriers[way].rate_bps(self._legs[names[0]][way], 0.0)
            streams[way] = bursts(load, way, capacity_bps, generator)
        waiting: dict[Direction, tuple[float, int, int]] = {way: burst for way, stream in streams.items() if (burst := next(stream, None))}
        while waiting:
            way = min(DIRECTIONS, key=lambda one: waiting[one][0] if one in waiting else math.inf)
            at_s, user, size_bytes = waiting[way]
            yield at_s, way, names[user], Packet(size_bytes=size_bytes, flow=BACKGROUND)
            waiting[way] = next(streams[way])
