"""The figures of the roofline: fitted on one half of published speeds, tested on the other."""

import time
from dataclasses import replace
from pathlib import Path

import pytest

from netgpt.bench.hardware import overrun_figures, published_figures
from netgpt.bench.published import POINTS, read_points, split
from netgpt.bench.this_machine import (
    FITTED,
    HELD_OUT,
    SHAPES,
    Lengths,
    Measured,
    fit_machine,
    measure_model,
    profile_text,
    random_model,
    write_profile,
)
from netgpt.core.errors import BenchInvalid
from netgpt.engine.batch import STEP_ROWS
from netgpt.network.profile import Efficiency, find_profile, profiles, read_profiles
from netgpt.network.roofline import Declared
from netgpt.network.shape import shapes, sized_shape


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


TRUTH = Efficiency(
    stack="torch float32",
    prefill_wide=0.4,
    prefill_packed=0.4,
    decode_wide=0.3,
    decode_packed=0.3,
    layer_overhead_s=6e-5,
    step_overhead_s=2e-4,
    token_overhead_s=1.5e-6,
    call_overhead_s=1e-3,
    step_tokens=STEP_ROWS,
    score_bytes=8.0,
    basis="measured",
)
SIZES = ((48, 2), (72, 5), (96, 3), (160, 4), (256, 6), (512, 8))


def declared_with(hidden: int, layers: int) -> Declared:
    """A model of that width, on a machine with the speeds of a small CPU."""
    machine = replace(find_profile("phone"), flops={"bf16": 1e12, "fp32": 1e11}, memory_bytes_per_s=1.5e10, efficiencies=(TRUTH,))
    heads = hidden // 16
    shape = replace(sized_shape(1e9), layers=layers, hidden=hidden, heads=heads, kv_heads=2, head_dim=16, intermediate=3 * hidden, vocabulary=2048)
    return Declared(profile=machine, shape=shape, precision="fp32")


def rows_of(lengths: Lengths) -> list[Measured]:
    """What a machine of those efficiencies would be measured to take."""
    rows = []
    for declared in (declared_with(*size) for size in SIZES):
        rows += [Measured(work=declared.prompt(n, step_tokens=STEP_ROWS), phase="prefill", duration_s=declared.prefill_s(n)) for n in lengths.prompts]
        rows += [Measured(work=declared.step([n]), phase="decode", duration_s=declared.decode_s([n])) for n in lengths.contexts]
    return rows


def error_of(found: Efficiency, rows: list[Measured]) -> float:
    return max(abs(declared_with(48, 2).duration_s(row.work, found) / row.duration_s - 1) for row in rows)


def test_prompts_for_the_fit_are_none_of_those_that_it_is_held_against():
    assert not set(FITTED.prompts) & set(HELD_OUT.prompts)
    assert not set(FITTED.contexts) & set(HELD_OUT.contexts)
    assert min(FITTED.prompts) < STEP_ROWS < max(FITTED.prompts), "of one step and of several"


def test_a_machines_efficiencies_are_found_again_from_its_durations():
    found = fit_machine(rows_of(FITTED), TRUTH.stack)
    assert error_of(found, rows_of(HELD_OUT)) < 0.01
    for name in ("call_overhead_s", "step_overhead_s", "layer_overhead_s", "token_overhead_s", "prefill_wide", "score_bytes"):
        assert getattr(found, name) == pytest.approx(getattr(TRUTH, name), rel=0.05), name


def test_durations_that_other_work_lengthened_move_the_fit_little():
    rows = rows_of(FITTED)
    disturbed = [replace(row, duration_s=row.duration_s * (1.8 if number % 8 == 3 else 1.0)) for number, row in enumerate(rows)]
    assert error_of(fit_machine(disturbed, TRUTH.stack), rows_of(HELD_OUT)) < 0.10


def test_a_real_model_is_measured_at_every_length_with_its_work_in_steps(tmp_path: Path):
    """The durations are real ones; what they are is the bench's to say."""
    folder = random_model(tmp_path / "made", SHAPES[0])
    machine = replace(find_profile("phone"), flops={"bf16": 1e11, "fp32": 1e11})
    rows = measure_model(folder, "float32", machine, 1, time.process_time, Lengths(prompts=(16, 300), contexts=(32,)))
    assert [(row.phase, row.work.tokens, row.work.steps, row.work.calls) for row in rows] == [
        ("prefill", 16, 1, 1),
        ("prefill", 300, 3, 1),
        ("decode", 1, 1, 0),
    ]
    assert all(0 < row.duration_s < 60 for row in rows)


def test_a_measured_profile_is_written_as_it_is_read(tmp_path):
    profile = find_profile("a100")
    profile = replace(profile, efficiencies=(*profile.efficiencies, TRUTH))
    read = read_profiles(profile_text(profile), "x.toml")[0]
    assert (read.flops, read.kind, read.efficiencies) == (profile.flops, profile.kind, profile.efficiencies)
    path = write_profile(tmp_path, profile)
    assert read_profiles(path.read_text(), "x.toml")[0].memory_bytes == profile.memory_bytes
