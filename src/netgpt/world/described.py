"""The links of a scenario as media: all of the simulated world's, and one direction as any world has it."""

from __future__ import annotations

import math
from collections.abc import Callable
from functools import cache

from netgpt.core.chance import Chance
from netgpt.network.link import Link
from netgpt.network.medium import Direction
from netgpt.network.scenario import LinkSpec, Scenario
from netgpt.network.service import ConstantRate, service_of
from netgpt.network.trace import Trace
from netgpt.network.trace_file import load_trace
from netgpt.network.wired import OneWay, loss_of
from netgpt.world.modelled import controller_site

CONTROLLER = "controller"
_BESIDE = OneWay(service=ConstantRate(10e9), delay_s=0.0001)


def links_of(scenario: Scenario, chance: Chance) -> dict[str, Link]:
    """By id. The controller stands beside the first node of the highest tier.

    Raises:
        UsageError: a trace that cannot be read, or has no rates.
    """
    load = cache(load_trace)
    links: list[Link] = []
    for spec in scenario.links:
        ways = one_ways(spec, load)
        links.append(Link(spec.between, up=ways["up"], down=ways["down"], seed=seed_of(chance, f"link.{spec.id}")))
    return {link.id: link for link in (*links, Link((CONTROLLER, controller_site(scenario).id), up=_BESIDE, down=_BESIDE))}


def one_ways(link: LinkSpec, load: Callable[[str], Trace], *, default_queue_s: float = math.inf) -> dict[Direction, OneWay]:
    """Both directions of a link.

    Args:
        load: reads a trace.
        default_queue_s: where the link names no limit.
    """
    return {
        "up": _one_way(link, load, link.up_bps, link.up_trace, link.queue_up_s or default_queue_s, link.loss_up, link.jitter_up_s),
        "down": _one_way(link, load, link.down_bps, link.down_trace, link.queue_down_s or default_queue_s, link.loss_down, link.jitter_down_s),
    }


def _one_way(link: LinkSpec, load: Callable[[str], Trace], rate_bps: float, trace: str, queue_s: float, loss: float, jitter_s: float) -> OneWay:
    service = load(trace).service() if trace else service_of(rate_bps)
    return OneWay(service=service, delay_s=link.delay_s, queue_s=queue_s, loss=loss_of(loss, link.loss_burst), jitter_s=jitter_s)


def seed_of(chance: Chance, name: str) -> int:
    """For what draws its chance by itself."""
    return int(chance.stream(name).integers(2**63))
