"""A scenario: the network as a TOML file says it is, in frozen values with SI units in their names.

What a key means, how it is written and its range stand beside each field; `scenario_file` reads and checks,
`scenario_schema` makes the JSON Schema. Nothing here knows how a cell, a link or a user behaves.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cached_property
from typing import Annotated

from netgpt.network.roofline import PRECISIONS
from netgpt.network.scenario_key import (
    DURATION,
    ENDS,
    FILE,
    FLAG,
    FREQUENCY,
    NUMBER,
    NUMBERS,
    RATE,
    SHARE,
    SPAN,
    SPEED,
    TEXT,
    TEXTS,
    WHOLE,
    Key,
    Place,
    Table,
)  # fmt: skip
from netgpt.network.schedulers import SCHEDULERS

TIERS = ("device", "edge", "cloud")
NODE_ENGINES = ("replay", "openai")
REPLAY_TIMINGS = ("recorded", "profile")
MOBILITIES = ("static", "line", "random-waypoint")
SERVICES = ("interactive", "batch", "critical")
QOS_CLASSES = ("interactive", "standard", "background")
NOWHERE = Place()


@dataclass(frozen=True, kw_only=True)
class NodeSpec:
    """A machine, or `count` equal ones: each has a door and an engine."""

    id: Annotated[str, Key(kind=TEXT, meaning="the node's name; with `count` the beginning of the names: `ue` gives `ue1`, `ue2`, ...")]
    tier: Annotated[str, Key(kind=TEXT, known=TIERS, meaning="where it stands")]
    model: Annotated[
        str,
        Key(
            kind=TEXT,
            meaning="the model folder that its engine loads, or `hf:organisation/name`; of a replay, the recorded model; "
            "of an upstream, as it lists it",
        ),
    ]
    profile: Annotated[str, Key(kind=TEXT, meaning="a hardware profile, see below; `this-machine`: as `netgpt hardware measure` found it")]
    count: Annotated[int, Key(kind=WHOLE, least=1, most=100_000, meaning="how many of them there are")] = 1
    parameters: Annotated[
        int, Key(kind=WHOLE, least=0, meaning="size of the model that it is declared to run, for modelled time; 0: the model's own")
    ] = 0
    card: Annotated[str, Key(kind=TEXT, meaning="in place of `parameters`: a published model that it is declared to run, see below")] = ""
    precision: Annotated[
        str,
        Key(
            kind=TEXT,
            known=tuple(PRECISIONS),
            meaning="of the declared model's weights; without it: the widest of bf16, int8 and int4 that fits the machine",
        ),
    ] = ""
    variants: Annotated[
        tuple[str, ...],
        Key(
            kind=TEXTS,
            meaning="other precisions in which its model can be asked, for [`auto`](../auto.md): `bf16`, `int8` ...; "
            "torch runs `fp32` and `bf16`, declared machines whatever their profile has",
        ),
    ] = ()
    slots: Annotated[int, Key(kind=WHOLE, least=1, meaning="requests that its engine answers at once")] = 16
    cache_entries: Annotated[
        int,
        Key(
            kind=WHOLE,
            least=0,
            most=1_000_000,
            meaning="of an edge node: answers that it [keeps](../caching.md) for requests that ask for it; 0: none",
        ),
    ] = 0
    engine: Annotated[
        str,
        Key(
            kind=TEXT,
            known=NODE_ENGINES,
            meaning="`replay`: plays a [recording](../recordings.md); `openai`: asks an [upstream](../upstreams.md); without it: as the command says",
        ),
    ] = ""
    recording: Annotated[str, Key(kind=FILE, meaning="of a replay: a Parquet file of `netgpt record`, relative to the scenario file")] = ""
    timing: Annotated[
        str,
        Key(
            kind=TEXT,
            known=REPLAY_TIMINGS,
            meaning="of a replay: `recorded` (also without it) keeps the recorded times, `profile` takes those of the hardware profile",
        ),
    ] = ""
    upstream: Annotated[str, Key(kind=TEXT, meaning="of `openai`: base URL of an OpenAI-compatible server")] = ""
    api_key_env: Annotated[
        str, Key(kind=TEXT, meaning="of `openai`: the environment variable that holds its key; the key itself stands in no file")
    ] = ""
    context_tokens: Annotated[int, Key(kind=WHOLE, least=0, meaning="of `openai`: the context of its model; 0: as the server says")] = 0
    connect_timeout: Annotated[str, Key(kind=TEXT, meaning="of `openai`")] = "5s"
    first_token_timeout: Annotated[str, Key(kind=TEXT, meaning="of `openai`: from the request to the first token")] = "60s"
    next_token_timeout: Annotated[str, Key(kind=TEXT, meaning="of `openai`: between two tokens")] = "30s"
    retries: Annotated[int, Key(kind=WHOLE, least=0, most=10, meaning="of `openai`: before the first token")] = 2
    quality: Annotated[
        float, Key(kind=SHARE, least=0, most=1, meaning="share of tasks that its model answers rightly, for `auto`; 0: as the model's card says")
    ] = 0.0
    price_prompt: Annotated[float, Key(kind=NUMBER, least=0, meaning="what a million prompt tokens cost there, in a unit of your own")] = 0.0
    price_answer: Annotated[float, Key(kind=NUMBER, least=0, meaning="and a million answer tokens")] = 0.0
    battery_j: Annotated[float, Key(kind=NUMBER, least=0, meaning="what its battery holds when it is full, in joules; 0: it runs on mains")] = 0.0
    battery: Annotated[float, Key(kind=SHARE, least=0, most=1, meaning="how full the battery is at the start")] = 1.0
    group: str = ""  # the id as the file has it, where `count` made several of it
    place: Place = field(default=NOWHERE, compare=False, repr=False)

    @property
    def replays(self) -> bool:
        return self.engine == "replay"

    @property
    def asks_upstream(self) -> bool:
        return self.engine == "openai"

    @property
    def needs_folder(self) -> bool:
        """Whether its model is a folder on this machine, if the command runs models."""
        return not self.engine


@dataclass(frozen=True, kw_only=True)
class LinkSpec:
    """A link that no one else uses: backhaul, a wire, or a radio link described by its rate. The same medium both ways; `up` is from
    the first node to the second. A rate stands either in a number or in a trace."""

    between: Annotated[tuple[str, str], Key(kind=ENDS, meaning="two nodes; one with `count` stands for a link from each of them")]
    up_bps: Annotated[float, Key(kind=RATE, name="up", above=0, meaning="rate from the first to the second")] = 0.0
    down_bps: Annotated[float, Key(kind=RATE, name="down", above=0, meaning="rate from the second to the first")] = 0.0
    up_trace: Annotated[
        str, Key(kind=FILE, meaning="rates over time instead of `up`: the name of a shipped trace, or a file relative to the scenario file")
    ] = ""
    down_trace: Annotated[str, Key(kind=FILE, meaning="the same for `down`")] = ""
    delay_s: Annotated[float, Key(kind=DURATION, name="delay", least=0, meaning="one way, after the last bit was sent")]
    jitter_up_s: Annotated[
        float, Key(kind=DURATION, name="jitter_up", least=0, meaning="standard deviation of the delay from the first to the second")
    ] = 0.0
    jitter_down_s: Annotated[float, Key(kind=DURATION, name="jitter_down", least=0, meaning="and back")] = 0.0
    queue_up_s: Annotated[
        float | None,
        Key(kind=DURATION, name="queue_up", above=0, meaning="what waits at most to be sent, in time to send it at the link's rate; without it: all"),
    ] = None
    queue_down_s: Annotated[float | None, Key(kind=DURATION, name="queue_down", above=0, meaning="and back")] = None
    loss_up: Annotated[float, Key(kind=SHARE, least=0, most=0.99, meaning="share of datagrams that are lost from the first to the second")] = 0.0
    loss_down: Annotated[float, Key(kind=SHARE, least=0, most=0.99, meaning="and back")] = 0.0
    loss_burst: Annotated[
        float, Key(kind=NUMBER, least=1, most=1000, meaning="how many datagrams in a row are lost, on average; 1: each by itself")
    ] = 1.0
    group: tuple[str, str] = ("", "")  # the ends as the file has them, where `count` made several of one
    place: Place = field(default=NOWHERE, compare=False, repr=False)

    @property
    def id(self) -> str:
        return "-".join(self.between)


@dataclass(frozen=True, kw_only=True)
class CellSpec:
    """A pool of radio resource blocks in each direction, shared by the nodes attached to it. Keys without a default take that of the
    access model."""

    id: Annotated[str, Key(kind=TEXT, meaning="the cell's name")]
    at: Annotated[str, Key(kind=TEXT, meaning="the edge node at whose site it stands")]
    bandwidth_hz: Annotated[float, Key(kind=FREQUENCY, name="bandwidth", least=5e6, most=400e6, meaning="of the carrier, TS 38.101-1 clause 5.3")]
    subcarrier_spacing_hz: Annotated[
        float, Key(kind=FREQUENCY, name="numerology", known=(15e3, 30e3, 60e3, 120e3), meaning="subcarrier spacing, TS 38.211 table 4.2-1")
    ] = 30e3
    tdd: Annotated[
        str,
        Key(kind=TEXT, meaning="slots of a period in time division: `D` down, `U` up, `S` special: `DDDSU`; without it: a carrier each way"),
    ] = ""
    scheduler: Annotated[
        str,
        Key(
            kind=TEXT,
            meaning="who gets the resource blocks of a slot: "
            + ", ".join(f"`{name}`" for name in SCHEDULERS)
            + ", or one that an installed package offers under `netgpt.schedulers`",
        ),
    ] = "proportional-fair"
    flows: Annotated[
        Mapping[str, int],
        Key(kind=NUMBERS, meaning="the 5QI of kinds of AI flow instead of the default ones: `flows = { draft = 82, update = 9 }`"),
    ] = field(default_factory=dict)
    sr_period_s: Annotated[
        float | None,
        Key(kind=DURATION, name="sr_period", above=0, meaning="between two occasions to ask for an uplink grant, in slots as TS 38.331 has them"),
    ] = None
    configured_grant_s: Annotated[
        float | None, Key(kind=DURATION, name="configured_grant", above=0, meaning="period of uplink grants that need no asking; without it: none")
    ] = None
    configured_grant_bytes: Annotated[int | None, Key(kind=WHOLE, least=1, meaning="size of each such grant")] = None
    k1_slots: Annotated[int | None, Key(kind=WHOLE, name="k1", least=0, most=15, meaning="slots from downlink data to their acknowledgement")] = None
    k2_slots: Annotated[int | None, Key(kind=WHOLE, name="k2", least=0, most=32, meaning="slots from an uplink grant to the data")] = None
    harq_bler: Annotated[float | None, Key(kind=SHARE, least=0, most=0.99, meaning="share of first transmissions that fail")] = None
    harq_attempts: Annotated[int | None, Key(kind=WHOLE, least=1, most=32, meaning="transmissions of a block before RLC has to mend it")] = None
    rlc_recovery_s: Annotated[
        float | None, Key(kind=DURATION, name="rlc_recovery", least=0, meaning="how long RLC takes to send a lost block anew")
    ] = None
    drx_cycle_s: Annotated[
        float | None, Key(kind=DURATION, name="drx_cycle", above=0, meaning="how often a sleeping device listens; without it: always")
    ] = None
    drx_on_s: Annotated[float | None, Key(kind=DURATION, name="drx_on", above=0, meaning="for how long")] = None
    drx_inactivity_s: Annotated[
        float | None, Key(kind=DURATION, name="drx_inactivity", least=0, meaning="how long a device listens on after its last packet")
    ] = None
    rrc_inactivity_s: Annotated[
        float | None, Key(kind=DURATION, name="rrc_inactivity", above=0, meaning="after how much silence a device is sent to RRC inactive")
    ] = None
    rrc_resume_s: Annotated[float | None, Key(kind=DURATION, name="rrc_resume", least=0, meaning="how long it takes to come back")] = None
    handover_interruption_s: Annotated[
        float | None, Key(kind=DURATION, name="handover_interruption", least=0, meaning="how long a change of cell carries nothing")
    ] = None
    queue_s: Annotated[
        float | None, Key(kind=DURATION, name="queue", above=0, meaning="what waits at most for each device and direction, at its present rate")
    ] = None
    background_up: Annotated[float, Key(kind=SHARE, least=0, most=0.99, meaning="share of the uplink blocks that others take")] = 0.0
    background_down: Annotated[float, Key(kind=SHARE, least=0, most=0.99, meaning="share of the downlink blocks that others take")] = 0.0
    place: Place = field(default=NOWHERE, compare=False, repr=False)


@dataclass(frozen=True, kw_only=True)
class HandoverSpec:
    """A change of cell at a time."""

    at_s: Annotated[float, Key(kind=DURATION, name="at", least=0, meaning="when")]
    to: Annotated[str, Key(kind=TEXT, meaning="the cell that serves it from then on")]


@dataclass(frozen=True, kw_only=True)
class AttachSpec:
    """How a device stands to its cell: which one, how well it is heard, how it moves. In each direction its
    spectral efficiency is either a number or a trace."""

    node: Annotated[str, Key(kind=TEXT, meaning="a device; one with `count` stands for all of them")]
    cell: Annotated[str, Key(kind=TEXT, meaning="the cell that serves it at first")]
    efficiency_up: Annotated[float, Key(kind=NUMBER, above=0, most=30, meaning="spectral efficiency of its uplink, bit/s/Hz")] = 0.0
    efficiency_down: Annotated[float, Key(kind=NUMBER, above=0, most=30, meaning="of its downlink, bit/s/Hz")] = 0.0
    up_trace: Annotated[
        str,
        Key(
            kind=FILE,
            meaning="the spectral efficiency of its uplink over time instead: the name of a shipped trace, or a file relative to the scenario file",
        ),
    ] = ""
    down_trace: Annotated[str, Key(kind=FILE, meaning="the same for its downlink")] = ""
    speed_m_per_s: Annotated[
        float,
        Key(
            kind=SPEED,
            name="speed",
            least=0,
            most=300,
            meaning="how fast it moves, for readers: what that does to its channel is in its traces, and to its cell in `handover`",
        ),
    ] = 0.0
    mobility: Annotated[str, Key(kind=TEXT, known=MOBILITIES, meaning="how it moves at that speed, likewise")] = "static"
    handovers: Annotated[tuple[HandoverSpec, ...], Table("handover", "changes of cell, in the order of time", HandoverSpec)] = ()
    member: int = 0  # which of `count` devices, from 0: of a trace for several, each takes its own
    place: Place = field(default=NOWHERE, compare=False, repr=False)


@dataclass(frozen=True, kw_only=True)
class UserSpec:
    """Users at one node's door. They arrive by a Poisson process or as in a request trace. Simulated world only."""

    at: Annotated[str, Key(kind=TEXT, meaning="the node at whose door they enter; one with `count` stands for users at each of them")]
    requests_per_s: Annotated[float, Key(kind=NUMBER, above=0, meaning="mean rate of each; arrivals are a Poisson process")] = 0.0
    trace: Annotated[
        str,
        Key(
            kind=FILE,
            meaning="a request trace instead: CSV with `TIMESTAMP,ContextTokens,GeneratedTokens`, relative to the scenario file; its requests are "
            "dealt in turn to the users of this table",
        ),
    ] = ""
    trace_start_s: Annotated[float, Key(kind=DURATION, name="trace_start", least=0, meaning="where in the trace the run begins")] = 0.0
    trace_speed: Annotated[float, Key(kind=NUMBER, above=0, meaning="how many times faster than they did they come")] = 1.0
    count: Annotated[int, Key(kind=WHOLE, least=1, most=100_000, meaning="how many such users there are at each node")] = 1
    model: Annotated[str, Key(kind=TEXT, meaning="the model name that they ask")] = "auto"
    qos: Annotated[str, Key(kind=TEXT, known=QOS_CLASSES, meaning="the class of their traffic on cells and links")] = "standard"
    service: Annotated[str, Key(kind=TEXT, known=SERVICES, meaning="the class of service by which `auto` chooses for them")] = "interactive"
    prompt_tokens: Annotated[tuple[int, int], Key(kind=SPAN, meaning="of a Poisson user; where a node replays, they ask what is recorded")] = (
        16,
        64,
    )
    answer_tokens: Annotated[tuple[int, int], Key(kind=SPAN, meaning="of a Poisson user")] = (8, 48)
    temperature: Annotated[float, Key(kind=NUMBER, least=0, meaning="0: greedy")] = 0.0
    key: Annotated[str, Key(kind=TEXT, meaning="a name for the API key that they share; doors are fair between keys; without it: none")] = ""
    deal: tuple[int, int] = (0, 1)  # (k, n): of a trace, every n-th request from the k-th
    place: Place = field(default=NOWHERE, compare=False, repr=False)


