"""`netgpt plan` before a request and `netgpt explain` after it, as a user runs them."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from netgpt.cli.main import main
from netgpt.core.clock import WallClock, run_virtual
from netgpt.core.errors import BY_CODE
from netgpt.core.storage import DiskStorage, SimulatedStorage
from netgpt.inference.request import ChatRequest
from netgpt.network.scenario_file import load_scenario
from netgpt.telemetry.events import parse_event
from netgpt.world.simulated import EVENTS, SimulatedWorld, simulate

from ..api.hash_door import hash_app, served_in_a_thread  # noqa: TID252 - the door that the API is tested with


@pytest.fixture(scope="module")
def url() -> Iterator[str]:
    with served_in_a_thread(hash_app(WallClock())) as url:
        yield url


@pytest.fixture(autouse=True)
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("NETGPT_HOME", str(tmp_path / "home"))
    return tmp_path / "home"


def test_a_plan_shows_every_way_best_first_and_the_weights(url: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["plan", "What is 5QI 1?", "--url", url, "--service", "critical"]) == 0
    shown = capsys.readouterr().out
    assert [line.split()[0] for line in shown.splitlines()[1:4]] == ["cloud1", "edge1", "device1"]
    assert "critical: J = first token + 1 x rest" in shown
    assert "cloud1 costs least" in shown


def test_a_plan_as_json_has_what_it_was_made_from(url: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["plan", "What is 5QI 1?", "--url", url, "--privacy", "device-only", "--json"]) == 0
    plan = json.loads(capsys.readouterr().out)
    assert [one["nodes"] for one in plan["candidates"]] == [["device1"]]
    assert plan["chosen"]["sources"] == {"time": "assumed", "way": "none", "quality": "assumed", "bytes": "learnt line"}
    assert "is the only one" in plan["why"]


def test_limits_travel_and_wrong_ones_are_refused(url: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["plan", "hi", "--url", url, "--privacy", "device-only", "--deadline", "1e-3", "--max-energy", "0"]) == 0, "its power is not known"
    assert main(["plan", "hi", "--url", url, "--max-cost", "0"]) == 0, "these nodes are free"
    capsys.readouterr()
    assert main(["plan", "hi", "--url", url, "--max-cost", "-1"]) == BY_CODE["invalid_request"].exit_code
    assert "max_cost is -1" in capsys.readouterr().err


def test_what_was_planned_can_be_asked_with_the_same_wishes(url: str, capsys: pytest.CaptureFixture[str]) -> None:
    wishes = ["--url", url, "--privacy", "device-only", "--service", "batch", "--deadline", "30", "--max-energy", "1e6", "--max-tokens", "8"]
    assert main(["ask", "What is 5QI 1?", *wishes, "--json"]) == 0
    told = json.loads(capsys.readouterr().out)["netgpt"]
    assert [span["node"] for span in told["origin"]] == ["device1"]
    assert told["plan"]["service"] == "batch"
    assert main(["ask", "What is 5QI 1?", "--url", url, "--max-cost", "-1"]) == BY_CODE["invalid_request"].exit_code
    assert main(["ask", "What is 5QI 1?", "--url", url, "--privacy", "device"]) == BY_CODE["invalid_request"].exit_code
    assert "did you mean 'device-only'" in capsys.readouterr().err


def test_a_request_is_explained_from_the_events(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    simulate(load_scenario("campus"), seed=1, duration_s=20, output=DiskStorage(tmp_path))
    events = [parse_event(line) for line in (tmp_path / "events.jsonl").read_bytes().splitlines()]
    planned = next(event for event in events if event.kind == "request.planned").data["request"]
    assert main(["explain", planned, "--events", str(tmp_path / "events.jsonl")]) == 0
    told = capsys.readouterr().out
    assert "cloud1 costs least" in told
    assert "next best: edge1" in told
    assert [line.split()[0] for line in told.splitlines()[-5:]] == ["first", "per", "in", "answer", "bytes"]
    named = next(event for event in events if event.kind == "request.finished" and event.data["model"] == "netgpt-edge").data["request"]
    assert main(["explain", named, "--events", str(tmp_path / "events.jsonl")]) == 0
    assert "netgpt-edge was named: nothing was chosen" in capsys.readouterr().out


def test_a_named_cascade_is_explained_by_its_own_reason(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    storage = SimulatedStorage()

    async def story() -> None:
        world = SimulatedWorld(replace(load_scenario("campus"), users=(), faults=()), 1, storage)
        await world.start()
        for model in ("cascade", "netgpt-edge"):
            async for _ in world.door("device1").chat(
                ChatRequest(request_id=f"chatcmpl-{model}", model=model, messages=(("user", "hi"),), max_tokens=4)
            ):
                pass
        await world.close()

    run_virtual(story())
    (tmp_path / "events.jsonl").write_bytes(storage.read(EVENTS))
    assert main(["explain", "chatcmpl-cascade", "--events", str(tmp_path / "events.jsonl")]) == 0
    assert "cascade was named: cloud1 runs the largest model that may answer" in capsys.readouterr().out
    assert b'"why"' not in next(line for line in storage.read(EVENTS).splitlines() if b"request.finished" in line and b"chatcmpl-netgpt-edge" in line)


def test_an_unknown_request_is_said_to_be_unknown(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "events.jsonl").write_bytes(b'{"torn')
    assert main(["explain", "chatcmpl-no", "--events", str(tmp_path / "events.jsonl")]) == BY_CODE["usage"].exit_code
    assert "names request 'chatcmpl-no'" in capsys.readouterr().err
    assert main(["explain", "chatcmpl-no"]) == BY_CODE["not_running"].exit_code
