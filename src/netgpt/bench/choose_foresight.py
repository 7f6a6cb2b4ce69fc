"""How well a first token can be foretold at all: `auto`'s predictions beside those of an oracle that sees the present and not the future.

The oracle knows the ways, the machines and the lengths of prompts exactly, and asks the node's engine itself, at the very instant of the decision,
when a slot gets free. It does not know who else will ask while the request is under way, nor when answers that are being made will end. What it is
off by, no report from a node can mend. Both are judged on the nodes that `auto` chose.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import partial
from pathlib import Path

import numpy as np

from netgpt.bench.auto_cells import EDGE_SHARE, ENTRY, LOADS, Ask, Cell, asks_of, cells, machine
from netgpt.bench.auto_play import Seen, play
from netgpt.bench.cell_log import CellLog, play_all
from netgpt.bench.choose_auto import QUICK_REQUESTS, QUICK_SEEDS, REQUESTS, SEEDS
from netgpt.bench.conditions import tell
from netgpt.models.tokenizer import ByteTokenizer, render_chat
from netgpt.world.simulated import SimulatedWorld

FIRST_PIECE_BYTES = 80  # with the first token
DOWN_FACTOR = 4  # of the uplink's rate
THIN, QUICK_THIN = 5, 16  # every so many-th cell of `choose_auto`'s grid
Outlook = Mapping[str, tuple[float, ...]]  # when each slot gets free, by node
Found = list[tuple[float, float, float]]  # of each request of a cell: see `errors_of`


def errors_of(cell: Cell, requests: int) -> Found:
    """(error of the prediction, of the oracle, whether it came within the time told for 19 in 20) for each request; shares of what happened."""
    asks = asks_of(cell, requests)
    states: dict[int, Outlook] = {}

    def look(number: int, world: SimulatedWorld) -> None:
        states[number] = {f"{engine.card.tier}1": engine.load().free_s for engine in world.engines()}

    seen = play(cell, "auto", asks, at={ask.at_s: partial(look, number) for number, ask in enumerate(asks)})
    found = []
    for number, (ask, one) in enumerate(zip(asks, seen, strict=True)):
        told = one.plan["chosen"]["ttft_s"]
        foreseen = foreseen_s(cell, ask, one, states[number].get(one.node, ()))
        within = float(one.ttft_s <= one.plan["chosen"]["ttft_p95_s"])
        found.append((abs(told / one.ttft_s - 1), abs(foreseen / one.ttft_s - 1), within))
    return found


def foreseen_s(cell: Cell, ask: Ask, seen: Seen, free_s: Sequence[float]) -> float:
    """The oracle's first token; what the door itself would hold the request back is as `auto` has told it."""
    tier, chosen = seen.node.rstrip("1"), seen.plan["chosen"]
    prompt = len(render_chat(ByteTokenizer(), (("user", ask.content),)))
    rtt_s = 0.0 if seen.node == ENTRY else cell.rtt_s * (EDGE_SHARE if tier == "edge" else 1.0)
    up_s, down_s = (0.0, 0.0) if seen.node == ENTRY else (8 * chosen["up_bytes"] / cell.up_bps, 8 * FIRST_PIECE_BYTES / cell.up_bps / DOWN_FACTOR)
    wait_s = max(min(free_s, default=0.0) - rtt_s / 2 - up_s, 0.0)
    return chosen["held_s"] + rtt_s + up_s + down_s + wait_s + machine(tier).prefill_s(prompt)


def summary(found: Mapping[Cell, Found]) -> dict[str, float]:
    """Figures over all requests, and of each load.

    Returns:
        `foresight_ttft_error_...` and `foresight_oracle_error_...`: median, p95, and the share that is off by more than 30 %;
        `foresight_ttft_within_p95`: how many came within the time that is told to hold 19 times in 20.
    """
    figures: dict[str, float] = {"foresight_cells": len(found), "foresight_requests": sum(map(len, found.values()))}
    for suffix, loads in (("", LOADS), *((f"_load_{100 * load:.0f}", (load,)) for load in LOADS)):
        pairs = [pair for cell, pairs in found.items() if cell.load in loads for pair in pairs]
        if not pairs:
            continue
        *both, within = zip(*pairs, strict=True)
        figures[f"foresight_ttft_within_p95{suffix}"] = round(float(np.mean(within)), 4)
        for name, errors in zip(("foresight_ttft_error", "foresight_oracle_error"), both, strict=True):
            figures[f"{name}_median{suffix}"] = round(float(np.median(errors)), 4)
            figures[f"{name}_p95{suffix}"] = round(float(np.percentile(errors, 95)), 4)
            figures[f"{name}_above_30{suffix}"] = round(float(np.mean(np.array(errors) > 0.3)), 4)
    return figures


def foresight_figures(quick: bool, *, processes: int = 2, kept: Path | None = None) -> dict[str, float]:
    """Over every fifth cell of `choose_auto`'s grid, a minute of processor time; three cells and fewer requests, if `quick`.

    Args:
        kept: folder for cells that are done, until all are.
    """
    grid = cells(QUICK_SEEDS, thin=QUICK_THIN) if quick else cells(SEEDS, thin=THIN)
    requests = QUICK_REQUESTS if quick else REQUESTS
    tell(f"foresight: {len(grid)} cells, {requests} requests each")
    log = CellLog[Found](kept, "foresight", str(requests), encode=list, decode=lambda rows: [tuple(row) for row in rows])
    found = play_all(grid, partial(errors_of, requests=requests), log, part="foresight", processes=processes)
    return summary(dict(zip(grid, found, strict=True)))
