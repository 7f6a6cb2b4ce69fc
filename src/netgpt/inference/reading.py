"""Whether a prompt is to be read before it is decided who answers, and who answers then: what routers are to `auto`. Pure of clocks and nodes.

A router says from the smallest model's state of a prompt how probably each model's answer is right. That state costs the door's own node time and
energy, and is worth them where it would change the choice often enough. How often, prompts that were read lately say; before there are enough of
them the router's own curve does, in which only its smallest model's chances differ. Of what was read then only the spread counts, since all other
ways are told with what nodes state of themselves; once a prompt is read itself, its own chances do.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

import numpy as np

from netgpt.core.value import value
from netgpt.inference.climbing import GRID, with_mean
from netgpt.inference.objective import Objective
from netgpt.inference.planning import DIRECT, ROUTE, Candidate, Decision, Limits, Prediction, Scored, by_cost, score, why_chosen
from netgpt.inference.predicting import TIERS
from netgpt.inference.request import ChatRequest
from netgpt.inference.routing import Router
from netgpt.models.quality import assumed_quality
from netgpt.network.member import Member

KEPT, ENOUGH = 64, 16  # prompts whose chances are remembered, and from how many on they stand for those to come
MEANS = (
    "ttft_s",
    "token_s",
    "total_s",
    "prompt_tokens",
    "answer_tokens",
    "up_bytes",
    "down_bytes",
    "token_bytes",
    "energy_j",
    "cost",
    "held_s",
    "wait_s",
)

# Prompts that one door has read at once. A reading has no place in the door's queue and takes no turns with other keys, so that more of them
# would hold up whoever is asked the ordinary way.
MOST_READING = 4


@value
class Read:
    """What became of reading a prompt."""

    node: str
    took_s: float
    energy_j: float
    right: Mapping[str, float]  # chance that a model's answer is right, by model; empty: the prompt was not read
    why: str = ""  # it was not
    link_bytes: Mapping[str, tuple[int, int]]

    def shown(self) -> dict[str, Any]:
        """As replies and events have it: figures alone."""
        right = {model: round(chance, 4) for model, chance in self.right.items()}
        return {"node": self.node, "took_s": round(self.took_s, 6), "right": right} | ({"why": self.why} if self.why else {})


class Reader:
    """What a door knows of reading: its routers, and what they said lately."""

    def __init__(self, routers: Mapping[str, Router]) -> None:
        """Args:
        routers: by the model whose state they read.
        """
        self._routers = dict(routers)
        self._seen: dict[str, deque[Mapping[str, float]]] = {}

    def router_for(self, request: ChatRequest, own: Member | None, nodes: Sequence[Member]) -> Router | None:
        """What could tell the models of `nodes` apart for this request; None: nothing here.

        Args:
            own: the door's own node, if it may answer.
        """
        router = self._routers.get(own.model) if own is not None and request.prompt is None else None
        return router if router is not None and any(node.model != router.models[0] for node in nodes) else None

    def outlook(self, router: Router) -> Sequence[Mapping[str, float]]:
        """Chances by model, of prompts that stand for those to come."""
        seen = self._seen.get(router.models[0], ())
        return list(seen) if len(seen) >= ENOUGH else _before(router)

    def unknown(self, router: Router) -> float:
        """How little is known of what reading is worth: from 1 to 0."""
        return max(1 - len(self._seen.get(router.models[0], ())) / ENOUGH, 0.0)

    def learn(self, router: Router, right: Mapping[str, float]) -> None:
        """Take note of what was said of a prompt."""
        self._seen.setdefault(router.models[0], deque(maxlen=KEPT)).append(right)

    def give_up(self, router: Router) -> None:
        """It reads states of other weights than there are here."""
        self._routers.pop(router.models[0], None)


def _before(router: Router) -> list[Mapping[str, float]]:
    heights = np.interp((np.arange(ENOUGH) + 0.5) / ENOUGH, GRID, with_mean(router.plain.pools, router.shares[0]))
    return [dict(zip(router.models, (float(height), *router.shares[1:]), strict=True)) for height in heights]


def stated_quality(node: Member) -> float:
    """The share of right answers that stands for a node of which nothing more is known."""
    return node.quality or assumed_quality(node.tier)


def read_first(
    ways: Sequence[Scored],
    nodes: Mapping[str, Member],
    outlook: Sequence[Mapping[str, float]],
    objective: Objective,
    *,
    entry: str,
    took_s: float,
    energy_j: float,
    spread: float,
) -> Prediction:
    """What it would take to read the prompt and then ask whom that tells to, on average over `outlook`.

    Args:
        ways: to choose among then: each asks one node alone, and keeps the limits though the prompt was read; at least one.
        nodes: of those ways at least.
        took_s, energy_j: of reading, on the node `entry`.
        spread: see `Prediction`.
    """
    of = [way.prediction for way in ways]
    told_K = np.array([one.quality for one in of])
    members = [nodes[one.candidate.nodes[0]] for one in of]
    keeps_K = told_K / np.array([stated_quality(member) for member in members])  # of its quality, in that variant and with that prompt
    chance_NK = np.array([[chances.get(member.model, stated_quality(member)) for member in members] for chances in outlook]) * keeps_K
    right_NK = np.clip(told_K + chance_NK - chance_NK.mean(0), 0.0, 1.0)
    cost_NK = np.array([way.cost_s for way in ways]) + objective.wrong_s * (told_K - right_NK)
    chosen_N = cost_NK.argmin(1)
    share_K = np.bincount(chosen_N, minlength=len(ways)) / len(chosen_N)
    asked = [one for one, share in zip(of, share_K, strict=True) if share]
    means = dict(zip(MEANS, (share_K @ np.array([[getattr(one, name) for name in MEANS] for one in of])).tolist(), strict=True))
    others = sorted({member.id: member for member in members if member.id != entry}.values(), key=lambda node: (TIERS.index(node.tier), node.id))
    return Prediction(
        **means
        | {name: means[name] + took_s for name in ("ttft_s", "total_s")}
        | {"energy_j": means["energy_j"] + energy_j, "quality": float(right_NK[np.arange(len(chosen_N)), chosen_N].mean())},
        candidate=Candidate(strategy=ROUTE, nodes=(entry, *(node.id for node in others))),
        spread=max(spread, max(one.spread for one in asked)),
        fastest_s=took_s + min(one.fastest_s for one in asked),
        sources={**asked[0].sources, "quality": "router"},
        guessed=any(one.guessed for one in asked),
        read_s=took_s,
    )


def settled(decision: Decision, read: Read, nodes: Mapping[str, Member], objective: Objective, limits: Limits) -> Decision:
    """Who answers, now that the prompt was read, or was to be: the best way of the plan that asks one node alone.

    Args:
        nodes: of the plan's ways.
        limits: from the request's arrival on, as all times of a plan are.
    """
    alone = [one.prediction for one in decision.ranked if one.prediction.candidate.strategy == DIRECT]
    told = by_cost(score(_known(one, read, nodes), objective, limits) for one in alone)
    best, second = told[0], next(iter(told[1:]), None)
    chances = ", ".join(f"{model} {chance:.0%}" for model, chance in read.right.items())
    before = f"{read.node} read the prompt (right: {chances})" if read.right else f"{read.node} did not read the prompt ({read.why})"
    return Decision(chosen=best, ranked=tuple(told), why=f"{before}; {why_chosen(best, second, 'costs least')}", explores=decision.explores)


def _known(one: Prediction, read: Read, nodes: Mapping[str, Member]) -> Prediction:
    """A way with what is known of the prompt, and with what reading it has taken."""
    node = nodes[one.candidate.nodes[0]]
    chance = read.right.get(node.model)
    quality = one.quality if chance is None else one.quality / stated_quality(node) * chance
    return replace(
        one,
        ttft_s=one.ttft_s + read.took_s,
        total_s=one.total_s + read.took_s,
        fastest_s=one.fastest_s + read.took_s,
        energy_j=one.energy_j + read.energy_j,
        quality=quality,
        sources=one.sources if chance is None else {**one.sources, "quality": "router"},
        read_s=read.took_s,
    )
