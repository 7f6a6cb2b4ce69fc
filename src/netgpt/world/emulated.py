"""The emulated world's plan: which processes a scenario needs, at which ports, told what.

Pure once ports and model folders are found: the same scenario gives the same plan. What keeps the
processes alive is `world.supervisor`; what they do is `world.serve`.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Literal

from netgpt.models.recording import read_recording
from netgpt.models.store import find_model, read_card
from netgpt.network.scenario import NodeSpec, Scenario
from netgpt.wire.certificates import CONTROLLER as CONTROLLER_NAME
from netgpt.wire.messages import PROTOCOL_VERSION
from netgpt.world.config import LOOPBACK, Config, ControllerConfig, DoorConfig, EngineConfig, UpstreamConfig
from netgpt.world.declared import declared_node
from netgpt.world.identities import authority_folder, identity_file
from netgpt.world.ports import free_ports
from netgpt.world.runstate import CONTROLLER, DOOR, ENGINE
from netgpt.world.shaping import DirectLinks, Links
from netgpt.world.supervisor import Ports, ProcessSpec
from netgpt.world.upstream import upstream_config


@dataclass(frozen=True, kw_only=True)
class PortPlan:
    """The ports that people use. Those between processes are any free ones."""

    doors: Mapping[str, int]  # by node
    controller_http: int

    def all(self) -> list[int]:
        return [*self.doors.values(), self.controller_http]


@dataclass(frozen=True, kw_only=True)
class Build:
    """How a scenario's nodes are built: the same for all of them."""

    home: Path
    network_key_file: Path
    engine: Literal["torch", "hash"]
    dtype: str
    timing: Literal["real", "declared"]
    threads: int
    model_folders: Mapping[str, Path]  # by node; none for nodes without torch
    host: str = LOOPBACK  # of HTTP; what processes say to each other stays on loopback
    allowed_hosts: str = ""
    tls: bool = False
    wire_version: int = PROTOCOL_VERSION
    policy: str = ""
    links: Links = field(default_factory=DirectLinks)

    def identity_file(self, name: str) -> str:
        return str(identity_file(self.home, name)) if self.tls else ""


def plan_ports(scenario: Scenario, first: int) -> PortPlan:
    """`first` is the default node's door; the other doors follow in the scenario's order, then the controller."""
    others = [node.id for node in scenario.nodes if node.id != scenario.default_node]
    doors = {node: first + offset for offset, node in enumerate([scenario.default_node, *others])}
    return PortPlan(doors=doors, controller_http=first + len(doors))


def free_port_plan(scenario: Scenario, host: str = LOOPBACK) -> PortPlan:
    """Any ports that are free now at `host`; another process may take one before it is used.

    Raises:
        UsageError: `host` is no address of this machine.
    """
    ports = free_ports(len(scenario.nodes) + 1, host)
    return PortPlan(doors=dict(zip((node.id for node in scenario.nodes), ports, strict=False)), controller_http=ports[-1])


def find_models(scenario: Scenario, search: Sequence[Path], *, fetch: bool = True) -> dict[str, Path]:
    """The model folder of every node that runs one. Weights are not opened: a torn file is for its engine to find.

    Raises:
        ModelNotFound: a node's model is in no folder of `search`.
        ModelInvalid, NotSupported: what a folder says of its model is wrong, or not implemented.
    """
    folders = {node.id: find_model(node.model, search, fetch=fetch).resolve() for node in scenario.nodes if node.needs_folder}
    for folder in sorted(set(folders.values())):
        read_card(folder)
    return folders


def network_stages(scenario: Scenario, ports: PortPlan, build: Build, *, join_token: Callable[[str], str]) -> list[list[ProcessSpec]]:
    """What shapes links, the controller, then all engines, then all doors; a node with an upstream has no engine of its own.

    Args:
        join_token: makes a fresh token for a node; called at each start of its door.
    """
    doors = [_door(node, ports, build, join_token) for node in scenario.nodes]
    engines = [_engine(node, scenario, build) for node in scenario.nodes if not node.asks_upstream]
    return [*build.links.stages(), [_controller(ports, build)], engines, doors]


def _controller(ports: PortPlan, build: Build) -> ProcessSpec:
    def configure(known: Ports) -> dict[str, object]:
        return told(
            ControllerConfig(
                home=str(build.home),
                host=build.links.host(CONTROLLER),
                port=known.get(CONTROLLER, {}).get("port", 0),
                http_port=ports.controller_http,
                network_key_file=str(build.network_key_file),
                http_host=build.host,
                allowed_hosts=build.allowed_hosts,
                identity_file=build.identity_file(CONTROLLER_NAME),
                authority_folder=str(authority_folder(build.home)) if build.tls else "",
            )
        )

    return ProcessSpec(
        name=CONTROLLER,
        node=None,
        tier=None,
        role=CONTROLLER,
        model=None,
        port=ports.controller_http,
        host=build.host,
        configure=configure,
        environment=environment(threads=1),
        inside=partial(build.links.inside, CONTROLLER),
    )


