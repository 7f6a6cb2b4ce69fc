"""A door under three times its capacity: is as much work done, and what does a polite key notice?

One node whose upstream serves `SLOTS` requests at once, each for `SERVICE_S`; that is its capacity. Requests come by
Poisson processes that wait for no answer (an open loop), in three runs of the same length: the polite key alone, a flood
slightly above capacity alone (the peak), and both, the flood at three times the capacity.

Goodput counts the tokens of answers that came whole within the run. The simulated world's twin is tests/world/test_overload.py.
"""

from __future__ import annotations

import asyncio
import json
import tempfile
from collections import Counter
from collections.abc import Sequence
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import numpy as np
import uvloop

from netgpt.bench.conditions import conditions
from netgpt.bench.gateways import mock_upstream, netgpt_network
from netgpt.bench.http_load import Answer, Target, ask_at
from netgpt.core.clock import WallClock

SLOTS = 8
TOKENS, GAP_S = 20, 0.025
SERVICE_S = TOKENS * GAP_S  # of the upstream, a request
CAPACITY_PER_S = SLOTS / SERVICE_S
POLITE_PER_S = 1.0
PEAK, FLOOD = 1.2, 3.0  # times the capacity
SEED = 1
POLITE_KEY, FLOOD_KEY = "polite", "flood"
Figures = dict[str, float]


def run(quick: bool) -> dict[str, Any]:
    """Measure; three runs of 60 s, or of 10 s if `quick`.

    Returns:
        {"suite": "overload", "figures": {name: number}, "conditions": {...}}
    """
    duration_s = 10.0 if quick else 60.0
    about = conditions(packages=("uvicorn", "httptools", "uvloop"), duration_s=duration_s, slots=SLOTS, service_s=SERVICE_S, seed=SEED)
    with ExitStack() as stack:
        scratch = Path(stack.enter_context(tempfile.TemporaryDirectory()))
        upstream = stack.enter_context(mock_upstream())
        doors, _ = stack.enter_context(netgpt_network(upstream, scratch, keys=(POLITE_KEY, FLOOD_KEY), slots=SLOTS))
        alone = offer(doors, {POLITE_KEY: POLITE_PER_S}, duration_s)
        peak = offer(doors, {FLOOD_KEY: PEAK * CAPACITY_PER_S}, duration_s)
        both = offer(doors, {POLITE_KEY: POLITE_PER_S, FLOOD_KEY: FLOOD * CAPACITY_PER_S}, duration_s)
    return {"suite": "overload", "figures": judge(alone, peak, both, duration_s), "conditions": about}


Answers = dict[str, list[Answer]]


def offer(doors: dict[str, Target], rates_per_s: dict[str, float], duration_s: float) -> Answers:
    """The answers by key; requests of each key arrive at its rate for the whole run."""

    async def all_keys() -> Answers:
        asked = [ask_at(doors[key], list(arrivals(doors[key], key, rate, duration_s))) for key, rate in rates_per_s.items()]
        return dict(zip(rates_per_s, await asyncio.gather(*asked), strict=True))

    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        answers = runner.run(all_keys())
        runner.run(WallClock().sleep(2 * SERVICE_S))  # the next run begins with an empty door
    return answers


def arrivals(target: Target, key: str, rate_per_s: float, duration_s: float) -> list[tuple[float, bytes]]:
    """Times and requests of a Poisson process."""
    chance = np.random.default_rng([SEED, len(key), round(rate_per_s * 1000)])
    times_s = np.cumsum(chance.exponential(1 / rate_per_s, size=int(2 * rate_per_s * duration_s) + 20))
    pace = json.dumps({"tokens": TOKENS, "first_s": GAP_S, "gap_s": GAP_S})
    return [(float(at_s), target.request(pace, max_tokens=TOKENS)) for at_s in times_s[times_s < duration_s]]


def judge(alone: Answers, peak: Answers, both: Answers, duration_s: float) -> Figures:
    """The figures of the three runs."""
    unloaded_s, loaded_s = (np.percentile([answer.total_s for answer in done(answers[POLITE_KEY])], 95) for answers in (alone, both))
    peak_tokens, flooded_tokens = (goodput(answers, duration_s) for answers in (peak, both))
    results = Counter(answer.status for answer in both[FLOOD_KEY])
    return {
        "capacity_requests_per_s": CAPACITY_PER_S,
        "offered_times_capacity": round(len(both[FLOOD_KEY]) / duration_s / CAPACITY_PER_S, 3),
        "goodput_peak_tokens_per_s": round(peak_tokens, 2),
        "goodput_overloaded_tokens_per_s": round(flooded_tokens, 2),
        "goodput_share": round(flooded_tokens / peak_tokens, 4),
        "polite_p95_unloaded_s": round(float(unloaded_s), 4),
        "polite_p95_overloaded_s": round(float(loaded_s), 4),
        "polite_p95_times": round(float(loaded_s / unloaded_s), 3),
        "polite_refused": sum(answer.status != 200 for answer in both[POLITE_KEY]),
        "polite_answered": len(done(both[POLITE_KEY])),
        "flood_answered": results[200],
        "flood_refused": results[429] + results[503],
        "flood_otherwise": results.total() - results[200] - results[429] - results[503],
    }


def done(answers: Sequence[Answer]) -> list[Answer]:
    return [answer for answer in answers if answer.status == 200]


def goodput(answers: Answers, duration_s: float) -> float:
    """Tokens per second of the answers that came before the last arrival could; those that drain afterwards do not count."""
    every = [answer for found in answers.values() for answer in found]
    start_s = min(answer.asked_s for answer in every)
    return sum(TOKENS for answer in done(every) if answer.ended_s <= start_s + duration_s) / duration_s
