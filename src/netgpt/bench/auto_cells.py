"""The grid on which `auto` is judged: simulated cells of round-trip time, uplink rate and load.

Each cell is a device, an edge and a cloud with declared timing; others load edge and cloud. What nodes say of their pace and power is off by
up to 30 % either way, drawn anew for each figure of each node, while the engines keep the true one. Service class, prompts, answers and how
far the models' qualities lie apart are drawn for each cell. Pure functions of the seed; nothing is played here.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import product

import numpy as np

from netgpt.core.chance import SeededChance
from netgpt.inference.objective import SERVICES
from netgpt.network.offer import Offer, Pace, pace_of
from netgpt.network.profile import find_profile
from netgpt.network.roofline import Declared, declare
from netgpt.network.scenario import Scenario
from netgpt.network.scenario_file import parse_scenario
from netgpt.network.shape import sized_shape

RTTS_S = (0.005, 0.02, 0.05, 0.15)  # from device to cloud
UPLINKS_BPS = (0.5e6, 5e6, 50e6, 200e6)
LOADS = (0.1, 0.5, 0.9)  # of what edge and cloud can bear
OFF = 0.3  # how far what nodes say may be off
REQUESTS_PER_S = 1.0
SETTLE_S = 1.0
EDGE_SHARE = 0.3  # of the way to the cloud
FIXED = {"device": "netgpt-device", "edge": "netgpt-edge", "cloud": "netgpt-cloud"}
ENTRY = "device1"
QUALITIES = ((0.37, 0.67, 0.86), (0.80, 0.86, 0.91), (0.86, 0.92, 0.95))  # device, edge, cloud: the shipped models; closer and close ones
MACHINES = {"device": ("phone", 1e9, 2), "edge": ("t4", 8e9, 4), "cloud": ("l40s", 32e9, 4)}  # profile, parameters, slots
PROMPTS, ANSWERS = ((16, 64), (64, 256), (256, 1200)), ((8, 24), (16, 48))

_NODE = '[[node]]\nid = "{id}"\ntier = "{tier}"\nmodel = "netgpt-{tier}"\nprofile = "{profile}"\nparameters = {parameters}\nslots = {slots}\n'
_QUALITY = "quality = {quality}\n"
_LINK = '[[link]]\nbetween = ["{ends[0]}", "{ends[1]}"]\nup = {up}\ndown = {down}\ndelay = {delay}\n'
_USER = '[[user]]\nat = "{at}"\nmodel = "{model}"\nrequests_per_s = {rate}\nprompt_tokens = [{prompt[0]}, {prompt[1]}]\nanswer_tokens = [16, 48]\n'


@dataclass(frozen=True, kw_only=True)
class Cell:
    """One condition, with what is drawn for it."""

    rtt_s: float
    up_bps: float
    load: float
    seed: int
    service: str
    qualities: tuple[float, float, float]
    prompt_tokens: tuple[int, int]
    answer_tokens: tuple[int, int]

    def rtt_to(self, tier: str) -> float:
        """Seconds from the device, there and back."""
        return {"device": 0.0, "edge": EDGE_SHARE * self.rtt_s}.get(tier, self.rtt_s)

    @property
    def name(self) -> str:
        return f"rtt {self.rtt_s * 1e3:g} ms, up {self.up_bps / 1e6:g} Mbit/s, load {self.load:g}, seed {self.seed}"


@dataclass(frozen=True, kw_only=True)
class Ask:
    """One request of the cell's user."""

    at_s: float
    content: str
    max_tokens: int


def cells(seeds: Sequence[int], *, thin: int = 1) -> list[Cell]:
    """The grid, once for each seed; every `thin`-th of it."""
    found = []
    for seed in seeds:
        stream = SeededChance(seed).stream("choose.cells")
        for rtt_s, up_bps, load in product(RTTS_S, UPLINKS_BPS, LOADS):
            drawn = [int(stream.integers(len(kinds))) for kinds in (SERVICES, QUALITIES, PROMPTS, ANSWERS)]
            found.append(
                Cell(
                    rtt_s=rtt_s,
                    up_bps=up_bps,
                    load=load,
                    seed=seed,
                    service=SERVICES[drawn[0]],
                    qualities=QUALITIES[drawn[1]],
                    prompt_tokens=PROMPTS[drawn[2]],
                    answer_tokens=ANSWERS[drawn[3]],
                )
            )
    return found[::thin]


