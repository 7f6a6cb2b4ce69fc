"""The cells of a scenario as one medium: whichever cell serves a device now carries what it sends and receives.

Who drives it need not know cells. A device is a station; handovers of the scenario happen at their times, within the
call that first tells of a later time, and take along what waits (data forwarding, TS 38.300 clause 9.2.3).
"""

from __future__ import annotations

import math
from collections.abc import Collection, Iterator, Mapping
from dataclasses import dataclass
from functools import cache
from typing import Any

import numpy as np
from numpy.typing import NDArray

from netgpt.core.errors import ScenarioInvalid
from netgpt.network.access import Access, Drx, Rrc
from netgpt.network.activity import Activity
from netgpt.network.background import BackgroundLoad
from netgpt.network.cell import Cell, CellProfile
from netgpt.network.efficiency import HIGHEST, ConstantEfficiency, EfficiencyTrace, SampledEfficiency
from netgpt.network.flow import flow_named, flows_with
from netgpt.network.frame import Frame, numerology_of
from netgpt.network.harq import Harq
from netgpt.network.medium import Backlog, Delivery, Direction, Packet
from netgpt.network.scenario import AttachSpec, CellSpec, Scenario
from netgpt.network.trace import EFFICIENCY, Trace
from netgpt.network.trace_file import load_trace

_LEAST_STEP_S = 0.001  # of a trace whose steps are unequal, when it is sampled


@dataclass(frozen=True, kw_only=True)
class Stay:
    """A device's time in one cell."""

    cell: str
    since_s: float
    until_s: float
    activity: Activity


