"""`netgpt hardware`, and what the first screen of `netgpt up` says of declared timing."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import pytest

from netgpt.bench.this_machine import write_profile
from netgpt.cli.main import main
from netgpt.cli.up import ready_screen
from netgpt.network.profile import THIS_MACHINE, find_profile, profiles
from netgpt.network.roofline import declare
from netgpt.network.scenario_file import load_scenario
from netgpt.network.shape import find_shape
from netgpt.world.emulated import Build, declared_nodes
from netgpt.world.runstate import DOOR, SUPERVISOR, ProcessState, RunState


@pytest.fixture(autouse=True)
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("NETGPT_HOME", str(tmp_path / "home"))
    return tmp_path / "home"


def test_the_list_has_every_machine_with_its_source(home: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["hardware", "list"]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert lines[0].split() == ["NAME", "CLASS", "FLOP/S", "GB/S", "GB", "W", "SOURCE"]
    assert len(lines) == len(profiles()) + 2
    assert "has not been measured: netgpt hardware measure" in lines[-1]
    assert any(line.startswith("l4, edge-server") and "NVIDIA L4 data sheet" in line for line in lines)
    write_profile(home, replace(find_profile("a100"), id=THIS_MACHINE, kind=THIS_MACHINE))
    assert main(["hardware", "list", "--json"]) == 0
    told = json.loads(capsys.readouterr().out)
    assert (told[-1]["id"], told[-1]["class"], told[-1]["flops"]["bf16"]) == (THIS_MACHINE, THIS_MACHINE, 312e12)


def test_a_machine_is_shown_with_what_models_do_on_it(capsys: pytest.CaptureFixture[str]) -> None:
    assert (
        main(["hardware", "show", "phone", "--card", "llama-3.2-1b", "--card", "llama-3.1-70b", "--precision", "int4", "--prompt", "128", "--json"])
        == 0
    )
    small, large = json.loads(capsys.readouterr().out)["models"]
    declared = declare(find_profile("phone"), find_shape("llama-3.2-1b"), "int4")
    assert small["prefill_s"] == declared.prefill_s(128)
    assert small["step_s"] == declared.decode_s([128])
    assert large["step_s"] is None
    assert "needs" in large["note"]
    assert main(["hardware", "show", "edge-server", "--batch", "8"]) == 0
    told = capsys.readouterr().out
    assert told.startswith("l4: NVIDIA L4 24 GB")
    assert "Modelled, not measured" in told
    assert "llama-3.1-70b in int4 on l4 with 8 slots needs" in told


@pytest.mark.parametrize(
    ("arguments", "complaint"),
    [
        (["show"], "takes a machine"),
        (["list", "phone"], "takes no name"),
        (["show", "phoen"], "unknown hardware profile 'phoen'"),
        (["show", "phone", "--card", "qwen"], "unknown card 'qwen'"),
        (["show", "phone", "--prompt", "0"], "--prompt is 0"),
        (["show", THIS_MACHINE], "this machine has not been measured"),
    ],
)
def test_what_is_wrong_is_said(arguments: list[str], complaint: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["hardware", *arguments]) != 0
    assert complaint in capsys.readouterr().err


def test_the_first_screen_says_whose_times_they_are(tmp_path: Path) -> None:
    scenario = load_scenario("campus")
    build = Build(
        home=tmp_path, network_key_file=tmp_path / "key", engine="hash", dtype="float32", timing="declared", threads=1, model_folders={}
    )  # fmt: skip
    declared = declared_nodes(scenario, build)
    assert declared["edge1"] == "8B in int8 on l4"
    assert declared_nodes(scenario, replace(build, timing="real")) == {}
    supervisor = ProcessState(name="supervisor", node=None, tier=None, role=SUPERVISOR, model=None, port=None, state="ready")
    door = ProcessState(name="edge1-door", node="edge1", tier="edge", role=DOOR, model="netgpt-edge", port=8000, state="ready")
    state = RunState(
        scenario="campus",
        default_node="edge1",
        engine="hash",
        dtype="",
        timing="declared",
        supervisor=supervisor,
        processes=(door,),
        declared=declared,
    )
    screen = ready_screen(state, home_flag="", detached=True)
    assert "Timing is declared: no answer comes before these machines would give it." in screen
    assert "  edge1: 8B in int8 on l4" in screen
    assert "Timing is declared" not in ready_screen(replace(state, declared={}), home_flag="", detached=True)


NETWORK = """
[[node]]
id = "one"
tier = "device"
model = "netgpt-device"
profile = "this-machine"
card = "qwen2.5-0.5b"
slots = 2
[[user]]
at = "one"
requests_per_s = 2.0
"""


def test_a_simulated_network_has_this_machines_times_once_it_is_measured(home: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "one.toml").write_text(NETWORK, encoding="utf-8")
    run = ["simulate", str(tmp_path / "one.toml"), "--duration", "3s", "--output", str(tmp_path / "run")]
    assert main(run) != 0
    said = capsys.readouterr().err
    assert f"{tmp_path / 'one.toml'}:6: node 'one': this machine has not been measured" in said
    write_profile(home, replace(find_profile("a100"), id=THIS_MACHINE, kind=THIS_MACHINE))
    assert main(run) == 0
    assert "timing of one" in capsys.readouterr().out
    report = json.loads((tmp_path / "run" / "report.json").read_text())
    assert report["declared"] == {"one": "qwen2.5-0.5b in bf16 on this-machine"}
    assert report["finished"] > 0


def test_a_model_too_large_for_this_machine_is_refused_by_file_and_line(home: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "one.toml").write_text(NETWORK.replace("qwen2.5-0.5b", "llama-3.1-70b"), encoding="utf-8")
    write_profile(home, replace(find_profile("l4"), id=THIS_MACHINE, kind=THIS_MACHINE))
    assert main(["simulate", str(tmp_path / "one.toml"), "--duration", "3s", "--output", str(tmp_path / "run")]) == 9
    said = capsys.readouterr().err
    assert f"{tmp_path / 'one.toml'}:5: node 'one': llama-3.1-70b in " in said
    assert "take a smaller model" in said
