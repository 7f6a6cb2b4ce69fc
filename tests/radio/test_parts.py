"""The generator's own parts against what theory or a table says; none of them needs Sionna."""

from __future__ import annotations

import argparse
import shlex

import numpy as np
import pytest

from netgpt.cli import trace as verb
from netgpt.core.errors import UsageError
from netgpt.network.trace_file import load_trace, shipped_traces
from netgpt.radio.adaptation import EFFICIENCY, MEASURED_DB, THRESHOLDS_DB, adapted_efficiency, block_error_rate
from netgpt.radio.fading import power_gains
from netgpt.radio.field import GaussianField
from netgpt.radio.generate import generate_command, serving_cells
from netgpt.radio.interference import activity, uplink_power_dbm
from netgpt.radio.large_scale import Profile
from netgpt.radio.mobility import track
from netgpt.radio.plan import SHIPPED, Plan


def rng(seed: int) -> np.random.Generator:
    return np.random.default_rng(seed)


def test_a_field_decorrelates_as_exp_of_distance() -> None:
    steps_m = np.array([0.0, 5, 10, 20, 40])
    along = np.stack([np.concatenate([steps_m, -steps_m]), np.zeros(10)], axis=1)
    values = GaussianField(rng(1), 3000, 10.0).at(along)  # 3,000 fields
    assert values.mean(axis=0) == pytest.approx(np.zeros(10), abs=0.06)
    assert values.std(axis=0) == pytest.approx(np.ones(10), abs=0.05)
    assert (values[:, :1] * values[:, :5]).mean(axis=0) == pytest.approx(np.exp(-steps_m / 10), abs=0.06)
    assert (values[1:, 0] * values[:-1, 0]).mean() == pytest.approx(0, abs=0.06)


def test_thresholds_hold_at_the_measured_points() -> None:
    assert np.all(np.diff(THRESHOLDS_DB) >= 0)
    for mcs, (tenth_db, hundredth_db) in MEASURED_DB.items():
        assert THRESHOLDS_DB[mcs] == pytest.approx(tenth_db, abs=0.01)
        lost = block_error_rate(np.array([mcs, mcs]), np.array([tenth_db, tenth_db + 0.27]))
        assert lost == pytest.approx([0.1, 0.01], rel=0.02)
        assert hundredth_db - tenth_db == pytest.approx(0.27, abs=0.18)


def test_the_mcs_table_is_sionnas() -> None:
    torch = pytest.importorskip("torch")
    utils = pytest.importorskip("sionna.phy.nr.utils", reason="the extra radio is not installed")
    order, rate = utils.decode_mcs_index(torch.arange(29), table_index=1, is_pusch=False)
    np.testing.assert_allclose(order.numpy() * rate.numpy(), EFFICIENCY, rtol=1e-5)


@pytest.mark.parametrize("target", [0.05, 0.1, 0.3])
def test_the_outer_loop_keeps_to_its_target_on_a_channel_that_moves(target: float) -> None:
    shocks, values = rng(2).normal(scale=0.4, size=(8000, 3)), np.zeros((8000, 3))
    for slot in range(1, 8000):
        values[slot] = 0.99 * values[slot - 1] + shocks[slot]
    carried, mcs, decoded = adapted_efficiency(10 + values, rng(3).random(values.shape), target)
    assert 1 - decoded[1000:].mean() == pytest.approx(target, rel=0.1)
    assert carried == pytest.approx(EFFICIENCY[mcs] * decoded)


def test_a_steady_channel_carries_the_mcs_that_fits_and_a_dead_one_nothing() -> None:
    luck = rng(4).random((4000, 3))
    carried, mcs, _ = adapted_efficiency(np.tile([25.0, 8.2, -30.0], (4000, 1)), luck, 0.1)
    assert carried[:, 0] == pytest.approx(EFFICIENCY[28])
    assert set(mcs[500:, 1].tolist()) <= {14, 15, 16, 17}  # 16 and 17 carry the same
    assert carried[500:, 1].mean() == pytest.approx(0.9 * EFFICIENCY[15], rel=0.03)  # the loop tries more until a tenth is lost
    assert carried[:, 2].max() == 0


def test_scattered_taps_fade_as_jakes_says_and_the_direct_path_stands_out() -> None:
    line = Profile(delays_s=np.array([0.0, 1e-6, 2e-6]), powers=np.array([0.5, 0.3, 0.2]))
    frequencies = np.linspace(-10e6, 10e6, 8)
    turns = np.arange(20_000) * 0.05
    gains = np.mean([power_gains(rng(seed), line, None, turns, turns, 1, frequencies)[:, 0] for seed in range(6)])
    assert gains == pytest.approx(1, abs=0.1)
    one = power_gains(rng(9), line, None, turns, turns, 4, frequencies)
    assert one.mean() == pytest.approx(4, rel=0.1)
    assert np.std(one[:, 0]) / 4 == pytest.approx(0.5, abs=0.1)  # four independent antennas: a quarter of the variance
    shifted = [np.corrcoef(one[:-lag, 0], one[lag:, 0])[0, 1] for lag in (1, 8)]  # a twentieth and 0.4 of a wavelength
    assert shifted == pytest.approx([0.95, 0.01], abs=0.1)  # squared Bessel function J0(2 pi x)
    direct = power_gains(rng(9), line, np.full(turns.size, 100.0), turns, turns, 1, frequencies)
    assert direct.std() < 0.2 < 0.7 < power_gains(rng(9), line, None, turns, turns, 1, frequencies).std()


