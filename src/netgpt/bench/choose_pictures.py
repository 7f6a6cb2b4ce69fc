"""Pictures of the grid of `auto`: who wins where and what the choice cost more, and what each way to choose trades for what."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

TIERS = {"device": "tab:blue", "edge": "tab:green", "cloud": "tab:orange"}
WAYS = {**TIERS, "auto": "tab:red", "policy": "tab:purple"}
MARKERS = {"interactive": "o", "batch": "s", "critical": "^"}
# What a way is judged by, and which direction is the better one.
AXES = {"total_s": ("seconds to the whole answer", -1), "energy_j": ("J of the device", -1), "payload_bytes": ("bytes on links", -1)}
QUALITY = "quality"

Rows = Sequence[Mapping[str, Any]]


def draw_auto(Figure: Any, rows: Rows, folder: Path) -> list[Path]:
    """`winners.png`, `pareto.png`.

    Args:
        Figure: matplotlib's class.
        rows: the cells, as `choose_auto.row` makes them.
    """
    return [_draw_winners(Figure, rows, folder), _draw_pareto(Figure, rows, folder)]


def _draw_winners(Figure: Any, rows: Rows, folder: Path) -> Path:
    """By load a map of round trip and uplink; in each field one square a seed, coloured by the best single tier, with auto's regret in percent."""
    loads, seeds = sorted({row["load"] for row in rows}), sorted({row["seed"] for row in rows})
    rtts, uplinks = sorted({row["rtt_s"] for row in rows}), sorted({row["up_bps"] for row in rows})
    figure = Figure(figsize=(4.2 * len(loads), 4.2), layout="constrained")
    for load, axis in zip(loads, np.atleast_1d(figure.subplots(1, len(loads), sharey=True)), strict=True):
        for row in (row for row in rows if row["load"] == load):
            width = 1 / len(seeds)
            x, y = rtts.index(row["rtt_s"]) + width * seeds.index(row["seed"]), uplinks.index(row["up_bps"])
            axis.bar(x, 1, width, y, align="edge", color=TIERS[row["winner"]], edgecolor="white", alpha=0.6)
            axis.text(x + width / 2, y + 0.5, str(round(100 * row["regret"])), ha="center", va="center", fontsize="small")
        axis.set(title=f"load {load:g}", xlabel="round trip to the cloud, ms", xlim=(0, len(rtts)), ylim=(0, len(uplinks)))
        axis.set_xticks(np.arange(len(rtts)) + 0.5, [f"{1e3 * rtt:g}" for rtt in rtts])
        axis.set_yticks(np.arange(len(uplinks)) + 0.5, [f"{up / 1e6:g}" for up in uplinks])
    first = figure.axes[0]
    first.set_ylabel("uplink, Mbit/s")
    for tier, colour in TIERS.items():
        first.bar(-9, 1, color=colour, alpha=0.6, label=tier)
    first.set_xlim(0, len(rtts))
    figure.legend(loc="outside lower center", ncols=3, title="the best single tier in hindsight; numbers: J that auto has more, percent")
    path = folder / "winners.png"
    figure.savefig(path, dpi=80)
    return path


def _draw_pareto(Figure: Any, rows: Rows, folder: Path) -> Path:
    """Quality over time, energy and bytes of each way to choose, by class of service; what no other way beats in all four is filled."""
    points = trade_offs(rows)
    figure = Figure(figsize=(12, 4.2), layout="constrained")
    for (name, (label, _)), axis in zip(AXES.items(), figure.subplots(1, len(AXES), sharey=True), strict=True):
        for (service, way), means in points.items():
            colour = WAYS[way]
            filled = colour if (service, way) in front(points) else "none"
            axis.scatter(means[name], means[QUALITY], marker=MARKERS[service], s=60, facecolors=filled, edgecolors=colour)
        axis.set_xlabel(label)
        _label_few(axis, logarithmic=name != "payload_bytes")
        axis.grid(alpha=0.3)
    first = figure.axes[0]
    first.set_ylabel("share of answers that are right, as stated")
    for way in dict.fromkeys(way for _, way in points):
        first.plot([], [], "o", color=WAYS[way], label=way)
    for service in dict.fromkeys(service for service, _ in points):
        first.plot([], [], MARKERS[service], color="gray", label=service)
    figure.legend(loc="outside lower center", ncols=8, fontsize="small")
    path = folder / "pareto.png"
    figure.savefig(path, dpi=80)
    return path


def _label_few(axis: Any, *, logarithmic: bool) -> None:
    """Ticks at 1, 2 and 5 of each decade, or a handful of round ones from zero: no label lies on another."""
    from matplotlib.ticker import FuncFormatter, LogLocator, MaxNLocator, NullFormatter

    if logarithmic:
        axis.set_xscale("log")
        axis.xaxis.set_major_locator(LogLocator(subs=(1, 2, 5)))
        axis.xaxis.set_minor_formatter(NullFormatter())
    else:
        axis.xaxis.set_major_locator(MaxNLocator(5))
    axis.xaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:g}"))


def trade_offs(rows: Rows) -> dict[tuple[str, str], dict[str, float]]:
    """Means over the cells of each class of service, by (service, way)."""
    found: dict[tuple[str, str], dict[str, float]] = {}
    for service in (service for service in MARKERS if any(row["service"] == service for row in rows)):
        own = [row["means"] for row in rows if row["service"] == service]
        for way in (way for way in WAYS if way in own[0]):
            found[service, way] = {name: float(np.mean([means[way][name] for means in own])) for name in (*AXES, QUALITY)}
    return found


def front(points: Mapping[tuple[str, str], Mapping[str, float]]) -> set[tuple[str, str]]:
    """Those that no other way of the same class of service equals in all measures and beats in one."""
    signs = {**{name: sign for name, (_, sign) in AXES.items()}, QUALITY: 1}

    def beats(one: Mapping[str, float], other: Mapping[str, float]) -> bool:
        ahead = [sign * (one[name] - other[name]) for name, sign in signs.items()]
        return min(ahead) >= 0 and max(ahead) > 0

    return {key for key, own in points.items() if not any(other[0] == key[0] and beats(points[other], own) for other in points)}
