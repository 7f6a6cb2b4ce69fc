"""Path loss and large-scale parameters of TR 38.901 (tables of V19.2), from Sionna.

From Sionna: path loss in both states (table 7.4.1-1), LOS probability (table 7.4.2-1), standard deviation of shadow fading, K
factor, delay spread and correlation distances (table 7.5-6), and the TDL profiles (table 7.7.2). Nothing here is random.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from netgpt.core.errors import MissingExtra
from netgpt.radio.plan import Plan

UT_HEIGHT_M = 1.5
POINTS_A_CALL = 400  # Sionna holds the distances between all points of a call


@dataclass(frozen=True, kw_only=True, eq=False)
class State:
    """Links in one state, LOS or NLOS. Arrays have shape (sites, points)."""

    loss_db: NDArray[np.float64]
    shadow_db: NDArray[np.float64]  # standard deviation
    shadow_correlation_m: float
    delay_spread_s: float  # median
    k_db: float  # mean and standard deviation of the Rice factor; without meaning for NLOS
    k_sigma_db: float
    k_correlation_m: float


@dataclass(frozen=True, kw_only=True, eq=False)
class LargeScale:
    """All that the model says of links between sites and points."""

    los_probability: NDArray[np.float64]  # (sites, points)
    los: State
    nlos: State


@dataclass(frozen=True, kw_only=True, eq=False)
class Profile:
    """A tapped delay line's scattered part: powers sum to one."""

    delays_s: NDArray[np.float64]
    powers: NDArray[np.float64]


def load_sionna() -> Any:
    """Sionna's module of TR 38.901 channels; takes 2 s.

    Raises:
        MissingExtra: it is not installed.
    """
    try:
        from sionna.phy.channel import tr38901
    except ImportError as error:
        raise MissingExtra("generating traces needs Sionna, and it is not installed", hint="pip install 'netgpt[radio]'") from error
    return tr38901


def large_scale(plan: Plan, sites_m: NDArray[np.float64], points_m: NDArray[np.float64]) -> LargeScale:
    """What the plan's model says of links between sites (s, 2) and users' places (n, 2).

    Places nearer than the model is made for count as at its nearest distance.
    """
    scenario, count = _scenario(plan), len(points_m)
    full = np.pad(points_m, ((0, -count % POINTS_A_CALL), (0, 0)), mode="edge")  # Sionna wants calls of one shape
    parts = [_part(plan, scenario, sites_m, full[start : start + POINTS_A_CALL]) for start in range(0, count, POINTS_A_CALL)]
    probability = np.concatenate([part[0] for part in parts], axis=1)[:, :count]
    los, nlos = [part[1] for part in parts], [part[2] for part in parts]
    return LargeScale(los_probability=probability, los=_joined(los, count), nlos=_joined(nlos, count))


def _joined(parts: list[State], count: int) -> State:
    first = parts[0]
    return State(
        loss_db=np.concatenate([part.loss_db for part in parts], axis=1)[:, :count],
        shadow_db=np.concatenate([part.shadow_db for part in parts], axis=1)[:, :count],
        shadow_correlation_m=first.shadow_correlation_m,
        delay_spread_s=first.delay_spread_s,
        k_db=first.k_db,
        k_sigma_db=first.k_sigma_db,
        k_correlation_m=first.k_correlation_m,
    )


def _scenario(plan: Plan) -> Any:
    tr38901 = load_sionna()
    from sionna.phy.channel.tr38901.inf_scenario import InFScenario
    from sionna.phy.channel.tr38901.rma_scenario import RMaScenario
    from sionna.phy.channel.tr38901.uma_scenario import UMaScenario
    from sionna.phy.channel.tr38901.umi_scenario import UMiScenario

    array = tr38901.PanelArray(
        num_rows_per_panel=1, num_cols_per_panel=1, polarization="single", polarization_type="V", antenna_pattern="omni",
        carrier_frequency=plan.carrier, precision="double", device="cpu",
    )  # fmt: skip
    common: dict[str, Any] = {"ut_array": array, "bs_array": array, "direction": "downlink", "precision": "double", "device": "cpu"}
    if plan.model.startswith("inf-"):
        return InFScenario(plan.carrier, plan.model.removeprefix("inf-"), **common)
    if plan.model == "rma":
        return RMaScenario(plan.carrier, **common)
    return {"umi": UMiScenario, "uma": UMaScenario}[plan.model](plan.carrier, "low", **common)


def _part(plan: Plan, scenario: Any, sites_m: NDArray[np.float64], points_m: NDArray[np.float64]) -> tuple[NDArray[np.float64], State, State]:
    import torch

    users = np.concatenate([_kept_off(points_m, sites_m, plan.deployment.nearest_m), np.full((len(points_m), 1), UT_HEIGHT_M)], axis=1)
    stations = np.concatenate([sites_m, np.full((len(sites_m), 1), plan.deployment.bs_height_m)], axis=1)
    still, indoor = torch.zeros(1, len(users), 3, dtype=torch.float64), plan.model.startswith("inf-")
    states = []
    for los in (True, False):
        scenario.set_topology(
            ut_loc=torch.from_numpy(users)[None],
            bs_loc=torch.from_numpy(stations)[None],
            ut_orientations=still,
            bs_orientations=torch.zeros(1, len(stations), 3, dtype=torch.float64),
            ut_velocities=still,
            in_state=torch.full((1, len(users)), indoor),
            los=los,
        )
        states.append(_state(scenario))
    return scenario.los_probability[0].numpy().copy(), states[0], states[1]


def _kept_off(points_m: NDArray[np.float64], sites_m: NDArray[np.float64], nearest_m: float) -> NDArray[np.float64]:
    """The points, those too near to a site moved away from it."""
    moved = points_m.copy()
    for site in sites_m:
        away = moved - site
        distance = np.maximum(np.hypot(away[:, 0], away[:, 1]), 1e-9)
        near = distance < nearest_m
        moved[near] = site + away[near] * (nearest_m / distance[near])[:, None]
    return moved


def _state(scenario: Any) -> State:
    def one(name: str) -> float:
        return float(scenario.get_param(name)[0, 0, 0])

    return State(
        loss_db=scenario.basic_pathloss[0].numpy().copy(),
        shadow_db=10 * scenario.lsp_log_std[0, :, :, 3].numpy(),  # Sionna keeps decibels as tenths: log10
        shadow_correlation_m=one("corrDistSF"),
        delay_spread_s=float(10 ** scenario.lsp_log_mean[0, 0, 0, 0]),
        k_db=10 * float(scenario.lsp_log_mean[0, 0, 0, 4]),
        k_sigma_db=10 * float(scenario.lsp_log_std[0, 0, 0, 4]),
        k_correlation_m=one("corrDistK"),
    )


def profile(name: str, delay_spread_s: float, carrier_hz: float) -> Profile:
    """The scattered taps of TDL-`name`, scaled to a delay spread (clause 7.7.3); taps 25 dB below the strongest are left out."""
    line = load_sionna().TDL(name, delay_spread_s, carrier_hz, precision="double", device="cpu")
    powers, delays = line.mean_powers.numpy().copy(), line.delays.numpy().copy()
    if line.los:
        powers[0] -= float(line.mean_power_los)
    kept = powers > powers.max() * 10**-2.5
    return Profile(delays_s=delays[kept], powers=powers[kept] / powers[kept].sum())
