"""What a link is set to and how it does, in words: `rate=2Mbps` in, one row a link and direction out. Pure."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Callable, Mapping
from typing import Any

from netgpt.core.errors import UsageError
from netgpt.core.spelling import check_keys
from netgpt.core.units import parse_duration_s, parse_rate_bps
from netgpt.network.medium import Direction
from netgpt.network.service import service_of
from netgpt.network.wired import Loss, OneWay, loss_of
from netgpt.wire.shaper_link import DIRECTIONS, Wires
from netgpt.wire.shaper_network import LinkNetwork

ONE_WAY_KEYS = ("delay", "jitter", "loss", "queue")  # each also with _up or _down behind
KEYS = ("rate", "up", "down", *(f"{key}{way}" for key in ONE_WAY_KEYS for way in ("", "_up", "_down")))
_LONGEST_S = 60.0


def parse_words(words: list[str]) -> dict[str, str]:
    """`{"rate": "2Mbps"}` of `["rate=2Mbps"]`, as `netgpt links set` takes them.

    Raises:
        UsageError: a word is not KEY=VALUE, or its key is unknown or stands twice.
    """
    changes: dict[str, str] = {}
    for word in words:
        key, equals, value = word.partition("=")
        if not equals or not value:
            raise UsageError(f"{word!r} is not KEY=VALUE", hint="write rate=2Mbps, delay=40ms, loss=1% or queue=100ms")
        if key in changes:
            raise UsageError(f"{key!r} is given twice", hint="give each key once", param=key)
        changes[key] = value
    check_keys(changes, KEYS, "a link's settings", UsageError)
    if not changes:
        raise UsageError("nothing is to be set", hint="give KEY=VALUE: " + ", ".join(KEYS))
    return changes


def changed(wires: Wires, changes: Mapping[str, object]) -> Wires:
    """A link with what is given anew. A key without a direction is both; a rate replaces a trace; loss keeps to the link's bursts.

    Raises:
        UsageError: an unknown key, or a value that a link cannot have.
    """
    check_keys(changes, KEYS, "a link's settings", UsageError)
    values = {key: _READERS[key.removesuffix("_up").removesuffix("_down")](value) for key, value in changes.items()}
    return {way: _changed(wires[way], way, values) for way in DIRECTIONS}


def _changed(wire: OneWay, way: Direction, values: Mapping[str, float]) -> OneWay:
    found = {key: values.get(f"{key}_{way}", values.get(key)) for key in ONE_WAY_KEYS}
    rate_bps, share = values.get(way, values.get("rate")), found.pop("loss")
    news: dict[str, Any] = {f"{key}_s": value for key, value in found.items() if value is not None}
    if rate_bps is not None:
        news["service"] = service_of(rate_bps)
    if share is not None:
        news["loss"] = _loss_like(wire.loss, share)
    if news.get("jitter_s", wire.jitter_s) and not news.get("delay_s", wire.delay_s):
        raise UsageError("a delay of 0 cannot vary", hint="set jitter=0 too, or a delay above 0", param="jitter")
    return dataclasses.replace(wire, **news)


def _loss_like(before: Loss, share: float) -> Loss:
    """That share of datagrams, in bursts as long as before."""
    try:
        return loss_of(share, before.mean_burst)
    except ValueError as error:
        raise UsageError(f"{error}", hint="lose less; how long bursts are is for the scenario's loss_burst", param="loss") from error


def _rate(value: object) -> float:
    if value == "unlimited":
        return math.inf
    rate_bps = _quantity(value, "rate", parse_rate_bps, "500kbps, 20Mbps, 1Gbps or unlimited")
    if not 1 <= rate_bps < math.inf:
        raise UsageError(f"the rate {value!r} is too low", hint="give 1 bps or more", param="rate")
    return rate_bps


def _duration(what: str, lowest_s: float) -> Callable[[object], float]:
    def read(value: object) -> float:
        duration_s = _quantity(value, what, parse_duration_s, "5ms, 0.1s or 2s")
        if not lowest_s <= duration_s <= _LONGEST_S:
            raise UsageError(f"the {what} {value!r} is out of range", hint=f"give {lowest_s:g} s to {_LONGEST_S:g} s", param=what)
        return duration_s

    return read


def _loss(value: object) -> float:
    text = str(value)
    try:
        loss = float(text.removesuffix("%")) / (100 if text.endswith("%") else 1)
    except ValueError:
        loss = math.nan
    if not 0 <= loss <= 1:
        raise UsageError(f"the loss {value!r} is no share", hint="write it as 1% or 0.01, from 0 to 1", param="loss")
    return loss


def _quantity(value: object, what: str, parse: Callable[[str | float], float], examples: str) -> float:
    """A quantity that is not negative: its sign is not left to the parser, which knows no signs at all."""
    if isinstance(value, bool) or not isinstance(value, str | int | float):
        raise UsageError(f"the {what} is {value!r}", hint=f"write it as {examples}", param=what)
    if str(value).strip().startswith("-") or value != value:
        raise UsageError(f"the {what} {value!r} is negative", hint=f"write it as {examples}", param=what)
    return parse(value)


_READERS: dict[str, Callable[[object], float]] = {
    "rate": _rate,
    "up": _rate,
    "down": _rate,
    "delay": _duration("delay", 0.0),
    "jitter": _duration("jitter", 0.0),
    "loss": _loss,
    "queue": _duration("queue", 0.001),
}


def link_rows(network: LinkNetwork, now_s: float) -> list[dict[str, Any]]:
    """The live state: one row a link and direction, in base units; None for a rate without a limit, and for what a link does not have."""
    rows = []
    for link in network.links.values():
        for direction in DIRECTIONS:
            carried, backlog, rate_bps = link.carried[direction], network.backlog(link, direction), link.rate_bps(direction)
            carried.roll(now_s)
            held = network.held_bytes(link, direction)
            source, target = link.ends if direction == "up" else reversed(link.ends)
            rows.append({
                "link": link.id,
                "direction": direction,
                "from": source,
                "to": target,
                "rate_bps": _finite(rate_bps),
                **link.facts(direction),
                "queue_s": _finite(backlog.delay_s + (8 * held / rate_bps if rate_bps else math.inf if held else 0.0)),
                "queue_bytes": backlog.bytes + held,
                "carried_bps": 8 * carried.last_bytes,
                "utilisation": 8 * carried.last_bytes / rate_bps if rate_bps else 0.0,
                "charged_bytes": carried.charged_bytes,
                "delivered_bytes": carried.delivered_bytes,
                "dropped_packets": carried.dropped,
                "lost_packets": carried.lost,
            })  # fmt: skip
    return rows


def _finite(value: float) -> float | None:
    return None if math.isinf(value) else value
