"""The deployed world: a controller, or one node, on a machine of its own; mutual TLS between all of them.

A node is the same pair of processes as in the emulated world, a door and an engine, kept up by the same
supervisor (`world.upkeep`); a node with an upstream is a door alone, which others ask as they ask an engine.
Each machine has a home of its own; nothing is shared but the network.
"""

from __future__ import annotations

import ipaddress
import os
import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from netgpt.api.hosts import check_bind
from netgpt.api.key_file import KeyStore
from netgpt.core.clock import WallClock
from netgpt.core.errors import UsageError
from netgpt.models.store import find_model, read_card, search_path
from netgpt.network.scenario import NodeSpec
from netgpt.wire.certificates import CONTROLLER as CONTROLLER_NAME
from netgpt.wire.messages import PROTOCOL_VERSION
from netgpt.wire.own_identity import Identity
from netgpt.world.config import Config, ControllerConfig, DoorConfig, EngineConfig, UpstreamConfig, address
from netgpt.world.emulated import environment, told
from netgpt.world.identities import authority_folder, identity_file, issue_identities
from netgpt.world.joining import Joining, own_identity
from netgpt.world.launch import threads_of
from netgpt.world.runstate import CONTROLLER, DOOR, ENGINE, RunState
from netgpt.world.supervisor import Ports, ProcessSpec
from netgpt.world.upkeep import Say, Standing, WhenReady, keep_up, this_process
from netgpt.world.upstream import check_upstream, upstream_config

DEPLOYED = "deployed"  # stands where the emulated world has a scenario's name
SLOTS = 16
LEAVE_CACHE = "leave --cache-entries out here, and give it where an edge node starts"
_ADDRESS = re.compile(r"(\[(?P<ipv6>[0-9a-fA-F:.]+)\]|(?P<host>[^\[\]:]+)):(?P<port>[0-9]{1,5})")


@dataclass(frozen=True, kw_only=True)
class Address:
    """Where a process listens, and by what others reach it."""

    host: str  # without brackets
    port: int

    def __str__(self) -> str:
        return address(self.host, self.port)


@dataclass(frozen=True, kw_only=True)
class ControllerRequest:
    """What `netgpt controller` was asked for."""

    home: Path
    listen: Address  # for nodes
    http: Address  # for people
    allowed_hosts: str = ""
    until_pid: int = 0  # the process with which all ends; 0: none


@dataclass(frozen=True, kw_only=True)
class NodeRequest:
    """What `netgpt node` was asked for."""

    home: Path
    listen: Address  # its engine, for other nodes
    door: Address  # its HTTP API, for its users
    controller: str = ""  # host:port; empty: as at the join
    token: str = ""
    tier: str = ""  # empty: as the token says
    model: str = ""  # empty: the tier's
    engine: Literal["torch", "hash"] = "torch"
    upstream: str = ""  # base URL of an OpenAI-compatible server, which then answers in place of an engine of ours
    api_key_env: str = ""  # the variable that holds its key
    context_tokens: int = 0  # of its model; 0: as it says
    cache_entries: int = 0  # answers that it keeps for doors; 0: none
    dtype: str = "float32"
    threads: int = 0
    models: str = ""
    agreement: float = 0.8
    allowed_hosts: str = ""
    wire_version: int = PROTOCOL_VERSION
    policy: str = ""  # who chooses for `auto`; empty: NetGPT
    until_pid: int = 0  # the process with which all ends; 0: none


def parse_address(text: str, param: str) -> Address:
    """`HOST:PORT`, or `[IPV6]:PORT`, with a port that people can be told.

    Raises:
        UsageError: anything else.
    """
    match = _ADDRESS.fullmatch(text)
    if match is None or not 0 < int(match["port"]) < 1 << 16:
        hint = f"write --{param} HOST:PORT with a port from 1 to 65535, and an IPv6 address in brackets: [::1]:7000"
        raise UsageError(f"--{param} is {text!r}", hint=hint, param=param)
    return Address(host=match["ipv6"] or match["host"], port=int(match["port"]))


