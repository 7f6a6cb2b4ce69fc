"""A scenario: the network as a TOML file says it is. Read once, checked once, frozen after.

Unknown keys, unknown nodes and values out of range are refused with the place and the nearest known
word. Shipped scenarios lie beside this module in `scenarios/`.
"""

from __future__ import annotations

import tomllib
from collections.abc import Mapping
from dataclasses import MISSING, dataclass, fields, replace
from importlib import resources
from pathlib import Path
from typing import Any, TypeVar

from netgpt.core.errors import ScenarioInvalid, UsageError
from netgpt.core.spelling import check_keys, did_you_mean
from netgpt.core.units import parse_duration_s, parse_rate_bps
from netgpt.network.profile import THIS_MACHINE, find_profile
from netgpt.network.roofline import check_precision, declare
from netgpt.network.shape import node_shape

TIERS = ("device", "edge", "cloud")
NODE_ENGINES = ("replay", "openai")
REPLAY_TIMINGS = ("recorded", "profile")


@dataclass(frozen=True, kw_only=True)
class NodeSpec:
    """One machine: `[[node]]`."""

    id: str
    tier: str
    model: str
    profile: str
    parameters: int = 0  # size of the model it is declared to run, for modelled time; 0: the card's
    card: str = ""  # in place of `parameters`: a published model of `shapes.toml` that it is declared to run
    precision: str = ""  # of the declared model's weights; empty: the widest of bf16, int8 and int4 that fits the machine
    slots: int = 16
    engine: str = ""  # "replay": plays `model` of `recording`; "openai": asks for `model` at `upstream`; empty: what the command runs
    recording: str = ""  # a Parquet file; in a scenario file relative to it
    timing: str = ""  # of a replay: "recorded" (also if empty) or "profile"
    upstream: str = ""  # base URL of an OpenAI-compatible server
    api_key_env: str = ""  # the variable that holds its key; the key itself stands in no file
    context_tokens: int = 0  # of the upstream's model; 0: as the upstream says
    connect_timeout: str = "5s"
    first_token_timeout: str = "60s"
    next_token_timeout: str = "30s"
    retries: int = 2  # before the first token

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
    """One link, the same medium in both directions: `[[link]]`. `up` is from the first node to the second."""

    between: tuple[str, str]
    up_bps: float
    down_bps: float
    delay_s: float  # one way

    @property
    def id(self) -> str:
        return "-".join(self.between)


@dataclass(frozen=True, kw_only=True)
class UserSpec:
    """Users at one node's door who arrive by a Poisson process: `[[user]]`. Simulated world only."""

    at: str
    requests_per_s: float
    model: str = "auto"
    prompt_tokens: tuple[int, int] = (16, 64)
    answer_tokens: tuple[int, int] = (8, 48)
    temperature: float = 0.0
    key: str = ""  # the API key that they share: doors are fair between keys


@dataclass(frozen=True, kw_only=True)
class FaultSpec:
    """Something that breaks at `at_s` and is whole again after `for_s`: `[[fault]]`. Simulated world only."""

    at_s: float
    for_s: float
    node: str = ""
    link: str = ""


@dataclass(frozen=True, kw_only=True)
class Scenario:
    """A whole network."""

    name: str
    description: str
    default_node: str
    nodes: tuple[NodeSpec, ...]
    links: tuple[LinkSpec, ...]
    users: tuple[UserSpec, ...] = ()
    faults: tuple[FaultSpec, ...] = ()
    agreement: float = 0.8  # of neighbouring tiers' `hash` models, a token

    def node(self, node_id: str) -> NodeSpec:
        return next(node for node in self.nodes if node.id == node_id)


def shipped_scenarios() -> list[str]:
    """Names of the scenarios that come with the package."""
    folder = resources.files("netgpt.network") / "scenarios"
    return sorted(entry.name.removesuffix(".toml") for entry in folder.iterdir() if entry.name.endswith(".toml"))


def load_scenario(name_or_path: str) -> Scenario:
    """A shipped scenario by name, or a file by path.

    Raises:
        ScenarioInvalid: unknown name, unreadable file, or anything wrong inside, named with its place.
    """
    if name_or_path in shipped_scenarios():
        text = (resources.files("netgpt.network") / "scenarios" / f"{name_or_path}.toml").read_text(encoding="utf-8")
        return parse_scenario(text, where=name_or_path)
    path = Path(name_or_path)
    if not path.is_file():
        raise ScenarioInvalid(
            f"no scenario {name_or_path!r}", hint=did_you_mean(name_or_path, shipped_scenarios()) + "; or give the path of a .toml file"
        )
    try:
        scenario = parse_scenario(path.read_text(encoding="utf-8"), where=str(path))
    except (OSError, UnicodeDecodeError) as error:
        raise ScenarioInvalid(f"scenario {name_or_path!r} cannot be read: {error}", hint="check the path and its permissions") from error
    return replace(scenario, nodes=tuple(_beside(node, path.parent) for node in scenario.nodes))


