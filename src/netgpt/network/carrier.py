"""One direction of a cell: its slots, who may send in them, and what they carry.

Time is cut into plans. While a small packet is about, a plan is one slot, divided in whole resource blocks. While
all UEs that may send have much to send, a plan is many slots: shares, transport blocks and their repeats are
worked out for all of them at once, and it ends early when somebody else comes. So the work depends on what happens,
not on how much time passes or how many bytes flow. What a plan says depends on offers and their times alone,
never on when `run` was called.

Simplified: a repeat takes its resource blocks when it is due, in a long plan from the UE's own share and at
once; the radio channel is flat over frequency; there is no bound on UEs in one slot (PDCCH).
"""

from __future__ import annotations

import heapq
import math
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from netgpt.network.access import Access
from netgpt.network.bearer import Queued
from netgpt.network.frame import SUBCARRIERS
from netgpt.network.leg import NEVER, Leg
from netgpt.network.medium import Direction
from netgpt.network.schedulers import Claim, Scheduler

LONGEST_PLAN = 512  # opportunities
LEAST_WANTED_SLOTS = 2.0  # of a UE in a long plan, in slots to itself: else its data is small
SHORT_PART, LONG_PART = 16, 2  # a plan of several UEs lasts at most this part of the fairness window, while shares move or stand
STANDING = 0.02  # shares that differ by less than this over the two lengths stand

Sink = Callable[[Leg, Queued], None]


@dataclass(slots=True)
class Run:
    """What one UE sends in a long plan; N transport blocks."""

    leg: Leg
    blocks: float  # resource blocks of each slot
    place_N: NDArray[np.int64]  # opportunity of the plan in which each block is sent first
    taken_N: NDArray[np.int64]  # opportunities of the plan used up by it and those before, repeats included
    bytes_N: NDArray[np.int64]  # cumulative
    received_N: NDArray[np.float64]  # s
    lost_N: NDArray[np.bool_]  # at every attempt of HARQ: what is not acknowledged is lost
    given_up_N: NDArray[np.float64]  # s, when HARQ gave up
    sent_blocks: int = 0
    sent_bytes: int = 0


@dataclass(slots=True)
class Plan:
    """The opportunities `first` .. `first + count - 1`."""

    first: int
    count: int
    runs: list[Run]
    done: int = 0


