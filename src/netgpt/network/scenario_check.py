"""What only a whole scenario can tell: identity, references, and keys that need or exclude each other.

Works on tables as the file has them, before `count` writes them out, so that an error names a line of the file.
"""

from __future__ import annotations

import math
import re
from collections.abc import Callable, Collection, Iterable, Sequence
from dataclasses import fields
from functools import cache
from itertools import product
from pathlib import Path

from netgpt.core.errors import NetgptError, ScenarioInvalid, UsageError
from netgpt.core.spelling import did_you_mean
from netgpt.core.units import parse_duration_s
from netgpt.network.access import SR_PERIODS
from netgpt.network.flow import FIVE_QI, FLOWS
from netgpt.network.frame import numerology_of, resource_blocks
from netgpt.network.profile import THIS_MACHINE, find_profile
from netgpt.network.roofline import check_variants, declare_variants
from netgpt.network.scenario import AttachSpec, CellSpec, LinkSpec, NodeSpec, Scenario, UserSpec
from netgpt.network.scenario_count import members_of
from netgpt.network.scenario_key import Place, refusal
from netgpt.network.schedulers import scheduler_named
from netgpt.network.shape import node_shape
from netgpt.network.trace import EFFICIENCY, Trace
from netgpt.network.trace_file import load_trace

_ID = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]*")
_TAKEN = "controller"  # the control plane's own name


def check_scenario(scenario: Scenario) -> None:
    """Raises:
    ScenarioInvalid: names file and line of the first thing that is wrong.
    """
    _check_ids(scenario)
    for node in scenario.nodes:
        _check_node(node)
    _check_references(scenario)
    for link in scenario.links:
        _check_link(link, scenario)
    for cell in scenario.cells:
        _check_cell(cell, scenario)
    for attach in scenario.attachments:
        _check_attachment(attach, scenario)
    _check_one_cell_each(scenario)
    for user in scenario.users:
        _check_user(user)
    for fault in scenario.faults:
        if sum(map(bool, (fault.node, fault.link, fault.cell))) != 1:
            raise refusal(fault.place, "", "a fault must name either a node, a link or a cell", 'write node = "cloud1" or link = "edge1-cloud1"')


def check_files(scenario: Scenario) -> None:
    """The traces that it names are there and sound: rates of links, spectral efficiencies of devices in cells.

    Raises:
        ScenarioInvalid: names the key's file and line.
    """
    load = cache(load_trace)  # every device of a group asks
    for link in scenario.links:
        for key, name in (("up_trace", link.up_trace), ("down_trace", link.down_trace)):
            if name:
                _check_trace(name, link.place, key, lambda name: load(name).service())
    for user in scenario.users:
        _check_file(user.trace, user.place, "trace")
    for attach in scenario.attachments:
        for key, name in (("up_trace", attach.up_trace), ("down_trace", attach.down_trace)):
            if name:
                _check_trace(name, attach.place, key, lambda name: _check_efficiency(load(name)))


def is_file_name(trace: str) -> bool:
    """Whether a trace is named by its file, rather than as one that ships."""
    return "/" in trace or "." in trace


def _check_trace(name: str, place: Place, key: str, use: Callable[[str], object]) -> None:
    if is_file_name(name):
        _check_file(name, place, key)
    try:
        use(name)
    except NetgptError as error:
        raise refusal(place, key, f"{key!r}: {error.message}", error.hint) from error


def _check_efficiency(trace: Trace) -> None:
    if trace.unit != EFFICIENCY:
        raise UsageError(f"trace {trace.name!r} has rates, a device in a cell wants spectral efficiencies", hint="use it in a [[link]]")


def _check_file(path: str, place: Place, key: str) -> None:
    if path and not Path(path).is_file():
        raise refusal(place, key, f"{key!r} names the file {path!r}, which is not there", "mend the path: it is relative to the scenario file")


def _check_ids(scenario: Scenario) -> None:
    for table, rows in (("node", scenario.nodes), ("cell", scenario.cells)):
        for row in rows:
            if not _ID.fullmatch(row.id) or row.id == _TAKEN:
                raise refusal(row.place, "id", f"a {table} cannot be called {row.id!r}", "use letters, digits and . _ -, and not 'controller'")
    _check_once(scenario.nodes, [members_of(node) for node in scenario.nodes], "node", "id")
    _check_once(scenario.cells, [(cell.id,) for cell in scenario.cells], "cell", "id")
    for link in scenario.links:
        if link.between[0] == link.between[1]:
            raise refusal(link.place, "between", f"a link joins {link.between[0]!r} to itself", "name two nodes")
    _check_once(scenario.links, [(link.id,) for link in scenario.links], "link", "between")


