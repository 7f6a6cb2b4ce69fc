"""What a simulated run has used: the cells' resource blocks, the energy of radios and of declared machines. Pure in what it is given."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from netgpt.network.cell import DIRECTIONS
from netgpt.network.energy import spent
from netgpt.network.radio import Radio
from netgpt.network.roofline import Declared


@dataclass(kw_only=True)
class Worked:
    """How long a node was up, and its machine at work."""

    up_s: float = 0.0
    busy_s: float = 0.0


def cell_figures(radio: Radio, now_s: float) -> dict[str, Any]:
    """Figures of the report, by cell and direction or by device."""
    cells = sorted(radio.cells.items())
    return {
        "cell_served_bytes": {f"{name} {way}": cell.served_bytes(way) for name, cell in cells for way in DIRECTIONS},
        "cell_utilisation": {f"{name} {way}": round(cell.utilisation(now_s, way), 4) for name, cell in cells for way in DIRECTIONS},
        "handovers": radio.handovers,
        "radio_joules": {device: round(radio_joules(radio, now_s, device), 3) for device in sorted(radio.stations)},
    }


def radio_joules(radio: Radio, now_s: float, device: str) -> float:
    """Of a device's modem, in all cells that it was in."""
    total = 0.0
    for stay in radio.stays(now_s, device):
        profile = radio.cells[stay.cell].profile
        total += spent(stay.activity, profile.access, stay.until_s, bandwidth_mhz=profile.bandwidth_mhz).joules
    return total


def compute_figures(machines: Mapping[str, Declared], worked: Mapping[str, Worked]) -> dict[str, Any]:
    """Figures of the report, by node: what being up costs, and what work adds to it."""
    known = [(node, machines[node].profile, worked[node]) for node in sorted(machines.keys() & worked.keys())]
    return {
        "idle_joules": {node: round(profile.idle_w * work.up_s, 3) for node, profile, work in known},
        "compute_joules": {node: round((profile.busy_w - profile.idle_w) * work.busy_s, 3) for node, profile, work in known},
    }
