"""How fast a model decodes on this machine, measured before anybody asks: a short prompt, a longer one, and some steps.

Each is done a few times and the quickest counts, by the wall clock or by the processor time that it took, whichever is less: what else runs while
a network starts is no part of the model's pace. What answers take later corrects it wherever it is used. The work stays below a budget, or is
left out: a large model says what one step of it tells.
"""

from __future__ import annotations

import time
from collections.abc import Callable

import torch

from netgpt.core.clock import Clock
from netgpt.engine.batch import GenerateRun, advance
from netgpt.engine.decode import FusedDecoder
from netgpt.engine.sessions import Session
from netgpt.network.offer import Pace

BUDGET_S = 0.2  # of all that is measured
SHORT, LONG = 16, 64  # tokens of the two prompts
TOGETHER = 4  # sessions of the step that tells what company costs
STEPS, PROMPTS = 5, 2  # of each kind
PROMPT_SHARE = 0.1  # of a step takes a prompt's token about, of a model that is too slow for more to be measured: weights are read once for all


def measured_pace(model: FusedDecoder, clock: Clock, cpu_s: Callable[[], float] = time.process_time) -> Pace | None:
    """The pace of `model` when nothing else runs; None where the context is too short to tell, or the clock does not move.

    Args:
        cpu_s: processor time of this process.
    """
    if model.config.max_position < LONG + STEPS + 1:
        return None

    def took_s(runs: list[GenerateRun]) -> float:
        began_s, began_cpu_s = clock.now_s(), cpu_s()
        advance(model, runs)
        return min(clock.now_s() - began_s, cpu_s() - began_cpu_s)

    def prompt_s(tokens: int) -> float:
        return min(took_s([_run_of(model, tokens, 1)]) for _ in range(PROMPTS))

    def step_s(sessions: int) -> float:
        runs = [_run_of(model, SHORT, STEPS + 1) for _ in range(sessions)]
        advance(model, runs)
        return min(took_s(runs) for _ in range(STEPS))

    with torch.inference_mode():
        advance(model, [_run_of(model, 2, 1)])  # the first call of all makes what later ones find
        single_s = step_s(1)
        if single_s <= 0:
            return None
        if (TOGETHER * (SHORT + STEPS) + PROMPTS * (SHORT + LONG)) * PROMPT_SHARE * single_s > BUDGET_S:
            return Pace(layers_s=PROMPT_SHARE * single_s, read_s=single_s)
        together_s, short_s, long_s = step_s(TOGETHER), prompt_s(SHORT), prompt_s(LONG)
    token_s = max((together_s - single_s) / (TOGETHER - 1), 0.0)  # of one session more
    layers_s = max((long_s - short_s) / (LONG - SHORT), 0.0)
    head_s = max(token_s - layers_s, 0.0)
    return Pace(step_s=max(single_s - layers_s - head_s, 0.0), layers_s=layers_s, head_s=head_s)


def _run_of(model: FusedDecoder, tokens: int, more: int) -> GenerateRun:
    """A session of `tokens` tokens that are not computed yet, and room for `more`."""
    session = Session(name="", kv=model.new_kv(), tokens=[number % model.config.vocab_size for number in range(tokens)])
    return GenerateRun(session=session, limit_tokens=tokens + more, wanted_from=tokens - 1)