def check_reachable(address: Address, param: str) -> None:
    """Refuse an address that means every interface: other machines are told it as it is.

    Raises:
        UsageError: `0.0.0.0` or `::`.
    """
    ip = _ip(address.host)
    if ip is not None and ip.is_unspecified:
        hint = "give the address by which the other machines reach this one"
        raise UsageError(f"--{param} {address} is no address that another machine can call", hint=hint, param=param)


def check_http_address(address: Address, param: str, *, keys: KeyStore, date_s: float) -> None:
    """Refuse to serve people on other machines while nobody must show a key.

    Raises:
        UsageError: other machines could reach it, and the home has no valid key.
    """
    check_bind(address.host, has_key=keys.ring().any_valid(date_s), param=param)


def run_controller(request: ControllerRequest, *, say: Say, when_ready: WhenReady) -> None:
    """Run a network's controller until a signal stops it. The first start makes the network's root.

    Raises:
        UsageError, AlreadyRunning, PortInUse, StorageFailed: it could not start.
    """

    def plan() -> Standing:
        keys = KeyStore(request.home, WallClock())
        check_http_address(request.http, "http", keys=keys, date_s=WallClock().date_s())
        keys.renew_local()
        issue_identities(request.home, {}, WallClock().date_s)
        state = RunState(scenario=DEPLOYED, default_node="", engine="", dtype="", timing="real", supervisor=this_process(), processes=())
        return Standing(home=request.home, name=CONTROLLER, stages=[[_controller(request)]], first_state=state)

    keep_up(request.home, plan, say=say, when_ready=when_ready, until_pid=request.until_pid)


def run_node(request: NodeRequest, *, say: Say, when_ready: WhenReady) -> None:
    """Join if this machine has not joined yet, then run its door and engine until a signal stops them.

    Raises:
        AuthenticationFailed: the token or the certificate is refused; CertificateRevoked also later, while it runs.
        UsageError, ModelNotFound, NodeUnreachable, AlreadyRunning, PortInUse: it could not start.
    """
    check_reachable(request.listen, "listen")

    def plan() -> Standing:
        keys = KeyStore(request.home, WallClock())
        check_http_address(request.door, "door", keys=keys, date_s=WallClock().date_s())
        keys.renew_local()
        identity, joining = own_identity(request.home, token=request.token, controller=request.controller, date_s=WallClock().date_s)
        tier = _checked_tier(request, identity)
        stages = _upstream_stages(request, joining, tier) if request.upstream else _own_stages(request, joining, tier)
        state = RunState(
            scenario=DEPLOYED,
            default_node=joining.node,
            engine="openai" if request.upstream else request.engine,
            dtype=request.dtype,
            timing="real",
            supervisor=this_process(),
            processes=(),
        )
        return Standing(home=request.home, name=joining.node, stages=stages, first_state=state)

    keep_up(request.home, plan, say=say, when_ready=when_ready, until_pid=request.until_pid)


def _own_stages(request: NodeRequest, joining: Joining, tier: str) -> list[list[ProcessSpec]]:
    """A node with a model of its own: its engine, then its door."""
    model = request.model or f"netgpt-{tier}"
    folder = str(find_model(model, search_path(request.home, request.models)).resolve()) if request.engine == "torch" else ""
    if folder:
        read_card(Path(folder))
    return [[_engine(request, joining.node, tier, model, folder)], [_door(request, joining, tier, model, engine=request.engine, folder=folder)]]


def _upstream_stages(request: NodeRequest, joining: Joining, tier: str) -> list[list[ProcessSpec]]:
    """A node with a server behind it: its door asks that server, for its own users and for other doors."""
    node = NodeSpec(
        id=joining.node,
        tier=tier,
        model=request.model,
        profile="",
        slots=SLOTS,
        cache_entries=request.cache_entries,
        engine="openai",
        upstream=request.upstream,
        api_key_env=request.api_key_env,
        context_tokens=request.context_tokens,
    )
    check_upstream(node, os.environ)
    told = upstream_config(node, host=request.listen.host, port=request.listen.port, network_key_file="")
    return [[_door(request, joining, tier, request.model, engine="openai", upstream=told)]]


