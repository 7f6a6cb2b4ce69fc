"""What a world cannot run is refused with its place, and what it leaves out is told."""

import os
from dataclasses import replace
from pathlib import Path

import pytest

from netgpt.core.errors import ScenarioInvalid
from netgpt.core.storage import SimulatedStorage
from netgpt.network.arrivals import with_request_trace
from netgpt.network.scenario_file import load_scenario, parse_scenario, shipped_scenarios
from netgpt.world.modelled import MOST_EMULATED_NODES, check_emulated, check_simulated
from netgpt.world.simulated import EVENTS, simulate

TEXT = """
[[node]]
id = "edge1"
tier = "edge"
model = "netgpt-edge"
profile = "edge-server"
[[node]]
id = "ue"
count = 2
tier = "device"
model = "netgpt-device"
profile = "phone"
[[link]]
between = ["ue", "edge1"]
up = "20Mbps"
down = "20Mbps"
delay = "5ms"
[[user]]
at = "ue"
requests_per_s = 1
"""
NO_WAY_TO_THE_CELL = """[[node]]
id = "edge2"
tier = "edge"
model = "netgpt-edge"
profile = "edge-server"
[[cell]]
id = "c"
at = "edge2"
bandwidth = "20MHz"
[[link]]"""
REAL = os.environ.get("REQUEST_TRACE", "")  # a file in the Azure format: read where it lies


@pytest.mark.parametrize(
    ("change", "to", "line", "said"),
    [
        ("[[link]]", NO_WAY_TO_THE_CELL, 20, "cell 'c' has no path from 'edge2' to 'edge1'"),
        ('between = ["ue", "edge1"]', 'between = ["ue1", "edge1"]', 8, "node 'ue2' has no path to 'edge1'"),
    ],
)
def test_what_the_simulated_world_does_not_model_is_refused(change: str, to: str, line: int, said: str) -> None:
    assert change in TEXT
    with pytest.raises(ScenarioInvalid) as caught:
        check_simulated(parse_scenario(TEXT.replace(change, to, 1), where="test.toml"))
    assert caught.value.message.startswith(f"test.toml:{line}: ")
    assert said in caught.value.message
    assert caught.value.hint


def test_what_is_left_out_is_told_once_for_a_group() -> None:
    assert check_simulated(parse_scenario(TEXT, where="test.toml")) == []
    text = TEXT.replace('delay = "5ms"', 'delay = "5ms"\njitter_up = "1ms"\nqueue_down = "50ms"\nloss_up = "1%"')
    told = check_simulated(parse_scenario(text, where="test.toml"))
    assert len(told) == 1
    assert told[0].endswith(": ue-edge1")


def test_a_link_of_a_device_in_a_cell_carries_nothing_and_is_named() -> None:
    cell = '[[cell]]\nid = "c"\nat = "edge1"\nbandwidth = "20MHz"\n[[attach]]\nnode = "ue1"\ncell = "c"\nefficiency_up = 1\nefficiency_down = 2\n'
    scenario = parse_scenario(TEXT.replace("requests_per_s = 1", 'requests_per_s = 3\nmodel = "netgpt-edge"') + cell, where="test.toml")
    assert check_simulated(scenario) == ["devices in cells are reached over the air alone, so these carry nothing: ue-edge1"]
    report = simulate(scenario, seed=1, duration_s=4, output=SimulatedStorage())
    assert report["finished"] > 5
    assert {"c up", "ue2-edge1 up"} <= report["link_payload_bytes"].keys()
    assert "ue1-edge1 up" not in report["link_payload_bytes"]


