"""What a simulated run came to: counts, quantiles and bytes, from what the users saw. Pure."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass
from types import MappingProxyType
from typing import Any

import numpy as np

from netgpt.core.units import format_bytes, format_duration

MOST_LINKS, MOST_ALIKE = 32, 8  # lines for people; the report has all


@dataclass(frozen=True, kw_only=True)
class Outcome:
    """One request as its user saw it."""

    node: str  # where it entered
    model: str
    key: str = ""
    result: str  # "stop", "length", or an error code
    tokens: int = 0
    switches: int = 0
    queue_s: float = 0.0
    time_to_first_token_s: float = 0.0
    duration_s: float = 0.0
    checked: bool = False
    right: bool = False  # the answer is exactly what the models' law or recording says
    correct: bool | None = None  # the recorded answer was right; None: not recorded, not graded, or of several models


def summarise(
    outcomes: Sequence[Outcome],
    *,
    scenario: str,
    seed: int,
    duration_s: float,
    events: int,
    link_bytes: Mapping[str, int],
    declared: Mapping[str, str] = MappingProxyType({}),
    spent: Mapping[str, Any] = MappingProxyType({}),
) -> dict[str, Any]:
    """The report as one flat table of figures, times in seconds.

    Args:
        declared: what nodes' times are those of, by node.
        spent: what cells carried and what radios and machines spent; figures of `world.spent`.
    """
    done = [outcome for outcome in outcomes if outcome.result in ("stop", "length")]
    failed = Counter(outcome.result for outcome in outcomes if outcome.result not in ("stop", "length"))
    checked = [outcome for outcome in outcomes if outcome.checked]
    graded = [outcome.correct for outcome in done if outcome.correct is not None]
    return {
        "scenario": scenario,
        "seed": seed,
        "duration_s": duration_s,
        "events": events,
        "requests": len(outcomes),
        "finished": len(done),
        "failed": dict(sorted(failed.items())),
        "switched": sum(outcome.switches > 0 for outcome in done),
        "tokens": sum(outcome.tokens for outcome in done),
        "answers_checked": len(checked),
        "answers_wrong": sum(not outcome.right for outcome in checked),
        **({"answers_graded": len(graded), "answers_correct": sum(graded)} if graded else {}),
        **_quantiles("queue_time", [outcome.queue_s for outcome in done]),
        **_quantiles("time_to_first_token", [outcome.time_to_first_token_s for outcome in done]),
        **_quantiles("request_duration", [outcome.duration_s for outcome in done]),
        "link_payload_bytes": dict(sorted(link_bytes.items())),
        **spent,
        "declared": dict(sorted(declared.items())),
    }


def _quantiles(name: str, values_s: Sequence[float]) -> dict[str, float | None]:
    if not values_s:
        return {f"{name}_p50_s": None, f"{name}_p95_s": None}
    p50, p95 = np.percentile(values_s, [50, 95])
    return {f"{name}_p50_s": round(float(p50), 6), f"{name}_p95_s": round(float(p95), 6)}


def _energy_lines(report: Mapping[str, Any]) -> list[str]:
    """Joules by what spends them: all devices' radios, all machines."""
    named = (("radio_joules", "radios"), ("compute_joules", "computing, beside being up"), ("idle_joules", "machines being up"))
    return [f"  energy     {sum(joules.values()):,.0f} J {label}" for key, label in named if (joules := report.get(key))]


def render(report: Mapping[str, Any]) -> str:
    """The report for people."""
    lines = [
        f"scenario {report['scenario']}, seed {report['seed']}, {format_duration(report['duration_s'])} simulated, {report['events']} events",
        f"  requests   {report['requests']}: {report['finished']} finished, {report['switched']} of them on more than one node",
        f"  failed     {json.dumps(report['failed'])}",
        f"  answers    {report['answers_checked']} checked token by token against the models' law or recording, {report['answers_wrong']} wrong",
        f"  tokens     {report['tokens']}",
    ]
    if "answers_graded" in report:
        lines.append(f"  correct    {report['answers_correct']} of {report['answers_graded']} recorded answers")
    for name, label in (("queue_time", "queue"), ("time_to_first_token", "first token"), ("request_duration", "whole answer")):
        if report[f"{name}_p50_s"] is not None:
            lines.append(f"  {label:<12} p50 {format_duration(report[f'{name}_p50_s'])}, p95 {format_duration(report[f'{name}_p95_s'])}")
    cells = report.get("cell_utilisation", {})
    lines += _link_lines(report["link_payload_bytes"], cells)
    for way, share in cells.items():
        served_bytes = format_bytes(report["cell_served_bytes"][way])
        lines.append(f"  cell {way:<22} {served_bytes} served with the load of others, {share:.1%} of its resource blocks used")
    if "handovers" in report:
        lines.append(f"  handovers  {report['handovers']}")
    lines += _energy_lines(report)
    return "\n".join([*lines, *_timing_lines(report.get("declared", {}))])


def _link_lines(link_bytes: Mapping[str, int], cells: Collection[str]) -> Iterator[str]:
    """The links and cells, and of many the busiest."""
    shown = set(sorted(link_bytes, key=lambda link: -link_bytes[link])[:MOST_LINKS])
    for link, count in link_bytes.items():
        if link in shown:
            yield f"  {'cell' if link in cells else 'link'} {link:<22} {format_bytes(count)} of payload"
    if others := len(link_bytes) - len(shown):
        yield f"  and {others:,} directions of links with less, in the report"


def _timing_lines(declared: Mapping[str, str]) -> Iterator[str]:
    """The nodes, and of many equal ones the first and how many there are."""
    counts = Counter(declared.values())
    seen: set[str] = set()
    for node, machine in declared.items():
        if counts[machine] <= MOST_ALIKE:
            yield f"  timing of {node:<17} {machine}, modelled"
        elif machine not in seen:
            seen.add(machine)
            yield f"  timing of {node} and {counts[machine] - 1:,} more: {machine}, modelled"
