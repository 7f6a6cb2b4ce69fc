"""`auto` over real processes and, where the checkout has weights, real models: what nodes say of their pace, and what doors need for choosing."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from ..conftest import RunningNetwork  # noqa: TID252 - the network that all tests talk to


def processes(network: RunningNetwork, role: str) -> dict[str, int]:
    """Pids, by node."""
    return {row["node"]: row["pid"] for row in json.loads(network.run("netgpt", "ps", "--json").stdout) if row["role"] == role}


def planned(network: RunningNetwork) -> dict[str, Any]:
    done = network.run("netgpt", "plan", "What is 5QI 1?", "--json")
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout)


def test_doors_plan_by_the_pace_that_real_models_have_measured_of_themselves(network: RunningNetwork) -> None:
    candidates = [one for one in planned(network)["candidates"] if one["strategy"] == "direct"]
    assert {one["nodes"][0] for one in candidates} == {"cloud1", "edge1", "device1"}
    if network.environment["NETGPT_ENGINE"] == "torch":
        assert {one["sources"]["time"] for one in candidates} <= {"told", "learnt"}
        assert len({one["token_s"] for one in candidates}) == 3, "each its own; of nodes that say nothing the same is taken for granted"


def test_no_door_loads_torch_when_it_plans(network: RunningNetwork) -> None:
    assert network.run("netgpt", "ask", "What is 5QI 1?", "--model", "auto").returncode == 0
    planned(network)
    maps = {node: Path(f"/proc/{pid}/maps").read_text() for node, pid in processes(network, "door").items()}
    assert maps
    assert [node for node, text in maps.items() if "libtorch" in text] == []
    if network.environment["NETGPT_ENGINE"] == "torch":
        assert all("libtorch" in Path(f"/proc/{pid}/maps").read_text() for pid in processes(network, "engine").values())