def _checked_tier(request: NodeRequest, identity: Identity) -> str:
    peer = identity.facts.peer
    if request.tier and request.tier != peer.tier:
        hint = f"leave --tier out, or ask for a token: netgpt join-token create --node {peer.node} --tier {request.tier}"
        raise UsageError(f"node {peer.node!r} was let in as {peer.tier!r}, not {request.tier!r}", hint=hint, param="tier")
    if request.cache_entries and peer.tier != "edge":
        raise UsageError(f"node {peer.node!r} is of tier {peer.tier!r}, and answers are kept at edge nodes", hint=LEAVE_CACHE, param="cache_entries")
    return peer.tier


def _controller(request: ControllerRequest) -> ProcessSpec:
    config = ControllerConfig(
        home=str(request.home),
        host=request.listen.host,
        port=request.listen.port,
        http_host=request.http.host,
        http_port=request.http.port,
        allowed_hosts=request.allowed_hosts,
        network_key_file="",
        identity_file=str(identity_file(request.home, CONTROLLER_NAME)),
        authority_folder=str(authority_folder(request.home)),
    )
    return _spec(CONTROLLER, CONTROLLER, config, at=request.http, threads=1)


def _engine(request: NodeRequest, node: str, tier: str, model: str, folder: str) -> ProcessSpec:
    threads = threads_of(request.threads)
    config = EngineConfig(
        node=node,
        tier=tier,
        model_folder=folder,
        engine=request.engine,
        dtype=request.dtype,
        threads=threads,
        slots=SLOTS,
        cache_entries=request.cache_entries,
        profile="",
        parameters=0,
        timing="real",
        host=request.listen.host,
        port=request.listen.port,
        network_key_file="",
        agreement=request.agreement,
        identity_file=str(identity_file(request.home, node)),
        wire_version=request.wire_version,
    )
    return _spec(f"{node}-{ENGINE}", ENGINE, config, at=request.listen, threads=threads, node=node, tier=tier, model=model)


def _door(
    request: NodeRequest,
    joining: Joining,
    tier: str,
    model: str,
    *,
    engine: Literal["torch", "hash", "openai"],
    folder: str = "",
    upstream: UpstreamConfig | None = None,
) -> ProcessSpec:
    node = joining.node
    config = DoorConfig(
        node=node,
        tier=tier,
        home=str(request.home),
        http_host=request.door.host,
        http_port=request.door.port,
        allowed_hosts=request.allowed_hosts,
        engine_address="" if upstream else str(request.listen),
        controller_address=joining.controller,
        join_token="",
        model_folder=folder,
        engine=engine,
        upstream=upstream,
        policy=request.policy,
        identity_file=str(identity_file(request.home, node)),
        wire_version=request.wire_version,
    )
    return _spec(f"{node}-{DOOR}", DOOR, config, at=request.door, threads=1, node=node, tier=tier, model=model)


def _spec(
    name: str, role: str, config: Config, *, at: Address, threads: int, node: str | None = None, tier: str | None = None, model: str | None = None
) -> ProcessSpec:
    def configure(_: Ports) -> Mapping[str, object]:
        return told(config)  # every address is known beforehand

    return ProcessSpec(
        name=name,
        node=node,
        tier=tier,
        role=role,
        model=model,
        port=at.port,
        host=at.host,
        configure=configure,
        environment=environment(threads=threads),
    )


def _ip(host: str) -> ipaddress.IPv4Address | ipaddress.IPv6Address | None:
    try:
        return ipaddress.ip_address(host.strip("[]"))
    except ValueError:
        return None
