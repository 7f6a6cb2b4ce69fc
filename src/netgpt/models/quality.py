"""How often models answer rightly: the shipped ones as measured, all others as they state it, or as assumed. Data in `quality.toml`."""

from __future__ import annotations

import tomllib
from functools import cache
from importlib import resources
from typing import Any


def shipped_quality(model: str) -> float:
    """Share of the corpus's tasks that a shipped model answers rightly; 0: it is none of ours."""
    return float(_table()["shipped"].get(model, 0.0))


@cache
def assumed_quality(tier: str) -> float:
    """What a model of that tier is taken for that states nothing of itself."""
    return shipped_quality(_table()["assumed"][tier])


@cache
def _table() -> dict[str, Any]:
    return tomllib.loads(resources.files("netgpt.models").joinpath("quality.toml").read_text(encoding="utf-8"))
