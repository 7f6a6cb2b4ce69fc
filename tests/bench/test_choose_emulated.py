"""The emulated grid: scenarios that can be read, the same requests for every way to choose, and figures from replies."""

from dataclasses import replace
from pathlib import Path

import pytest

from netgpt.bench.choose import run
from netgpt.bench.choose_emulated import ENTRY, LOADS, RTTS_S, UPLINKS_BPS, WAYS, Cell, Went, asks_of, cells, failures, scenario_text, summary, went
from netgpt.inference.objective import OBJECTIVES, cost_s
from netgpt.network.scenario_file import parse_scenario

CELL = cells()[0]


def test_the_grid_has_every_condition_once():
    assert len({(cell.rtt_s, cell.up_bps, cell.load) for cell in cells()}) == len(RTTS_S) * len(UPLINKS_BPS) * len(LOADS) == len(cells())
    assert cells() == cells()


def test_a_cell_is_as_far_as_it_says():
    scenario = parse_scenario(scenario_text(replace(CELL, rtt_s=0.1)), where="choose.toml")
    assert 2 * sum(link.delay_s for link in scenario.links) == pytest.approx(0.1)
    assert {node.quality for node in scenario.nodes} == set(CELL.qualities)


def test_requests_are_the_same_for_every_way_and_others_ask_more_where_the_load_is_higher():
    assert asks_of(CELL, 5.0) == asks_of(CELL, 5.0)
    calm, loaded = (asks_of(replace(CELL, load=load), 60.0) for load in (0.2, 0.6))
    counts = [{node: sum(ask.node == node for ask in asks) for node in (ENTRY, "edge1", "cloud1")} for asks in (calm, loaded)]
    assert 60 < counts[0][ENTRY] < 120
    assert all(counts[1][node] > 2 * counts[0][node] for node in ("edge1", "cloud1"))


def reply(node: str, **plan: float) -> dict[str, object]:
    return {
        "metrics": {"time_to_first_token_ms": 80.0, "queue_time_ms": 20.0, "generation_time_ms": 400.0},
        "usage": {"completion_tokens": 9},
        "netgpt": {
            "origin": [{"node": node, "tokens": 9}],
            "link_bytes": {} if node == ENTRY else {node: {"sent": 300, "received": 200}},
            "timing": {"overruns": 1},
            **({"plan": {"chosen": plan}} if plan else {}),
        },
    }


def test_what_a_reply_costs_is_the_objective_of_what_it_says():
    cell = replace(CELL, service="critical", qualities=(0.5, 0.7, 0.9))
    seen = went(cell, reply("cloud1", ttft_s=0.12))
    assert seen.cost_s == pytest.approx(cost_s(OBJECTIVES["critical"], ttft_s=0.1, total_s=0.5, payload_bytes=500, energy_j=0.0, quality=0.9)), (
        "energy has no weight there"
    )
    assert (seen.node, seen.tokens, seen.overruns, seen.ttft_error) == ("cloud1", 9, 1, pytest.approx(0.2))
    assert went(cell, reply(ENTRY)).cost_s == pytest.approx(0.5 + 10 * 0.5)
    assert went(cell, reply(ENTRY)).ttft_error is None


def played(**j_s: float) -> tuple[Cell, dict[str, list[Went]]]:
    return CELL, {way: [Went(cost_s=j_s[way], node="edge1", tokens=10, overruns=way == "auto", ttft_error=0.1)] for way in WAYS}


def test_regret_is_against_the_best_tier_of_each_cell():
    figures = summary([played(auto=1.1, device=3, edge=1, cloud=2), played(auto=1.8, device=3, edge=4, cloud=2)])
    assert (figures["emulated_regret_median"], figures["emulated_regret_max"]) == (0.0, 0.1)
    assert figures["emulated_edge_regret_max"] == 1.0
    assert figures["emulated_ttft_error_median"] == 0.1
    assert figures["emulated_overruns"] == 2 / 80
    assert not failures({"emulated_overruns": 0.0})
    assert "did not keep up" in failures({"emulated_overruns": 0.5})[0]


def test_the_quick_part_of_the_bench_plays_one_cell_in_a_real_network(tmp_path: Path):
    report = run(True, parts=("emulated",), kept=tmp_path)
    figures = report["figures"]
    assert figures["emulated_cells"] == 1
    assert figures["emulated_requests"] > 0
    assert -0.5 < figures["emulated_regret_median"] < 5
    assert [set(WAYS) <= set(cell) for cell in report["tables"]["emulated_cells"]] == [True]
    assert all("did not keep up" in failure for failure in report["failures"]), "this machine may be busy"
    assert not list(tmp_path.iterdir())
