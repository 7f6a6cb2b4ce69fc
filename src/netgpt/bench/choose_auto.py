"""How well `auto` chooses: simulated cells of round-trip time, uplink rate and load, against every fixed choice in hindsight.

Each cell is a device, an edge and a cloud with declared timing; others load edge and cloud. What nodes say of their pace and power is off by
up to 30 % either way, drawn anew for each figure of each node, while the engines keep the true one; loads are heartbeats old. The same
requests, at the same times, are answered by `auto` and by each tier alone. Judged is J (`inference.objective`) of what really
happened, with the stated quality of who answered. Service class, prompts, answers and how far the models' qualities lie apart are drawn for
each cell. A pure function of the seed but for the time that a decision takes.
"""

from __future__ import annotations

import argparse
import json
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass, replace
from itertools import product
from typing import Any

import numpy as np

from netgpt.bench.conditions import tell
from netgpt.core.chance import SeededChance
from netgpt.core.clock import run_virtual
from netgpt.core.scheduling import TaskGroup
from netgpt.core.storage import SimulatedStorage
from netgpt.inference.objective import LINK_CLASS, OBJECTIVES, SERVICES, cost_s
from netgpt.inference.planning import radio_energy_j
from netgpt.inference.request import ChatRequest, Finish
from netgpt.network.offer import Offer, Pace, pace_of
from netgpt.network.profile import find_profile
from netgpt.network.roofline import Declared, declare
from netgpt.network.scenario import Scenario
from netgpt.network.scenario_file import parse_scenario
from netgpt.network.service import ConstantRate
from netgpt.network.shape import sized_shape
from netgpt.world.simulated import SimulatedWorld

RTTS_S = (0.005, 0.02, 0.05, 0.15)  # from device to cloud
UPLINKS_BPS = (0.5e6, 5e6, 50e6, 200e6)
LOADS = (0.1, 0.5, 0.9)  # of what edge and cloud can bear
SEEDS, QUICK_SEEDS = (1001, 1002), (1001,)
OFF = 0.3  # how far what nodes say may be off
REQUESTS, QUICK_REQUESTS = 40, 20
REQUESTS_PER_S = 1.0
SETTLE_S = 1.0
EDGE_SHARE = 0.3  # of the way to the cloud
FIXED = {"device": "netgpt-device", "edge": "netgpt-edge", "cloud": "netgpt-cloud"}
ENTRY = "device1"
QUALITIES = ((0.53, 0.71, 0.91), (0.80, 0.86, 0.91), (0.86, 0.92, 0.95))  # device, edge, cloud: the shipped models; closer and close ones
MACHINES = {"device": ("phone", 1e9, 2), "edge": ("t4", 8e9, 4), "cloud": ("l40s", 32e9, 4)}  # profile, parameters, slots
PROMPTS, ANSWERS = ((16, 64), (64, 256), (256, 1200)), ((8, 24), (16, 48))
DECISIONS = 400

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

    @property
    def name(self) -> str:
        return f"rtt {self.rtt_s * 1e3:g} ms, up {self.up_bps / 1e6:g} Mbit/s, load {self.load:g}, seed {self.seed}"


@dataclass(frozen=True, kw_only=True)
class Ask:
    """One request of the cell's user."""

    at_s: float
    content: str
    max_tokens: int


@dataclass(frozen=True, kw_only=True)
class Seen:
    """How one request went."""

    cost_s: float  # J
    node: str
    ttft_s: float
    token_s: float | None
    tokens: int
    payload_bytes: int
    plan: Mapping[str, Any]


@dataclass(frozen=True, kw_only=True)
class CellFigures:
    """One cell: mean J of each way to choose, and how far predictions were off."""

    cell: Cell
    j_s: Mapping[str, float]  # "auto", "device", "edge", "cloud", "random", "clairvoyant"
    shares: Mapping[str, float]  # of auto's requests, by node
    ttft_errors: tuple[float, ...]
    token_errors: tuple[float, ...]
    byte_errors: tuple[float, ...]

    @property
    def best_fixed_s(self) -> float:
        return min(self.j_s[tier] for tier in FIXED)

    def regret(self, who: str) -> float:
        return self.j_s[who] / self.best_fixed_s - 1


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


