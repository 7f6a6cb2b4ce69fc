"""The figures of the roofline: fitted on one half of published speeds, tested on the other."""

import pytest

from netgpt.bench.hardware import overrun_figures, published_figures
from netgpt.bench.published import POINTS, read_points, split
from netgpt.bench.this_machine import Measured, fit_machine, profile_text, write_profile
from netgpt.core.errors import BenchInvalid
from netgpt.network.profile import find_profile, profiles, read_profiles
from netgpt.network.roofline import Declared
from netgpt.network.shape import shapes


def test_every_point_names_a_known_machine_and_model_and_a_source():
    points = read_points()
    assert POINTS.endswith(".toml")
    assert len({point.group for point in points if point.phase == "prefill"}) >= 15
    assert len({point.group for point in points if point.phase == "decode"}) >= 20
    for point in points:
        assert point.device in profiles()
        assert point.model in shapes()
        assert point.phase in ("prefill", "decode")
        assert 1e-4 < point.measured_s < 60


def test_halves_are_disjoint_and_repeatable_and_near_twins_stay_together():
    points = read_points()
    for_fit, held_out = split(points)
    assert split(list(reversed(points)))[1] == list(reversed(held_out))
    assert sorted(map(str, for_fit + held_out)) == sorted(map(str, points))
    sides = [{(*point.kind, point.phase, point.group) for point in half} for half in (for_fit, held_out)]
    assert not sides[0] & sides[1]
    assert len(sides[0]) - len(sides[1]) <= len({one[:3] for one in sides[0]})


def test_stored_efficiencies_are_the_fitted_ones_and_hold_on_the_other_half():
    figures = published_figures(split(read_points()))
    assert figures["published_points"] == 132
    for phase in ("prefill", "decode"):
        assert figures[f"held_out_{phase}_points"] >= 10
        assert figures[f"held_out_{phase}_error_median"] <= 0.20
        assert figures[f"held_out_{phase}_error_p90"] <= 0.40


def test_more_than_one_overrun_in_a_hundred_fails():
    assert overrun_figures(1000, 10) == {"declared_results": 1000.0, "declared_overruns_share": 0.01}
    with pytest.raises(BenchInvalid, match="11 of 1000 results came later"):
        overrun_figures(1000, 11)


def test_a_machines_efficiencies_are_found_again_from_its_durations():
    truth = find_profile("phone")
    efficiency = truth.efficiency()
    rows = []
    for shape in list(shapes().values())[:8]:
        declared = Declared(profile=truth, shape=shape, precision="bf16")
        for tokens in (512, 1024, 2048):
            work = declared.prompt(tokens)
            rows.append(Measured(work=work, phase="prefill", duration_s=declared.duration_s(work, efficiency)))
        work = declared.step([100])
        rows.append(Measured(work=work, phase="decode", duration_s=declared.duration_s(work, efficiency)))
    found = fit_machine(rows, "bfloat16")
    assert found.prefill_wide == pytest.approx(efficiency.prefill_wide, rel=1e-3)
    assert found.decode_wide == pytest.approx(efficiency.decode_wide, rel=1e-3)
    assert found.layer_overhead_s == pytest.approx(efficiency.layer_overhead_s, rel=1e-3)


def test_a_measured_profile_is_written_as_it_is_read(tmp_path):
    profile = find_profile("a100")
    read = read_profiles(profile_text(profile), "x.toml")[0]
    assert (read.flops, read.kind, read.efficiencies) == (profile.flops, profile.kind, profile.efficiencies)
    path = write_profile(tmp_path, profile)
    assert read_profiles(path.read_text(), "x.toml")[0].memory_bytes == profile.memory_bytes
