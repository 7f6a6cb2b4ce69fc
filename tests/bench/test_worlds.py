"""The comparison of worlds: what is asked, and what figures say. The runs themselves are the bench's."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from netgpt.bench.worlds import asked, capacity, cases, compare, failures
from netgpt.bench.worlds_runs import Seen, simulated
from netgpt.core.errors import NetgptError
from netgpt.network.scenario import Scenario
from netgpt.network.scenario_file import parse_scenario
from netgpt.world.shaping import check_shaped


@pytest.fixture(scope="module")
def campus() -> Scenario:
    return replace(parse_scenario(cases()["campus"].text, where="campus.toml"), users=(), faults=())


def seen(first_s: float, token_s: float | None = 0.05, *, size: int = 100, overruns: int = 0) -> Seen:
    return Seen(first_s=first_s, token_s=token_s, payload={"edge1": {"sent": 10, "received": size}}, overruns=overruns, tokens=20)


def test_there_are_three_scenarios_that_links_can_be_shaped_by_and_two_have_cells() -> None:
    scenarios = {name: parse_scenario(case.text, where=f"{name}.toml") for name, case in cases().items()}
    assert {name: len(scenario.cells) for name, scenario in scenarios.items()} == {"campus": 1, "wires": 0, "two_cells": 2}
    for scenario in scenarios.values():
        check_shaped(scenario)
        assert {node.slots for node in scenario.nodes} == {8}


def test_requests_are_the_same_each_time_and_told_apart_by_their_seed(campus: Scenario) -> None:
    asks = asked(campus, 5.0, 100.0)
    assert asks == asked(campus, 5.0, 100.0)
    assert len({ask.seed for ask in asks}) == len(asks)
    assert len({len(str(ask.seed)) for ask in asks}) == 1
    assert {ask.node for ask in asks} == {"device1", "device2"}
    assert len(asks) == pytest.approx(500, rel=0.2)
    assert np.diff([ask.at_s for ask in asks]).std() == pytest.approx(0.2, rel=0.2), "of a Poisson process gaps deviate by their mean"


def test_at_the_capacity_requests_wait_and_at_half_of_it_few_do(campus: Scenario) -> None:
    capacity_per_s = capacity(campus, "netgpt-edge")
    half, twice = (simulated(campus, "netgpt-edge", asked(campus, times * capacity_per_s, 20.0)) for times in (0.5, 2.0))
    late = [float(np.percentile([one.first_s for one in run.values()], 95)) for run in (half, twice)]
    assert late[1] > 3 * late[0]


def test_figures_are_of_the_requests_that_both_worlds_answered() -> None:
    told = {1: seen(0.1), 2: seen(0.2), 3: seen(0.3, None), 4: seen(9.0)}
    real = {1: seen(0.11), 2: seen(0.22, size=109), 3: seen(0.33, None, overruns=6)}
    figures = compare("x_u20", told, real)
    assert (figures["x_u20_requests"], figures["x_u20_answered_in_one"]) == (3, 1)
    assert (figures["x_u20_first_token_p50_ms_simulated"], figures["x_u20_first_token_p50_ms_emulated"]) == (200, 220)
    assert figures["x_u20_first_token_p50_difference"] == pytest.approx(0.1)
    assert figures["x_u20_time_per_token_p95_difference"] == 0
    assert (figures["x_u20_first_token_later_p50_ms"], figures["x_u20_first_token_later_p95_ms"]) == pytest.approx((20, 29))
    assert (figures["x_u20_payload_equal"], figures["x_u20_payload_bytes_apart_max"]) == (pytest.approx(2 / 3, abs=1e-4), 9)
    assert figures["x_u20_overruns"] == 0.1
    with pytest.raises(NetgptError, match="no request was answered in both worlds"):
        compare("x_u20", told, {})


def test_a_run_on_a_machine_that_did_not_keep_up_has_failed() -> None:
    assert failures({"campus_u20_overruns": 0.005, "campus_u20_requests": 4}) == []
    assert failures({"campus_u80_overruns": 0.02}) == ["campus_u80: 2.0% of the tokens came later than declared"]
