"""The access states of a UE: when may a packet be sent, given what went before? Pure functions of parameters.

A small uplink packet waits for a scheduling request, a grant and its slot; a downlink packet perhaps for a UE that
sleeps; either for a resumed connection. Slots are whole numbers counted from time 0 (`network.frame`).
"""

from __future__ import annotations

import math
from dataclasses import dataclass, field, fields
from functools import cached_property
from typing import Literal

from netgpt.core.errors import ScenarioInvalid
from netgpt.core.spelling import did_you_mean
from netgpt.network.frame import Frame
from netgpt.network.harq import Harq
from netgpt.network.medium import Direction

GRANTS = ("dynamic", "configured")
# TS 38.331 SchedulingRequestResourceConfig: sl1 .. sl640. Periods shorter than a slot are not modelled.
SR_PERIODS = (1, 2, 4, 5, 8, 10, 16, 20, 40, 80, 160, 320, 640)


@dataclass(frozen=True, kw_only=True)
class Drx:
    """Discontinuous reception in connected mode, long cycle only: TS 38.321 clause 5.7, values of TS 38.331 DRX-Config."""

    on_duration_s: float = 0.010
    inactivity_s: float = 0.100  # after the last new transmission the UE listens this long
    cycle_s: float = 0.160

    def __post_init__(self) -> None:
        if not 0 < self.on_duration_s <= self.cycle_s < math.inf or self.inactivity_s < 0:
            raise ScenarioInvalid(
                f"DRX listens {self.on_duration_s} s of {self.cycle_s} s, {self.inactivity_s} s after traffic",
                hint="the on duration lies between 0 and the cycle",
            )

    def awake_from_s(self, now_s: float, last_active_s: float) -> float:
        """When a UE next listens to the PDCCH: `now_s` if it does."""
        if now_s - last_active_s <= self.inactivity_s:
            return now_s
        into_cycle_s = now_s % self.cycle_s
        return now_s if into_cycle_s < self.on_duration_s else now_s + self.cycle_s - into_cycle_s


@dataclass(frozen=True, kw_only=True)
class Rrc:
    """Connected, inactive, idle: TS 38.331 clause 4.2.1. The timers are the operator's; the delays include random access."""

    inactive_after_s: float = 10.0  # assumption: what public networks use is about 10 s
    idle_after_s: float = 600.0  # assumption
    resume_s: float = 0.030  # from inactive: random access 12 ms and RRC processing 6-10 ms (TS 38.331 clause 12), network 8 ms (assumption)
    setup_s: float = 0.120  # from idle: as resume, and signalling to the core network (assumption)
    paging_cycle_s: float = 0.320  # TS 38.304 clause 7.1, T = 32 frames: downlink traffic waits for it first

    def __post_init__(self) -> None:
        if not 0 <= self.inactive_after_s <= self.idle_after_s or min(self.resume_s, self.setup_s) < 0 or self.paging_cycle_s <= 0:
            raise ScenarioInvalid(
                f"RRC is inactive after {self.inactive_after_s} s, idle after {self.idle_after_s} s",
                hint="idle comes after inactive; delays are 0 or more; the paging cycle is above 0",
            )

    def connected_from_s(self, direction: Direction, now_s: float, last_active_s: float) -> float:
        """When a UE that has traffic now is connected: `now_s` if it is."""
        silent_s = now_s - last_active_s
        if silent_s <= self.inactive_after_s:
            return now_s
        paged_s = now_s if direction == "up" else math.ceil(now_s / self.paging_cycle_s) * self.paging_cycle_s
        return paged_s + (self.resume_s if silent_s <= self.idle_after_s else self.setup_s)