def _check_once(rows: Sequence[NodeSpec] | Sequence[CellSpec] | Sequence[LinkSpec], ids: Sequence[Iterable[str]], table: str, key: str) -> None:
    seen: dict[str, str] = {}
    for row, names in zip(rows, ids, strict=True):
        for name in names:
            if name in seen:
                first = f": also at {seen[name]}" if seen[name] else ""
                raise refusal(row.place, key, f"{table} {name!r} stands twice{first}", f"give every {table} its own id, or leave one out")
            seen[name] = row.place.of(key)


def _check_references(scenario: Scenario) -> None:
    """Every name of a node, link or cell is one that the file has."""
    nodes, cells = {node.id for node in scenario.nodes}, [cell.id for cell in scenario.cells]
    ids = nodes.union(*(members_of(node) for node in scenario.nodes))
    links = {f"{one}-{other}" for link in scenario.links for one, other in product(*(_members(scenario, end) for end in link.between))}
    told = {link.id for link in scenario.links}
    named: list[tuple[Place, str, str, str, Collection[str], Collection[str]]] = []  # place, key, name, kind, all known, those to tell
    named.append((scenario.place, "default_node", scenario.default_node, "node", ids, nodes))
    named += [(link.place, "between", end, "node", ids, nodes) for link in scenario.links for end in link.between]
    named += [(cell.place, "at", cell.at, "node", ids, nodes) for cell in scenario.cells]
    named += [(each.place, "node", each.node, "node", ids, nodes) for each in scenario.attachments]
    named += [(each.place, "cell", each.cell, "cell", cells, cells) for each in scenario.attachments]
    named += [(each.place, "handover", change.to, "cell", cells, cells) for each in scenario.attachments for change in each.handovers]
    named += [(user.place, "at", user.at, "node", ids, nodes) for user in scenario.users]
    named += [(fault.place, "node", fault.node, "node", ids, nodes) for fault in scenario.faults if fault.node]
    named += [(fault.place, "link", fault.link, "link", links, told) for fault in scenario.faults if fault.link]
    named += [(fault.place, "cell", fault.cell, "cell", cells, cells) for fault in scenario.faults if fault.cell]
    for place, key, name, kind, known, tell in named:
        if name not in known:
            hint = did_you_mean(name, tell) if tell else f"add a [[{kind}]] table"
            raise refusal(place, key, f"{key!r} names the unknown {kind} {name!r}", hint)


def _members(scenario: Scenario, name: str) -> tuple[str, ...]:
    return next((members_of(node) for node in scenario.nodes if node.id == name), (name,))


def _check_link(link: LinkSpec, scenario: Scenario) -> None:
    if all(len(_members(scenario, end)) > 1 for end in link.between):
        raise refusal(link.place, "between", f"both ends of link {link.id!r} have a count", "name a single node at one end")
    for key in ("jitter_up", "jitter_down"):
        if getattr(link, f"{key}_s") and not link.delay_s:
            raise refusal(link.place, key, f"the delay of link {link.id!r} is 0 and cannot vary", f'add delay = "20ms", or leave {key} out')
    for key in ("loss_up", "loss_down"):
        if (share := getattr(link, key)) > (1 - share) * link.loss_burst:
            raise refusal(link.place, key, f"no bursts of {link.loss_burst:g} datagrams lose {share:.0%} of all", "lose less, or raise loss_burst")
    for key, rate, trace in (("up", link.up_bps, link.up_trace), ("down", link.down_bps, link.down_trace)):
        if not rate and not trace:
            raise refusal(link.place, "", f"link {link.id!r} lacks {key!r}", f'add {key} = "20Mbps", or {key}_trace = "a file"')
        if rate and trace:
            raise refusal(link.place, f"{key}_trace", f"link {link.id!r} has {key!r} and {f'{key}_trace'!r}", "keep one of them")


def _tier(scenario: Scenario, name: str) -> str:
    return next(node.tier for node in scenario.nodes if name == node.id or name in members_of(node))


