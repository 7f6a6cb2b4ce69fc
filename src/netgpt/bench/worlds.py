"""The same requests in a simulated and in an emulated run: do first tokens come, and do tokens follow, at the same times?

Both have the scenario's links and cells, `hash` models and declared timing; the emulated one is `netgpt up --links stream`. What processes take
on this machine is measured first, on another network (`worlds_processes`), and declared to the simulation. Devices ask by Poisson processes,
at a share of what the network can answer. What it can is found by simulating a backlog. Times are those that doors tell; of the emulated
run, results that came later than declared are counted, since of a machine that does not keep up they are the machine's.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, replace
from importlib import resources
from typing import Any

import numpy as np

from netgpt.bench.conditions import MOST_OVERRUNS, conditions, tell
from netgpt.bench.worlds_processes import LETTERS, measure
from netgpt.bench.worlds_runs import SETTLE_S, Ask, Seen, emulated, emulated_network, simulated
from netgpt.core.chance import SeededChance
from netgpt.core.errors import NetgptError
from netgpt.network.scenario import Scenario
from netgpt.network.scenario_file import parse_scenario

SEED = 1
UTILISATIONS = (0.2, 0.5, 0.8)
SLOTS = 8  # of each engine: so few that a machine of two cores keeps up
PROMPT_TOKENS, ANSWER_TOKENS = (32, 96), (16, 32)
BACKLOG = 60  # requests at once, to find the capacity
FULL_S, QUICK_S = {0.2: 180.0, 0.5: 60.0, 0.8: 60.0}, 20.0  # by utilisation: of few requests a 95th percentile says little
_NODE = '[[node]]\nid = "{id}"\ntier = "{tier}"\nmodel = "netgpt-{tier}"\nprofile = "{profile}"\nparameters = {parameters}\n{more}\n'
_LINK = '[[link]]\nbetween = ["{ends[0]}", "{ends[1]}"]\nup = "1Gbps"\ndown = "1Gbps"\ndelay = "{delay}"\n'
_CELL = '[[cell]]\nid = "cell-{at}"\nat = "{at}"\nbandwidth = "{bandwidth}"\ntdd = "DDDSU"\nbackground_up = "{load}"\nbackground_down = "{load}"\n'
_ATTACH = '[[attach]]\nnode = "{node}"\ncell = "cell-{at}"\nefficiency_up = 2.0\nefficiency_down = 4.0\n'


@dataclass(frozen=True, kw_only=True)
class Case:
    """A scenario and what its devices ask."""

    text: str
    model: str


def cases() -> dict[str, Case]:
    """`campus`, the same on wires, and two cells with a cloud behind."""
    shipped = resources.files("netgpt.network").joinpath("scenarios")
    edge = _NODE.format(id="edge1", tier="edge", profile="edge-server", parameters="8e9", more="")
    cloud = _NODE.format(id="cloud1", tier="cloud", profile="cloud-server", parameters="70e9", more="")
    devices = _NODE.format(id="phone", tier="device", profile="phone", parameters="1e9", more="count = 2")
    others = _NODE.format(id="tablet", tier="device", profile="phone", parameters="1e9", more="count = 2")
    small = _CELL.format(at="edge1", bandwidth="20MHz", load="20%") + _ATTACH.format(node="phone", at="edge1")
    second = edge.replace("edge1", "edge2") + _CELL.format(at="edge2", bandwidth="40MHz", load="0%") + _ATTACH.format(node="tablet", at="edge2")
    backhaul = "".join(_LINK.format(ends=(site, "cloud1"), delay="10ms") for site in ("edge1", "edge2"))
    two = 'name = "two-cells"\ndefault_node = "phone1"\n' + cloud + edge + devices + others + small + second + backhaul
    found = {name: Case(text=(shipped / f"{name}.toml").read_text(encoding="utf-8"), model="netgpt-edge") for name in ("campus", "wires")}
    found["two_cells"] = Case(text=two, model="netgpt-cloud")
    return {name: replace(case, text=_with_slots(case.text)) for name, case in found.items()}


def _with_slots(text: str) -> str:
    return re.sub(r'(?m)^(profile = ".*")$', rf"\1\nslots = {SLOTS}", re.sub(r"(?m)^slots = \d+\n", "", text))


def run(quick: bool) -> dict[str, Any]:
    """Measure: what processes take, then three scenarios at three utilisations, 60 or 180 s each; `campus` at 0.2 for 20 s if `quick`.

    Returns:
        {"suite": "worlds", "figures": {name: number}, "conditions": {...}, "failures": [...]}, for each SCENARIO_u20 and so on:
        `..._first_token_p50_ms_simulated`, `..._emulated`, `..._difference` (the emulated one's, as a share), the same of p95 and of
        `time_per_token`; `..._first_token_later_p50_ms` and p95, of the same request in the emulated run; `..._payload_equal`, the share of
        requests, with `..._payload_bytes_apart_max`; `..._overruns` a token. `processes_...` are those of `worlds_processes.measure`.
    """
    chosen = {"campus": cases()["campus"]} if quick else cases()
    about = conditions(packages=("grpcio", "uvloop"), duration_s=QUICK_S if quick else list(FULL_S.values()), slots=SLOTS, seed=SEED)
    tell("what processes take")
    processes, figures = measure(quick)
    for name, case in chosen.items():
        scenario = replace(parse_scenario(case.text, where=f"{name}.toml"), users=(), faults=(), processes=processes)
        capacity_per_s = capacity(scenario, case.model)
        figures[f"{name}_capacity_requests_per_s"] = round(capacity_per_s, 3)
        for utilisation in UTILISATIONS[:1] if quick else UTILISATIONS:
            duration_s = QUICK_S if quick else FULL_S[utilisation]
            tell(f"{name} at {utilisation:.0%}, {duration_s:.0f} s")
            asks = asked(scenario, utilisation * capacity_per_s, duration_s)
            told = simulated(scenario, case.model, asks, seed=SEED)
            with emulated_network(case.text) as state:
                real = emulated(state, case.model, asks)
            figures |= compare(f"{name}_u{utilisation * 100:.0f}", told, real)
    return {"suite": "worlds", "figures": figures, "conditions": about, "failures": failures(figures)}


def failures(figures: Mapping[str, float]) -> list[str]:
    """What makes a run worthless: a machine that did not keep up with the declared ones."""
    late = {name.removesuffix("_overruns"): share for name, share in figures.items() if name.endswith("_overruns")}
    return [f"{name}: {share:.1%} of the tokens came later than declared" for name, share in late.items() if share > MOST_OVERRUNS]


def asked(scenario: Scenario, requests_per_s: float, duration_s: float) -> list[Ask]:
    """Requests of all devices together, by a Poisson process."""
    stream = SeededChance(SEED).stream(f"worlds {scenario.name} {requests_per_s:.6g}")
    times_s = np.cumsum(stream.exponential(1 / requests_per_s, size=int(2 * requests_per_s * duration_s) + 20))
    return [_ask(scenario, number, SETTLE_S + float(at_s)) for number, at_s in enumerate(times_s[times_s < duration_s])]


def _ask(scenario: Scenario, number: int, at_s: float) -> Ask:
    stream = SeededChance(SEED).stream(f"worlds {scenario.name} ask {number}")
    devices = [node.id for node in scenario.nodes if node.tier == "device"]
    length = int(stream.integers(PROMPT_TOKENS[0], PROMPT_TOKENS[1] + 1))
    return Ask(
        at_s=at_s,
        node=devices[int(stream.integers(len(devices)))],
        seed=1_000_000 + number,  # all as long as each other on the wire
        content=bytes(stream.choice(LETTERS, length)).decode(),
        max_tokens=int(stream.integers(ANSWER_TOKENS[0], ANSWER_TOKENS[1] + 1)),
    )


def capacity(scenario: Scenario, model: str) -> float:
    """Requests a second that the simulated network answers while it has a backlog."""
    seen = simulated(scenario, model, [_ask(scenario, number, SETTLE_S) for number in range(BACKLOG)])
    ends_s = sorted(one.first_s + (one.token_s or 0.0) * max(one.tokens - 1, 0) for one in seen.values())
    return len(ends_s) / ends_s[-1]


def compare(prefix: str, in_simulation: Mapping[int, Seen], in_emulation: Mapping[int, Seen]) -> dict[str, float]:
    """Figures of two runs of the same requests.

    Raises:
        NetgptError: they have no answered request in common.
    """
    both = sorted(set(in_simulation) & set(in_emulation))
    if not both:
        raise NetgptError(f"{prefix}: no request was answered in both worlds", hint="see what the nodes say: netgpt log")
    pairs = [(in_simulation[seed], in_emulation[seed]) for seed in both]
    figures: dict[str, float] = {f"{prefix}_requests": len(pairs), f"{prefix}_answered_in_one": len({*in_simulation, *in_emulation}) - len(pairs)}
    for name, of in (("first_token", lambda one: one.first_s), ("time_per_token", lambda one: one.token_s)):
        values = [[value for one in run if (value := of(one)) is not None] for run in zip(*pairs, strict=True)]
        for percent in (50, 95):
            told, real = (1e3 * float(np.percentile(each, percent)) for each in values)
            figure = f"{prefix}_{name}_p{percent}"
            figures |= {f"{figure}_ms_simulated": round(told, 3), f"{figure}_ms_emulated": round(real, 3)}
            figures[f"{figure}_difference"] = round(real / told - 1, 4)
    later_ms = [1e3 * (real.first_s - told.first_s) for told, real in pairs]
    figures |= {f"{prefix}_first_token_later_p{percent}_ms": round(float(np.percentile(later_ms, percent)), 3) for percent in (50, 95)}
    tokens = sum(real.tokens for _, real in pairs)
    bytes_apart = [abs(_bytes(told) - _bytes(real)) for told, real in pairs]
    figures[f"{prefix}_payload_equal"] = round(sum(told.payload == real.payload for told, real in pairs) / len(pairs), 4)
    figures[f"{prefix}_payload_bytes_apart_max"] = max(bytes_apart)
    figures[f"{prefix}_overruns"] = round(sum(real.overruns for _, real in pairs) / max(tokens, 1), 4)
    return figures


def _bytes(seen: Seen) -> int:
    return sum(sum(count.values()) for count in seen.payload.values())
