"""Sites, sectors, and what crosses between them and a place: path loss, LOS state, shadow fading, antenna pattern.

All chance here is a Gaussian field over the plane, one a site, so that a place has one gain for whoever stands there. LOS states follow clause
7.6.3.3's uniform field with a hard decision: a link is LOS where the field is below the probability. States are not mixed (the clause's
soft state is left out), and shadow fading of the two states is independent (clause 7.6.3.4).
"""

from __future__ import annotations

from dataclasses import dataclass
from math import erf, sqrt

import numpy as np
from numpy.typing import NDArray

from netgpt.core.chance import Chance
from netgpt.radio.field import GaussianField
from netgpt.radio.large_scale import LargeScale, large_scale
from netgpt.radio.plan import Plan

ELEMENT_DB, BEAM_DEGREES, FRONT_TO_BACK_DB = 8.0, 65.0, 30.0  # TR 38.901 table 7.3-1, the horizontal cut alone
SECTORS_DEGREES = (30.0, 150.0, 270.0)


@dataclass(frozen=True, kw_only=True, eq=False)
class Links:
    """All links of some places, one after the other. Arrays have shape (sites, n)."""

    gain_db: NDArray[np.float64]  # less than 0; without antennas
    los: NDArray[np.bool_]
    k: NDArray[np.float64]  # Rice factor, linear, if the link is LOS
    model: LargeScale


class Layout:
    """The sites of a plan, with their fields."""

    def __init__(self, plan: Plan, chance: Chance) -> None:
        self.plan = plan
        self.sites_m = _hall(plan) if plan.deployment.hall_m is not None else _hexagons(plan.isd)
        self.sectors = np.array([0.0]) if plan.deployment.hall_m is not None else np.radians(SECTORS_DEGREES)
        self.cells = len(self.sites_m) * self.sectors.size  # cell c is sector c % sectors of site c // sectors
        model, count = large_scale(plan, self.sites_m, np.zeros((1, 2))), len(self.sites_m)
        self._visibility = GaussianField(chance.stream("los"), count, plan.deployment.los_correlation_m)
        self._los_shadow = GaussianField(chance.stream("shadow/los"), count, model.los.shadow_correlation_m)
        self._nlos_shadow = GaussianField(chance.stream("shadow/nlos"), count, model.nlos.shadow_correlation_m)
        self._k = GaussianField(chance.stream("k"), count, model.los.k_correlation_m)

    def links(self, places_m: NDArray[np.float64]) -> Links:
        """The links between all sites and places of shape (n, 2)."""
        model = large_scale(self.plan, self.sites_m, places_m)
        uniform = 0.5 + 0.5 * np.vectorize(erf)(self._visibility.at(places_m) / sqrt(2))
        los = uniform < model.los_probability
        in_los = -model.los.loss_db + model.los.shadow_db * self._los_shadow.at(places_m)
        in_nlos = -model.nlos.loss_db + model.nlos.shadow_db * self._nlos_shadow.at(places_m)
        k_db = model.los.k_db + model.los.k_sigma_db * self._k.at(places_m)
        return Links(gain_db=np.where(los, in_los, in_nlos), los=los, k=10 ** (k_db / 10), model=model)

    def cell_gains_db(self, places_m: NDArray[np.float64], site_gain_db: NDArray[np.float64]) -> NDArray[np.float64]:
        """With the sectors' antennas: shape (cells, n)."""
        if self.sectors.size == 1:
            return site_gain_db
        away = places_m[None] - self.sites_m[:, None]
        bearing = np.arctan2(away[..., 1], away[..., 0])
        off = np.degrees(np.angle(np.exp(1j * (bearing[:, None] - self.sectors[None, :, None]))))
        pattern = ELEMENT_DB - np.minimum(12 * (off / BEAM_DEGREES) ** 2, FRONT_TO_BACK_DB)
        return (site_gain_db[:, None] + pattern).reshape(self.cells, len(places_m))

    def gains_db(self, places_m: NDArray[np.float64]) -> NDArray[np.float64]:
        """Of all links between cells and places: shape (cells, n)."""
        return self.cell_gains_db(places_m, self.links(places_m).gain_db)

    def dropped_places(self, chance: np.random.Generator, count: int) -> NDArray[np.float64]:
        """Places all over the layout, evenly: shape (count, 2)."""
        hall_m = self.plan.deployment.hall_m
        if hall_m is not None:
            return (chance.random((count, 2)) - 0.5) * np.array(hall_m)
        radius_m = 1.5 * self.plan.isd * np.sqrt(chance.random(count))
        angle = 2 * np.pi * chance.random(count)
        return np.stack([radius_m * np.cos(angle), radius_m * np.sin(angle)], axis=1)


def _hexagons(isd_m: float) -> NDArray[np.float64]:
    """A central site and its six neighbours, (7, 2)."""
    angles = np.radians(60 * np.arange(6))
    return np.concatenate([np.zeros((1, 2)), isd_m * np.stack([np.cos(angles), np.sin(angles)], axis=1)])


def _hall(plan: Plan) -> NDArray[np.float64]:
    """A grid of sites, half their distance from the walls."""
    axes = [np.arange(-length / 2 + plan.isd / 2, length / 2, plan.isd) for length in plan.deployment.hall_m or ()]
    return np.stack(np.meshgrid(*axes), axis=-1).reshape(-1, 2)
