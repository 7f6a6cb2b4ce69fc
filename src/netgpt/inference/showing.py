"""Predictions and decisions as replies, events and `netgpt plan` show them: figures alone, no content. Pure."""

from __future__ import annotations

from typing import Any

from netgpt.inference.planning import Decision, Scored
from netgpt.inference.reading import Read


def row(scored: Scored) -> dict[str, Any]:
    """A candidate as people and events see it: figures alone."""
    one = scored.prediction
    shown: dict[str, Any] = {
        "strategy": one.candidate.strategy,
        "nodes": list(one.candidate.nodes),
        "variants": list(one.candidate.variant_of.values()),
        "fidelity": one.candidate.fidelity,
        "cost_s": round(scored.cost_s, 6),
        "ttft_s": round(one.ttft_s, 6),
        "ttft_p95_s": round(one.ttft_p95_s, 6),
        "held_s": round(one.held_s, 6),
        "wait_s": round(one.wait_s, 6),
        "read_s": round(one.read_s, 6),
        "token_s": round(one.token_s, 6),
        "total_s": round(one.total_s, 6),
        "prompt_tokens": round(one.prompt_tokens),
        "answer_tokens": round(one.answer_tokens, 2),
        "up_bytes": round(one.up_bytes),
        "down_bytes": round(one.down_bytes),
        "token_bytes": round(one.token_bytes, 3),
        "energy_j": round(one.energy_j, 6),
        "cost": round(one.cost, 9),
        "quality": round(one.quality, 4),
        "sources": dict(one.sources),
    }
    return shown | ({"excluded": scored.excluded} if scored.excluded else {})


def told(decision: Decision, service: str, read: Read | None = None) -> dict[str, Any]:
    """A decision as a reply and the event log have it: no content.

    Args:
        read: what the entry node had read of the prompt before.
    """
    second = decision.runner_up
    return {
        "service": service,
        "why": decision.why,
        "chosen": row(decision.chosen),
        "runner_up": row(second) if second else None,
        "explores": decision.explores,
        **({"read": read.shown()} if read else {}),
    }
