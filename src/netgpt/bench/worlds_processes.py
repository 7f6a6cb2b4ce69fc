"""What NetGPT's own processes take on this machine: the scenario's table `processes`, from a short run that no comparison uses.

A network of one node a tier answers single requests of several kinds, far apart, whose prompts and seeds are its own. Two things are measured:
by how much first tokens come later than in a simulation whose processes take no time, and the processor time of doors, engines,
controller and link shaper, with requests and without. A non-negative least-squares fit gives what a request, a call, a reply, a
kilobyte and a piece at the shaper take. Lateness decides what a request and a piece at the shaper take, waits for a processor that sleeps
included; processor time decides what of the rest is each call's and each reply's.
"""

from __future__ import annotations

import os
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import NamedTuple

import numpy as np

from netgpt.bench.worlds_runs import SETTLE_S, Ask, Seen, emulated, emulated_network, simulated
from netgpt.controller.pace import BEAT_INTERVAL_S
from netgpt.core.chance import SeededChance
from netgpt.core.statistics import non_negative_squares
from netgpt.network.scenario import ProcessesSpec, Scenario
from netgpt.network.scenario_file import parse_scenario
from netgpt.world.runstate import CONTROLLER, DOOR, ENGINE, SHAPER, RunState

SEED = 77
FIRST_SEED = 2_000_000  # those of compared requests begin with 1
IDLE_S = 10.0
LATENESS_WEIGHT = 50.0  # of an equation about first tokens, against one about processor time
CALLS_A_BEAT = 2  # a node's door asks its engine how it is, and tells the controller
UNKNOWNS = (
    "request",
    "call",
    "reply",
    "kilobyte",
    "shaper",
    "door",
)  # the last is in no table: a door's processor, a request, beside calls and replies
LETTERS = np.frombuffer(b"abcdefghijklmnopqrstuvwxyz ", dtype=np.uint8)
_NODE = '[[node]]\nid = "{tier}1"\ntier = "{tier}"\nmodel = "netgpt-{tier}"\nprofile = "{profile}"\nparameters = {parameters}\nslots = 4\n'
_LINK = '[[link]]\nbetween = ["{0}", "{1}"]\nup = "1Gbps"\ndown = "1Gbps"\ndelay = "2ms"\n'
TEXT = (
    'name = "processes"\ndefault_node = "device1"\n'
    + _NODE.format(tier="cloud", profile="cloud-server", parameters="70e9")
    + _NODE.format(tier="edge", profile="edge-server", parameters="8e9")
    + _NODE.format(tier="device", profile="phone", parameters="1e9")
    + _LINK.format("device1", "edge1")
    + _LINK.format("edge1", "cloud1")
)


class Equation(NamedTuple):
    """So often each unknown, and what that took."""

    counts: Mapping[str, float]
    total_s: float
    weight: float = 1.0


@dataclass(frozen=True, kw_only=True)
class Probe:
    """Requests of one kind: from the node's door to the model's node, `links` away."""

    name: str
    node: str
    tier: str
    links: int
    prompt_tokens: tuple[int, int]
    max_tokens: int
    gap_s: float
    count: int

    @property
    def model(self) -> str:
        return f"netgpt-{self.tier}"


PROBES = (
    Probe(name="own", node="device1", tier="device", links=0, prompt_tokens=(16, 48), max_tokens=2, gap_s=0.3, count=30),
    Probe(name="long_prompt", node="cloud1", tier="cloud", links=0, prompt_tokens=(1200, 1600), max_tokens=2, gap_s=0.9, count=14),
    Probe(name="long_answer", node="device1", tier="device", links=0, prompt_tokens=(16, 48), max_tokens=32, gap_s=1.6, count=14),
    Probe(name="one_link", node="device1", tier="edge", links=1, prompt_tokens=(16, 48), max_tokens=2, gap_s=0.35, count=30),
    Probe(name="two_links", node="device1", tier="cloud", links=2, prompt_tokens=(16, 48), max_tokens=2, gap_s=0.35, count=30),
)


@dataclass(frozen=True, kw_only=True)
class Observed:
    """One probe's requests in both worlds, and the processor time that they cost beyond idling, by role."""

    probe: Probe
    told: Sequence[Seen]
    real: Sequence[Seen]
    cpu_s: Mapping[str, float]

    def late_s(self) -> float:
        """By how much first tokens of real processes come later, the median."""
        return float(np.median([real.first_s - told.first_s for told, real in zip(self.told, self.real, strict=True)]))


