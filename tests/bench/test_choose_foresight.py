"""Predictions of first tokens beside an oracle's: exact where nobody else asks, and what no report could have told is not held against anybody."""

from dataclasses import replace

import pytest

from netgpt.bench.auto_cells import cells
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
    assert (told["cells"], told["requests"]) == (2, 4)
    assert told["ttft_error_median"] == pytest.approx(0.25)
    assert told["oracle_ttft_error_above_30"] == 0.25
    assert (told["ttft_error_median_load_10"], told["ttft_error_median_load_90"]) == (pytest.approx(0.15), pytest.approx(0.4))
    assert "ttft_error_median_load_50" not in told
    assert told["ttft_within_p95"] == 0.75
