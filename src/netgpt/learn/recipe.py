"""Recipes: the size of a model and how it is trained, as data. One tier name derives everything.

Sources: warm-up, stable, decay schedule arXiv 2404.06395; decoupled weight decay arXiv 1711.05101.
"""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import Any

from netgpt.core.chance import digest64
from netgpt.core.errors import UsageError
from netgpt.models.decoder import DecoderConfig


@dataclass(frozen=True, kw_only=True)
class Shape:
    """The sizes that differ between the tiers."""

    hidden_size: int
    intermediate_size: int
    num_layers: int
    num_heads: int
    head_dim: int


@dataclass(frozen=True, kw_only=True)
class Recipe:
    """All that a training run depends on, besides the corpus and the tokenizer."""

    name: str
    tier: str
    shape: Shape
    steps: int  # the budget
    peak_rate: float  # of the matrices (Muon)
    embedding_rate: float = 4e-3  # of the embedding and the norms (AdamW)
    rows: int = 8  # B, rows of a step
    row_tokens: int = 256  # T
    long_one_in: int = 12  # steps; such a step has fewer, longer rows
    warmup_share: float = 0.02  # of all steps
    decay_share: float = 0.35
    weight_decay: float = 0.05
    clip_norm: float = 1.0
    context_tokens: int = 2048
    seed: int = 0

    @property
    def fingerprint(self) -> str:
        """Equal recipes have equal ones: a checkpoint of another recipe is not resumed.

        The budget does not count: on the plateau of the schedule it may still be changed (arXiv 2404.06395).
        """
        fixed = {name: value for name, value in asdict(self).items() if name != "steps"}
        return f"{digest64(sorted(fixed.items())):016x}"

    def config(self, vocabulary: int) -> DecoderConfig:
        """The decoder: grouped-query attention with two key-value heads, normed q and k, tied embedding."""
        shape: dict[str, Any] = asdict(self.shape)
        return DecoderConfig(
            vocab_size=vocabulary,
            **shape,
            num_kv_heads=2,
            max_position=self.context_tokens,
            rope_theta=10_000.0,
            norm_eps=1e-6,
            qk_norm=True,
            attention_bias=False,
            tie_embeddings=True,
        )


# All tiers see the same stream, each as much of it as it needed for its place between the others on two CPU cores.
DEVICE = Recipe(
    name="netgpt-device",
    tier="device",
    shape=Shape(hidden_size=48, intermediate_size=144, num_layers=3, num_heads=4, head_dim=16),
    steps=10_000,
    peak_rate=1.5e-2,
)
EDGE = Recipe(
    name="netgpt-edge",
    tier="edge",
    shape=Shape(hidden_size=96, intermediate_size=288, num_layers=4, num_heads=6, head_dim=16),
    steps=8_000,
    peak_rate=1.2e-2,
)
CLOUD = Recipe(
    name="netgpt-cloud",
    tier="cloud",
    shape=Shape(hidden_size=256, intermediate_size=768, num_layers=6, num_heads=8, head_dim=32),
    steps=15_000,
    peak_rate=1e-2,
)
RECIPES: tuple[Recipe, ...] = (DEVICE, EDGE, CLOUD)


def recipe_named(tier: str) -> Recipe:
    """The recipe of a tier.

    Raises:
        UsageError: no such tier.
    """
    for recipe in RECIPES:
        if recipe.tier == tier:
            return recipe
    raise UsageError(f"there is no recipe for tier {tier!r}", hint=f"choose one of {', '.join(r.tier for r in RECIPES)}", param="tier")


def share_at(recipe: Recipe, step: int) -> float:
    """Share of the peak rates in a step (0-based): linear warm-up, a plateau, then a linear decay to zero."""
    warmup = max(1, round(recipe.warmup_share * recipe.steps))
    decay = max(1, round(recipe.decay_share * recipe.steps))
    rising = (step + 1) / warmup
    falling = (recipe.steps - step) / decay
    return min(1.0, rising, falling)