@dataclass(frozen=True, kw_only=True)
class FaultSpec:
    """Something that breaks, and is whole again. Simulated world only."""

    at_s: Annotated[float, Key(kind=DURATION, name="at", least=0, meaning="when it begins")]
    for_s: Annotated[float, Key(kind=DURATION, name="for", least=0, meaning="how long it lasts")]
    node: Annotated[str, Key(kind=TEXT, meaning="the node that dies, with all that runs on it; or")] = ""
    link: Annotated[str, Key(kind=TEXT, meaning="the link that carries nothing, such as `edge1-cloud1`; or")] = ""
    cell: Annotated[str, Key(kind=TEXT, meaning="the cell that serves nobody")] = ""
    place: Place = field(default=NOWHERE, compare=False, repr=False)


@dataclass(frozen=True, kw_only=True)
class ProcessesSpec:
    """What the software itself takes of the machines that it runs on: doors, engines, controller and link shaper are processes, and each
    does one thing at a time. Without this table they take no time. Simulated world only: `netgpt up` has the real ones, whose times on a
    machine `netgpt bench worlds` measures."""

    request_s: Annotated[
        float, Key(kind=DURATION, name="request", least=0, meaning="of a door, for each request: admission, choice of nodes, rendering")
    ] = 0.0
    call_s: Annotated[float, Key(kind=DURATION, name="call", least=0, meaning="at each end of each call between two processes")] = 0.0
    reply_s: Annotated[
        float, Key(kind=DURATION, name="reply", least=0, meaning="at each end of each reply to a call; a token's event is one such reply")
    ] = 0.0
    kilobyte_s: Annotated[
        float, Key(kind=DURATION, name="kilobyte", least=0, meaning="at each end, more for each 1,000 bytes of payload of a call or reply")
    ] = 0.0
    shaper_s: Annotated[
        float,
        Key(
            kind=DURATION,
            name="shaper",
            least=0,
            meaning="of the link shaper, each time that it takes in a piece of a message, forwards it or gives it out",
        ),
    ] = 0.0
    cores: Annotated[
        int, Key(kind=WHOLE, least=0, most=1024, meaning="processors of one machine that all processes share; 0: each process has one to itself")
    ] = 0
    place: Place = field(default=NOWHERE, compare=False, repr=False)

    @property
    def take_time(self) -> bool:
        return any((self.request_s, self.call_s, self.reply_s, self.kilobyte_s, self.shaper_s))


