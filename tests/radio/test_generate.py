"""Traces as Sionna and the rest make them. Skipped where the extra `radio` is not installed."""

from __future__ import annotations

import dataclasses
from importlib.util import find_spec

import numpy as np
import pytest

from netgpt.core.chance import SeededChance
from netgpt.network.trace_file import load_trace
from netgpt.radio.generate import generate, simulate
from netgpt.radio.large_scale import UT_HEIGHT_M, large_scale, profile
from netgpt.radio.layout import Layout
from netgpt.radio.plan import SHIPPED, Plan

pytestmark = [
    pytest.mark.skipif(find_spec("sionna") is None, reason="the extra radio (Sionna) is not installed"),
    pytest.mark.filterwarnings("ignore::DeprecationWarning"),  # Sionna's
]
SHORT = Plan(model="umi", duration_s=3, ues=2, seed=5)


def test_path_loss_is_the_tables() -> None:
    places = np.array([[50.0, 0], [100, 0], [0, 150]])
    model = large_scale(Plan(model="umi"), np.zeros((1, 2)), places)
    distance = np.hypot(np.hypot(*places.T), 10 - UT_HEIGHT_M)
    los = 32.4 + 21 * np.log10(distance) + 20 * np.log10(3.5)  # TR 38.901 table 7.4.1-1, before the break point at 210 m
    nlos = 35.3 * np.log10(distance) + 22.4 + 21.3 * np.log10(3.5)
    np.testing.assert_allclose(model.los.loss_db[0], los, rtol=1e-6)
    np.testing.assert_allclose(model.nlos.loss_db[0], np.maximum(los, nlos), rtol=1e-6)
    flat = np.hypot(*places.T)
    np.testing.assert_allclose(model.los_probability[0], 18 / flat + np.exp(-flat / 36) * (1 - 18 / flat), rtol=1e-6)
    assert (model.los.shadow_db[0, 0], model.los.shadow_correlation_m, model.los.k_db) == pytest.approx((4.0, 10.0, 9.0))
    assert (model.nlos.shadow_db[0, 0], model.nlos.shadow_correlation_m) == pytest.approx((7.82, 13.0))


@pytest.mark.parametrize("model", ["uma", "rma", "inf-dh", "inf-sl"])
def test_every_model_gives_finite_losses_that_grow_with_distance(model: str) -> None:
    places = np.stack([np.linspace(0, 55, 12), np.zeros(12)], axis=1)  # the first is at the site itself
    found = large_scale(Plan(model=model), np.zeros((1, 2)), places)
    for state in (found.los, found.nlos):
        assert np.all(np.isfinite(state.loss_db))
        assert np.all(np.diff(state.loss_db[0]) >= -1e-9)
        assert 0 < state.delay_spread_s < 2e-6
    assert np.all(found.nlos.loss_db >= found.los.loss_db - 1e-9)


@pytest.mark.parametrize("name", ["A", "C", "D"])
def test_a_profile_is_scattered_power_that_sums_to_one(name: str) -> None:
    line = profile(name, 100e-9, 3.5e9)
    assert line.powers.sum() == pytest.approx(1)
    assert line.delays_s[0] == 0
    assert line.delays_s.max() < 2e-6


def test_links_are_in_sight_as_often_as_the_model_says() -> None:
    chance = np.random.default_rng(2)
    places = np.stack([chance.uniform(20, 90, 1200), chance.uniform(-90, 90, 1200)], axis=1)
    shares, wanted = [], []
    for seed in range(4):
        links = Layout(Plan(model="umi"), SeededChance(seed)).links(places)
        shares.append(links.los.mean())
        wanted.append(links.model.los_probability.mean())
    assert np.mean(shares) == pytest.approx(np.mean(wanted), abs=0.05)


def test_a_seed_gives_one_trace_and_another_seed_another() -> None:
    one, again = generate(SHORT), generate(SHORT)
    other = generate(dataclasses.replace(SHORT, seed=6))
    for ue in one.series:
        np.testing.assert_array_equal(one.of(ue).values, again.of(ue).values)
    assert any(not np.array_equal(one.of(ue).values, other.of(ue).values) for ue in one.series)
    assert one.of("ue0").values.shape == (300,)
    assert one.origin.parameters["carrier_hz"] == 3.5e9
    assert "seed" not in one.origin.parameters


@pytest.mark.parametrize("direction", ["up", "down"])
def test_busy_neighbours_cost_sinr(direction) -> None:
    plan = Plan(model="uma", direction=direction, duration_s=2, ues=3, load=0, inner_m=150, seed=8)
    quiet, busy = simulate(plan), simulate(dataclasses.replace(plan, load=1.0))
    assert np.all(busy.sinr_db.mean(axis=0) < quiet.sinr_db.mean(axis=0) - 0.5)
    assert busy.carried.mean() <= quiet.carried.mean()


def test_a_shipped_trace_is_made_again() -> None:
    """Its first seconds: a shorter trace is the beginning of a longer one."""
    shipped, made = load_trace("vehicle-drive-up"), generate(dataclasses.replace(SHIPPED["vehicle-drive-up"], duration_s=5))
    assert (made.origin.source, made.origin.seed, made.unit) == (shipped.origin.source, shipped.origin.seed, shipped.unit)
    assert dict(made.origin.parameters) == dict(shipped.origin.parameters) | {"duration_s": 5}
    assert list(made.series) == list(shipped.series)
    for ue, one in made.series.items():
        np.testing.assert_array_equal(one.cells, shipped.cell_at(one.times_s + 1e-6, ue))
        same = one.values == shipped.at(one.times_s + 1e-6, ue)
        assert same.mean() >= 0.99, f"{ue}: {np.flatnonzero(~same)[:5]}"  # a decision on another CPU's last bit may differ