Act = Callable[[SimulatedWorld], None]


def play(
    cell: Cell, model: str, asks: Sequence[Ask], *, others: bool = True, at: Mapping[float, Act] | None = None, last: Act | None = None
) -> list[Seen]:
    """Let `model` answer the cell's requests under the virtual clock.

    Args:
        at: what happens when, in seconds.
        last: what is done before the world ends.
    """

    async def main() -> list[Seen]:
        scenario = scenario_of(cell, others=others)
        world = SimulatedWorld(scenario, cell.seed, SimulatedStorage(), offers=told_offers(cell))
        await world.start()
        for number, user in enumerate(scenario.users):
            world.background.spawn(world.use(user, f"user.{number}"), name=f"user-{number}")
        seen: list[Seen | None] = [None] * len(asks)

        async def ask(number: int, one: Ask) -> None:
            await world.clock.sleep(max(one.at_s - world.clock.now_s(), 0.0))
            request = ChatRequest(
                request_id=f"chatcmpl-{number:024d}",
                model=model,
                messages=(("user", one.content),),
                max_tokens=one.max_tokens,
                temperature=0.0,
                seed=number,
                service=cell.service,
                qos=LINK_CLASS[cell.service],
            )
            async for answer in world.door(ENTRY).chat(request):
                if isinstance(answer, Finish):
                    seen[number] = _seen(cell, answer)

        async def happen(at_s: float, act: Act) -> None:
            await world.clock.sleep(max(at_s - world.clock.now_s(), 0.0))
            act(world)

        async with TaskGroup() as tasks:
            for at_s, act in (at or {}).items():
                tasks.create_task(happen(at_s, act), name=f"act-{at_s}")
            for number, one in enumerate(asks):
                tasks.create_task(ask(number, one), name=f"ask-{number}")
        if last is not None:
            last(world)
        await world.close()
        return [one for one in seen if one is not None]

    return run_virtual(main())


def _seen(cell: Cell, finish: Finish) -> Seen:
    node = finish.origin[0].node
    tier = node.rstrip("1")
    crossed = sum(sum(count.values()) for peer, count in finish.link_bytes.items() if peer != ENTRY)
    sent = sum(count["sent"] for peer, count in finish.link_bytes.items() if peer != ENTRY)
    working_s = finish.duration_s - finish.queue_s
    energy_j = power_w(tier) * working_s if node == ENTRY else radio_energy_j(finish.duration_s, sent, crossed - sent)
    quality = dict(zip(MACHINES, cell.qualities, strict=True))[tier]
    first_s, total_s = finish.time_to_first_token_s, finish.duration_s
    gaps = finish.completion_tokens - 1
    objective = OBJECTIVES[cell.service]
    return Seen(
        cost_s=cost_s(objective, ttft_s=first_s, total_s=total_s, payload_bytes=crossed, energy_j=energy_j, quality=quality),
        node=node,
        ttft_s=first_s,
        token_s=(total_s - first_s) / gaps if gaps > 0 else None,
        tokens=finish.completion_tokens,
        payload_bytes=crossed,
        plan=finish.plan,
    )


def judge(cell: Cell, requests: int) -> CellFigures:
    """Play one cell by `auto` and by each tier alone."""
    asks = asks_of(cell, requests)
    fixed = {tier: play(cell, model, asks, others=tier != "device") for tier, model in FIXED.items()}
    auto = play(cell, "auto", asks)
    whole = all(len(each) == len(asks) for each in (*fixed.values(), auto))
    if not whole:
        raise RuntimeError(f"{cell.name}: requests were lost, so that nothing can be compared")
    j_s = {tier: float(np.mean([one.cost_s for one in seen])) for tier, seen in fixed.items()}
    together = list(zip(*fixed.values(), strict=True))
    j_s |= {"auto": float(np.mean([one.cost_s for one in auto])), "random": float(np.mean(list(j_s.values())))}
    j_s["clairvoyant"] = float(np.mean([min(one.cost_s for one in each) for each in together]))
    shares = {node: sum(one.node == node for one in auto) / len(auto) for node in sorted({one.node for one in auto})}
    ttft, token, payload = zip(*[_errors(one) for one in auto], strict=True)
    return CellFigures(
        cell=cell,
        j_s=j_s,
        shares=shares,
        ttft_errors=tuple(ttft),
        token_errors=tuple(one for one in token if one is not None),
        byte_errors=tuple(one for one in payload if one is not None),
    )