def _beside(node: NodeSpec, folder: Path) -> NodeSpec:
    """The node, with the paths that are relative to its scenario's folder made whole."""
    if node.recording:
        return replace(node, recording=str(folder / node.recording))
    return replace(node, model=str(folder / node.model)) if node.model.startswith(("./", "../")) else node


def parse_scenario(text: str, *, where: str) -> Scenario:
    """The scenario that `text` describes; `where` names it in errors."""
    try:
        table = tomllib.loads(text)
    except tomllib.TOMLDecodeError as error:
        raise ScenarioInvalid(f"scenario {where!r} is not valid TOML: {error}", hint="mend the line that the message names") from error
    try:
        scenario = _scenario(table, where)
        _check(scenario, where)
    except UsageError as error:
        raise ScenarioInvalid(f"{error.message} in scenario {where!r}", hint=error.hint) from error
    return scenario


def _scenario(table: dict[str, Any], where: str) -> Scenario:
    check_keys(table, {"name", "description", "default_node", "agreement", "node", "link", "user", "fault"}, f"scenario {where!r}", ScenarioInvalid)
    nodes = tuple(_row(NodeSpec, row, f"node {n} of {where!r}") for n, row in _rows(table, "node", where))
    if not nodes:
        raise ScenarioInvalid(f"scenario {where!r} has no node", hint="add at least one [[node]] table")
    return Scenario(
        name=str(table.get("name", Path(where).stem)),
        description=str(table.get("description", "")),
        default_node=str(table.get("default_node", nodes[0].id)),
        nodes=nodes,
        links=tuple(_link(row, f"link {n} of {where!r}") for n, row in _rows(table, "link", where)),
        users=tuple(_row(UserSpec, row, f"user {n} of {where!r}") for n, row in _rows(table, "user", where)),
        faults=tuple(_fault(row, f"fault {n} of {where!r}") for n, row in _rows(table, "fault", where)),
        agreement=float(table.get("agreement", 0.8)),
    )


def _rows(table: dict[str, Any], key: str, where: str) -> list[tuple[int, dict[str, Any]]]:
    rows = table.get(key, [])
    if not isinstance(rows, list) or not all(isinstance(row, dict) for row in rows):
        raise ScenarioInvalid(f"{key!r} of scenario {where!r} is not a list of tables", hint=f"write [[{key}]]")
    return list(enumerate(rows, start=1))


Row = TypeVar("Row", NodeSpec, UserSpec)


def _row(kind: type[Row], row: dict[str, Any], where: str) -> Row:
    known = {field.name: field for field in fields(kind)}
    check_keys(row, known, where, ScenarioInvalid)
    for name, field in known.items():
        if name not in row and field.default is MISSING:
            raise ScenarioInvalid(f"{where} lacks {name!r}", hint=f"add {name} = ...")
    return kind(**{name: _typed(value, known[name].type, f"{name!r} of {where}") for name, value in row.items()})


def _typed(value: Any, kind: Any, where: str) -> Any:
    """`value` as the field's type, which dataclasses keep as its source text."""
    if kind == "str" and isinstance(value, str):
        return value
    if kind == "int" and isinstance(value, int | float) and value == int(value):
        return int(value)
    if kind == "float" and isinstance(value, int | float):
        return float(value)
    if (
        kind == "tuple[int, int]"
        and isinstance(value, list)
        and len(value) == 2
        and all(isinstance(item, int) for item in value)
        and 0 < value[0] <= value[1]
    ):
        return (value[0], value[1])
    raise ScenarioInvalid(f"{where} is {value!r}", hint=f"write {'[lowest, highest]' if kind == 'tuple[int, int]' else f'a value of type {kind}'}")


def _link(row: dict[str, Any], where: str) -> LinkSpec:
    check_keys(row, {"between", "up", "down", "delay"}, where, ScenarioInvalid)
    between = row.get("between")
    if not isinstance(between, list) or len(between) != 2:
        raise ScenarioInvalid(f"{where} does not say between which two nodes", hint='write between = ["device1", "edge1"]')
    return LinkSpec(
        between=(str(between[0]), str(between[1])),
        up_bps=_positive(parse_rate_bps(_needed(row, "up", where)), "up", where),
        down_bps=_positive(parse_rate_bps(_needed(row, "down", where)), "down", where),
        delay_s=parse_duration_s(_needed(row, "delay", where)),
    )


def _fault(row: dict[str, Any], where: str) -> FaultSpec:
    check_keys(row, {"at", "for", "node", "link"}, where, ScenarioInvalid)
    if ("node" in row) == ("link" in row):
        raise ScenarioInvalid(f"{where} must name either a node or a link", hint='write node = "cloud1" or link = "edge1-cloud1"')
    return FaultSpec(
        at_s=parse_duration_s(_needed(row, "at", where)),
        for_s=parse_duration_s(_needed(row, "for", where)),
        node=str(row.get("node", "")),
        link=str(row.get("link", "")),
    )


