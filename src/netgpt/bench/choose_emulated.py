"""How well `auto` chooses over real processes and shaped links: a coarse grid, against every fixed choice of the same requests.

A cell is a network of a device, an edge and a cloud with `hash` models and declared timing (`netgpt up --links stream`); others ask at the doors
of edge and cloud. In a fresh network `auto` answers first, then each tier alone: the same requests at the same times, of users and of others.
Judged is J (`inference.objective`) of what the replies say, with the stated quality of who answered; regret is what `auto` has more than the best
single tier. Results that came later than declared are counted: where a machine does not keep up, figures are the machine's.
"""

from __future__ import annotations

import asyncio
import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from functools import partial
from itertools import product
from pathlib import Path
from typing import Any

import numpy as np
import uvloop

from netgpt.bench.auto_cells import EDGE_SHARE, ENTRY, FIXED, MACHINES, QUALITIES, bearable_per_s, power_w
from netgpt.bench.cell_log import CellLog, play_all
from netgpt.bench.conditions import MOST_OVERRUNS, tell
from netgpt.bench.http_load import Target, ask_at
from netgpt.bench.worlds_runs import SETTLE_S, emulated_network
from netgpt.core.chance import SeededChance
from netgpt.core.clock import WallClock
from netgpt.core.errors import NetgptError
from netgpt.inference.objective import OBJECTIVES, SERVICES, cost_s
from netgpt.inference.predicting import radio_energy_j

RTTS_S = (0.01, 0.04, 0.12)  # from device to cloud
UPLINKS_BPS = (2e6, 50e6)
LOADS = (0.2, 0.6)  # of what edge and cloud can bear
SEED = 1
REQUESTS_PER_S, WINDOW_S, QUICK_WINDOW_S = 1.5, 9.0, 3.0
PAUSE_S = 1.0  # after each way's requests, for what is still being heard of
PROMPT_TOKENS, ANSWER_TOKENS = (32, 192), (8, 24)
OTHERS_PROMPT, OTHERS_ANSWER = (64, 256), (16, 48)
WAYS = ("auto", *FIXED)
Played = dict[str, list["Went"]]  # a cell's user requests, by way to choose
LETTERS = np.frombuffer(b"abcdefghijklmnopqrstuvwxyz ", dtype=np.uint8)

_NODE = """[[node]]
id = "{tier}1"
tier = "{tier}"
model = "netgpt-{tier}"
profile = "{profile}"
parameters = {parameters}
slots = {slots}
quality = {quality}
"""
_LINK = '[[link]]\nbetween = ["{ends[0]}", "{ends[1]}"]\nup = {up}\ndown = {down}\ndelay = {delay}\n'


@dataclass(frozen=True, kw_only=True)
class Cell:
    """One condition, with what is drawn for it."""

    rtt_s: float
    up_bps: float
    load: float
    service: str
    qualities: tuple[float, float, float]

    @property
    def name(self) -> str:
        return f"rtt {self.rtt_s * 1e3:g} ms, up {self.up_bps / 1e6:g} Mbit/s, load {self.load:g}"


@dataclass(frozen=True, kw_only=True)
class Ask:
    """One request; of the cell's user, or, at another node, of others."""

    at_s: float
    node: str
    content: str
    max_tokens: int
    seed: int


@dataclass(frozen=True, kw_only=True)
class Went:
    """How one of the user's requests went."""

    cost_s: float  # J
    node: str
    tokens: int
    overruns: int
    ttft_error: float | None  # of auto's prediction, a share of what happened


def cells(seed: int = SEED) -> list[Cell]:
    """The grid; classes of service and how far the models lie apart are drawn."""
    stream = SeededChance(seed).stream("choose.emulated")
    found = []
    for rtt_s, up_bps, load in product(RTTS_S, UPLINKS_BPS, LOADS):
        service, qualities = SERVICES[int(stream.integers(len(SERVICES)))], QUALITIES[int(stream.integers(len(QUALITIES)))]
        found.append(Cell(rtt_s=rtt_s, up_bps=up_bps, load=load, service=service, qualities=qualities))
    return found


