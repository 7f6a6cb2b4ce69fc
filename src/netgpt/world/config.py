"""What each process of an emulated network is told when it starts: frozen values that fit in a JSON file.

The supervisor writes one such file per process below `home/run/`; `world.process` reads it back. A
configuration holds addresses and folders, never a key: keys stay in the files that it names.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Literal

from netgpt.wire.messages import PROTOCOL_VERSION

LOOPBACK = "127.0.0.1"


def address(host: str, port: int) -> str:
    """`host:port`; an IPv6 address stands in brackets there."""
    return f"[{host}]:{port}" if ":" in host else f"{host}:{port}"


@dataclass(frozen=True, kw_only=True)
class ControllerConfig:
    """The control plane. A port of 0 is any free one."""

    home: str
    port: int  # gRPC
    http_port: int
    network_key_file: str  # empty over TLS
    host: str = LOOPBACK
    http_host: str = LOOPBACK
    allowed_hosts: str = ""  # names besides loopback's by which HTTP may be called
    identity_file: str = ""  # empty: plain text, and HMAC under the network key
    authority_folder: str = ""  # over TLS: what signs certificates


@dataclass(frozen=True, kw_only=True)
class EngineConfig:
    """One node's engine worker."""

    node: str
    tier: str
    model_folder: str  # empty for the hash engine
    engine: Literal["torch", "hash", "replay"]
    dtype: str
    threads: int
    slots: int
    profile: str
    parameters: int  # of the model that it is declared to run; 0: the card's
    timing: Literal["real", "declared", "recorded"]  # recorded: of a replay alone
    port: int  # gRPC; 0: any free one
    network_key_file: str
    agreement: float  # of neighbouring tiers' hash models, a token
    card: str = ""  # in place of `parameters`
    precision: str = ""  # of the declared model; empty: the widest that fits
    variants: Sequence[str] = ()  # other precisions in which its model can be asked
    home: str = ""  # where `this-machine` was measured
    quality: float = 0.0  # of the model that it is declared to run; 0: the card's
    price_prompt: float = 0.0  # of a million tokens
    price_answer: float = 0.0
    recording: str = ""  # what a replay plays, and which of its models
    recorded_model: str = ""
    host: str = LOOPBACK
    identity_file: str = ""
    wire_version: int = PROTOCOL_VERSION
    cache_entries: int = 0  # answers that it keeps; 0: none


@dataclass(frozen=True, kw_only=True)
class UpstreamConfig:
    """The upstream of a node whose door asks it itself."""

    url: str
    model: str
    api_key_env: str  # the variable that holds the key
    connect_s: float
    first_token_s: float
    next_token_s: float
    retries: int
    slots: int
    parameters: int
    context_tokens: int
    quality: float = 0.0  # of its model; 0: not known
    price_prompt: float = 0.0  # of a million tokens
    price_answer: float = 0.0
    port: int  # gRPC, where other doors reach this node's engine; 0: any free one
    network_key_file: str  # empty over TLS
    host: str = LOOPBACK
    cache_entries: int = 0  # as of an engine


@dataclass(frozen=True, kw_only=True)
class DoorConfig:
    """One node's door."""

    node: str
    tier: str
    home: str
    http_port: int
    engine_address: str  # empty: the engine runs in this process
    controller_address: str
    join_token: str  # empty over TLS
    model_folder: str  # whose tokenizer it uses; empty where no torch runs
    engine: Literal["torch", "hash", "replay", "openai"]
    upstream: UpstreamConfig | None = None  # of engine "openai"
    battery_j: float = 0.0  # what the node's battery holds; 0: mains
    battery: float = 1.0  # how full it is
    policy: str = ""  # who chooses for `auto`; empty: NetGPT
    ways: Mapping[str, str] = field(default_factory=dict)  # by an engine's address: where the link shaper lets this node reach it
    http_host: str = LOOPBACK
    allowed_hosts: str = ""
    identity_file: str = ""
    wire_version: int = PROTOCOL_VERSION


@dataclass(frozen=True, kw_only=True)
class ShaperConfig:
    """The link shaper."""

    home: str
    mode: Literal["stream", "packet"]
    scenario: str  # a name, or an absolute path
    http_port: int  # of its own API; 0: any free one
    first_life: bool = True
    engines: Mapping[str, int] = field(default_factory=dict)  # stream: the engine's port, by node
    listen: Mapping[str, int] = field(default_factory=dict)  # stream: the port of each way in an earlier life
    doors: Mapping[str, int] = field(default_factory=dict)  # packet: the ports of HTTP that this machine's users call, by network
    door_host: str = LOOPBACK  # packet: where they call them
    http_host: str = LOOPBACK
    allowed_hosts: str = ""


Config = ControllerConfig | EngineConfig | DoorConfig | ShaperConfig
