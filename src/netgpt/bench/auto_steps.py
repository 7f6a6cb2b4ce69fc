"""How fast `auto` follows a step change of a link, and how long a decision takes."""

from __future__ import annotations

import time
from dataclasses import replace

import numpy as np

from netgpt.bench.auto_cells import ENTRY, QUALITIES, SETTLE_S, Ask, Cell, asks_of
from netgpt.bench.auto_play import Act, play
from netgpt.core.chance import SeededChance
from netgpt.inference.request import ChatRequest
from netgpt.network.service import ConstantRate
from netgpt.world.simulated import SimulatedWorld

DECISIONS = 400
STEP_AT_S, STEP_REQUESTS, STEP_PER_S = 8.0, 64, 4.0
STEP_SEEDS = (1, 2, 3, 4, 5)
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