def scenario_text(cell: Cell) -> str:
    """The cell as a scenario's text."""
    parts = [f'name = "choose"\ndefault_node = "{ENTRY}"\n']
    for (tier, (profile, parameters, slots)), quality in zip(MACHINES.items(), cell.qualities, strict=True):
        parts.append(_NODE.format(tier=tier, profile=profile, parameters=parameters, slots=slots, quality=quality))
    one_way_s = cell.rtt_s / 2
    parts.append(_LINK.format(ends=(ENTRY, "edge1"), up=cell.up_bps, down=4 * cell.up_bps, delay=EDGE_SHARE * one_way_s))
    parts.append(_LINK.format(ends=("edge1", "cloud1"), up=1e9, down=1e9, delay=(1 - EDGE_SHARE) * one_way_s))
    return "".join(parts)


def asks_of(cell: Cell, window_s: float, seed: int = SEED) -> list[Ask]:
    """What the user and others ask in a window: Poisson processes."""
    asks = _asks(ENTRY, REQUESTS_PER_S, window_s, PROMPT_TOKENS, ANSWER_TOKENS, SeededChance(seed).stream(f"choose.emulated user {cell.name}"))
    for tier in ("edge", "cloud"):
        rate = cell.load * bearable_per_s(tier, sum(OTHERS_PROMPT) / 2, sum(OTHERS_ANSWER) / 2)
        stream = SeededChance(seed).stream(f"choose.emulated {tier} {cell.name}")
        asks += _asks(f"{tier}1", rate, window_s, OTHERS_PROMPT, OTHERS_ANSWER, stream)
    return asks


def _asks(node: str, per_s: float, window_s: float, prompts: tuple[int, int], answers: tuple[int, int], stream: np.random.Generator) -> list[Ask]:
    times_s = np.cumsum(stream.exponential(1 / per_s, size=int(3 * per_s * window_s) + 20))
    found = []
    for number, at_s in enumerate(times_s[times_s < window_s]):
        content = bytes(stream.choice(LETTERS, int(stream.integers(prompts[0], prompts[1] + 1)))).decode()
        found.append(Ask(at_s=float(at_s), node=node, content=content, max_tokens=int(stream.integers(answers[0], answers[1] + 1)), seed=number))
    return found


async def ask_all(doors: Mapping[str, str], model: str, cell: Cell, asks: Sequence[Ask]) -> list[Mapping[str, Any]]:
    """The replies to the user's requests, in the order in which they ended; others ask their own node's model meanwhile.

    Raises:
        NetgptError: a request of the user's was not answered.
    """
    timed: dict[str, list[tuple[float, bytes]]] = {}
    for ask in asks:
        wanted = model if ask.node == ENTRY else FIXED[ask.node.rstrip("1")]
        service = cell.service if ask.node == ENTRY else "interactive"
        request = Target(url=doors[ask.node], model=wanted).request(
            ask.content, max_tokens=ask.max_tokens, temperature=0, seed=ask.seed, service=service
        )
        timed.setdefault(ask.node, []).append((ask.at_s, request))
    answers = await asyncio.gather(*(ask_at(Target(url=doors[node], model=model), each) for node, each in timed.items()))
    own = answers[list(timed).index(ENTRY)]
    if lost := [answer.status for answer in own if answer.status != 200]:
        raise NetgptError(
            f"{cell.name}: {len(lost)} of {len(own)} requests to {model!r} were not answered", hint="see what the nodes say: netgpt log"
        )
    return [json.loads(b"".join(piece for _, piece in answer.pieces)) for answer in own]


def went(cell: Cell, reply: Mapping[str, Any]) -> Went:
    """J of a reply, and how far its prediction was off."""
    metrics, account = reply["metrics"], reply["netgpt"]
    first_s = (metrics["time_to_first_token_ms"] + metrics["queue_time_ms"]) / 1e3
    total_s = first_s + metrics["generation_time_ms"] / 1e3
    node = account["origin"][0]["node"]
    sent, received = (sum(count[way] for peer, count in account["link_bytes"].items() if peer != ENTRY) for way in ("sent", "received"))
    working_s = total_s - metrics["queue_time_ms"] / 1e3
    energy_j = power_w("device") * working_s if node == ENTRY else radio_energy_j(total_s, sent, received)
    quality = dict(zip(MACHINES, cell.qualities, strict=True))[node.rstrip("1")]
    told = account.get("plan", {}).get("chosen")
    return Went(
        cost_s=cost_s(OBJECTIVES[cell.service], ttft_s=first_s, total_s=total_s, payload_bytes=sent + received, energy_j=energy_j, quality=quality),
        node=node,
        tokens=reply["usage"]["completion_tokens"],
        overruns=account["timing"]["overruns"],
        ttft_error=abs(told["ttft_s"] / first_s - 1) if told else None,
    )


