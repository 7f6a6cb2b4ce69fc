"""Brings an emulated network up in this process, and keeps it up until a signal stops it.

Finds everything that can be wrong before a process starts; how processes are then kept alive is
`world.upkeep`.
"""

from __future__ import annotations

import os
from collections.abc import Callable
from functools import partial
from pathlib import Path

from netgpt.api.hosts import check_bind
from netgpt.api.key_file import KeyStore
from netgpt.core.clock import WallClock
from netgpt.models.store import search_path
from netgpt.network.scenario import Scenario
from netgpt.wire.identity import JoinAuthority
from netgpt.world.emulated import Build, PortPlan, check_replays, declared_nodes, find_models, free_port_plan, network_stages, plan_ports
from netgpt.world.identities import issue_identities
from netgpt.world.modelled import check_emulated
from netgpt.world.networkkey import ensure_network_key, network_key_file
from netgpt.world.ports import check_ports, free_ports
from netgpt.world.request import UpRequest, requested_scenario
from netgpt.world.runstate import CONTROLLER, RunState
from netgpt.world.shaping import DirectLinks, Links, PacketLinks, StreamLinks, check_packets, check_shaped
from netgpt.world.upkeep import Say, Standing, WhenReady, keep_up, this_process
from netgpt.world.upstream import check_upstreams

JOIN_TOKEN_TTL_S = 300.0
MOST_DEFAULT_THREADS = 4


def run_network(request: UpRequest, *, say: Say, when_ready: WhenReady, own_log: bool = False) -> None:
    """Start the network, call `when_ready` with its state, and keep it up until SIGTERM, SIGHUP or SIGINT, or the end of `until_pid`.

    Args:
        own_log: whether this process's stderr becomes the supervisor's log once it has one.

    Raises:
        AlreadyRunning, PortInUse, ScenarioInvalid, ModelNotFound, ...: it could not start.
        KeyboardInterrupt: SIGINT stopped it; everything is stopped.
    """
    scenario = requested_scenario(request)
    check_emulated(scenario)
    if scenario.cells and request.links == "off":
        say("cells and links are not shaped: what this network says crosses loopback as it is; to shape them: netgpt up --links stream")
    plan = partial(_plan, request, scenario)
    keep_up(Path(request.home), plan, say=say, when_ready=when_ready, own_log=own_log, until_pid=request.until_pid)


def _plan(request: UpRequest, scenario: Scenario) -> Standing:
    """Find everything that can be wrong without starting a process."""
    home = Path(request.home)
    clock = WallClock()
    keys = KeyStore(home, clock)
    check_bind(request.host, has_key=keys.ring().any_valid(clock.date_s()))
    check_replays(scenario)
    check_upstreams(scenario, os.environ)
    models = find_models(scenario, search_path(home, request.models)) if request.engine == "torch" else {}
    ports = plan_ports(scenario, request.port) if request.port else free_port_plan(scenario, request.host)
    check_ports(ports.all(), request.host)
    links = _links(request, scenario, ports)
    build = Build(
        home=home,
        network_key_file=network_key_file(home),
        engine=request.engine,
        dtype=request.dtype,
        timing=request.timing,
        threads=threads_of(request.threads),
        model_folders=models,
        host=request.host,
        allowed_hosts=request.allowed_hosts,
        tls=request.tls == "on",
        wire_version=request.wire_version,
        policy=request.policy,
        links=links,
    )
    keys.renew_local()
    stages = network_stages(scenario, ports, build, join_token=_join_tokens(scenario, build))
    state = RunState(
        scenario=scenario.name,
        default_node=scenario.default_node,
        engine=request.engine,
        dtype=request.dtype,
        timing=request.timing,
        supervisor=this_process(),
        processes=(),
        declared=declared_nodes(scenario, build),
        links=request.links,
    )
    return Standing(home=home, name=scenario.name, stages=stages, first_state=state)


def _links(request: UpRequest, scenario: Scenario, ports: PortPlan) -> Links:
    """How nodes reach each other.

    Raises:
        UsageError: the machine or the scenario does not permit what was asked for.
    """
    if request.links == "off":
        return DirectLinks()
    check_shaped(scenario)
    match request.links:
        case "stream":
            return StreamLinks(scenario, request, dict(zip((node.id for node in scenario.nodes), free_ports(len(scenario.nodes)), strict=True)))
        case "packet":
            check_packets(scenario)
            return PacketLinks(scenario, request, {**ports.doors, CONTROLLER: ports.controller_http})


def _join_tokens(scenario: Scenario, build: Build) -> Callable[[str], str]:
    """What a door is told at each start so that it may join. Over TLS nothing: its certificate lies in the home."""
    date_s = WallClock().date_s
    if build.tls:
        issue_identities(build.home, {node.id: node.tier for node in scenario.nodes}, date_s)
        return lambda node: ""
    authority = JoinAuthority(ensure_network_key(build.home), date_s)
    return lambda node: authority.issue(node, JOIN_TOKEN_TTL_S)


def threads_of(threads: int) -> int:
    """The setting `threads`, with its default worked out."""
    return threads or min(len(os.sched_getaffinity(0)), MOST_DEFAULT_THREADS)