def machine(tier: str) -> Declared:
    """What a tier's node really is."""
    profile, parameters, slots = MACHINES[tier]
    return declare(find_profile(profile), sized_shape(parameters), slots=slots)


def bearable_per_s(tier: str, prompt_tokens: float, answer_tokens: float) -> float:
    """Requests a second that would keep a tier's node at work all the time."""
    declared, slots = machine(tier), MACHINES[tier][2]
    step_s = declared.decode_s([int(prompt_tokens + answer_tokens / 2)] * slots)
    return 1 / (declared.prefill_s(int(prompt_tokens)) + answer_tokens * step_s / slots)


def scenario_of(cell: Cell, *, others: bool = True) -> Scenario:
    """The cell as a scenario; `others` load edge and cloud, at their doors."""
    parts = [f'name = "choose"\ndefault_node = "{ENTRY}"\n']
    for (tier, (profile, parameters, slots)), quality in zip(MACHINES.items(), cell.qualities, strict=True):
        parts.append(_NODE.format(id=f"{tier}1", tier=tier, profile=profile, parameters=parameters, slots=slots) + _QUALITY.format(quality=quality))
    one_way_s = cell.rtt_s / 2
    parts.append(_LINK.format(ends=(ENTRY, "edge1"), up=cell.up_bps, down=4 * cell.up_bps, delay=EDGE_SHARE * one_way_s))
    parts.append(_LINK.format(ends=("edge1", "cloud1"), up=1e9, down=1e9, delay=(1 - EDGE_SHARE) * one_way_s))
    if others:
        stream = SeededChance(cell.seed).stream(f"choose.load {cell.name}")
        for tier in ("edge", "cloud"):
            rate = cell.load * float(stream.uniform(0.7, 1.2)) * bearable_per_s(tier, 160, 30)
            parts.append(_USER.format(at=f"{tier}1", model=FIXED[tier], rate=round(rate, 4), prompt=(64, 256)))
    return parse_scenario("".join(parts), where="choose.toml")


def told_offers(cell: Cell) -> dict[str, Offer]:
    """What the nodes say: the truth, each figure off by up to `OFF`."""
    stream = SeededChance(cell.seed).stream(f"choose.told {cell.name}")

    def off() -> float:
        return float(stream.uniform(1 - OFF, 1 + OFF))

    found = {}
    for tier, quality in zip(MACHINES, cell.qualities, strict=True):
        declared = machine(tier)
        true, arithmetic, memory, overhead = pace_of(declared), off(), off(), off()
        pace = Pace(
            step_s=true.step_s * overhead,
            token_s=true.token_s * overhead,
            layers_s=true.layers_s * arithmetic,
            head_s=true.head_s * arithmetic,
            pair_s=true.pair_s * arithmetic,
            read_s=true.read_s * memory,
            kv_s=true.kv_s * memory,
            score_s=true.score_s * memory,
        )
        found[f"{tier}1"] = Offer(pace=pace, power_w=power_w(tier) * off(), quality=quality)
    return found


def power_w(tier: str) -> float:
    """What a tier's machine really draws above idling."""
    profile = machine(tier).profile
    return profile.busy_w - profile.idle_w


def asks_of(cell: Cell, requests: int) -> list[Ask]:
    """The user's requests: a Poisson process."""
    stream = SeededChance(cell.seed).stream(f"choose.asks {cell.name}")
    times_s = SETTLE_S + np.cumsum(stream.exponential(1 / REQUESTS_PER_S, size=requests))
    found = []
    for at_s in times_s:
        length = int(stream.integers(cell.prompt_tokens[0], cell.prompt_tokens[1] + 1))
        content = bytes(stream.integers(97, 123, size=length, dtype=np.uint8)).decode()
        found.append(Ask(at_s=float(at_s), content=content, max_tokens=int(stream.integers(cell.answer_tokens[0], cell.answer_tokens[1] + 1))))
    return found
