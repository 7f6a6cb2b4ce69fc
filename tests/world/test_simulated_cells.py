"""Scenarios with cells under the virtual clock: through doors, engines, links and the air."""

from __future__ import annotations

import os
import subprocess
import sys
from dataclasses import replace
from importlib import resources
from pathlib import Path
from typing import Any

import pytest

from netgpt.core.clock import run_virtual
from netgpt.core.storage import SimulatedStorage
from netgpt.network.scenario import AttachSpec, FaultSpec, HandoverSpec, Scenario
from netgpt.network.scenario_file import load_scenario, parse_scenario
from netgpt.telemetry.events import parse_event
from netgpt.world.simulated import EVENTS, SimulatedWorld, simulate

VEHICLES = load_scenario("vehicles")
SHIPPED = resources.files("netgpt.network") / "scenarios"
DOCS = Path(__file__).parents[2] / "docs"


def run(scenario: Scenario, seed: int, duration_s: float) -> tuple[bytes, dict[str, Any]]:
    storage = SimulatedStorage()
    report = simulate(scenario, seed=seed, duration_s=duration_s, output=storage)
    return storage.read(EVENTS), report


def busy(scenario: Scenario, requests_per_s: float, **changes: Any) -> Scenario:
    return replace(scenario, users=tuple(replace(user, requests_per_s=requests_per_s, **changes) for user in scenario.users))


def driving(scenario: Scenario, *times_s: float) -> Scenario:
    """Its devices go to and fro at these times."""
    other = {"cell1": "cell2", "cell2": "cell1"}

    def changes(attach: AttachSpec) -> tuple[HandoverSpec, ...]:
        found, cell = [], attach.cell
        for at_s in times_s:
            cell = other[cell]
            found.append(HandoverSpec(at_s=at_s, to=cell))
        return tuple(found)

    return replace(scenario, attachments=tuple(replace(attach, handovers=changes(attach)) for attach in scenario.attachments))


@pytest.mark.parametrize(("name", "load"), [("vehicles", 0.5), ("factory", 0.5), ("rural", 0.5)])
def test_a_scenario_with_cells_runs_and_answers_right(name: str, load: float) -> None:
    _, report = run(busy(load_scenario(name), load), 1, 8)
    assert report["answers_wrong"] == 0
    assert report["failed"].keys() <= {"unfinished"}
    assert report["finished"] > 10
    cells = [cell.id for cell in load_scenario(name).cells]
    assert report["cell_served_bytes"].keys() == report["cell_utilisation"].keys() == {f"{cell} {way}" for cell in cells for way in ("up", "down")}
    assert all(0 < share < 1 for share in report["cell_utilisation"].values())


@pytest.mark.parametrize(("name", "count"), [("crowd", 200), ("city", 2000)])
def test_a_scenario_of_many_runs_with_few(name: str, count: int) -> None:
    text = (SHIPPED / f"{name}.toml").read_text(encoding="utf-8")
    scenario = parse_scenario(text.replace(f"count = {count}", "count = 6"), where=f"{name}.toml")
    _, report = run(busy(scenario, 1.0), 1, 5)
    assert report["answers_wrong"] == 0
    assert report["failed"].keys() <= {"unfinished"}
    assert report["finished"] > 10
    assert len(report["radio_joules"]) == 6 * len(scenario.cells)


def test_a_device_that_dies_leaves_nothing_on_the_air_and_comes_back() -> None:
    dying = replace(busy(VEHICLES, 1.0), faults=(FaultSpec(at_s=3, for_s=4, node="east1"), FaultSpec(at_s=4, for_s=30, node="west1")))
    events, report = run(dying, 1, 15)
    assert report["answers_wrong"] == 0
    assert report["failed"].keys() <= {"unfinished", "entry_lost", "entry_down"}
    told = [(event.kind, event.node) for event in map(parse_event, events.splitlines()) if event.kind in ("node.lost", "node.joined")]
    assert told.count(("node.lost", "east1")) == told.count(("node.lost", "west1")) == 1
    assert (told.count(("node.joined", "east1")), told.count(("node.joined", "west1"))) == (2, 1)


