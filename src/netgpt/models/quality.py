"""How often models answer rightly: the shipped ones as measured, all others as they state it, or as assumed. Data in `quality.toml`."""

from __future__ import annotations

import tomllib
from functools import cache
from importlib import resources
from itertools import pairwise
from typing import Any


def shipped_quality(model: str) -> float:
    """Share of the corpus's tasks that a shipped model answers rightly; 0: it is none of ours."""
    return float(_table()["shipped"].get(model, 0.0))


@cache
def assumed_quality(tier: str) -> float:
    """What a model of that tier is taken for that states nothing of itself."""
    return shipped_quality(_table()["assumed"][tier])


def compressed_quality(tier: str, left_out: float) -> float:
    """What of its share of right answers a model of that tier keeps if that share of a long prompt is left out (`inference.compress`).

    Measured on the tier's shipped model, and taken for others' too; linear between what was measured, and from there to nothing.
    """
    measured = _table()["compressed"]
    shares, factors = (0.0, *measured["left_out"], 1.0), (1.0, *measured[_table()["assumed"][tier]], 0.0)
    for (low, of_low), (high, of_high) in pairwise(zip(shares, factors, strict=True)):
        if left_out <= high:
            return of_low + (of_high - of_low) * (left_out - low) / (high - low)
    return factors[-1]


def precision_quality(tier: str, precision: str) -> float:
    """What of its share of right answers a model of that tier keeps if its weights are so stored; 1 for what was not measured."""
    return float(_table()["precision"][_table()["assumed"][tier]].get(precision, 1.0))


@cache
def _table() -> dict[str, Any]:
    return tomllib.loads(resources.files("netgpt.models").joinpath("quality.toml").read_text(encoding="utf-8"))
