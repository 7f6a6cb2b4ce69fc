"""Work that nobody waits for goes to the largest model at once, past the smaller ones that a cascade would try first. Pure.

A cascade's first attempt is paid for whether it is kept or not: with the device's energy, and with an answer held back. It earns that back with
somebody who waits, and by sparing the large model. Who tolerates delay can have the better answer, as long as the largest model has room.
"""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import replace

from netgpt.inference.choice import CASCADE
from netgpt.inference.objective import BATCH
from netgpt.inference.planning import DIRECT, Decision
from netgpt.inference.request import ChatRequest
from netgpt.network.member import Member


def tolerates_delay(request: ChatRequest) -> bool:
    """Whether a cascade may leave out its smaller models for this request."""
    return request.model == CASCADE and request.service == BATCH


def idle_largest(nodes: Sequence[Member]) -> list[str]:
    """The nodes with the largest model that have a free slot; none where all models are of one size."""
    most = max(node.parameters for node in nodes)
    if all(node.parameters == most for node in nodes):
        return []
    return [node.id for node in nodes if node.parameters == most and node.running + node.waiting < node.slots]


def straight_to(nodes: Collection[str], decision: Decision) -> Decision | None:
    """The best way of a plan that asks one of `nodes` alone; None where none of them keeps the request's limits."""
    for scored in decision.ranked:
        way = scored.prediction.candidate
        if way.strategy == DIRECT and way.nodes[0] in nodes and not scored.excluded:
            told = f"first token in {scored.prediction.ttft_s:.2g} s, {scored.prediction.total_s:.2g} s in all"
            why = f"{way.nodes[0]} answers at once: nobody waits for a {BATCH} request, and it has room: {told}"
            return replace(decision, chosen=scored, why=why, explores=False)
    return None