def _check_cell(cell: CellSpec, scenario: Scenario) -> None:
    if _tier(scenario, cell.at) != "edge" or len(_members(scenario, cell.at)) > 1:
        edges = [node.id for node in scenario.nodes if node.tier == "edge" and node.count == 1]
        message = f"cell {cell.id!r} stands at {cell.at!r}, which is no single edge node"
        raise refusal(cell.place, "at", message, f"edge nodes: {', '.join(edges) or 'none'}")
    if cell.tdd and (re.sub("[DSU]", "", cell.tdd) or not {"D", "U"} <= set(cell.tdd)):
        raise refusal(cell.place, "tdd", f"{cell.tdd!r} is no TDD pattern", 'write one letter a slot, D, S or U, with a D and a U: "DDDSU"')
    if (cell.configured_grant_s is None) != (cell.configured_grant_bytes is None):
        raise refusal(cell.place, "", f"cell {cell.id!r} has half of a configured grant", "give configured_grant and configured_grant_bytes")
    try:
        scheduler_named(cell.scheduler)
    except UsageError as error:
        raise refusal(cell.place, "scheduler", f"{error.message} in cell {cell.id!r}", error.hint) from error
    try:
        resource_blocks(numerology_of(cell.subcarrier_spacing_hz), cell.bandwidth_hz / 1e6)
    except ScenarioInvalid as error:
        raise refusal(cell.place, "bandwidth", f"cell {cell.id!r}: {error.message}", error.hint) from error
    _check_drx(cell)
    _check_slots(cell)
    _check_flows(cell)


def _check_drx(cell: CellSpec) -> None:
    if cell.drx_cycle_s is None:
        if cell.drx_on_s is not None or cell.drx_inactivity_s is not None:
            raise refusal(cell.place, "", f"cell {cell.id!r} has parts of DRX and no cycle", "add drx_cycle, or leave drx_on and drx_inactivity out")
    elif cell.drx_on_s is not None and cell.drx_on_s > cell.drx_cycle_s:
        message = f"devices of cell {cell.id!r} listen {cell.drx_on_s:g} s of every {cell.drx_cycle_s:g} s"
        raise refusal(cell.place, "drx_on", message, "give at most what drx_cycle is")


def _check_slots(cell: CellSpec) -> None:
    """Periods are whole slots of the cell's numerology (TS 38.211 table 4.3.2-1)."""
    slot_s = 15.0 / cell.subcarrier_spacing_hz
    for key, lasts_s in (("sr_period", cell.sr_period_s), ("configured_grant", cell.configured_grant_s)):
        slots = round(lasts_s / slot_s) if lasts_s else 1
        if lasts_s and not math.isclose(slots * slot_s, lasts_s, rel_tol=1e-6):
            raise refusal(
                cell.place,
                key,
                f"{key!r} of cell {cell.id!r} is no whole number of slots of {slot_s * 1e3:g} ms",
                f"give a multiple of {slot_s * 1e3:g}ms",
            )
        if key == "sr_period" and slots not in SR_PERIODS:
            known = ", ".join(f"{count * slot_s * 1e3:g}ms" for count in SR_PERIODS)
            raise refusal(cell.place, key, f"{key!r} of cell {cell.id!r} is {slots} slots, which TS 38.331 does not have", f"known: {known}")


def _check_flows(cell: CellSpec) -> None:
    for kind, five_qi in cell.flows.items():
        if kind not in FLOWS:
            raise refusal(cell.place, "flows", f"unknown kind of flow {kind!r} in cell {cell.id!r}", did_you_mean(kind, FLOWS))
        if five_qi not in FIVE_QI:
            hint = f"known: {', '.join(map(str, FIVE_QI))}; see TS 23.501 table 5.7.4-1"
            raise refusal(cell.place, "flows", f"unknown 5QI {five_qi} of flow {kind!r} in cell {cell.id!r}", hint)


def _check_attachment(attach: AttachSpec, scenario: Scenario) -> None:
    if _tier(scenario, attach.node) != "device":
        raise refusal(attach.place, "node", f"{attach.node!r} is no device, and only devices are attached to cells", "give it a [[link]]")
    for way, efficiency, trace in (("up", attach.efficiency_up, attach.up_trace), ("down", attach.efficiency_down, attach.down_trace)):
        if efficiency and trace:
            raise refusal(attach.place, f"{way}_trace", f"{attach.node!r} has {f'efficiency_{way}'!r} and {f'{way}_trace'!r}", "keep one of them")
        if not efficiency and not trace:
            hint = f"add efficiency_{way} in bit/s/Hz, or {way}_trace"
            raise refusal(attach.place, "", f"nothing says how well the {way}link of {attach.node!r} is heard in {attach.cell!r}", hint)
    if (attach.mobility == "static") != (attach.speed_m_per_s == 0):
        message = f"{attach.node!r} is {attach.mobility!r} at {attach.speed_m_per_s:g} m/s"
        raise refusal(attach.place, "speed", message, 'give both, speed = "30km/h" and mobility = "line", or neither')
    _check_handovers(attach)