def _errors(seen: Seen) -> tuple[float, float | None, float | None]:
    """How far off, as shares of what happened: first token, time per token, bytes given the answer's length."""
    told = seen.plan["chosen"]
    longer = seen.tokens - told["answer_tokens"]
    payload = told["up_bytes"] + told["down_bytes"] + longer * told["token_bytes"]
    ttft = abs(told["ttft_s"] / seen.ttft_s - 1)
    token = abs(told["token_s"] / seen.token_s - 1) if seen.token_s else None
    return ttft, token, abs(payload / seen.payload_bytes - 1) if seen.payload_bytes else None


# ---- a step change

STEP_AT_S, STEP_REQUESTS, STEP_PER_S = 8.0, 64, 4.0
STEP_CELL = Cell(
    rtt_s=0.02,
    up_bps=50e6,
    load=0.1,
    seed=1,
    service="interactive",
    qualities=QUALITIES[0],
    prompt_tokens=(64, 256),
    answer_tokens=(8, 16),
)


def _slow(world: SimulatedWorld) -> None:
    """The way to the cloud takes a second longer."""
    medium = world.links["edge1-cloud1"].medium
    for direction in ("up", "down"):
        medium.change(world.clock.now_s(), direction, replace(medium.spec(direction), delay_s=0.5))


def _narrow(world: SimulatedWorld) -> None:
    """The uplink falls to 2 kbit/s."""
    medium = world.links[f"{ENTRY}-edge1"].medium
    medium.change(world.clock.now_s(), "up", replace(medium.spec("up"), service=ConstantRate(2e3)))


STEPS: dict[str, Act] = {"delay": _slow, "uplink": _narrow}


def reaction_s(act: Act, seed: int) -> float:
    """From a step change to the last request that was still sent the old way."""
    cell = replace(STEP_CELL, seed=seed)
    stream = SeededChance(seed).stream("choose.step")
    asks = []
    for number in range(STEP_REQUESTS):
        content = bytes(stream.integers(97, 123, size=int(stream.integers(64, 257)), dtype=np.uint8)).decode()
        asks.append(Ask(at_s=SETTLE_S + (number + float(stream.uniform())) / STEP_PER_S, content=content, max_tokens=int(stream.integers(8, 17))))
    seen = play(cell, "auto", asks, at={STEP_AT_S: act})
    old = max(seen[:20], key=lambda one: sum(other.node == one.node for other in seen[:20])).node
    late = [ask.at_s for ask, one in zip(asks, seen, strict=True) if ask.at_s >= STEP_AT_S and one.plan["chosen"]["nodes"][0] == old]
    return max(late, default=STEP_AT_S) - STEP_AT_S


# ---- all together


def decision_ms() -> list[float]:
    """Processor time of decisions on this machine, with all that a door knows after a while."""
    taken_ms = []
    request = ChatRequest(request_id="chatcmpl-0", model="auto", messages=(("user", "how long does this take? " * 8),))

    def measure(world: SimulatedWorld) -> None:
        door = world.door(ENTRY)
        for _ in range(DECISIONS):
            began_s = time.process_time()
            door.plan(request)
            taken_ms.append(1e3 * (time.process_time() - began_s))

    play(STEP_CELL, "auto", asks_of(STEP_CELL, 20), last=measure)
    return taken_ms


