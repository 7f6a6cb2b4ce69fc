"""How a cell divides its resource blocks among the UEs that have data. Pure functions; entry points `netgpt.schedulers`.

A scheduler is asked for a number of slots at once: one when small packets are about, many while all are backlogged.
So these do not pick the best UE slot by slot, they solve for what picking leads to: shares that maximise the
weighted sum of the logarithms of the UEs' average throughputs after those slots, which is proportional fairness
(Kelly, Maulloo, Tan, JORS 1998; Kushner, Whiting, IEEE Trans. Wireless Commun. 2004).
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from importlib.metadata import entry_points
from itertools import groupby
from typing import NamedTuple

from netgpt.core.errors import UsageError
from netgpt.core.spelling import did_you_mean

GROUP = "netgpt.schedulers"


class Claim(NamedTuple):
    """What a scheduler may know of a UE that has data to send."""

    slot_bytes: float  # in a slot that it has to itself
    wanted_slots: float  # such slots until the data that the gNB knows of is sent
    average_bytes: float  # a slot, averaged over the fairness window
    priority: int  # of its most urgent flow, lower first
    delay_budget_s: float  # of that flow
    error_rate: float  # of that flow
    waited_s: float  # by its most urgent packet


Scheduler = Callable[[Sequence[Claim], float, float], list[float]]
"""(claims, slots, window in slots) -> for each claim its share of the resource blocks during these slots.

Shares are 0 or more, add up to at most 1, and none gives more than its claim wants.
"""


def proportional_fair(claims: Sequence[Claim], slots: float, window_slots: float) -> list[float]:
    """Maximise the sum of log throughputs."""
    return _fair_shares(claims, [1.0] * len(claims), 1.0, slots, window_slots)


def strict_priority(claims: Sequence[Claim], slots: float, window_slots: float) -> list[float]:
    """UEs whose most urgent flow has a lower priority level first; proportional-fair among equals."""
    shares = [0.0] * len(claims)
    left = 1.0
    order = sorted(range(len(claims)), key=lambda n: claims[n].priority)
    for _, group in groupby(order, key=lambda n: claims[n].priority):
        members = list(group)
        found = _fair_shares([claims[n] for n in members], [1.0] * len(members), left, slots, window_slots)
        for n, share in zip(members, found, strict=True):
            shares[n] = share
        left -= sum(found)
        if left <= 1e-12:
            break
    return shares


def delay_aware(claims: Sequence[Claim], slots: float, window_slots: float) -> list[float]:
    """Weights that grow as a packet's delay budget runs out and as its flow tolerates fewer late ones.

    Source: modified largest weighted delay first, Andrews et al., IEEE Communications Magazine 39(2), 2001:
    weight -log(tolerated share of late packets) * waited / budget.
    """
    weights = [max(-math.log(claim.error_rate) * claim.waited_s / claim.delay_budget_s, 1e-3) for claim in claims]
    return _fair_shares(claims, weights, 1.0, slots, window_slots)


def _fair_shares(claims: Sequence[Claim], weights: Sequence[float], total: float, slots: float, window_slots: float) -> list[float]:
    """Shares x that maximise sum w log(average after the slots), sum x <= total, 0 <= x <= what is wanted.

    The average after the slots is (1 - a) T + a x r, a = 1 - exp(-slots / window): water-filling, x = w m - c
    within its bounds, with c = (1 - a) T / (a r) and the level m such that all is given.
    """
    caps = [claim.wanted_slots / slots for claim in claims]
    if sum(caps) <= total:
        return caps
    kept = math.exp(-slots / window_slots)
    floors = [kept * claim.average_bytes / ((1 - kept) * claim.slot_bytes) for claim in claims]
    level = _water_level(floors, caps, weights, total)
    return [min(max(weight * level - floor, 0.0), cap) for weight, floor, cap in zip(weights, floors, caps, strict=True)]


def _water_level(floors: Sequence[float], caps: Sequence[float], weights: Sequence[float], total: float) -> float:
    """The level m at which sum of min(max(w m - floor, 0), cap) reaches `total`; the caps allow more than that."""
    bends = [(floor / weight, weight) for floor, weight in zip(floors, weights, strict=True)]
    bends += [((floor + cap) / weight, -weight) for floor, cap, weight in zip(floors, caps, weights, strict=True) if cap < total]
    bends.sort()
    level, slope, filled = bends[0][0], 0.0, 0.0
    for at, change in bends:
        if slope > 0 and filled + slope * (at - level) >= total:
            break
        filled += max(slope, 0.0) * (at - level)
        level, slope = at, slope + change
    return level + (total - filled) / slope if slope > 0 else level


SCHEDULERS: dict[str, Scheduler] = {"proportional-fair": proportional_fair, "strict-priority": strict_priority, "delay-aware": delay_aware}


def scheduler_named(name: str) -> Scheduler:
    """A scheduler of this module, or one that an installed package offers under `netgpt.schedulers`.

    Raises:
        UsageError: unknown name.
    """
    if name in SCHEDULERS:
        return SCHEDULERS[name]
    offered = {entry.name: entry for entry in entry_points(group=GROUP)}
    if name not in offered:
        raise UsageError(f"unknown scheduler {name!r}", hint=did_you_mean(name, {*SCHEDULERS, *offered}))
    return offered[name].load()