def test_a_link_that_follows_a_trace_carries_nothing_in_its_outage(tmp_path: Path) -> None:
    (tmp_path / "a.csv").write_text("# unit: Mbps\n# period_s: 1000\ntime_s,value\n0,20\n10,0\n20,20\n", encoding="utf-8")
    path = tmp_path / "traced.toml"
    path.write_text(TEXT.replace('up = "20Mbps"', 'up_trace = "a.csv"'), encoding="utf-8")
    reports = {}
    for name, scenario in (("traced", load_scenario(str(path))), ("constant", parse_scenario(TEXT, where="test.toml"))):
        asking = replace(scenario, users=tuple(replace(user, model="netgpt-edge") for user in scenario.users))
        reports[name] = simulate(asking, seed=1, duration_s=40, output=SimulatedStorage())
    assert all((report["answers_wrong"], report["finished"] > 20) == (0, True) for report in reports.values())
    assert reports["traced"]["time_to_first_token_p95_s"] > 5 > reports["constant"]["time_to_first_token_p95_s"], "some ask just after 10 s"


def test_campus_runs_everywhere_and_nothing_of_it_is_left_out() -> None:
    campus = load_scenario("campus")
    check_emulated(campus)
    assert check_simulated(campus) == []


@pytest.mark.parametrize("name", [name for name in shipped_scenarios() if name.startswith("sa4-")])
def test_every_preset_runs_and_answers_right(name: str) -> None:
    scenario = load_scenario(name)
    busy = replace(scenario, users=tuple(replace(user, requests_per_s=2.0, answer_tokens=(4, 8)) for user in scenario.users))
    events = SimulatedStorage()
    report = simulate(busy, seed=1, duration_s=15, output=events)
    assert report["answers_wrong"] == 0
    assert report["failed"].keys() <= {"unfinished"}
    assert report["finished"] > 5
    assert report["time_to_first_token_p50_s"] > 2 * scenario.links[0].delay_s, "the cloud answers: prompts and tokens cross the link"
    assert report["left_out"]
    assert b"node.lost" not in events.read(EVENTS), "whoever is far away is not lost"


def test_a_group_of_users_at_a_group_of_nodes_asks_at_every_door() -> None:
    scenario = parse_scenario(TEXT + "count = 2\n", where="test.toml")
    report = simulate(scenario, seed=3, duration_s=10, output=SimulatedStorage())
    assert report["requests"] == pytest.approx(4 * 10, rel=0.5)
    assert report["answers_wrong"] == 0
    assert {"ue1-edge1 up", "ue2-edge1 up"} <= report["link_payload_bytes"].keys()


def test_too_many_nodes_for_processes_are_refused_at_the_largest_count() -> None:
    many = TEXT.replace("count = 2", f"count = {MOST_EMULATED_NODES}")
    with pytest.raises(ScenarioInvalid) as caught:
        check_emulated(parse_scenario(many, where="mine.toml"))
    assert caught.value.message.startswith("mine.toml:9: 'mine' has 17 nodes")
    assert "netgpt simulate mine" in caught.value.hint
    check_emulated(parse_scenario(many.replace(str(MOST_EMULATED_NODES), str(MOST_EMULATED_NODES - 1)), where="mine.toml"))


def test_what_is_for_the_simulated_world_only_is_refused_by_the_emulated_one() -> None:
    with pytest.raises(ScenarioInvalid, match=r"^mine.toml:1: 'mine' has 3 nodes and is for the simulated world only") as caught:
        check_emulated(parse_scenario("simulation_only = true" + TEXT, where="mine.toml"))
    assert "netgpt simulate" in caught.value.hint


@pytest.mark.skipif(not REAL, reason="REQUEST_TRACE names no file in the Azure format")
def test_a_real_request_trace_drives_a_simulation() -> None:
    scenario = with_request_trace(load_scenario("campus"), Path(REAL))
    report = simulate(replace(scenario, faults=()), seed=1, duration_s=20, output=SimulatedStorage())
    assert report["finished"] > 5
    assert report["failed"].keys() <= {"context_length_exceeded", "unfinished"}, "the trace has prompts longer than a hash model's context"
    assert report["answers_wrong"] == 0
