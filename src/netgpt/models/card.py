"""Model cards: what a model is, as data. No weights, no torch."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:  # it loads a library that the controller does without
    from netgpt.models.tokenizer import Tokenizer


@dataclass(frozen=True, kw_only=True)
class ModelCard:
    """The facts that placement and policies read.

    `tokenizer` is the SHA-256 (hex) of the tokenizer's definition: two models continue each other's
    sessions from ids iff it is equal.
    """

    id: str  # e.g. "netgpt-edge"
    tier: str  # "device", "edge" or "cloud": the tier it was made for
    parameters: int
    layers: int
    bytes: int  # of the weights as stored
    context_tokens: int
    vocabulary: int
    tokenizer: str
    licence: str = "Apache-2.0"
    level: str = "L1"  # L0 general, L1 domain, L2 task
    description: str = ""
    quality: float = 0.0  # share of the corpus's tasks that it answers rightly (`netgpt bench models`); 0: not measured


def weightless_card(model: str, *, tier: str, parameters: int, context_tokens: int, tokenizer: Tokenizer, description: str = "") -> ModelCard:
    """The card of a model that is none of weights: of a language by rule, or of a recording. `parameters` is the size it stands for."""
    return ModelCard(
        id=model,
        tier=tier,
        parameters=parameters,
        layers=0,
        bytes=0,
        context_tokens=context_tokens,
        vocabulary=tokenizer.vocabulary,
        tokenizer=tokenizer.hash,
        description=description,
    )
