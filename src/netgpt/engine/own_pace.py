"""How fast a model decodes on this machine, measured before anybody asks: a short prompt, a longer one, and some steps.

Each is done a few times and the quickest counts: what else runs while a network starts is no part of the model's pace. What answers take later
corrects it wherever it is used. The work stays below a budget, or is left out: a large model says what one step of it tells.
"""

from __future__ import annotations

import torch

from netgpt.core.clock import Clock
from netgpt.engine.batch import STEP_ROWS, GenerateRun, advance
from netgpt.engine.decode import FusedDecoder
from netgpt.engine.sessions import Session
from netgpt.network.offer import Pace

BUDGET_S = 0.15  # of all that is measured
SHORT, LONG = 16, STEP_ROWS  # tokens of the two prompts
TOGETHER = 4  # sessions of the step that tells what company costs
STEPS, PROMPTS = 8, 2  # of each kind
PROMPT_SHARE = 0.1  # of a step, a prompt's token takes at the most, of a model that is too slow for more to be measured


def measured_pace(model: FusedDecoder, clock: Clock) -> Pace | None:
    """The pace of `model` when nothing else runs; None where the clock or the context is too short to tell."""
    if model.config.max_position < LONG + STEPS + 1:
        return None
    with torch.inference_mode():
        _prompt_s(model, clock, 2)  # the first call of all makes what later ones find
        single_s = _step_s(model, clock, 1)
        if single_s <= 0:
            return None
        if (TOGETHER * SHORT + PROMPTS * LONG + STEPS * TOGETHER) * PROMPT_SHARE * single_s > BUDGET_S:
            return Pace(layers_s=PROMPT_SHARE * single_s, read_s=single_s)
        together_s = _step_s(model, clock, TOGETHER)
        short_s, long_s = (min(_prompt_s(model, clock, tokens) for _ in range(PROMPTS)) for tokens in (SHORT, LONG))
    token_s = max((together_s - single_s) / (TOGETHER - 1), 0.0)  # of one session more
    layers_s = max((long_s - short_s) / (LONG - SHORT), 0.0)
    head_s = max(token_s - layers_s, 0.0)
    return Pace(step_s=max(single_s - layers_s - head_s, 0.0), layers_s=layers_s, head_s=head_s)


def _run_of(model: FusedDecoder, tokens: int, more: int) -> GenerateRun:
    """A session of `tokens` tokens that are not computed yet, and room for `more`."""
    session = Session(name="", kv=model.new_kv(), tokens=[number % model.config.vocab_size for number in range(tokens)])
    return GenerateRun(session=session, limit_tokens=tokens + more, wanted_from=tokens - 1)


def _prompt_s(model: FusedDecoder, clock: Clock, tokens: int) -> float:
    """Until the first token after a prompt."""
    run = _run_of(model, tokens, 1)
    began_s = clock.now_s()
    advance(model, [run])
    return clock.now_s() - began_s


def _step_s(model: FusedDecoder, clock: Clock, sessions: int) -> float:
    """The quickest step that makes a token for each of so many sessions."""
    runs = [_run_of(model, SHORT, STEPS + 1) for _ in range(sessions)]
    advance(model, runs)
    taken_s = []
    for _ in range(STEPS):
        began_s = clock.now_s()
        advance(model, runs)
        taken_s.append(clock.now_s() - began_s)
    return min(taken_s)