def measure(quick: bool = False) -> tuple[ProcessesSpec, dict[str, float]]:
    """What processes take here, in about 80 s, or 30 if `quick`; the machine should have nothing else to do.

    Returns:
        The table, and figures of the fit in ms: `processes_...` of each value, and `processes_PROBE_late` (measured) and `..._left` (what a
        simulation with the table still tells too early).

    Raises:
        NetgptError: the network does not start.
    """
    scenario = replace(parse_scenario(TEXT, where="processes.toml"), users=(), faults=())
    idle_s = IDLE_S / 3 if quick else IDLE_S
    with emulated_network(TEXT) as state:
        emulated(state, "netgpt-device", asks(PROBES[0], 4))  # whatever a first request loads
        before_s, began_s = cpu_by_role(state), time.monotonic()
        time.sleep(idle_s)  # nothing is asked
        rates = {role: used / (time.monotonic() - began_s) for role, used in _since(cpu_by_role(state), before_s).items()}
        observed = [_observe(state, scenario, probe, rates, probe.count // 3 if quick else probe.count) for probe in PROBES]
    found = fit([*beat_equations(rates, nodes=len(scenario.nodes)), *probe_equations(observed)])
    spec = spec_of(found, cores=len(os.sched_getaffinity(0)))
    figures = {f"processes_{name}_ms": round(1e3 * value, 4) for name, value in found.items()}
    for each in observed:
        again = simulated(replace(scenario, processes=spec), each.probe.model, asks(each.probe, len(each.real)))
        left = replace(each, told=[again[ask.seed] for ask in asks(each.probe, len(each.real))])
        figures |= {f"processes_{each.probe.name}_late_ms": round(1e3 * each.late_s(), 3)}
        figures |= {f"processes_{each.probe.name}_left_ms": round(1e3 * left.late_s(), 3)}
    return spec, figures


def asks(probe: Probe, count: int) -> list[Ask]:
    """The probe's first requests; gaps vary, so that heartbeats fall anywhere between them."""
    stream = SeededChance(SEED).stream(f"processes {probe.name}")
    made, at_s = [], SETTLE_S
    for number in range(count):
        at_s += probe.gap_s * float(stream.uniform(0.8, 1.2))
        content = bytes(stream.choice(LETTERS, int(stream.integers(probe.prompt_tokens[0], probe.prompt_tokens[1] + 1)))).decode()
        made.append(Ask(at_s=at_s, node=probe.node, seed=FIRST_SEED + number, content=content, max_tokens=probe.max_tokens))
    return made


def _observe(state: RunState, scenario: Scenario, probe: Probe, idle: Mapping[str, float], count: int) -> Observed:
    asked = asks(probe, count)
    told = simulated(scenario, probe.model, asked)
    before_s, began_s = cpu_by_role(state), time.monotonic()
    real = emulated(state, probe.model, asked)
    passed_s = time.monotonic() - began_s
    used_s = {role: used - idle[role] * passed_s for role, used in _since(cpu_by_role(state), before_s).items()}
    both = [ask.seed for ask in asked if ask.seed in told and ask.seed in real]
    return Observed(probe=probe, told=[told[seed] for seed in both], real=[real[seed] for seed in both], cpu_s=used_s)


def cpu_by_role(state: RunState) -> dict[str, float]:
    """Processor time that a network's processes have used so far, all of a role together, s."""
    used: dict[str, float] = dict.fromkeys((DOOR, ENGINE, CONTROLLER, SHAPER), 0.0)
    for process in state.processes:
        if process.pid is not None and process.role in used:
            used[process.role] += time.clock_gettime((~process.pid.number << 3) | 2)  # the process's clock: clock_getcpuclockid(3)
    return used


def _since(now_s: Mapping[str, float], before_s: Mapping[str, float]) -> dict[str, float]:
    return {role: used - before_s[role] for role, used in now_s.items()}


def beat_equations(idle: Mapping[str, float], *, nodes: int) -> Iterator[Equation]:
    """What an idle network does in a second is heartbeats: calls of one reply.

    Args:
        idle: processor time in a second, by role.
    """
    ends = 2 * CALLS_A_BEAT * nodes / BEAT_INTERVAL_S
    yield Equation({"call": ends, "reply": ends}, sum(idle[role] for role in (DOOR, ENGINE, CONTROLLER)))


def probe_equations(observed: Sequence[Observed]) -> Iterator[Equation]:
    """First tokens of each probe, and the processor time of its engine, its door and the shaper."""
    for each in observed:
        requests, replies, links = len(each.real), sum(seen.tokens for seen in each.real), each.probe.links
        sent, received = (sum(count[way] for seen in each.real for count in seen.payload.values()) / 1000 for way in ("sent", "received"))
        passes = links + 1 if links else 0  # of a piece at the shaper: at each node of its way
        first = {"request": 1.0, "call": 2.0, "reply": 2.0, "kilobyte": 2 * (sent / requests + received / replies), "shaper": 2.0 * passes}
        yield Equation(first, each.late_s(), LATENESS_WEIGHT)
        end = {"call": float(requests), "reply": float(replies), "kilobyte": sent + received}
        yield Equation(end, each.cpu_s[ENGINE])
        yield Equation({**end, "door": float(requests)}, each.cpu_s[DOOR])
        if passes:
            yield Equation({"shaper": float(passes * (requests + replies + requests))}, each.cpu_s[SHAPER])  # and the end of each call


def fit(equations: Sequence[Equation]) -> dict[str, float]:
    """Least squares of the relative errors, s, none below 0. An equation whose total is not above 0 was lost in what else the machine did."""
    used = [each for each in equations if each.total_s > 0]
    weights = np.array([each.weight for each in used])
    rows = np.array([[each.counts.get(name, 0.0) / each.total_s for name in UNKNOWNS] for each in used])
    return dict(zip(UNKNOWNS, non_negative_squares(rows * weights[:, None], weights), strict=True))


def spec_of(found: Mapping[str, float], *, cores: int) -> ProcessesSpec:
    """The scenario's table; to the microsecond, which is less than any of it is repeated to."""
    request_s, call_s, reply_s, kilobyte_s, shaper_s, _ = (round(found[name], 6) for name in UNKNOWNS)
    return ProcessesSpec(request_s=request_s, call_s=call_s, reply_s=reply_s, kilobyte_s=kilobyte_s, shaper_s=shaper_s, cores=cores)
