"""What a good answer is worth, by class of service: J = latency + a * energy + b * bytes + c * (1 - quality), in seconds. Pure.

Everything is priced in seconds that a user would wait for it. Latency is the time to the first token plus a share of the time
that the rest takes: who reads along needs the rest later, who works with the whole answer waits for all of it.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from types import MappingProxyType

from netgpt.core.errors import InvalidRequest
from netgpt.core.spelling import did_you_mean
from netgpt.core.transport import STANDARD

INTERACTIVE, BATCH, CRITICAL = "interactive", "batch", "critical"
MEGABYTE = 1e6
LEAST_BATTERY = 0.1  # below this share energy weighs no more than here


@dataclass(frozen=True, kw_only=True)
class Objective:
    """The weights of one class of service."""

    name: str
    rest: float  # share of the time after the first token that counts as latency
    energy_s_per_j: float  # a: of the entry node's own energy
    bytes_s_per_mb: float  # b: payload bytes, both ways
    wrong_s: float  # c: what a wrong answer costs
    reason: str  # why these


# A phone's battery of 54 kJ (15 Wh) lasts a day of 16 h at 0.94 W: a joule is about a second of a phone's life.
OBJECTIVES: Mapping[str, Objective] = MappingProxyType({
    each.name: each
    for each in (
        Objective(
            name=INTERACTIVE,
            rest=0.5,
            energy_s_per_j=0.02,
            bytes_s_per_mb=0.2,
            wrong_s=2.0,
            reason="somebody reads along; a wrong answer is seen and asked again, 2 s; a second saved is worth 50 s of a phone's standby life",
        ),
        Objective(
            name=BATCH,
            rest=0.1,
            energy_s_per_j=0.2,
            bytes_s_per_mb=1.0,
            wrong_s=4.0,
            reason="nobody waits: a tenth of the time counts, energy and bytes weigh more, a wrong answer is found late",
        ),
        Objective(
            name=CRITICAL,
            rest=1.0,
            energy_s_per_j=0.0,
            bytes_s_per_mb=0.0,
            wrong_s=10.0,
            reason="something acts on the whole answer: all of its time counts, errors most, energy and bytes not at all",
        ),
    )
})  # fmt: skip
SERVICES = tuple(OBJECTIVES)
LINK_CLASS: Mapping[str, str] = MappingProxyType({INTERACTIVE: STANDARD, BATCH: "background", CRITICAL: "interactive"})  # `scenario.QOS_CLASSES`


def objective_of(service: str) -> Objective:
    """The weights of a class of service; raises InvalidRequest for an unknown one."""
    if service not in OBJECTIVES:
        raise InvalidRequest(f"unknown class of service {service!r}", hint=did_you_mean(service, SERVICES), param="service")
    return OBJECTIVES[service]


def latency_s(objective: Objective, ttft_s: float, total_s: float) -> float:
    """What of an answer's time counts."""
    return ttft_s + objective.rest * max(total_s - ttft_s, 0.0)


def cost_s(
    objective: Objective, *, ttft_s: float, total_s: float, payload_bytes: float, energy_j: float, quality: float, battery: float | None = None
) -> float:
    """J, seconds.

    Args:
        payload_bytes: both ways.
        energy_j: of the entry node.
        battery: the share that the entry node has left: its energy weighs the more, the less that is; None: it has no battery.
    """
    a = objective.energy_s_per_j / max(battery, LEAST_BATTERY) if battery is not None else objective.energy_s_per_j
    return (
        latency_s(objective, ttft_s, total_s) + a * energy_j + objective.bytes_s_per_mb * payload_bytes / MEGABYTE + objective.wrong_s * (1 - quality)
    )