def _check_handovers(attach: AttachSpec) -> None:
    cell, at_s = attach.cell, -1.0
    for change in attach.handovers:
        if change.at_s <= at_s:
            raise refusal(attach.place, "handover", f"the handovers of {attach.node!r} are not in the order of time", "sort them by at")
        if change.to == cell:
            raise refusal(attach.place, "handover", f"{attach.node!r} is handed over to {cell!r}, where it is", "name another cell")
        cell, at_s = change.to, change.at_s


def _check_one_cell_each(scenario: Scenario) -> None:
    seen: dict[str, AttachSpec] = {}
    for attach in scenario.attachments:
        for node in _members(scenario, attach.node):
            if (first := seen.setdefault(node, attach)) is not attach:
                at = f" (at {first.place.of('cell')})" if first.place.file else ""
                message = f"{node!r} is attached twice, to {first.cell!r}{at} and to {attach.cell!r}"
                raise refusal(attach.place, "cell", message, 'a device has one cell at a time; to change: handover = [{ at = "20s", to = "cell2" }]')


def _check_user(user: UserSpec) -> None:
    if bool(user.requests_per_s) == bool(user.trace):
        message = f"the user at {user.at!r} has {'both' if user.trace else 'neither'} 'requests_per_s' {'and' if user.trace else 'nor'} 'trace'"
        raise refusal(user.place, "trace", message, "give requests_per_s = 0.5 or the path of a request trace")
    if not user.trace and (user.trace_start_s or user.trace_speed != 1):
        raise refusal(
            user.place, "", f"the user at {user.at!r} has no trace to start or to speed up", "add trace, or leave trace_start and trace_speed out"
        )


_OF_ENGINE = {  # the keys that only nodes of one engine have
    "replay": ("recording", "timing"),
    "openai": ("upstream", "api_key_env", "context_tokens", "connect_timeout", "first_token_timeout", "next_token_timeout", "retries"),
}


def _check_machine(node: NodeSpec) -> None:
    """The machine is known, and the model that it is declared to run fits its memory. An upstream's is its own affair."""
    try:
        check_variants(node.variants, node.precision)
        shape = node_shape(node.card, node.parameters)
        if node.profile == THIS_MACHINE:  # its figures are in a home, which a scenario does not know
            return
        profile = find_profile(node.profile)
        if shape and not node.asks_upstream:
            declare_variants(profile, shape, node.precision, node.variants, slots=node.slots)
    except NetgptError as error:
        raise refusal(node.place, error.param or "profile", f"node {node.id!r}: {error.message}", error.hint) from error


def _check_node(node: NodeSpec) -> None:
    _check_machine(node)
    defaults = {each.name: each.default for each in fields(NodeSpec)}
    for engine, keys in _OF_ENGINE.items():
        for key in keys:
            if node.engine != engine and getattr(node, key) != defaults[key]:
                raise refusal(node.place, key, f"node {node.id!r} has {key!r} and not engine {engine!r}", f'add engine = "{engine}", or leave it out')
    if node.replays and not node.recording:
        hint = 'add recording = "answers.parquet"; make one with: netgpt record'
        raise refusal(node.place, "engine", f"node {node.id!r} replays and names no recording", hint)
    if node.cache_entries and node.tier != "edge":
        hint = "answers are kept at edge nodes: give it to one of them"
        raise refusal(node.place, "cache_entries", f"node {node.id!r} is of tier {node.tier!r} and has 'cache_entries'", hint)
    if node.variants and node.engine:
        hint = "leave variants out: a recording or an upstream has one model, as it is"
        raise refusal(node.place, "variants", f"node {node.id!r} has engine {node.engine!r} and 'variants'", hint)
    if node.asks_upstream:
        _check_upstream(node)


def _check_upstream(node: NodeSpec) -> None:
    if not node.upstream:
        hint = 'add upstream = "http://127.0.0.1:8000/v1"'
        raise refusal(node.place, "engine", f"node {node.id!r} asks an upstream and names none", hint)
    for key in ("connect_timeout", "first_token_timeout", "next_token_timeout"):
        try:
            lasts_s = parse_duration_s(getattr(node, key))
        except NetgptError as error:
            raise refusal(node.place, key, f"{key!r} of node {node.id!r}: {error.message}", error.hint) from error
        if lasts_s <= 0:
            raise refusal(node.place, key, f"{key!r} of node {node.id!r} is {getattr(node, key)!r}", "give a time above 0")