def test_the_same_seed_is_the_same_run_with_cells_and_handovers(tmp_path: Path) -> None:
    path = tmp_path / "fast.toml"
    path.write_text(
        (SHIPPED / "vehicles.toml").read_text(encoding="utf-8").replace('at = "18s"', 'at = "4s"').replace("0.033", "1.0"), encoding="utf-8"
    )
    first, report = run(load_scenario(str(path)), 3, 7)
    second, again = run(load_scenario(str(path)), 3, 7)
    assert (first, report) == (second, again)
    assert (report["handovers"], report["finished"] > 20) == (6, True)
    command = [sys.executable, "-c", "from netgpt.cli.main import entry; entry()", "simulate", str(path), "--seed", "3", "--duration", "7s"]
    subprocess.run([*command, "--output", str(tmp_path / "fresh")], env={**os.environ, "PYTHONHASHSEED": "12345"}, check=True, capture_output=True)
    assert (tmp_path / "fresh" / "events.jsonl").read_bytes() == first


def test_handovers_in_the_middle_of_answers_lose_no_token() -> None:
    _, report = run(driving(busy(VEHICLES, 1.0, answer_tokens=(30, 60)), *(1.0 + 0.37 * number for number in range(20))), 1, 12)
    assert report["handovers"] == 6 * 20
    assert report["finished"] > 40
    assert (report["answers_wrong"], report["switched"]) == (0, 0), "no answer had to go on elsewhere"
    assert report["failed"].keys() <= {"unfinished"}


def test_without_its_cell_a_device_answers_itself_and_comes_back() -> None:
    asking = replace(busy(VEHICLES, 1.0), faults=(FaultSpec(at_s=4, for_s=6, cell="cell1"),))
    _, report = run(driving(asking), 1, 20)
    assert report["answers_wrong"] == 0
    assert report["failed"].keys() <= {"unfinished"}
    assert report["switched"] > 0, "the fault must have hit some answer half-way"
    _, far = run(driving(replace(asking, faults=())), 1, 20)
    assert report["cell_served_bytes"]["cell1 down"] < far["cell_served_bytes"]["cell1 down"]
    assert far["switched"] == 0


@pytest.mark.parametrize(
    ("qos", "prompts", "tokens"), [("interactive", "interactive-prompt", "interactive-token"), ("standard", "prompt", "token"), ("background",) * 3]
)
def test_what_users_say_travels_in_the_flows_of_their_class(qos: str, prompts: str, tokens: str) -> None:
    rural = load_scenario("rural")
    quiet = replace(rural, cells=tuple(replace(cell, background_up=0.0, background_down=0.0) for cell in rural.cells))

    async def main() -> set[tuple[str, str]]:
        world = SimulatedWorld(busy(quiet, 2.0, qos=qos, model="netgpt-edge"), 1, SimulatedStorage())
        await world.start()
        world.background.spawn(world.use(world.scenario.users[0], "user.0"), name="user-0")
        await world.clock.sleep(3.0)
        await world.close()
        assert world.radio is not None
        return {*world.radio.cells["mast"].totals}

    assert run_virtual(main()) == {("up", "heartbeat"), ("down", "heartbeat"), ("up", prompts), ("down", tokens)}


def test_energy_is_that_of_radios_and_declared_machines() -> None:
    _, report = run(VEHICLES, 1, 10)
    _, twice = run(VEHICLES, 1, 20)
    assert report["radio_joules"].keys() == {attach.node for attach in VEHICLES.attachments}
    assert report["idle_joules"].keys() == report["compute_joules"].keys() == {node.id for node in VEHICLES.nodes}
    assert report["idle_joules"]["cloud1"] == pytest.approx(75.0 * 10, rel=0.02), "75 W: the idle power of the profile of `cloud-server`"
    for key in ("radio_joules", "idle_joules"):
        assert sum(twice[key].values()) == pytest.approx(2 * sum(report[key].values()), rel=0.05)
    _, asked = run(busy(VEHICLES, 1.0), 1, 10)
    assert sum(asked["compute_joules"].values()) > sum(report["compute_joules"].values())
    assert sum(asked["radio_joules"].values()) > sum(report["radio_joules"].values())


def test_every_figure_of_the_report_is_explained() -> None:
    _, report = run(busy(load_scenario("rural"), 0.5), 1, 4)
    page = (DOCS / "scenarios.md").read_text(encoding="utf-8")
    assert [key for key in report if f"`{key}`" not in page] == []
