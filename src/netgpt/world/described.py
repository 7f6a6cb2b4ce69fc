"""The links of a scenario, as the simulated world has them."""

from __future__ import annotations

import math
from functools import cache

from netgpt.core.chance import Chance
from netgpt.network.link import Link
from netgpt.network.scenario import LinkSpec, Scenario
from netgpt.network.service import ConstantRate
from netgpt.network.trace_file import load_trace
from netgpt.network.wired import OneWay, burst_loss, independent_loss
from netgpt.world.modelled import controller_site

CONTROLLER = "controller"
_BESIDE = OneWay(service=ConstantRate(10e9), delay_s=0.0001)


def links_of(scenario: Scenario, chance: Chance) -> dict[str, Link]:
    """By id. The controller stands beside the first node of the highest tier.

    Raises:
        UsageError: a trace that cannot be read, or has no rates.
    """
    load = cache(load_trace)

    def one_way(link: LinkSpec, rate_bps: float, trace: str, queue_s: float | None, loss: float) -> OneWay:
        return OneWay(
            service=load(trace).service() if trace else ConstantRate(rate_bps),
            delay_s=link.delay_s,
            queue_s=math.inf if queue_s is None else queue_s,
            loss=burst_loss(loss, link.loss_burst) if loss and link.loss_burst > 1 else independent_loss(loss),
        )

    links = [
        Link(
            link.between,
            up=one_way(link, link.up_bps, link.up_trace, link.queue_up_s, link.loss_up),
            down=one_way(link, link.down_bps, link.down_trace, link.queue_down_s, link.loss_down),
            seed=seed_of(chance, f"link.{link.id}"),
        )
        for link in scenario.links
    ]
    return {link.id: link for link in (*links, Link((CONTROLLER, controller_site(scenario).id), up=_BESIDE, down=_BESIDE))}


def seed_of(chance: Chance, name: str) -> int:
    """For what draws its chance by itself."""
    return int(chance.stream(name).integers(2**63))
