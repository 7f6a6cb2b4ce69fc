"""What a generated trace is of: the model, who moves how, and the load around; and the plans of the traces that ship.

Figures that TR 38.901 or an evaluation report states carry their source; the others are choices of ours.
"""

from __future__ import annotations

from dataclasses import dataclass, fields
from math import log10
from typing import Any, Literal

from netgpt.core.errors import UsageError
from netgpt.core.spelling import did_you_mean

Mobility = Literal["stand", "walk", "drive"]
MOBILITIES: tuple[Mobility, ...] = ("stand", "walk", "drive")


@dataclass(frozen=True, kw_only=True)
class Model:
    """One deployment of TR 38.901: seven sites of three sectors in hexagons, or a hall with a site on each point of a grid."""

    isd_m: float  # between sites; TR 38.901 tables 7.2-1, 7.2-3 and 7.8-7
    bs_height_m: float
    bs_power_dbm: float  # in 20 MHz; TR 38.901 table 7.8-1 (UMi, UMa); RMa, InF: ours
    carrier_hz: float
    nearest_m: float  # horizontal, to any site; TR 38.901 tables 7.2-1 and 7.2-3; InF: ours
    los_correlation_m: float  # TR 38.901 table 7.6.3.1-2; InF: half the clutter size
    nlos_profile: str  # TDL profile of TR 38.901 table 7.7.2; which one is ours
    hall_m: tuple[float, float] | None = None  # TR 38.901 table 7.8-7


_HALL: dict[str, Any] = {"bs_power_dbm": 24, "carrier_hz": 3.5e9, "nearest_m": 1, "nlos_profile": "A"}
MODELS: dict[str, Model] = {
    "umi": Model(isd_m=200, bs_height_m=10, bs_power_dbm=44, carrier_hz=3.5e9, nearest_m=10, los_correlation_m=50, nlos_profile="A"),
    "uma": Model(isd_m=500, bs_height_m=25, bs_power_dbm=49, carrier_hz=3.5e9, nearest_m=35, los_correlation_m=50, nlos_profile="C"),
    "rma": Model(isd_m=1732, bs_height_m=35, bs_power_dbm=49, carrier_hz=0.7e9, nearest_m=35, los_correlation_m=60, nlos_profile="C"),
    "inf-sl": Model(isd_m=20, bs_height_m=1.5, los_correlation_m=5, hall_m=(120, 60), **_HALL),
    "inf-dl": Model(isd_m=50, bs_height_m=1.5, los_correlation_m=1, hall_m=(300, 150), **_HALL),
    "inf-sh": Model(isd_m=50, bs_height_m=8, los_correlation_m=5, hall_m=(300, 150), **_HALL),
    "inf-dh": Model(isd_m=20, bs_height_m=8, los_correlation_m=1, hall_m=(120, 60), **_HALL),
}  # fmt: skip


@dataclass(frozen=True, kw_only=True)
class Plan:
    """One trace to generate. Every value with 0 as its default is then the model's own."""

    model: str
    direction: Literal["up", "down"] = "up"
    ues: int = 4
    duration_s: float = 60.0
    every_s: float = 0.01
    mobility: Mobility = "walk"
    speed_mps: float = 1.4
    in_car: bool = False
    load: float = 0.5  # share of time in which a neighbouring cell sends
    inner_m: float = 0.0  # users are at least so far from the central site; not in a hall
    outer_m: float = 0.0  # and at most so far; 0: half the distance between sites, for drives twice that
    isd_m: float = 0.0
    carrier_hz: float = 0.0
    bandwidth_hz: float = 20e6
    antennas: int = 2  # at the receiver
    bler_target: float = 0.1
    seed: int = 0

    def __post_init__(self) -> None:
        if self.model not in MODELS:
            raise UsageError(f"unknown model {self.model!r}", hint=did_you_mean(self.model, MODELS), param="model")
        if self.mobility not in MOBILITIES or self.direction not in ("up", "down"):
            raise UsageError(f"mobility {self.mobility!r}, direction {self.direction!r}", hint=f"known: {', '.join(MOBILITIES)}; up, down")
        for name, low, high in _RANGES:
            if not low <= getattr(self, name) <= high:
                raise UsageError(f"{name} is {getattr(self, name)}", hint=f"give a value from {low:g} to {high:g}", param=name)
        if self.every_s > self.duration_s or abs(self.every_s * 1e3 - round(self.every_s * 1e3)) > 1e-6:
            raise UsageError(
                f"samples of {self.every_s} s in {self.duration_s} s", hint="give whole milliseconds, fewer than the whole", param="every_s"
            )
        if self.outer_m and self.inner_m >= self.outer_m:
            raise UsageError(f"no ring from {self.inner_m} m to {self.outer_m} m", hint="let the inner radius be the smaller one", param="outer_m")

    @property
    def deployment(self) -> Model:
        return MODELS[self.model]

    @property
    def carrier(self) -> float:
        return self.carrier_hz or self.deployment.carrier_hz

    @property
    def isd(self) -> float:
        return self.isd_m or self.deployment.isd_m

    @property
    def station_dbm(self) -> float:
        """What a base station sends in a user's bandwidth, at equal density over its carrier."""
        return self.deployment.bs_power_dbm + 10 * log10(self.bandwidth_hz / 20e6)

    @property
    def radii_m(self) -> tuple[float, float]:
        """Users stay between these distances from the central site."""
        return self.inner_m, self.outer_m or self.isd / 2 * (2 if self.mobility == "drive" else 1)

    def given(self) -> dict[str, object]:
        """What differs from the defaults, in order."""
        return {one.name: getattr(self, one.name) for one in fields(self) if getattr(self, one.name) != one.default}


_RANGES: tuple[tuple[str, float, float], ...] = (
    ("ues", 1, 64), ("duration_s", 0.1, 600), ("every_s", 0.001, 10), ("speed_mps", 0, 140), ("load", 0, 1), ("inner_m", 0, 1e4),
    ("outer_m", 0, 1e4), ("isd_m", 0, 1e4), ("carrier_hz", 0, 100e9), ("bandwidth_hz", 1e6, 400e6), ("antennas", 1, 8), ("bler_target", 0.001, 0.5),
    ("seed", 0, 2**63),
)  # fmt: skip

SHIPPED: dict[str, Plan] = {
    "campus-walk-up": Plan(model="umi", every_s=0.02, load=0.3, antennas=4, seed=11),
    "campus-walk-down": Plan(model="umi", direction="down", every_s=0.02, load=0.3, seed=11),
    "vehicle-drive-up": Plan(model="uma", every_s=0.02, mobility="drive", speed_mps=14, in_car=True, antennas=4, seed=12),
    "vehicle-drive-down": Plan(model="uma", direction="down", every_s=0.02, mobility="drive", speed_mps=14, in_car=True, seed=12),
    "factory-inf-up": Plan(model="inf-dh", every_s=0.02, speed_mps=1, load=0.6, antennas=4, seed=13),
    "rural-edge-up": Plan(model="rma", every_s=0.02, isd_m=5000, load=0.2, inner_m=1500, outer_m=2800, antennas=4, seed=14),
    "crowd-edge-up": Plan(model="uma", ues=8, every_s=0.02, mobility="stand", speed_mps=0, load=0.9, inner_m=200, outer_m=290, antennas=4, seed=15),
    "highway-drive-down": Plan(model="rma", direction="down", every_s=0.02, mobility="drive", speed_mps=33, in_car=True, load=0.3, seed=16),
}  # fmt: skip