def play(cell: Cell, window_s: float) -> Played:
    """Every way to choose, one after the other, in one network; `auto` first, while its door knows nothing yet.

    Raises:
        NetgptError: the network does not start, or a request was lost.
    """
    asks = asks_of(cell, window_s)

    async def all_ways(doors: Mapping[str, str]) -> dict[str, list[Went]]:
        found = {}
        await WallClock().sleep(SETTLE_S)
        for way in WAYS:
            found[way] = [went(cell, reply) for reply in await ask_all(doors, FIXED.get(way, way), cell, asks)]
            await WallClock().sleep(PAUSE_S)
        return found

    with emulated_network(scenario_text(cell)) as state, asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        return runner.run(all_ways(state.doors()))


def summary(found: Sequence[tuple[Cell, Mapping[str, Sequence[Went]]]]) -> dict[str, float]:
    """`emulated_regret_median`, `_p95` and `_max` over cells, the same of each tier, and how far predictions of first tokens were off."""
    figures: dict[str, float] = {"emulated_cells": len(found), "emulated_requests": sum(len(ways["auto"]) for _, ways in found)}
    j_s = [{way: float(np.mean([one.cost_s for one in seen])) for way, seen in ways.items()} for _, ways in found]
    for way in WAYS:
        regrets = [each[way] / min(each[tier] for tier in FIXED) - 1 for each in j_s]
        prefix = "emulated_regret" if way == "auto" else f"emulated_{way}_regret"
        figures |= {f"{prefix}_median": round(float(np.median(regrets)), 4), f"{prefix}_p95": round(float(np.percentile(regrets, 95)), 4)}
        figures[f"{prefix}_max"] = round(max(regrets), 4)
    errors = [one.ttft_error for _, ways in found for one in ways["auto"] if one.ttft_error is not None]
    figures |= {
        "emulated_ttft_error_median": round(float(np.median(errors)), 4),
        "emulated_ttft_error_p95": round(float(np.percentile(errors, 95)), 4),
    }
    every = [one for _, ways in found for seen in ways.values() for one in seen]
    figures["emulated_overruns"] = round(sum(one.overruns for one in every) / max(sum(one.tokens for one in every), 1), 4)
    return figures


def failures(figures: Mapping[str, float]) -> list[str]:
    """What makes a run worthless."""
    late = figures["emulated_overruns"]
    return [f"{late:.1%} of the tokens came later than declared: this machine did not keep up"] if late > MOST_OVERRUNS else []


def emulated_figures(quick: bool, *, kept: Path | None = None) -> tuple[dict[str, float], dict[str, Any], list[str]]:
    """The whole grid, some 11 minutes on two idle cores; one cell for a shorter time, if `quick`.

    Args:
        kept: folder for cells that are done, until all are.

    Returns:
        Figures as `summary` has them, {"emulated_cells": [a row for each]}, and what makes the run worthless.

    Raises:
        NetgptError: a network does not start, or a request was lost.
    """
    grid, window_s = (cells()[:1], QUICK_WINDOW_S) if quick else (cells(), WINDOW_S)
    tell(f"emulated: {len(grid)} cells, {len(WAYS)} ways to choose for {window_s:g} s each")
    log = CellLog[Played](kept, "emulated", f"{window_s} {SEED}", encode=_encoded, decode=_decoded)
    found = list(zip(grid, play_all(grid, partial(play, window_s=window_s), log, part="emulated"), strict=True))
    rows = [
        {"cell": cell.name, "service": cell.service, "qualities": cell.qualities, "nodes": sorted({one.node for one in ways["auto"]})}
        | {way: round(float(np.mean([one.cost_s for one in seen])), 4) for way, seen in ways.items()}
        for cell, ways in found
    ]
    figures = summary(found)
    return figures, {"emulated_cells": rows}, failures(figures)


def _encoded(played: Played) -> dict[str, list[dict[str, Any]]]:
    return {way: [asdict(one) for one in seen] for way, seen in played.items()}


def _decoded(rows: Mapping[str, Sequence[Mapping[str, Any]]]) -> Played:
    return {way: [Went(**one) for one in seen] for way, seen in rows.items()}