class Radio:
    """All cells; see `network.medium.Medium`. Stations are the attached devices.

    Args:
        scenario: its cells, who is attached to them, and the handovers.
        seed: of all chance on the air.

    Raises:
        ScenarioInvalid: values of a cell that do not go together, which a scenario from a file never has.
        UsageError: a trace that cannot be read.
    """

    def __init__(self, scenario: Scenario, *, seed: int) -> None:
        self.cells: Mapping[str, Cell] = {spec.id: _cell(spec, seed) for spec in scenario.cells}
        self.handovers = 0  # so far
        self._sites = {spec.id: spec.at for spec in scenario.cells}
        self._cell_of: dict[str, str] = {}
        self._traces: dict[str, dict[Direction, EfficiencyTrace]] = {}
        self._stays: dict[str, list[Stay]] = {}
        self._since_s: dict[str, float] = {}
        self._out_until_s: dict[str, float] = {}
        self._now_s = 0.0
        self._refused: list[Delivery] = []  # what did not fit into the queue of the next cell
        load = cache(load_trace)
        sampled = cache(_sampled)
        for attach in scenario.attachments:
            up, down = (
                sampled(load(name), attach.member) if name else ConstantEfficiency(value)
                for name, value in ((attach.up_trace, attach.efficiency_up), (attach.down_trace, attach.efficiency_down))
            )
            self._traces[attach.node] = {"up": up, "down": down}
            self._join(0.0, attach.node, attach.cell)
        self._changes = sorted(_changes(scenario.attachments))
        self._changed = 0  # of these

    # --- who is where ---

    @property
    def stations(self) -> Collection[str]:
        return self._cell_of.keys()

    def cell_of(self, device: str) -> str:
        """The cell that serves it now.

        Raises:
            KeyError: unknown device.
        """
        return self._cell_of[device]

    def site(self, device: str) -> str:
        """The edge node at whose site the serving cell stands; a handover changes it.

        Raises:
            KeyError: unknown device.
        """
        return self._sites[self._cell_of[device]]

    def stays(self, now_s: float, device: str) -> list[Stay]:
        """Where a device's radio has been at work, the present cell last: `network.energy.spent` makes joules of each.

        Raises:
            KeyError: unknown device.
        """
        self._pass_to(now_s)
        cell = self._cell_of[device]
        return [*self._stays.get(device, ()), self._stay(now_s, device, cell)]

    # --- Medium ---

    def offer(self, now_s: float, station: str, direction: Direction, packet: Packet) -> bool:
        """See `Medium.offer`.

        Raises:
            KeyError: unknown device.
            UsageError: unknown flow, or a size below 0.
        """
        now_s = self._pass_to(now_s)
        return self.cells[self._cell_of[station]].offer(now_s, station, direction, packet)

    def next_s(self) -> float:
        change_s = self._changes[self._changed][0] if self._changed < len(self._changes) else math.inf
        return self._now_s if self._refused else min([change_s, *(cell.next_s() for cell in self.cells.values())])

    def advance(self, now_s: float) -> list[Delivery]:
        now_s = self._pass_to(now_s)
        found = [delivery for cell in self.cells.values() for delivery in cell.advance(now_s)]
        found += self._refused
        self._refused = []
        if len(self.cells) > 1:
            found.sort(key=lambda delivery: delivery.at_s)
        return found

    def backlog(self, station: str, direction: Direction) -> Backlog:
        return self.cells[self._cell_of[station]].backlog(station, direction)

    def rate_bps(self, device: str, direction: Direction) -> float:
        """What the device gets now, or would get if it sent something; see `Cell.rate_bps`."""
        return self.cells[self._cell_of[device]].rate_bps(device, direction)

    # --- what befalls it ---

    def outage(self, now_s: float, cell: str, for_s: float) -> None:
        """The cell serves nobody for that time; what waits in it stays, and goes on when it is over.

        Raises:
            KeyError: unknown cell.
        """
        now_s = self._pass_to(now_s)
        self._out_until_s[cell] = max(now_s + for_s, self._out_until_s.get(cell, 0.0))
        for station in self.cells[cell].stations:
            self.cells[cell].interrupt(now_s, station, for_s)

    def drop(self, now_s: float, device: str) -> None:
        """What waits for a device or in it is lost: it was switched off, say.

        Raises:
            KeyError: unknown device.
        """
        now_s = self._pass_to(now_s)
        cell = self._cell_of[device]
        self._leave(now_s, device)
        self._join(now_s, device, cell)

    # --- inside ---

    def _pass_to(self, now_s: float) -> float:
        """Hand over who is due; the time that it is now, never before one that was told already."""
        while self._changed < len(self._changes) and self._changes[self._changed][0] <= now_s:
            at_s, device, to = self._changes[self._changed]
            self._changed += 1
            self._hand_over(max(at_s, self._now_s), device, to)
        self._now_s = max(self._now_s, now_s)
        return self._now_s

    def _hand_over(self, now_s: float, device: str, to: str) -> None:
        """Nothing overtakes: the device is heard in the new cell when the old one has delivered all that it had sent."""
        old, new = self.cells[self._cell_of[device]], self.cells[to]
        waiting = self._leave(now_s, device)
        ends_s = old.last_delivery_s(device)
        self._join(now_s, device, to)
        new.interrupt(now_s, device, max(new.profile.access.handover_interruption_s, ends_s - now_s))
        for direction, packet in waiting:
            if not new.offer(now_s, device, direction, packet):  # its queue is shorter
                self._refused.append(Delivery(at_s=now_s, station=device, direction=direction, packet=packet, lost=True))
        self.handovers += 1

    def _join(self, now_s: float, device: str, cell: str) -> None:
        traces = self._traces[device]
        self.cells[cell].attach(device, up=traces["up"], down=traces["down"], now_s=now_s)
        self._cell_of[device] = cell
        self._since_s[device] = now_s
        out_s = self._out_until_s.get(cell, 0.0) - now_s
        if out_s > 0:
            self.cells[cell].interrupt(now_s, device, out_s)

    def _leave(self, now_s: float, device: str) -> list[tuple[Direction, Packet]]:
        cell = self._cell_of[device]
        self._stays.setdefault(device, []).append(self._stay(now_s, device, cell))
        return self.cells[cell].detach(now_s, device)

    def _stay(self, now_s: float, device: str, cell: str) -> Stay:
        return Stay(cell=cell, since_s=self._since_s[device], until_s=now_s, activity=self.cells[cell].activity(now_s, device))