@dataclass(frozen=True, kw_only=True)
class Scenario:
    """A whole network. Tables with `count` stand here as often as they say."""

    name: Annotated[str, Key(kind=TEXT, meaning="its name; without it: the file's")]
    description: Annotated[str, Key(kind=TEXT, meaning="one line that says what it is for")]
    default_node: Annotated[str, Key(kind=TEXT, meaning="where users enter who name no node; without it: the first node")]
    nodes: Annotated[tuple[NodeSpec, ...], Table("node", "one for each machine, or for several equal ones; at least one", NodeSpec)]
    links: Annotated[tuple[LinkSpec, ...], Table("link", "one for each link", LinkSpec)]
    cells: Annotated[tuple[CellSpec, ...], Table("cell", "one for each radio cell", CellSpec)] = ()
    attachments: Annotated[tuple[AttachSpec, ...], Table("attach", "one for each device, or group of them, in a cell", AttachSpec)] = ()
    users: Annotated[tuple[UserSpec, ...], Table("user", "one for each kind of users; simulated world only", UserSpec)] = ()
    faults: Annotated[tuple[FaultSpec, ...], Table("fault", "one for each fault; simulated world only", FaultSpec)] = ()
    processes: Annotated[
        ProcessesSpec, Table("processes", "what the software itself takes of its machines; simulated world only", ProcessesSpec, single=True)
    ] = ProcessesSpec()
    agreement: Annotated[float, Key(kind=NUMBER, least=0, most=1, meaning="how often `hash` models of neighbouring tiers agree on a token")] = 0.8
    simulation_only: Annotated[bool, Key(kind=FLAG, meaning="whether `netgpt up` refuses it")] = False
    place: Place = field(default=NOWHERE, compare=False, repr=False)

    def node(self, node_id: str) -> NodeSpec:
        return self._nodes_by_id[node_id]

    @cached_property
    def _nodes_by_id(self) -> dict[str, NodeSpec]:
        return {node.id: node for node in self.nodes}

    def cell(self, cell_id: str) -> CellSpec:
        return next(cell for cell in self.cells if cell.id == cell_id)
