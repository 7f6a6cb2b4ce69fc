"""The choice of the next token: a pure function of (logits, sampling, position). NumPy only.

A token is drawn as argmax(logits / T + g) over the tokens that top-k and top-p keep, where the Gumbel
noise g is a pure function of (seed, position): the Gumbel-max trick, so this is exactly a draw from
the filtered softmax. Whoever has equal logits draws the equal token: another node, a later retry, or
a verifier (arXiv 2408.07978).
"""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import NDArray

from netgpt.core.chance import uniforms
from netgpt.core.errors import InvalidRequest
from netgpt.models.generation import Sampling

_TINY = np.finfo(np.float64).tiny


def check_sampling(sampling: Sampling) -> None:
    """Refuse settings that have no meaning.

    Raises:
        InvalidRequest: temperature negative or not finite, top_p outside (0, 1], or top_k negative.
    """
    if not (sampling.temperature >= 0 and math.isfinite(sampling.temperature)):
        raise InvalidRequest(f"temperature is {sampling.temperature}", hint="use 0 (greedy) or a positive number", param="temperature")
    if not 0 < sampling.top_p <= 1:
        raise InvalidRequest(f"top_p is {sampling.top_p}", hint="use a number above 0 and up to 1 (keeps all)", param="top_p")
    if sampling.top_k < 0:
        raise InvalidRequest(f"top_k is {sampling.top_k}", hint="use 0 (keeps all) or a positive count", param="top_k")


def choose(logits_V: NDArray[np.float32], sampling: Sampling, position: int, allowed: NDArray[np.intp] | None = None) -> int:
    """The token at `position`.

    Args:
        logits_V: the model's output, one value a token.
        sampling: checked by `check_sampling`.
        position: index of the token in its session.
        allowed: ids that may be drawn, not none; all if left out. A token's noise is the same either way.
    """
    if sampling.temperature == 0:
        return int(logits_V.argmax()) if allowed is None else int(allowed[logits_V[allowed].argmax()])
    scaled_V = logits_V.astype(np.float64) / sampling.temperature
    if allowed is None:
        kept = kept_tokens(scaled_V, sampling.top_k, sampling.top_p)
    else:
        kept = allowed[kept_tokens(scaled_V[allowed], sampling.top_k, sampling.top_p)]
    noise = gumbel(uniforms(sampling.seed, position, len(scaled_V))[kept])
    return int(kept[(scaled_V[kept] + noise).argmax()])


def kept_tokens(scaled_V: NDArray[np.float64], top_k: int, top_p: float) -> NDArray[np.intp]:
    """Ids, ascending, of the tokens that may be drawn; equals of the last one kept are kept too.

    `top_k` keeps the k most likely tokens, then `top_p` the fewest of these that have that much of
    their probability (Holtzman et al., arXiv 1904.09751).
    """
    floor = -np.inf
    if 0 < top_k < len(scaled_V):
        floor = np.partition(scaled_V, -top_k)[-top_k]
    if top_p < 1:
        falling = np.sort(scaled_V[scaled_V >= floor])[::-1]
        share = np.exp(falling - falling[0])
        before = np.cumsum(share) - share  # mass of all that are likelier
        floor = falling[np.count_nonzero(before < top_p * share.sum()) - 1]
    return np.flatnonzero(scaled_V >= floor)


def gumbel(uniform: NDArray[np.float64]) -> NDArray[np.float64]:
    """Standard Gumbel noise from uniforms in [0, 1)."""
    return -np.log(-np.log(np.maximum(uniform, _TINY)))