def test_who_stands_keeps_the_fade() -> None:
    line = Profile(delays_s=np.zeros(1), powers=np.ones(1))
    gains = power_gains(rng(1), line, None, np.zeros(50), np.zeros(50), 2, np.array([0.0]))
    assert np.ptp(gains) == 0


@pytest.mark.parametrize("mobility", ["stand", "walk", "drive"])
@pytest.mark.parametrize("model", ["uma", "inf-dh"])
def test_users_move_at_their_speed_and_stay_where_they_belong(mobility, model: str) -> None:
    plan, times = Plan(model=model, mobility=mobility, speed_mps=5, outer_m=300), np.arange(0, 120, 0.1)
    way = track(plan, rng(7), times)
    speeds = np.diff(way.travelled_m) / 0.1
    assert speeds.max() <= 5 + 1e-6
    assert np.median(speeds) == pytest.approx({"stand": 0, "walk": 5, "drive": 5}[mobility], abs=0.01)
    if model == "uma":
        assert np.hypot(*way.positions_m.T).max() <= 300 + 1e-6
    else:
        assert np.all(np.abs(way.positions_m) <= np.array([60, 30]) + 1e-6)


def test_a_ring_is_kept_by_those_who_stand() -> None:
    plan = Plan(model="uma", mobility="stand", inner_m=200, outer_m=250)
    distances = [np.hypot(*track(plan, rng(seed), np.arange(3.0)).positions_m[0]) for seed in range(50)]
    assert min(distances) >= 200
    assert max(distances) <= 250


@pytest.mark.parametrize("load", [0.0, 0.3, 1.0])
def test_neighbours_send_for_the_stated_share_of_time(load: float) -> None:
    who = activity(Plan(model="umi", load=load), rng(3), 21, np.arange(60_000) * 1e-3)
    assert (who >= 0).mean() == pytest.approx(load, abs=0.01)
    assert (np.diff(who[0]) != 0).sum() <= 60 / 0.02 + 1


def test_a_base_station_sends_at_equal_density() -> None:
    assert Plan(model="umi").station_dbm == 44
    assert Plan(model="umi", bandwidth_hz=2e6).station_dbm == pytest.approx(34)


def test_a_user_is_told_to_send_as_much_as_its_link_needs() -> None:
    power_dbm = uplink_power_dbm(Plan(model="umi", bandwidth_hz=18e6), np.array([-60.0, -80, -130]))
    assert power_dbm == pytest.approx([-76 + 20 + 48, -76 + 20 + 64, 23])  # P0 + 10 lg(blocks) + alpha x loss, at most 23 dBm


def test_a_handover_waits_for_a_better_cell() -> None:
    gains = np.array([[0.0, 0, 0, 0, 0, 0, 0], [-5, 2, 4, 2, 4, 4, 4]])
    assert serving_cells(gains).tolist() == [0, 0, 0, 0, 0, 1, 1]


@pytest.mark.parametrize(
    ("wrong", "words"),
    [
        ({"model": "umx"}, "unknown model"),
        ({"model": "umi", "mobility": "fly"}, "mobility"),
        ({"model": "umi", "load": 1.5}, "load is 1.5"),
        ({"model": "umi", "ues": 0}, "ues is 0"),
        ({"model": "umi", "every_s": 0.0105}, "samples of"),
        ({"model": "umi", "every_s": 2.0, "duration_s": 1.0}, "samples of"),
        ({"model": "umi", "inner_m": 200.0, "outer_m": 100.0}, "no ring"),
    ],
)
def test_an_impossible_plan_is_refused(wrong: dict, words: str) -> None:
    with pytest.raises(UsageError, match=words) as refused:
        Plan(**wrong)
    assert refused.value.hint


@pytest.mark.parametrize("name", SHIPPED)
def test_the_command_in_a_shipped_trace_is_its_plan(name: str) -> None:
    trace = load_trace(name)
    assert trace.origin.command == generate_command(SHIPPED[name])
    parser = argparse.ArgumentParser()
    verb.add_arguments(parser)
    words = shlex.split(trace.origin.command)
    assert words[:2] == ["netgpt", "trace"]
    assert verb.plan_of(parser.parse_args(words[2:])) == SHIPPED[name]
    assert trace.origin.seed == SHIPPED[name].seed
    assert shipped_traces() == sorted(SHIPPED)
