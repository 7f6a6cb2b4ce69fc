"""Which figures of two results of one suite differ, and whether that may be noise. Pure; it does not know which direction is better.

What a figure's neighbours in the file allow decides how it is judged: 95 % bounds (`_low`, `_high`), a range (`_min`, `_max`: the least and the
most of its repeats, in suite `models` bounds), or nothing. Bounds give an interval of the difference (MOVER: Zou and Donner, Statistics in
Medicine 27, 2008), which takes the two results for independent; of the same tasks it is rather too wide. Ranges differ where they do not overlap.
"""

from __future__ import annotations

import json
import math
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from netgpt.core.errors import UsageError

BOUNDS, RANGE = "95 % bounds", "range"
SUFFIXES = {BOUNDS: ("_low", "_high"), RANGE: ("_min", "_max")}
SAME, DIFFERS, NOISE, NO_INTERVAL = "same", "differs", "noise", "no interval"
HOW = "make a result with: netgpt bench SUITE --json > FILE"

Figures = Mapping[str, Any]


def read_result(path: Path) -> dict[str, Any]:
    """A result as `netgpt bench SUITE --json` prints it: "suite", "figures" and "conditions" at least.

    Raises:
        UsageError: no such file, or none of a bench.
    """
    try:
        found = json.loads(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise UsageError(f"cannot read {str(path)!r}: {error.strerror}", hint=HOW, param="files") from error
    except ValueError as error:
        raise UsageError(f"{str(path)!r} is not JSON: {error}", hint=HOW, param="files") from error
    if not isinstance(found, dict) or not isinstance(found.get("suite"), str) or not isinstance(found.get("figures"), dict):
        raise UsageError(f"{str(path)!r} is no result of a bench: it has no suite or no figures", hint=HOW, param="files")
    if not isinstance(found.setdefault("conditions", {}), dict):
        raise UsageError(f"{str(path)!r} is no result of a bench: its conditions are no object", hint=HOW, param="files")
    return found


def compare(one: Mapping[str, Any], other: Mapping[str, Any]) -> dict[str, Any]:
    """What differs from `one` to `other`, both as `read_result` gives them.

    Returns:
        {"suite", "figures": {name: {"a", "b", "difference", "relative", "verdict", "by"}}, "only_in_a": [name], "only_in_b": [name],
        "conditions": {dotted name: {"a", "b"}} of those that differ, "verdicts": {verdict: count}, "judged_by_bounds": count}.
        `relative` is the difference as a share of a's absolute value, None where that is 0. `verdict` is "same", "differs", "noise", or
        "no interval"; `by` says what it rests on. Judged by bounds, a figure also has "difference_low" and "difference_high".

    Raises:
        UsageError: they are of different suites.
    """
    if one["suite"] != other["suite"]:
        message = f"the results are of different suites: {one['suite']!r} and {other['suite']!r}"
        raise UsageError(message, hint="compare two runs of one suite", param="files")
    a, b = one["figures"], other["figures"]
    names = [name for name in a if name in b and not (_is_bound(name, a) and _is_bound(name, b))]
    figures = {name: _compared(name, a, b) for name in names}
    verdicts = [figure["verdict"] for figure in figures.values()]
    return {
        "suite": one["suite"],
        "figures": figures,
        "only_in_a": [name for name in a if name not in b],
        "only_in_b": [name for name in b if name not in a],
        "conditions": _changed(_flat(one["conditions"]), _flat(other["conditions"])),
        "verdicts": {verdict: verdicts.count(verdict) for verdict in (SAME, DIFFERS, NOISE, NO_INTERVAL)},
        "judged_by_bounds": sum(figure["by"] == BOUNDS for figure in figures.values()),
    }


def _is_bound(name: str, figures: Figures) -> bool:
    """Whether it is the end of another figure's interval."""
    ends = [end for pair in SUFFIXES.values() for end in pair if name.endswith(end)]
    return any(_number(figures.get(name.removesuffix(end))) is not None for end in ends)


def _compared(name: str, a: Figures, b: Figures) -> dict[str, Any]:
    told: dict[str, Any] = {"a": a[name], "b": b[name], "difference": None, "relative": None, "verdict": DIFFERS, "by": "value"}
    before, after = _number(a[name]), _number(b[name])
    if before is None or after is None:
        return told | ({"verdict": SAME} if a[name] == b[name] or _both_nan(a[name], b[name]) else {})
    difference = after - before
    told |= {"difference": _short(difference), "relative": _short(difference / abs(before)) if before else None}
    if not difference:
        return told | {"verdict": SAME}
    for by in SUFFIXES:
        ends, others = _interval(name, a, by), _interval(name, b, by)
        if ends and others:
            return told | (_by_bounds(before, ends, after, others) if by == BOUNDS else _by_range(ends, others))
    return told | {"verdict": NO_INTERVAL, "by": "nothing"}


def _by_bounds(before: float, ends: tuple[float, float], after: float, others: tuple[float, float]) -> dict[str, Any]:
    difference = after - before
    low = difference - math.hypot(max(after - others[0], 0.0), max(ends[1] - before, 0.0))
    high = difference + math.hypot(max(others[1] - after, 0.0), max(before - ends[0], 0.0))
    verdict = NOISE if low <= 0 <= high else DIFFERS
    return {"verdict": verdict, "by": BOUNDS, "difference_low": _short(low), "difference_high": _short(high)}


def _by_range(ends: tuple[float, float], others: tuple[float, float]) -> dict[str, Any]:
    apart = ends[1] < others[0] or others[1] < ends[0]
    return {"verdict": DIFFERS if apart else NOISE, "by": RANGE}


def _interval(name: str, figures: Figures, by: str) -> tuple[float, float] | None:
    low, high = (_number(figures.get(name + end)) for end in SUFFIXES[by])
    return None if low is None or high is None else (low, high)


def _number(value: object) -> float | None:
    return float(value) if isinstance(value, int | float) and not isinstance(value, bool) and math.isfinite(value) else None


def _both_nan(one: object, other: object) -> bool:
    return all(isinstance(value, float) and math.isnan(value) for value in (one, other))


def _short(value: float) -> float:
    return float(f"{value:.4g}")


def _flat(conditions: Mapping[str, Any], prefix: str = "") -> dict[str, Any]:
    """Nested conditions under dotted names."""
    found: dict[str, Any] = {}
    for name, value in conditions.items():
        found |= _flat(value, f"{prefix}{name}.") if isinstance(value, dict) else {f"{prefix}{name}": value}
    return found


def _changed(a: Mapping[str, Any], b: Mapping[str, Any]) -> dict[str, dict[str, Any]]:
    return {name: {"a": a.get(name), "b": b.get(name)} for name in (*a, *(name for name in b if name not in a)) if a.get(name) != b.get(name)}