def auto_figures(quick: bool, *, processes: int = 2, seeds: Sequence[int] | None = None) -> dict[str, float]:
    """Play the grid; some minutes on two cores, under one if `quick` (every fourth cell of one seed, half of the requests).

    Returns:
        Flat names: `regret_...` of auto, `device_regret_...` and so on beside it (median, p95, max over cells; shares of the best fixed choice's
        J), `..._error_median` and `_p95` of predictions over all requests, the first ones too, and of cells of the lowest load,
        `step_change_reaction_s` (the longest), `decision_p99_ms` (processor time).
    """
    found = judged(quick, processes=processes, seeds=seeds)
    reactions_s = [reaction_s(act, seed) for act in STEPS.values() for seed in ((1,) if quick else (1, 2, 3))]
    timed_ms = decision_ms()
    figures = summary(found) | {"step_change_reaction_s": round(max(reactions_s), 3)}
    return figures | {"decision_p50_ms": round(float(np.median(timed_ms)), 4), "decision_p99_ms": round(float(np.percentile(timed_ms, 99)), 4)}


def judged(quick: bool, *, processes: int, seeds: Sequence[int] | None = None) -> list[CellFigures]:
    """Every cell, in the grid's order."""
    grid = cells(seeds or (QUICK_SEEDS if quick else SEEDS), thin=5 if quick else 1)
    requests = [QUICK_REQUESTS if quick else REQUESTS] * len(grid)
    tell(f"{len(grid)} cells, {requests[0]} requests each by {len(FIXED) + 1} ways to choose")
    if processes == 1:
        return [judge(cell, count) for cell, count in zip(grid, requests, strict=True)]
    with ProcessPoolExecutor(processes) as pool:
        return list(pool.map(judge, grid, requests))


def summary(found: Sequence[CellFigures]) -> dict[str, float]:
    """Figures over cells, and over all requests."""
    figures: dict[str, float] = {"cells": len(found)}
    for who in ("auto", *FIXED, "random", "clairvoyant"):
        regrets = [one.regret(who) for one in found]
        prefix = "" if who == "auto" else f"{who}_"
        figures |= {
            f"{prefix}regret_median": round(float(np.median(regrets)), 4),
            f"{prefix}regret_p95": round(float(np.percentile(regrets, 95)), 4),
            f"{prefix}regret_max": round(max(regrets), 4),
        }
    for name in ("ttft", "token", "byte"):
        errors = [error for one in found for error in getattr(one, f"{name}_errors")]
        figures[f"{name}_error_median"] = round(float(np.median(errors)), 4)
        figures[f"{name}_error_p95"] = round(float(np.percentile(errors, 95)), 4)
        calm = [error for one in found if one.cell.load == LOADS[0] for error in getattr(one, f"{name}_errors")]
        figures[f"{name}_error_p95_low_load"] = round(float(np.percentile(calm, 95)), 4)
    winners = [min(FIXED, key=lambda tier: one.j_s[tier]) for one in found]
    return figures | {f"{tier}_wins": winners.count(tier) / len(found) for tier in FIXED}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--quick", action="store_true")
    parser.add_argument("--processes", type=int, default=2)
    parser.add_argument("--seed", type=int, nargs="+")
    parser.add_argument("--cells", action="store_true", help="print each cell's figures too")
    args = parser.parse_args()
    if args.cells:
        found = judged(args.quick, processes=args.processes, seeds=args.seed)
        sys.stdout.write(json.dumps(summary(found), indent=2) + "\n")
        for one in found:
            j_s = {name: round(value, 3) for name, value in one.j_s.items()}
            about = f"{one.cell.name}, {one.cell.service}, quality {one.cell.qualities}, prompt {one.cell.prompt_tokens}"
            sys.stdout.write(f"{one.regret('auto'):7.3f} {about}: {j_s} {one.shares}\n")
        return
    sys.stdout.write(json.dumps(auto_figures(args.quick, processes=args.processes, seeds=args.seed), indent=2) + "\n")


if __name__ == "__main__":
    main()
