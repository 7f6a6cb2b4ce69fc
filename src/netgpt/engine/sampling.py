"""The choice of the next token: a pure function of (logits, sampling, position). NumPy only.

A token is drawn as argmax(logits / T + g) over the tokens that top-k and top-p keep, where the Gumbel
noise g is a pure function of (seed, position): the Gumbel-max trick, so this is exactly a draw from
the filtered softmax. Whoever has equal logits draws the equal token: another node, a later retry, or
a verifier (arXiv 2408.07978).
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Iterable

import numpy as np
from numpy.typing import NDArray

from netgpt.core.chance import uniforms
from netgpt.core.errors import InvalidRequest
from netgpt.models.generation import Penalties, Sampling

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


def check_penalties(penalties: Penalties, vocabulary: int) -> None:
    """Refuse penalties that have no meaning for a model of so many tokens.

    Raises:
        InvalidRequest: a number that is not finite, or a bias of no token, or two of one.
    """
    for param, value in (("presence_penalty", penalties.presence), ("frequency_penalty", penalties.frequency)):
        if not math.isfinite(value):
            raise InvalidRequest(f"{param} is {value}", hint="use a finite number", param=param)
    ids, biases = penalties.bias_ids, penalties.biases
    if len(ids) != len(biases) or len(set(ids)) != len(ids) or not all(map(math.isfinite, biases)):
        raise InvalidRequest("logit_bias does not give one finite number for each token", hint="give each token once", param="logit_bias")
    if strange := [i for i in ids if not 0 <= i < vocabulary]:
        hint = "use ids of the answering model's own tokenizer"
        raise InvalidRequest(f"logit_bias names token {strange[0]}, and the model has {vocabulary}", hint=hint, param="logit_bias")


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


class Shift:
    """What `Penalties` add to the logits of one answer, whose tokens it counts."""

    def __init__(self, penalties: Penalties, answer: Iterable[int]) -> None:
        """Args:
        penalties: checked by `check_penalties`.
        answer: the tokens that the answer has so far.
        """
        self._penalties = penalties
        self._counts = Counter(answer)
        self._bias = dict(zip(penalties.bias_ids, penalties.biases, strict=True))
        self._bias_ids = np.array(penalties.bias_ids, dtype=np.intp)
        self._biases = np.array(penalties.biases, dtype=np.float32)

    def count(self, token: int) -> None:
        """The answer has one more token."""
        self._counts[token] += 1

    def gain(self, token: int) -> float:
        """What the logit of one token gains."""
        count = self._counts[token]
        lost = self._penalties.presence + self._penalties.frequency * count if count else 0.0
        return self._bias.get(token, 0.0) - lost

    def applied(self, logits_V: NDArray[np.float32]) -> NDArray[np.float32]:
        """The logits to draw from; those given stay as they are."""
        shifted_V = logits_V.astype(np.float32)
        if self._counts:
            ids = np.fromiter(self._counts.keys(), dtype=np.intp)
            counts = np.fromiter(self._counts.values(), dtype=np.float32)
            shifted_V[ids] -= np.float32(self._penalties.presence) + np.float32(self._penalties.frequency) * counts
        shifted_V[self._bias_ids] += self._biases
        return shifted_V


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
