"""What `netgpt up` asks for, in values that fit in JSON: it may be carried out by another process."""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass
from typing import Literal

from netgpt.core.errors import UsageError
from netgpt.core.spelling import did_you_mean
from netgpt.network.scenario import Scenario
from netgpt.network.scenario_file import load_scenario
from netgpt.wire.messages import PROTOCOL_VERSION


@dataclass(frozen=True, kw_only=True)
class UpRequest:
    """What `netgpt up` was asked for, in values that fit in JSON."""

    home: str
    scenario: str  # a name, or an absolute path
    port: int = 8080  # 0: any free ones
    host: str = "127.0.0.1"  # of doors and of the controller's HTTP API
    allowed_hosts: str = ""
    engine: Literal["torch", "hash"] = "torch"
    dtype: str = "float32"
    timing: Literal["real", "declared"] = "real"
    threads: int = 0  # 0: as many as there are cores, at most 4
    models: str = ""
    default_node: str = ""  # empty: as the scenario says
    agreement: float | None = None  # None: as the scenario says
    tls: Literal["off", "on"] = "off"
    links: Literal["off", "stream", "packet"] = "off"
    wire_version: int = PROTOCOL_VERSION
    policy: str = ""  # who chooses for `auto`; empty: NetGPT
    until_pid: int = 0  # the process with which all ends; 0: none


def requested_scenario(request: UpRequest) -> Scenario:
    """The scenario with what the request overrides.

    Raises:
        ScenarioInvalid: the scenario is unknown or wrong.
        UsageError: the requested default node is none of its nodes.
    """
    scenario = load_scenario(request.scenario)
    node = request.default_node or scenario.default_node
    known = [each.id for each in scenario.nodes]
    if node not in known:
        raise UsageError(f"the default node {node!r} is no node of scenario {scenario.name!r}", hint=did_you_mean(node, known), param="default_node")
    agreement = scenario.agreement if request.agreement is None else request.agreement
    return dataclasses.replace(scenario, default_node=node, agreement=agreement)
