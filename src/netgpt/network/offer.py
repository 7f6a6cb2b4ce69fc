"""What a node says of its own work: how fast it is, what it draws, what it costs. Data that travels with its membership.

Told: whoever plans with it corrects it by what answers really took. A node declares its machine, or has measured itself, or
says nothing of its pace.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace

from netgpt.network.roofline import PRECISIONS, Declared

MILLION = 1e6


@dataclass(frozen=True, kw_only=True)
class Pace:
    """The roofline of one model on one machine (`network.roofline`), its constants multiplied out. All in seconds.

    A step is bound by arithmetic or by reading memory, whichever is slower, and pays overheads.
    """

    step_s: float = 0.0  # of every step
    token_s: float = 0.0  # for each token of a step
    layers_s: float = 0.0  # arithmetic of the layers, for each token
    head_s: float = 0.0  # of the output matrix, for each token that is drawn
    pair_s: float = 0.0  # of attention, for each pair of tokens
    read_s: float = 0.0  # all weights once
    kv_s: float = 0.0  # what one token of the context has in KV
    score_s: float = 0.0  # attention scores that are moved, for each pair

    def prefill_s(self, tokens: float, past: float = 0.0) -> float:
        """Duration of computing `tokens` prompt tokens of a session of which `past` are in KV; the first token is then known."""
        pairs = tokens * past + tokens * (tokens + 1) / 2
        bound_s = max(self.layers_s * tokens + self.head_s + self.pair_s * pairs, self.read_s + self.kv_s * past)
        return self.step_s + self.token_s * tokens + bound_s + self.score_s * pairs if tokens else 0.0

    def decode_s(self, sessions: float, context_tokens: float) -> float:
        """Duration of the step that makes one token for each of `sessions`, whose contexts are `context_tokens` together."""
        bound_s = max((self.layers_s + self.head_s) * sessions + self.pair_s * context_tokens, self.read_s + self.kv_s * context_tokens)
        return self.step_s + self.token_s * sessions + bound_s + self.score_s * context_tokens


@dataclass(frozen=True, kw_only=True)
class Variant:
    """A precision in which a node's model can be asked, beside the one in which it runs."""

    name: str  # of `network.roofline.PRECISIONS`
    pace: Pace | None = None  # None: the node does not know it


@dataclass(frozen=True, kw_only=True)
class Offer:
    """What asking a node means for whoever asks."""

    pace: Pace | None = None  # None: the node does not know it
    power_w: float = 0.0  # drawn by its machine at work, above idling; 0: not known
    price_prompt: float = 0.0  # of a million tokens, in whatever unit the network's operator counts; 0: free
    price_answer: float = 0.0
    quality: float = 0.0  # share of tasks that its model answers rightly, where the operator says so; 0: as the model's card has it
    variants: tuple[Variant, ...] = ()

    def cost(self, prompt_tokens: float, answer_tokens: float) -> float:
        """Of one answer, in the unit of the prices."""
        return (prompt_tokens * self.price_prompt + answer_tokens * self.price_answer) / MILLION


def pace_of(declared: Declared) -> Pace:
    """The pace that a declared machine keeps: `Declared.prefill_s` and `decode_s` in eight numbers."""
    profile, shape = declared.profile, declared.shape
    stored = PRECISIONS[declared.precision]
    efficiency = profile.efficiency(declared.stack)
    rate = profile.flops[stored.rate] * efficiency.prefill(stored.packed)  # operations a second that are had
    memory = profile.memory_bytes_per_s * efficiency.decode(stored.packed)
    scores = shape.layers * shape.heads  # of one pair of tokens
    return Pace(
        step_s=efficiency.step_overhead_s + shape.layers * efficiency.layer_overhead_s,
        token_s=shape.layers * efficiency.token_overhead_s,
        layers_s=2 * shape.layer_weights / rate,
        head_s=2 * shape.head_weights / rate,
        pair_s=4 * shape.head_dim * scores / rate,
        read_s=declared.read_bytes / memory,
        kv_s=declared.kv_bytes / memory,
        score_s=scores * efficiency.score_bytes / memory,
    )


def offer_of(
    declared: Declared | None,
    *,
    price_prompt: float = 0.0,
    price_answer: float = 0.0,
    quality: float = 0.0,
    variants: Mapping[str, Declared | None] | None = None,
) -> Offer:
    """What a node says that is declared to be that machine; None: one that keeps its own pace, of which this says nothing.

    Args:
        variants: the same of its model in other precisions, by name.
    """
    others = tuple(Variant(name=name, pace=pace_of(one) if one else None) for name, one in (variants or {}).items())
    told = Offer(price_prompt=price_prompt, price_answer=price_answer, quality=quality, variants=others)
    if declared is None:
        return told
    power_w = declared.profile.busy_w - declared.profile.idle_w
    return replace(told, pace=pace_of(declared), power_w=max(power_w, 0.0))