def _needed(row: Mapping[str, Any], key: str, where: str) -> Any:
    if key not in row:
        raise ScenarioInvalid(f"{where} lacks {key!r}", hint=f"add {key} = ...")
    return row[key]


def _positive(value: float, key: str, where: str) -> float:
    if value <= 0:
        raise ScenarioInvalid(f"{key!r} of {where} is {value!r}", hint="give a number above 0")
    return value


def _check(scenario: Scenario, where: str) -> None:
    """What only the whole can tell: identity, references, reachability of names."""
    ids = [node.id for node in scenario.nodes]
    for node_id in ids:
        if ids.count(node_id) > 1:
            raise ScenarioInvalid(f"node {node_id!r} stands twice in scenario {where!r}", hint="give every node its own id")
    for node in scenario.nodes:
        if node.tier not in TIERS:
            raise ScenarioInvalid(f"node {node.id!r} has the unknown tier {node.tier!r}", hint=did_you_mean(node.tier, TIERS))
        if node.slots < 1 or node.parameters < 0:
            raise ScenarioInvalid(f"node {node.id!r} has slots {node.slots}, parameters {node.parameters}", hint="slots start at 1, parameters at 0")
        _check_machine(node)
        _check_engine(node, f"node {node.id!r} of scenario {where!r}")
    links = [link.id for link in scenario.links]
    named = [(scenario.default_node, "default_node", ids)]
    named += [(end, f"link {link.id!r}", ids) for link in scenario.links for end in link.between]
    named += [(user.at, "a user", ids) for user in scenario.users]
    named += [(fault.node, "a fault", ids) for fault in scenario.faults if fault.node]
    named += [(fault.link, "a fault", links) for fault in scenario.faults if fault.link]
    for name, place, known in named:
        if name not in known:
            raise ScenarioInvalid(f"{place} of scenario {where!r} names the unknown {name!r}", hint=did_you_mean(name, known))
    if not 0 <= scenario.agreement <= 1:
        raise ScenarioInvalid(f"agreement of scenario {where!r} is {scenario.agreement}", hint="give a probability, 0 to 1")
    for user in scenario.users:
        _positive(user.requests_per_s, "requests_per_s", f"the user at {user.at!r}")


def _check_machine(node: NodeSpec) -> None:
    """The machine is known, and the model that it is declared to run fits its memory. An upstream's is its own affair."""
    try:
        shape = node_shape(node.card, node.parameters)
        check_precision(node.precision)
        if node.profile == THIS_MACHINE:  # its figures are in a home, which a scenario does not know
            return
        profile = find_profile(node.profile)
        if shape and not node.asks_upstream:
            declare(profile, shape, node.precision, slots=node.slots)
    except ScenarioInvalid as error:
        raise ScenarioInvalid(f"node {node.id!r}: {error.message}", hint=error.hint, param=error.param) from error


_OF_ENGINE = {  # the keys that only nodes of one engine have
    "replay": ("recording", "timing"),
    "openai": ("upstream", "api_key_env", "context_tokens", "connect_timeout", "first_token_timeout", "next_token_timeout", "retries"),
}


def _check_engine(node: NodeSpec, where: str) -> None:
    if node.engine and node.engine not in NODE_ENGINES:
        raise ScenarioInvalid(f"{where} has the unknown engine {node.engine!r}", hint=did_you_mean(node.engine, NODE_ENGINES))
    defaults = {field.name: field.default for field in fields(NodeSpec)}
    for engine, keys in _OF_ENGINE.items():
        for key in keys:
            if node.engine != engine and getattr(node, key) != defaults[key]:
                raise ScenarioInvalid(f"{where} has {key!r} and not engine {engine!r}", hint=f'add engine = "{engine}", or leave it out')
    if node.replays and not node.recording:
        raise ScenarioInvalid(f"{where} replays and names no recording", hint='add recording = "answers.parquet"; make one with: netgpt record')
    if node.timing and node.timing not in REPLAY_TIMINGS:
        raise ScenarioInvalid(f"{where} has the unknown timing {node.timing!r}", hint=did_you_mean(node.timing, REPLAY_TIMINGS))
    if node.asks_upstream:
        _check_upstream(node, where)


def _check_upstream(node: NodeSpec, where: str) -> None:
    if not node.upstream:
        raise ScenarioInvalid(f"{where} asks an upstream and names none", hint='add upstream = "http://127.0.0.1:8000/v1"')
    for key in ("connect_timeout", "first_token_timeout", "next_token_timeout"):
        _positive(parse_duration_s(getattr(node, key)), key, where)
    if not 0 <= node.retries <= 10 or node.context_tokens < 0:
        raise ScenarioInvalid(
            f"{where} has retries {node.retries}, context_tokens {node.context_tokens}", hint="retries are 0 to 10, tokens 0 or more"
        )