def _engine(node: NodeSpec, scenario: Scenario, build: Build) -> ProcessSpec:
    name = f"{node.id}-{ENGINE}"

    def configure(known: Ports) -> dict[str, object]:
        return told(_engine_config(node, scenario, build, port=known.get(name, {}).get("port", build.links.engine_port(node.id))))

    return ProcessSpec(
        name=name,
        node=node.id,
        tier=node.tier,
        role=ENGINE,
        model=node.model,
        port=None,
        configure=configure,
        environment=environment(threads=build.threads),
        inside=partial(build.links.inside, node.id),
    )


def _engine_config(node: NodeSpec, scenario: Scenario, build: Build, *, port: int = 0) -> EngineConfig:
    return EngineConfig(
        node=node.id,
        tier=node.tier,
        model_folder=_model_folder(node, build),
        engine="replay" if node.replays else build.engine,
        dtype=build.dtype,
        threads=build.threads,
        slots=node.slots,
        cache_entries=node.cache_entries,
        profile=node.profile,
        parameters=node.parameters,
        timing=_timing(node, build),
        host=build.links.host(node.id),
        port=port,
        network_key_file=str(build.network_key_file),
        agreement=scenario.agreement,
        card=node.card,
        precision=node.precision,
        variants=node.variants,
        home=str(build.home),
        quality=node.quality,
        price_prompt=node.price_prompt,
        price_answer=node.price_answer,
        recording=node.recording,
        recorded_model=node.model if node.replays else "",
        identity_file=build.identity_file(node.id),
        wire_version=build.wire_version,
    )


def declared_nodes(scenario: Scenario, build: Build) -> dict[str, str]:
    """What each node's times are those of, by node; none for nodes that run at their own speed.

    Raises:
        ScenarioInvalid: a declared machine has not been measured, or is too small for its model; named with file and line.
    """
    found: dict[str, str] = {}
    for node in scenario.nodes:
        if not node.asks_upstream and _timing(node, build) == "declared" and (declared := declared_node(node, _engine_config(node, scenario, build))):
            found[node.id] = str(declared)
    return found


def _door(node: NodeSpec, ports: PortPlan, build: Build, join_token: Callable[[str], str]) -> ProcessSpec:
    name = f"{node.id}-{DOOR}"

    def upstream(known: Ports) -> UpstreamConfig | None:
        port = known.get(name, {}).get("port", build.links.engine_port(node.id))
        return upstream_config(node, port=port, network_key_file=str(build.network_key_file)) if node.asks_upstream else None

    def configure(known: Ports) -> dict[str, object]:
        return told(
            DoorConfig(
                node=node.id,
                tier=node.tier,
                home=str(build.home),
                http_port=ports.doors[node.id],
                engine_address="" if node.asks_upstream else f"{build.links.host(node.id)}:{known[f'{node.id}-{ENGINE}']['port']}",
                controller_address=f"{build.links.host(CONTROLLER)}:{known[CONTROLLER]['port']}",
                join_token=join_token(node.id),
                model_folder=_model_folder(node, build),
                engine=_door_engine(node, build),
                upstream=upstream(known),
                battery_j=node.battery_j,
                battery=node.battery,
                policy=build.policy,
                ways=build.links.ways(node.id, known),
                http_host=build.host,
                allowed_hosts=build.allowed_hosts,
                identity_file=build.identity_file(node.id),
                wire_version=build.wire_version,
            )
        )

    return ProcessSpec(
        name=name,
        node=node.id,
        tier=node.tier,
        role=DOOR,
        model=node.model,
        port=ports.doors[node.id],
        host=build.host,
        configure=configure,
        environment=environment(threads=1),
        inside=partial(build.links.inside, node.id),
    )


def _door_engine(node: NodeSpec, build: Build) -> Literal["torch", "hash", "replay", "openai"]:
    if node.asks_upstream:
        return "openai"
    return "replay" if node.replays else build.engine


def _model_folder(node: NodeSpec, build: Build) -> str:
    return str(build.model_folders.get(node.id, ""))


def _timing(node: NodeSpec, build: Build) -> Literal["real", "declared", "recorded"]:
    """A replay says itself how it is timed."""
    if not node.replays:
        return build.timing
    return "declared" if node.timing == "profile" else "recorded"


def check_replays(scenario: Scenario) -> None:
    """Refuse recordings that cannot be played; raises UsageError if one cannot be read, or has no such model."""
    replaying = [node for node in scenario.nodes if node.replays]
    recordings = {path: read_recording(Path(path)) for path in dict.fromkeys(node.recording for node in replaying)}
    for node in replaying:
        recordings[node.recording].of_model(node.model)


def told(config: Config) -> dict[str, object]:
    return dataclasses.asdict(config)


def environment(*, threads: int) -> dict[str, str]:
    """Several processes share the machine: few threads and few malloc arenas each, and no network for libraries."""
    count = str(threads)
    return {
        "OMP_NUM_THREADS": count,
        "OMP_WAIT_POLICY": "PASSIVE",  # several engines share the cores: one that waits must not spin
        "MKL_NUM_THREADS": count,
        "OPENBLAS_NUM_THREADS": count,
        "MALLOC_ARENA_MAX": "2",
        "TOKENIZERS_PARALLELISM": "false",
        "HF_HUB_OFFLINE": "1",
    }