class Carrier:
    """One direction of a cell.

    Args:
        blocks: resource blocks.
        overhead: share of the resource elements of a data slot that carry no data.
        window_s: over which the scheduler averages throughput.
        sink: told of every packet that is all sent, with `done_s` and `lost` set.
    """

    def __init__(
        self, direction: Direction, access: Access, *, blocks: int, overhead: float, scheduler: Scheduler, window_s: float, sink: Sink
    ) -> None:
        self.direction: Direction = direction
        self._access = access
        self._frame = access.frame
        self._slots = access.frame.opportunities[direction]
        self._blocks = blocks
        self._received_slots = round(access.received_s(direction, 0) / access.frame.slot_s)  # from the slot's start
        self._bytes_per_symbol = SUBCARRIERS * (1 - overhead) / 8  # of one resource block, at 1 bit/s/Hz
        self._scheduler = scheduler
        self._window = max(window_s / access.frame.slot_s * self._slots.share, 1.0)  # in opportunities
        self._sink = sink
        self._active: dict[Leg, None] = {}  # those with data, in the order in which they got it
        self._ran_slot = -1
        self._next = 0  # opportunity
        self._plan: Plan | None = None
        self._repeats: list[tuple[int, float]] = []  # (slot in which it is due, resource blocks)
        self._used_blocks = 0.0  # resource blocks, counted for each opportunity

    # --- what the cell asks ---

    def run(self, last_slot: int) -> None:
        """Carry data in all slots up to that one."""
        if last_slot <= self._ran_slot:
            return
        self._ran_slot = last_slot
        while True:
            if self._plan is None:
                number = self._next_number()
                if number is None or self._slots.slot(number) > last_slot:
                    self._next = max(self._next, self._slots.number(last_slot + 1))
                    return
                self._plan = self._begin(number)
                if self._plan is None:  # it was one slot, and is done
                    continue
            plan = self._plan
            self._serve(plan, min(self._slots.number(last_slot + 1) - plan.first, plan.count))
            if plan.done < plan.count:
                return
            self._finish(plan)

    def wake(self, leg: Leg, ready_slot: int) -> None:
        """A UE that had nothing to send has data, and may send it from that slot on. All slots up to now have run."""
        leg.ready_slot = max(ready_slot, leg.blocked_slot, self._slots.slot(self._next_free()))
        self._active[leg] = None
        self._cut(leg.ready_slot)

    def added(self, leg: Leg, *, urgent: bool) -> None:
        """A UE that has data has more; `urgent` if it goes before all that it had."""
        if self._run_of(leg) is not None:
            leg.report(self._slots.slot(self._next_free()))
        if urgent:
            self._cut(0)

    def hold(self, leg: Leg, until_slot: int) -> None:
        """A UE can send nothing before that slot."""
        leg.blocked_slot = max(leg.blocked_slot, until_slot)
        if leg in self._active:
            if self._run_of(leg) is not None:
                self._cut(0)
            leg.ready_slot = max(leg.ready_slot, leg.blocked_slot)

    def remove(self, leg: Leg) -> None:
        """A UE leaves."""
        if leg in self._active:
            if self._run_of(leg) is not None:
                self._cut(0)
            del self._active[leg]

    def next_s(self) -> float:
        """A time before which nothing that waits can be delivered; inf if nothing waits."""
        if self._plan is not None:
            return min(self._next_of(self._plan, run) for run in self._plan.runs)
        number = self._next_number()
        return math.inf if number is None else self._access.received_s(self.direction, self._slots.slot(number))

    def rate_bps(self, leg: Leg, now_s: float) -> float:
        """What the UE gets now, or would get with an equal share if it sends nothing."""
        run = self._run_of(leg)
        blocks = run.blocks if run is not None else self._blocks / (len(self._active) + (leg not in self._active))
        bytes_per_slot = blocks * self._slots.mean_symbols * self._bytes_per_symbol * leg.trace.at(now_s)
        return 8 * bytes_per_slot * self._slots.share / self._frame.slot_s

    def utilisation(self, last_slot: int) -> float:
        """The share of the resource blocks that were used in all slots up to that one, which have run."""
        return min(self._used_blocks / (self._blocks * max(self._slots.number(last_slot + 1), 1)), 1.0)

    def start_s(self, leg: Leg) -> float:
        """When the next transmission of a UE that has data starts; inf in an endless outage."""
        return math.inf if leg.ready_slot >= NEVER else self._frame.start_s(max(leg.ready_slot, self._slots.slot(self._next_free())))

    # --- planning ---

    def _next_free(self) -> int:
        """The first opportunity that has not run."""
        return self._next if self._plan is None else self._plan.first + self._plan.done

    def _next_number(self) -> int | None:
        """The next opportunity in which anybody may send."""
        ready_slot = min((leg.ready_slot for leg in self._active), default=NEVER)
        return None if ready_slot >= NEVER else max(self._slots.number(ready_slot), self._next)

    def _begin(self, number: int) -> Plan | None:
        """Plan from an opportunity on; None if that was one slot, which is then done."""
        slot = self._slots.slot(number)
        self._next = number
        chosen = [(leg, leg.trace.at(self._frame.start_s(slot))) for leg in self._active if leg.ready_slot <= slot]
        for leg, efficiency in chosen:
            if efficiency <= 0:
                leg.ready_slot = self._changes_slot(leg, slot)  # an outage: look again when the trace changes
        chosen = [(leg, efficiency) for leg, efficiency in chosen if efficiency > 0]
        if not chosen:
            return None
        claims = [self._claim(leg, efficiency, number, slot) for leg, efficiency in chosen]
        count, shares = self._divide(self._horizon(number, [leg for leg, _ in chosen]), claims)
        if count < 2:
            self._send_slot(number, slot, chosen, claims)
            self._next = number + 1
            return None
        owed = sum(blocks for due_slot, blocks in self._repeats if due_slot >= slot)
        self._repeats.clear()
        blocks = max(self._blocks - owed / count, 0.0)  # what repeats of earlier plans take, spread
        grid = self._slots.range(number, count)
        runs = [self._run(leg, grid, share * blocks, efficiency) for (leg, efficiency), share in zip(chosen, shares, strict=True) if share]
        return Plan(number, min([count, *(self._ends(run, slot, count) for run in runs)]), runs)

    def _divide(self, horizon: int, claims: list[Claim]) -> tuple[int, list[float]]:
        """(opportunities for which one division of the resource blocks holds, the shares); (1, []) if it must be made slot by slot."""
        if any(claim.wanted_slots < LEAST_WANTED_SLOTS for claim in claims):
            return 1, []
        if len(claims) == 1:
            return min(horizon, int(claims[0].wanted_slots)), [1.0]
        short, long = (min(horizon, int(self._window / part)) for part in (SHORT_PART, LONG_PART))
        if short < 2:
            return 1, []
        endless = [claim._replace(wanted_slots=math.inf) for claim in claims]  # who has little to send should not get it sent slowly
        shares = self._scheduler(endless, short, self._window)
        later = self._scheduler(endless, long, self._window) if long > short else shares
        if max(abs(one - other) for one, other in zip(shares, later, strict=True)) < STANDING:
            short, shares = long, later
        lasts = min((claim.wanted_slots / share for claim, share in zip(claims, shares, strict=True) if share > 0), default=0.0)
        return min(short, int(lasts)), shares

    def _horizon(self, number: int, legs: list[Leg]) -> int:
        """Opportunities from this one on in which nobody else comes and no radio channel changes."""
        slot = self._slots.slot(number)
        ends = [leg.ready_slot for leg in self._active if slot < leg.ready_slot < NEVER]
        ends += [self._changes_slot(leg, slot) for leg in legs if leg.trace.step_s < math.inf]
        return min([LONGEST_PLAN, *(self._slots.number(end) - number for end in ends)])

    @staticmethod
    def _ends(run: Run, slot: int, count: int) -> int:
        """Opportunities of the plan after which a UE has sent all that it may."""
        block = int(run.bytes_N.searchsorted(run.leg.grantable_bytes(slot)))
        return int(run.place_N[block]) + 1 if block < len(run.place_N) else count

    def _claim(self, leg: Leg, efficiency: float, number: int, slot: int) -> Claim:
        slot_bytes = self._blocks * self._slots.mean_symbols * self._bytes_per_symbol * efficiency
        head = leg.queue.head()
        assert head is not None  # it is active
        return Claim(
            slot_bytes=slot_bytes,
            wanted_slots=leg.grantable_bytes(slot) / slot_bytes,
            average_bytes=leg.average_bytes(number, self._window),
            priority=head.flow.priority,
            delay_budget_s=head.flow.delay_budget_s,
            error_rate=head.flow.error_rate,
            waited_s=max(self._frame.start_s(slot) - head.offered_s, 0.0),
        )

    def _changes_slot(self, leg: Leg, slot: int) -> int:
        """The first slot after this one in which the UE's spectral efficiency may differ."""
        step_s = leg.trace.step_s
        if step_s == math.inf:
            return NEVER
        changes_s = (int(self._frame.start_s(slot) / step_s + 1e-6) + 1) * step_s
        return max(math.ceil(changes_s / self._frame.slot_s - 1e-6), slot + 1)

    # --- one slot ---

    def _send_slot(self, number: int, slot: int, chosen: list[tuple[Leg, float]], claims: list[Claim]) -> None:
        """Divide one slot in whole resource blocks and send."""
        shares = self._scheduler(claims, 1.0, self._window)
        free = self._blocks - self._due_blocks(slot)
        symbol_bytes = self._slots.symbols(number) * self._bytes_per_symbol
        wants = [math.ceil(leg.grantable_bytes(slot) / (efficiency * symbol_bytes) - 1e-9) for leg, efficiency in chosen]
        given = [0] * len(chosen)
        # First those that get all they want, then the others by their shares; what rounding leaves over goes round again.
        order = sorted(range(len(chosen)), key=lambda n: -shares[n] / max(claims[n].wanted_slots, 1e-12))
        for n in order:
            given[n] = min(wants[n], math.ceil(shares[n] * self._blocks - 1e-9), free)
            free -= given[n]
        for n in order:
            more = min(wants[n] - given[n], free)
            given[n] += more
            free -= more
        for (leg, efficiency), blocks in zip(chosen, given, strict=True):
            size = min(int(blocks * efficiency * symbol_bytes), leg.waiting_bytes)
            if size > 0:
                self._send_block(leg, number, slot, size, blocks)

    def _due_blocks(self, slot: int) -> int:
        """Resource blocks that repeats take in a slot; those that do not fit wait for the next."""
        due = 0.0
        while self._repeats and self._repeats[0][0] <= slot:
            due_slot, blocks = heapq.heappop(self._repeats)
            due += blocks if due_slot == slot else 0.0  # earlier ones went while nobody else was there
        if due > self._blocks:
            heapq.heappush(self._repeats, (self._slots.next(slot + 1), due - self._blocks))
        return min(math.ceil(due), self._blocks)

    def _send_block(self, leg: Leg, number: int, slot: int, size: int, blocks: int) -> None:
        """One transport block of one UE."""
        received_s, given_up_s, lost, repeats = self._outcome(leg.draws.at(leg.block), slot)
        for due_slot in repeats:
            heapq.heappush(self._repeats, (due_slot, float(blocks)))
        leg.block += 1
        leg.sent_bytes += size
        self._used_blocks += blocks * (1 + len(repeats))
        leg.average_in(number, 1, size, self._window)
        flow_bytes: dict[str, int] = {}
        for item, taken in leg.queue.take(size):
            item.received(given_up_s if lost and item.lossy else received_s, lost and item.lossy)
            flow_bytes[item.flow.name] = flow_bytes.get(item.flow.name, 0) + taken
            if not item.left_bytes:
                self._sink(leg, item)
        leg.activity.note(
            self.direction, self._frame.start_s(slot), self._frame.start_s(slot + 1), self._frame.slot_s * (1 + len(repeats)), flow_bytes
        )
        leg.after(slot)
        self._retire(leg)

    def _outcome(self, draw: float, slot: int) -> tuple[float, float, bool, list[int]]:
        """(received at, given up by HARQ at, whether it was, slots of the repeats) of a block first sent in a slot."""
        harq, delays = self._access.harq, self._access.retransmission_slots[self.direction]
        rounds, attempts = harq.outcome(draw)
        repeats: list[int] = []
        given_up_s = 0.0
        for turn in range(rounds + 1):
            for _ in range((harq.max_transmissions if turn < rounds else attempts) - 1):
                slot += delays[slot % len(delays)]
                repeats.append(slot)
            if turn < rounds:
                given_up_s = given_up_s or self._access.received_s(self.direction, slot)
                slot = self._slots.next(slot + max(math.ceil(harq.rlc_recovery_s / self._frame.slot_s), 1))
                repeats.append(slot)
        return self._access.received_s(self.direction, slot), given_up_s, rounds > 0, repeats

    def _retire(self, leg: Leg) -> None:
        if not leg.waiting_bytes:
            del self._active[leg]

    # --- many slots ---

    def _run(self, leg: Leg, grid: tuple[NDArray[np.int64], NDArray[np.int64]], blocks: float, efficiency: float) -> Run:
        """What one UE sends in the opportunities of a plan; `grid` is their slots and symbols, C of them."""
        slots_C, symbols_C = grid
        count = len(slots_C)
        bytes_C = (blocks * efficiency * self._bytes_per_symbol * symbols_C).astype(np.int64)
        draws_C = leg.draws.range(leg.block, count)
        failed = np.flatnonzero(draws_C < self._access.harq.bler).tolist()
        repeats_C = np.zeros(count, dtype=np.int64)
        for block in failed:
            rounds, attempts = self._access.harq.outcome(float(draws_C[block]))
            repeats_C[block] = rounds * self._access.harq.max_transmissions + attempts - 1
        taken_C = np.cumsum(1 + repeats_C)
        place_C = taken_C - 1 - repeats_C
        size = int(place_C.searchsorted(count))  # blocks that begin within the plan
        place_N = place_C[:size]
        bytes_N = np.minimum(np.cumsum(bytes_C[place_N]), leg.grantable_bytes(int(slots_C[0])))
        received_N = np.asarray((slots_C[place_N] + self._received_slots) * self._frame.slot_s, dtype=np.float64)
        lost_N, given_up_N = np.zeros(size, dtype=np.bool_), np.zeros(size)
        for block in failed:
            if block < size:
                received_N[block], given_up_N[block], lost_N[block], _ = self._outcome(float(draws_C[block]), int(slots_C[place_N[block]]))
        return Run(leg, blocks, place_N, taken_C[:size], bytes_N, received_N, lost_N, given_up_N)

    def _serve(self, plan: Plan, count: int) -> None:
        """Carry out the plan's first `count` opportunities, where that has not been done."""
        if count <= plan.done:
            return
        for run in plan.runs:
            self._used_blocks += run.blocks * (count - plan.done)
            blocks = int(run.place_N.searchsorted(count))
            if blocks > run.sent_blocks:
                self._note(plan, run, count, self._send_run(run, int(run.bytes_N[blocks - 1]), blocks))
        plan.done = count

    def _send_run(self, run: Run, upto_bytes: int, upto_block: int) -> dict[str, int]:
        """Send a UE's blocks up to one of them; returns bytes by flow."""
        leg, start = run.leg, run.sent_bytes
        flow_bytes: dict[str, int] = {}
        leg.sent_bytes += upto_bytes - start
        for item, taken in leg.queue.take(upto_bytes - start):
            first = int(run.bytes_N.searchsorted(start, side="right"))
            last = int(run.bytes_N.searchsorted(start + taken))
            pieces = slice(first, last + 1)
            lost = item.lossy and bool(run.lost_N[pieces].any())
            at_N = np.where(run.lost_N[pieces], run.given_up_N[pieces], run.received_N[pieces]) if lost else run.received_N[pieces]
            item.received(float(at_N.max()), lost)
            flow_bytes[item.flow.name] = flow_bytes.get(item.flow.name, 0) + taken
            start += taken
            if not item.left_bytes:
                self._sink(leg, item)
        run.sent_bytes, run.sent_blocks = upto_bytes, upto_block
        return flow_bytes

    def _note(self, plan: Plan, run: Run, count: int, flow_bytes: dict[str, int]) -> None:
        """A UE with a share of the resource blocks is taken to be at work in that share of the slots."""
        start_s = self._frame.start_s(self._slots.slot(plan.first + plan.done))
        end_s = self._frame.start_s(self._slots.slot(plan.first + count - 1) + 1)
        run.leg.activity.note(self.direction, start_s, end_s, self._frame.slot_s * (count - plan.done) * run.blocks / self._blocks, flow_bytes)

    def _finish(self, plan: Plan) -> None:
        """The plan is over, as planned or cut."""
        self._plan = None
        self._next = plan.first + plan.done
        if not plan.done:
            return
        last_slot = self._slots.slot(plan.first + plan.done - 1)
        for run in plan.runs:
            leg = run.leg
            leg.block += run.sent_blocks
            leg.average_in(plan.first, plan.done, run.sent_bytes, self._window)
            owed = int(run.taken_N[run.sent_blocks - 1]) - plan.done if run.sent_blocks else 0
            self._used_blocks += run.blocks * max(owed, 0)
            for later in range(owed):
                heapq.heappush(self._repeats, (self._slots.slot(self._next + later), run.blocks))
            leg.after(last_slot)
            self._retire(leg)

    def _cut(self, slot: int) -> None:
        """End the plan before a slot, or at once if that has run."""
        plan = self._plan
        if plan is not None:
            plan.count = min(plan.count, max(self._slots.number(slot) - plan.first, plan.done))
            if plan.done == plan.count:
                self._finish(plan)

    def _run_of(self, leg: Leg) -> Run | None:
        return next((run for run in self._plan.runs if run.leg is leg), None) if self._plan is not None else None

    def _next_of(self, plan: Plan, run: Run) -> float:
        """When the packet that the UE sends now can be received at the earliest; if that is after the plan, when the plan ends."""
        head = run.leg.queue.head()
        block = int(run.bytes_N.searchsorted(run.sent_bytes + head.left_bytes)) if head is not None else len(run.place_N)
        place = int(run.place_N[block]) if block < len(run.place_N) else plan.count - 1
        return self._access.received_s(self.direction, self._slots.slot(plan.first + min(place, plan.count - 1)))
