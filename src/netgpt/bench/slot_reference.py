"""A cell simulated slot by slot: slow, exhaustive, as plain as possible. What `network.cell` is measured against.

Every slot is looked at, every transport block of every UE is sent, fails or not by a draw of its own, is heard of,
and repeated in resource blocks of its own; every scheduling request and buffer status report is an event; the
scheduler picks the UE with the best ratio of rate to average, slot by slot. It shares parameters, tables of the
standards and the value classes with the cell, and no logic but the counting of slots: no plan, no share.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np

from netgpt.network.cell import CellProfile
from netgpt.network.efficiency import EfficiencyTrace
from netgpt.network.flow import flow_named
from netgpt.network.frame import SUBCARRIERS, resource_blocks
from netgpt.network.harq import Harq
from netgpt.network.medium import Delivery, Direction, Packet

Offer = tuple[float, str, Direction, Packet]
Fails = Callable[[str, Direction, int, int], bool]
"""(UE, direction, number of the new block, attempts of this round before) -> whether this attempt fails."""


def chance_to_fail(harq: Harq, generator: np.random.Generator) -> Fails:
    """Independent draws, in the order in which attempts are made."""

    def fails(station: str, direction: Direction, block: int, before: int) -> bool:
        return bool(generator.random() < (harq.retransmission_bler if before else harq.bler))

    return fails


@dataclass(eq=False, slots=True)
class Item:
    """A packet; received once as many bytes are as it has."""

    packet: Packet
    number: int
    priority: int
    lossy: bool
    unsent: int
    unreceived: int
    offered_s: float
    lost: bool = False
    done: bool = False


@dataclass(eq=False, slots=True)
class Block:
    """A transport block on its way."""

    pieces: list[tuple[Item, int]]
    number: int
    resource_blocks: int
    due_slot: int  # of the next attempt
    attempts: int = 0  # of this round of HARQ


@dataclass(eq=False, slots=True)
class Side:
    """One UE in one direction."""

    station: str
    direction: Direction
    trace: EfficiencyTrace
    waiting: list[Item] = field(default_factory=list)
    in_order: dict[str, list[Item]] = field(default_factory=dict)  # by flow: offered and not handed on
    repeats: list[Block] = field(default_factory=list)
    offered: int = 0
    sent: int = 0
    reports: list[tuple[int, int]] = field(default_factory=list)  # (slot in which the gNB knows, bytes offered by then)
    request_known_slot: int | None = None  # of an open scheduling request
    barred_until_slot: int = 0  # asleep, or not connected
    average: float = 0.0
    blocks: int = 0


class SlotReference:
    """The simulation.

    Args:
        profile: the cell; always scheduled proportional-fair, without background and with unbounded queues.
        traces: of each UE, uplink and downlink.
        fails: whether an attempt at a transport block fails; `chance_to_fail` draws it, `Cell`'s own draws can be given instead.
    """

    def __init__(self, profile: CellProfile, traces: Mapping[str, tuple[EfficiencyTrace, EfficiencyTrace]], fails: Fails) -> None:
        self._profile = profile
        self._access = profile.access
        self._frame = profile.access.frame
        self._fails = fails
        self._blocks = resource_blocks(profile.access.frame.numerology, profile.bandwidth_mhz)
        self._sides: dict[Direction, dict[str, Side]] = {
            "up": {name: Side(name, "up", up) for name, (up, _) in traces.items()},
            "down": {name: Side(name, "down", down) for name, (_, down) in traces.items()},
        }
        self._last_active_s = dict.fromkeys(traces, 0.0)
        self._deliveries: list[tuple[float, int, Delivery]] = []

    def run(self, offers: Sequence[Offer], until_s: float) -> list[Delivery]:
        """Play offers, which are in order of time, for so long; all that arrives by then."""
        position = 0
        for slot in range(self._frame.slot_of(until_s)):
            while position < len(offers) and self._frame.slot_of(offers[position][0]) < slot:
                self._arrive(position, *offers[position])
                position += 1
            for direction in ("up", "down"):
                if self._frame.symbols(direction, slot):
                    self._transmit(direction, slot)
            self._request(slot)
        return [delivery for _, _, delivery in sorted(self._deliveries, key=lambda entry: entry[:2])]

    # --- arrivals ---

    def _arrive(self, number: int, at_s: float, station: str, direction: Direction, packet: Packet) -> None:
        side, flow = self._sides[direction][station], flow_named(packet.flow)
        size = packet.size_bytes + self._access.header_bytes
        item = Item(packet, number, flow.priority, not packet.reliable and flow.rlc == "um", size, size, at_s)
        if not self._waits(station):
            side.barred_until_slot = self._reachable_slot(station, direction, at_s)
        side.waiting.append(item)
        side.waiting.sort(key=lambda one: (one.priority, one.number))
        side.in_order.setdefault(packet.flow, []).append(item)
        side.offered += size

    def _waits(self, station: str) -> bool:
        return any(sides[station].waiting for sides in self._sides.values())

    def _reachable_slot(self, station: str, direction: Direction, at_s: float) -> int:
        """Until when a UE with nothing under way sleeps or has no connection."""
        last_s = self._last_active_s[station]
        from_s = self._access.rrc.connected_from_s(direction, at_s, last_s)
        if direction == "down" and from_s == at_s and self._access.drx is not None:
            from_s = self._access.drx.awake_from_s(at_s, last_s)
        return 0 if from_s == at_s else self._frame.slot_of(from_s)

    # --- uplink control ---

    def _request(self, slot: int) -> None:
        """Scheduling requests of the UEs that have data, and have told nobody."""
        if self._access.grant != "dynamic" or not self._is_request_occasion(slot):
            return
        for side in self._sides["up"].values():
            told = side.reports[-1][1] if side.reports else 0
            if side.waiting and side.request_known_slot is None and told <= side.sent and side.barred_until_slot < slot:
                side.request_known_slot = slot + 1 + self._access.gnb_processing_slots

    def _is_request_occasion(self, slot: int) -> bool:
        """Whether PUCCH symbols of this slot are the first since a nominal occasion."""
        if not self._has_control(slot):
            return False
        nominal = slot
        while (nominal - self._access.sr_offset_slots) % self._access.sr_period_slots:
            nominal -= 1
        return not any(self._has_control(earlier) for earlier in range(nominal, slot))

    def _has_control(self, slot: int) -> bool:
        kinds = self._frame.pattern or "F"
        return kinds[slot % len(kinds)] in "UF" or (kinds[slot % len(kinds)] == "S" and self._frame.special[2] > 0)

    def _decided_slot(self, slot: int) -> int:
        """When the gNB decides on an uplink slot: the last with a PDCCH that is early enough."""
        decided = slot - self._access.k2_slots
        while not self._frame.symbols("down", decided):
            decided -= 1
        return decided

    def _granted(self, side: Side, slot: int) -> int:
        """Bytes that the gNB grants a UE for an uplink slot, as far as resource blocks go."""
        decided = self._decided_slot(slot)
        if side.request_known_slot is not None:
            return self._access.first_grant_bytes if side.request_known_slot <= decided else 0
        unasked = 0
        if self._access.grant == "configured" and self._is_configured(slot) and self._visible(side, slot) and side.barred_until_slot < slot:
            unasked = self._access.configured_bytes
        known = max((offered for known_slot, offered in side.reports if known_slot <= decided), default=0)
        return max(known - side.sent, unasked)

    def _is_configured(self, slot: int) -> bool:
        nominal = slot
        while (nominal - self._access.sr_offset_slots) % self._access.configured_period_slots:
            nominal -= 1
        return not any(self._frame.symbols("up", earlier) for earlier in range(nominal, slot))

    # --- data ---

    def _visible(self, side: Side, slot: int) -> list[Item]:
        """Packets that came early enough for this slot."""
        frozen = self._access.frozen_slots(side.direction)
        return [item for item in side.waiting if self._frame.slot_of(item.offered_s) + frozen < slot]

    def _transmit(self, direction: Direction, slot: int) -> None:
        """One slot of data: repeats first, then UEs by the ratio of their rate to their average."""
        free = self._blocks
        sides = self._sides[direction].values()
        window = max(self._profile.fairness_window_s / self._frame.slot_s * self._share(direction), 1.0)
        if not any(side.waiting or side.repeats for side in sides):
            for side in sides:
                side.average *= 1 - 1 / window
            return
        for side in sides:
            for block in [block for block in side.repeats if block.due_slot <= slot and block.resource_blocks <= free]:
                free -= block.resource_blocks
                side.repeats.remove(block)
                self._attempt(side, block, slot)
        block_bytes = {side.station: self._block_bytes(side, slot) for side in sides}
        wants = {side.station: self._wanted(side, slot) for side in sides}
        sent = dict.fromkeys(block_bytes, 0)
        claimants = [side for side in sides if wants[side.station] > 0 and block_bytes[side.station] > 0]
        claimants.sort(key=lambda side: -block_bytes[side.station] / max(side.average, 1e-9))
        for side in claimants:
            count = min(math.ceil(wants[side.station] / block_bytes[side.station] - 1e-9), free)
            free -= count
            sent[side.station] = self._send(side, slot, count, int(count * block_bytes[side.station]))
        for side in sides:
            side.average += (sent[side.station] - side.average) / window

    def _share(self, direction: Direction) -> float:
        period = self._frame.period
        return sum(self._frame.symbols(direction, slot) > 0 for slot in range(period)) / period

    def _block_bytes(self, side: Side, slot: int) -> float:
        """Bytes of one resource block."""
        elements = SUBCARRIERS * self._frame.symbols(side.direction, slot) * (1 - self._profile.overhead(side.direction))
        return elements * side.trace.at(self._frame.start_s(slot)) / 8

    def _wanted(self, side: Side, slot: int) -> int:
        if side.direction == "up":
            return self._granted(side, slot)
        if side.barred_until_slot and slot <= side.barred_until_slot + self._access.gnb_preparation_slots:
            return 0
        return sum(item.unsent for item in self._visible(side, slot))

    def _send(self, side: Side, slot: int, resource_blocks: int, size: int) -> int:
        """A new transport block; returns the bytes in it."""
        pieces: list[tuple[Item, int]] = []
        for item in self._visible(side, slot):
            taken = min(item.unsent, size)
            if taken:
                item.unsent -= taken
                size -= taken
                pieces.append((item, taken))
        side.waiting = [item for item in side.waiting if item.unsent]
        sent = sum(taken for _, taken in pieces)
        side.sent += sent
        side.request_known_slot = None
        side.barred_until_slot = 0
        reported = side.sent + sum(item.unsent for item in self._visible(side, slot))
        side.reports = [*side.reports[-8:], (slot + 1 + self._access.gnb_processing_slots, reported)]
        if pieces:
            self._attempt(side, Block(pieces, side.blocks, resource_blocks, slot), slot)
            side.blocks += 1
        return sent

    def _attempt(self, side: Side, block: Block, slot: int) -> None:
        harq = self._access.harq
        if not block.attempts:  # only new data starts the inactivity timer, TS 38.321 clause 5.7
            self._last_active_s[side.station] = max(self._last_active_s[side.station], self._frame.start_s(slot + 1))
        failed = self._fails(side.station, side.direction, block.number, block.attempts)
        block.attempts += 1
        decoded_s = self._access.received_s(side.direction, slot)
        if not failed:
            self._receive(side, block.pieces, decoded_s, lost=False)
        elif block.attempts < harq.max_transmissions:
            block.due_slot = self._repeat_slot(side.direction, slot)
            side.repeats.append(block)
        else:
            self._receive(side, [piece for piece in block.pieces if piece[0].lossy], decoded_s, lost=True)
            kept = [piece for piece in block.pieces if not piece[0].lossy]
            if kept:
                due_slot = slot + max(math.ceil(harq.rlc_recovery_s / self._frame.slot_s), 1)
                side.repeats.append(Block(kept, block.number, block.resource_blocks, due_slot))

    def _repeat_slot(self, direction: Direction, slot: int) -> int:
        """When a block that failed in a slot is sent again."""
        if direction == "up":
            again = slot + 1
            while not (self._frame.symbols("up", again) and self._decided_slot(again) >= slot + 1 + self._access.gnb_processing_slots):
                again += 1
            return again
        feedback = slot + self._access.k1_slots
        while not self._has_control(feedback):
            feedback += 1
        again = feedback + 1 + self._access.gnb_processing_slots
        while not self._frame.symbols("down", again):
            again += 1
        return again

    def _receive(self, side: Side, pieces: Sequence[tuple[Item, int]], at_s: float, *, lost: bool) -> None:
        """Pieces of packets are there, or given up; hand on what is whole, each flow in order."""
        for item, size in pieces:
            item.unreceived -= size
            item.lost = item.lost or lost
            item.done = item.unreceived == 0
        for queue in side.in_order.values():
            while queue and queue[0].done:
                item = queue.pop(0)
                delivery = Delivery(at_s=at_s, station=side.station, direction=side.direction, packet=item.packet, lost=item.lost)
                self._deliveries.append((at_s, item.number, delivery))
