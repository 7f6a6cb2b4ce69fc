"""Predictions of first tokens beside an oracle's: exact where nobody else asks, and what no report could have told is not held against anybody."""

from dataclasses import replace
from pathlib import Path

import pytest

from netgpt.bench.auto_cells import LOADS, cells
from netgpt.bench.choose import run
from netgpt.bench.choose_auto import QUICK_REQUESTS
from netgpt.bench.choose_foresight import errors_of, summary

CELL = cells((3,))[0]


def test_where_nobody_else_asks_the_oracle_is_right():
    errors = errors_of(replace(CELL, load=0.001, up_bps=50e6), 12)
    assert len(errors) == 12
    assert sorted(oracle for _, oracle, _ in errors)[8] < 0.02, "but where the user's own requests meet"
    assert sorted(told for told, _, _ in errors)[6] < 0.1


def test_figures_are_of_all_requests_and_of_each_load():
    calm, loaded = replace(CELL, load=0.1), replace(CELL, load=0.9)
    told = summary({calm: [(0.1, 0.0, 1.0), (0.2, 0.1, 1.0)], loaded: [(0.5, 0.4, 0.0), (0.3, 0.2, 1.0)]})
    assert (told["foresight_cells"], told["foresight_requests"]) == (2, 4)
    assert told["foresight_ttft_error_median"] == pytest.approx(0.25)
    assert told["foresight_oracle_error_above_30"] == 0.25
    assert (told["foresight_ttft_error_median_load_10"], told["foresight_ttft_error_median_load_90"]) == (pytest.approx(0.15), pytest.approx(0.4))
    assert "foresight_ttft_error_median_load_50" not in told
    assert told["foresight_ttft_within_p95"] == 0.75


def test_the_quick_part_of_the_bench_has_every_load(tmp_path: Path):
    report = run(True, parts=("foresight",), kept=tmp_path)
    figures = report["figures"]
    assert (figures["foresight_cells"], figures["foresight_requests"]) == (3, 3 * QUICK_REQUESTS)
    assert {name for name in figures if name.startswith("foresight_oracle_error_median_load")} == {
        f"foresight_oracle_error_median_load_{100 * load:.0f}" for load in LOADS
    }
    assert 0 <= figures["foresight_oracle_error_median"] < 0.1
    assert not list(tmp_path.iterdir())