def cell_profile(spec: CellSpec) -> CellProfile:
    """The cell that a scenario describes; what it leaves out is the access model's default.

    Raises:
        ScenarioInvalid: values that do not go together.
    """
    return CellProfile(
        id=spec.id,
        bandwidth_mhz=spec.bandwidth_hz / 1e6,
        access=_access(spec),
        scheduler=spec.scheduler,
        queue_s=math.inf if spec.queue_s is None else spec.queue_s,
        background=BackgroundLoad(up=spec.background_up, down=spec.background_down),
    )


def _cell(spec: CellSpec, seed: int) -> Cell:
    flows = flows_with(spec.flows)
    return Cell(cell_profile(spec), seed=seed, flow_of=lambda name: flows.get(name) or flow_named(name))


def _access(spec: CellSpec) -> Access:
    frame = Frame(numerology=numerology_of(spec.subcarrier_spacing_hz), pattern=spec.tdd)
    configured = spec.configured_grant_s is not None
    return Access(
        frame=frame,
        grant="configured" if configured else "dynamic",
        harq=Harq(**_given(bler=spec.harq_bler, max_transmissions=spec.harq_attempts, rlc_recovery_s=spec.rlc_recovery_s)),
        drx=_drx(spec),
        rrc=_rrc(spec),
        **_given(
            sr_period_slots=_slots(spec.sr_period_s, frame),
            configured_period_slots=_slots(spec.configured_grant_s, frame),
            configured_bytes=spec.configured_grant_bytes,
            k1_slots=spec.k1_slots,
            k2_slots=spec.k2_slots,
            handover_interruption_s=spec.handover_interruption_s,
        ),
    )


def _given(**values: float | None) -> dict[str, Any]:
    """Those that a scenario says."""
    return {name: value for name, value in values.items() if value is not None}


def _slots(lasts_s: float | None, frame: Frame) -> int | None:
    return None if lasts_s is None else round(lasts_s / frame.slot_s)


def _drx(spec: CellSpec) -> Drx | None:
    if spec.drx_cycle_s is None:
        return None
    on_s = min(Drx.on_duration_s, spec.drx_cycle_s) if spec.drx_on_s is None else spec.drx_on_s
    return Drx(cycle_s=spec.drx_cycle_s, on_duration_s=on_s, **_given(inactivity_s=spec.drx_inactivity_s))


def _rrc(spec: CellSpec) -> Rrc:
    inactive_s = Rrc.inactive_after_s if spec.rrc_inactivity_s is None else spec.rrc_inactivity_s
    return Rrc(inactive_after_s=inactive_s, idle_after_s=max(Rrc.idle_after_s, inactive_s), **_given(resume_s=spec.rrc_resume_s))


def _changes(attachments: Collection[AttachSpec]) -> Iterator[tuple[float, str, str]]:
    for attach in attachments:
        for change in attach.handovers:
            yield change.at_s, attach.node, change.to


def _sampled(trace: Trace, member: int) -> SampledEfficiency:
    """One UE's series: of a trace for several, the members of a group take theirs in turn.

    Raises:
        ScenarioInvalid: the trace has rates.
    """
    if trace.unit != EFFICIENCY:
        raise ScenarioInvalid(f"trace {trace.name!r} has rates, a device in a cell wants spectral efficiencies", hint="use it in a [[link]]")
    names = list(trace.series)
    name = names[member % len(names)]
    times = np.append(trace.series[name].times_s, trace.period_s)
    step_s = max(float(np.diff(times).min()), _LEAST_STEP_S)
    count = max(round(trace.period_s / step_s), 1)
    return SampledEfficiency(_sent(trace.at(np.arange(count) * step_s + 1e-9, name), trace), step_s)


def _sent(decoded: NDArray[np.float64], trace: Trace) -> NDArray[np.float64]:
    """What is sent, of what is decoded at the first attempt: a generated trace counts lost blocks as nothing, and a cell loses them itself."""
    bler = trace.origin.parameters.get("bler_target", 0.0)
    if not isinstance(bler, float) or not 0 <= bler < 1:
        return decoded
    return np.maximum(decoded, np.minimum(decoded / (1 - bler), HIGHEST))