@dataclass(frozen=True, kw_only=True)
class Access:
    """How UEs reach a cell. The defaults are FR1 at 30 kHz with DDDSU, the usual mid-band TDD network.

    Raises:
        ScenarioInvalid: a value out of range; names it.
    """

    frame: Frame = field(default_factory=Frame)
    grant: Literal["dynamic", "configured"] = "dynamic"
    sr_period_slots: int = 10  # TS 38.331 SchedulingRequestResourceConfig
    sr_offset_slots: int = 4  # the first U slot of DDDSU
    first_grant_bytes: int = 128  # what a grant after a scheduling request holds: TS 38.213 leaves it to the gNB, assumption
    configured_period_slots: int = 5  # TS 38.331 ConfiguredGrantConfig, type 1
    configured_bytes: int = 128  # of each configured grant, assumption
    k1_slots: int = 2  # PDSCH to HARQ-ACK, TS 38.213 clause 9.2.3; at least N1 = 10-13 symbols at 30 kHz, TS 38.214 table 5.3-1
    k2_slots: int = 2  # grant to PUSCH, TS 38.214 clause 6.1.2.1; at least N2 = 12 symbols at 30 kHz, TS 38.214 table 6.4-1
    ue_preparation_slots: int = 1  # data that a PUSCH carries is there this long before it: N2, TS 38.214 clause 6.4
    ue_processing_slots: int = 1  # PDSCH received to data delivered: N1, TS 38.214 clause 5.3
    gnb_preparation_slots: int = 1  # data that a PDSCH carries is there this long before it: assumption, as the UE's
    gnb_processing_slots: int = 2  # PUSCH or PUCCH received to decoded, delivered and answered: assumption
    header_bytes: int = 8  # SDAP 1 (TS 37.324), PDCP 3 (TS 38.323 clause 6.2.2), RLC 2 (TS 38.322 clause 6.2.2), MAC 2 (TS 38.321 clause 6.1.2)
    harq: Harq = field(default_factory=Harq)
    drx: Drx | None = None  # None: the UE listens to every slot
    rrc: Rrc = field(default_factory=Rrc)
    handover_interruption_s: float = 0.050  # assumption; TS 38.133 clause 6.1.1 bounds the radio part of it

    def __post_init__(self) -> None:
        if self.grant not in GRANTS:
            raise ScenarioInvalid(f"unknown grant {self.grant!r}", hint=did_you_mean(self.grant, GRANTS))
        if self.sr_period_slots not in SR_PERIODS:
            raise ScenarioInvalid(f"no scheduling request period of {self.sr_period_slots} slots", hint="known: " + ", ".join(map(str, SR_PERIODS)))
        for one in fields(self):
            least = {"first_grant_bytes": 1, "configured_bytes": 1, "configured_period_slots": 1}.get(one.name, 0)
            value = getattr(self, one.name)
            if isinstance(value, int | float) and not least <= value < math.inf:
                raise ScenarioInvalid(f"access parameter {one.name!r} is {value!r}", hint=f"give a number of at least {least}")

    def frozen_slots(self, direction: Direction) -> int:
        """How many slots before its slot a transmission's content is fixed."""
        return self.ue_preparation_slots if direction == "up" else self.gnb_preparation_slots

    def received_s(self, direction: Direction, slot: int) -> float:
        """When data of a slot that was decoded at the first attempt is delivered."""
        processing = self.gnb_processing_slots if direction == "up" else self.ue_processing_slots
        return self.frame.start_s(slot + 1 + processing)

    def granted_slot(self, known_slot: int) -> int:
        """The first slot for uplink data that a gNB can grant from `known_slot` on."""
        down, up = self.frame.opportunities["down"], self.frame.opportunities["up"]
        return up.next(down.next(known_slot) + self.k2_slots)

    def reported_slot(self, slot: int) -> int:
        """The first uplink slot that can be granted because of a request, report or failure heard in `slot`."""
        return self.granted_slot(slot + 1 + self.gnb_processing_slots)

    def requested_slot(self, slot: int) -> int:
        """The first slot that is granted to a UE whose scheduling request waits for an occasion from `slot` on."""
        occasion = slot + (self.sr_offset_slots - slot) % self.sr_period_slots
        return self.reported_slot(self.frame.up_control.next(occasion))

    def configured_slot(self, slot: int) -> int:
        """The first slot of a configured grant from `slot` on."""
        up = self.frame.opportunities["up"]
        nominal = slot - (slot - self.sr_offset_slots) % self.configured_period_slots  # the last one: if it has no uplink, the next uplink slot is it
        last = up.next(nominal)
        return last if last >= slot else up.next(nominal + self.configured_period_slots)

    @cached_property
    def retransmission_slots(self) -> dict[Direction, tuple[int, ...]]:
        """Slots from a failed transmission to the next attempt, by direction and place in the pattern (0 where no data goes)."""
        period = self.frame.period
        return {
            "up": tuple(self.reported_slot(slot) - slot if self.frame.symbols("up", slot) else 0 for slot in range(period)),
            "down": tuple(self._answered_slot(slot) - slot if self.frame.symbols("down", slot) else 0 for slot in range(period)),
        }

    def _answered_slot(self, slot: int) -> int:
        """The first downlink slot after the HARQ-ACK of a PDSCH has been heard."""
        feedback = self.frame.up_control.next(slot + self.k1_slots)
        return self.frame.opportunities["down"].next(feedback + 1 + self.gnb_processing_slots)
