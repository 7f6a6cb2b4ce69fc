"""Shares and correlations against published and hand-made examples."""

from __future__ import annotations

import numpy as np
import pytest

from netgpt.core.statistics import clopper_pearson, non_negative_squares, phi_coefficient, phi_interval, wilson_interval


def test_wilson_interval_matches_its_published_example() -> None:
    low, high = wilson_interval(81, 263)  # Newcombe 1998, table I: 0.2553 to 0.3662
    assert (round(low, 4), round(high, 4)) == (0.2553, 0.3662)
    assert wilson_interval(0, 0) == (0.0, 1.0)


@pytest.mark.parametrize(
    ("right", "trials", "low", "high"),
    [  # quantiles of the beta distribution, as SciPy 1.17 gives them
        (0, 2000, 0.0, 0.0014967448951882837),
        (5, 2000, 0.000985575174427396, 0.005249275286933494),
        (30, 6000, 0.00360122157407985, 0.006775706064686339),
        (2, 2, 0.22360679774997896, 1.0),
        (0, 0, 0.0, 1.0),
    ],
)
def test_clopper_pearson_bounds_are_exact(right: int, trials: int, low: float, high: float) -> None:
    assert clopper_pearson(right, trials) == pytest.approx((low, high), rel=1e-9)


def test_phi_is_the_correlation_of_the_outcomes() -> None:
    first, second = np.array([1, 1, 1, 0, 0, 0, 1, 0]), np.array([1, 1, 0, 0, 1, 0, 1, 0])
    counts = [int(np.sum(a & b)) for a, b in ((first, second), (first, 1 - second), (1 - first, second), (1 - first, 1 - second))]
    assert phi_coefficient(np.array(counts)) == pytest.approx(np.corrcoef(first, second)[0, 1])
    assert np.isnan(phi_coefficient(np.array([5, 0, 3, 0])))


def test_the_interval_of_phi_holds_it_and_shrinks_with_more_trials() -> None:
    few, many = phi_interval([30, 10, 10, 30]), phi_interval([3000, 1000, 1000, 3000])
    assert few[0] is not None
    assert many[0] is not None
    assert few[0] < many[0] < 0.5 < many[1] < few[1]
    assert phi_interval([5, 0, 3, 0]) == (None, None) == phi_interval([0, 0, 0, 0])


def test_least_squares_takes_no_negative_part() -> None:
    features = np.array([[1.0, 1.0], [1.0, 2.0], [1.0, 3.0]])
    assert non_negative_squares(features, np.array([3.0, 5.0, 7.0])) == pytest.approx([1, 2])
    assert non_negative_squares(features, np.array([3.0, 2.0, 1.0])) == pytest.approx([2, 0])
