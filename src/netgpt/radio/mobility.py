"""Where users are over time: standing, walking from point to point, or driving straight on."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from netgpt.radio.plan import Plan

PAUSE_S = 5.0  # longest pause of a walker at a waypoint; uniform from 0


@dataclass(frozen=True, kw_only=True, eq=False)
class Track:
    """One user's way, at equal steps of time."""

    positions_m: NDArray[np.float64]  # (n, 2)
    travelled_m: NDArray[np.float64]  # (n,), from the start, along the way


def track(plan: Plan, chance: np.random.Generator, times_s: NDArray[np.float64]) -> Track:
    """One user's way through the plan's ring or hall; `times_s` has shape (n,) and equal steps."""
    if plan.mobility == "stand" or plan.speed_mps == 0:
        positions = np.repeat(_place(plan, chance)[None], times_s.size, axis=0)
    elif plan.mobility == "walk":
        positions = _walk(plan, chance, times_s)
    else:
        positions = _drive(plan, chance, times_s)
    steps = np.hypot(*np.diff(positions, axis=0).T)
    return Track(positions_m=positions, travelled_m=np.concatenate(([0.0], np.cumsum(steps))))


def _place(plan: Plan, chance: np.random.Generator) -> NDArray[np.float64]:
    """A point, uniform over the hall or the ring."""
    if plan.deployment.hall_m is not None:
        return (chance.random(2) - 0.5) * np.array(plan.deployment.hall_m)
    inner_m, outer_m = plan.radii_m
    radius_m = np.sqrt(inner_m**2 + chance.random() * (outer_m**2 - inner_m**2))
    angle = 2 * np.pi * chance.random()
    return radius_m * np.array([np.cos(angle), np.sin(angle)])


def _walk(plan: Plan, chance: np.random.Generator, times_s: NDArray[np.float64]) -> NDArray[np.float64]:
    """Random waypoints with pauses."""
    marks_s, places, now_s = [0.0], [_place(plan, chance)], 0.0
    while now_s <= times_s[-1]:
        target = _place(plan, chance)
        arrival_s = now_s + float(np.hypot(*(target - places[-1]))) / plan.speed_mps
        now_s = arrival_s + PAUSE_S * chance.random()
        marks_s += [arrival_s, now_s]
        places += [target, target]
    corners = np.array(places)
    return np.stack([np.interp(times_s, marks_s, corners[:, axis]) for axis in (0, 1)], axis=1)


def _drive(plan: Plan, chance: np.random.Generator, times_s: NDArray[np.float64]) -> NDArray[np.float64]:
    """To and fro on a straight road through a random point, at one speed, within the hall's shorter side or the ring's outer radius."""
    hall_m, point, heading = plan.deployment.hall_m, _place(plan, chance), 2 * np.pi * chance.random()
    reach_m = min(hall_m) / 2 if hall_m is not None else plan.radii_m[1]
    way = np.array([np.cos(heading), np.sin(heading)])
    across = np.array([-way[1], way[0]])
    offset_m = float(np.clip(point @ across, -0.9 * reach_m, 0.9 * reach_m))
    half_m = np.sqrt(reach_m**2 - offset_m**2)
    begun_m = half_m * 2 * chance.random()
    along_m = np.abs((begun_m + plan.speed_mps * times_s) % (4 * half_m) - 2 * half_m) - half_m
    return along_m[:, None] * way + offset_m * across
