"""The grid on which `auto` is judged: what it holds, that the truth is hidden, and how figures come from cells."""

from dataclasses import asdict, replace
from pathlib import Path

import pytest

from netgpt.bench.auto_cells import (
    FIXED,
    LOADS,
    OFF,
    RTTS_S,
    UPLINKS_BPS,
    Cell,
    asks_of,
    bearable_per_s,
    cells,
    machine,
    scenario_of,
    told_offers,
)
from netgpt.bench.auto_play import MEASURES, CellFigures
from netgpt.bench.cell_log import CellLog, play_all
from netgpt.bench.choose_auto import QUICK_SEEDS, SEEDS, row, summary
from netgpt.bench.choose_pictures import front, trade_offs
from netgpt.network.offer import pace_of

CELL = cells((3,))[0]


def test_the_grid_has_every_condition_once_a_seed_and_is_drawn_from_it():
    grid = cells(SEEDS)
    assert len(grid) == len(SEEDS) * len(RTTS_S) * len(UPLINKS_BPS) * len(LOADS)
    assert len({(cell.rtt_s, cell.up_bps, cell.load, cell.seed) for cell in grid}) == len(grid)
    assert {cell.service for cell in grid} == {"interactive", "batch", "critical"}
    assert cells(SEEDS) == grid
    thin = cells(QUICK_SEEDS, thin=5)
    assert {cell.load for cell in thin} == set(LOADS)
    assert {cell.rtt_s for cell in thin} == set(RTTS_S)


def test_what_nodes_say_is_off_by_up_to_the_stated_share():
    for tier in FIXED:
        true = pace_of(machine(tier))
        ratios = [told_offers(cell)[f"{tier}1"].pace.read_s / true.read_s for cell in cells((3, 4))]  # type: ignore[union-attr]
        assert 1 - OFF <= min(ratios) < 0.85
        assert 1.15 < max(ratios) <= 1 + OFF
    assert told_offers(CELL)["cloud1"].quality == CELL.qualities[2], "how good the models are is known"


def test_a_cell_is_as_far_and_as_loaded_as_it_says():
    scenario = scenario_of(replace(CELL, rtt_s=0.1, load=0.5))
    assert 2 * sum(link.delay_s for link in scenario.links) == pytest.approx(0.1)
    assert scenario.links[0].up_bps == CELL.up_bps
    rates = {user.at: user.requests_per_s / bearable_per_s(user.at.rstrip("1"), 160, 30) for user in scenario.users}
    assert set(rates) == {"edge1", "cloud1"}
    assert all(0.35 <= share <= 0.6 for share in rates.values())
    assert not scenario_of(CELL, others=False).users


def test_requests_are_the_same_from_the_same_seed():
    assert asks_of(CELL, 5) == asks_of(CELL, 5)
    assert asks_of(CELL, 5) != asks_of(replace(CELL, seed=4), 5)
    low, high = CELL.prompt_tokens
    assert all(low <= len(ask.content) <= high for ask in asks_of(CELL, 20))


def figures(auto: float, **fixed: float) -> CellFigures:
    j_s = {"auto": auto, **fixed, "random": sum(fixed.values()) / 3, "clairvoyant": 0.9 * min(fixed.values())}
    means = {who: dict.fromkeys(MEASURES, value) for who, value in j_s.items()}
    return CellFigures(cell=CELL, j_s=j_s, means=means, shares={}, ttft_errors=(0.1, 0.2, 0.3), token_errors=(0.05,), byte_errors=(0.01,))


def test_regret_is_what_auto_costs_more_than_the_best_fixed_choice():
    told = summary(
        [figures(1.1, device=3.0, edge=1.0, cloud=2.0), figures(2.0, device=3.0, edge=4.0, cloud=2.0), figures(0.9, device=1, edge=2, cloud=3)]
    )
    assert (told["cells"], told["regret_median"], told["regret_max"]) == (3, 0.0, 0.1)
    assert told["edge_regret_max"] == 1.0
    assert told["clairvoyant_regret_median"] == -0.1
    assert (told["ttft_error_median"], told["token_error_p95"], told["byte_error_median"]) == (0.2, 0.05, 0.01)
    assert (told["device_wins"], told["edge_wins"], told["cloud_wins"]) == pytest.approx((1 / 3, 1 / 3, 1 / 3))


def log_of(folder: Path | None, about: str = "40 requests") -> CellLog[CellFigures]:
    return CellLog(folder, "auto", about, encode=asdict, decode=CellFigures.of_row)


def test_cells_outlive_a_run_that_is_cut_off_and_are_no_one_elses(tmp_path: Path):
    one = figures(1.0, device=3.0, edge=1.0, cloud=2.0)
    log = log_of(tmp_path)
    log.add(CELL.name, one)
    assert log.path is not None
    with log.path.open("ab") as file:
        file.write(b'{"cell": "rtt')  # torn
    assert log_of(tmp_path).done == {CELL.name: one}
    assert not log_of(tmp_path, "12 requests").done, "asked for otherwise, played anew"
    log_of(tmp_path).remove()
    assert not list(tmp_path.iterdir())


def test_a_grid_that_was_cut_off_goes_on_where_it_was(tmp_path: Path):
    grid = cells((3,))[:4]
    played = []

    def play(cell: Cell) -> CellFigures:
        if len(played) == 2:
            raise KeyboardInterrupt
        played.append(cell)
        return replace(figures(1.0, device=3.0, edge=1.0, cloud=2.0), cell=cell)

    with pytest.raises(KeyboardInterrupt):
        play_all(grid, play, log_of(tmp_path), part="auto")
    first, played[:] = list(played), []
    found = play_all(grid, play, log_of(tmp_path), part="auto")
    assert [one.cell for one in found] == grid
    assert [*first, *played] == grid, "none was played twice"
    assert not list(tmp_path.iterdir()), "when all are done nothing is kept"


def test_what_no_other_way_beats_is_on_the_front():
    points = trade_offs([row(figures(1.0, device=3.0, edge=1.0, cloud=2.0))])
    service = CELL.service
    best = dict.fromkeys(points[service, "edge"], 1.0)
    assert points[service, "edge"] == best
    assert (service, "edge") in front(points)
    worse = {(service, "a"): best, (service, "b"): best | {"total_s": 2.0}, (service, "c"): best | {"total_s": 2.0, "quality": 2.0}}
    assert front(worse) == {(service, "a"), (service, "c")}
