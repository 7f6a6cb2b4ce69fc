"""`netgpt bench compare A.json B.json`: which figures of two results differ, and whether that may be noise."""

from __future__ import annotations

import json
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from netgpt.bench.compare import BOUNDS, DIFFERS, NO_INTERVAL, NOISE, SAME, compare, read_result
from netgpt.cli.table import format_table
from netgpt.core.errors import UsageError

CHANCE = 0.05  # of a figure that did not change to be outside of its 95 % interval


def run_compare(files: Sequence[Path], *, as_json: bool) -> int:
    """Print the comparison; 0 whatever differs. Raises UsageError for files that cannot be compared."""
    if len(files) != 2:
        raise UsageError(f"{len(files)} files are given", hint="name two results: netgpt bench compare A.json B.json", param="files")
    told = compare(*(read_result(path) for path in files))
    told = {"suite": told["suite"], "a": str(files[0]), "b": str(files[1]), **told}
    if as_json:
        json.dump(told, sys.stdout, indent=2)
        print()
    else:
        _show(told)
    return 0


def _show(told: Mapping[str, Any]) -> None:
    conditions = told["conditions"]
    if conditions:
        print(format_table(["CONDITION", "A", "B"], [[name, _text(each["a"]), _text(each["b"])] for name, each in conditions.items()]))
    else:
        print("All conditions are equal.")
    order = {DIFFERS: 0, NO_INTERVAL: 1, NOISE: 2}
    rows = [(name, each) for name, each in told["figures"].items() if each["verdict"] != SAME]
    rows.sort(key=lambda row: order[row[1]["verdict"]])
    if rows:
        print()
        print(format_table(["FIGURE", "A", "B", "CHANGE", "VERDICT", "BY"], [_row(name, each) for name, each in rows]))
    print()
    print(_summary(told))


def _row(name: str, each: Mapping[str, Any]) -> list[object]:
    relative = each["relative"]
    change = "" if each["difference"] is None else f"{relative:+.1%}" if relative is not None else f"{each['difference']:+g}"
    by = f"{each['by']}: {each['difference_low']:+g} to {each['difference_high']:+g}" if each["by"] == BOUNDS else each["by"]
    return [name, _text(each["a"]), _text(each["b"]), change, each["verdict"], by]


def _text(value: object) -> str:
    text = "-" if value is None else f"{value:.6g}" if isinstance(value, float) else str(value)
    return text if len(text) <= 40 else text[:37] + "..."


def _summary(told: Mapping[str, Any]) -> str:
    counts = told["verdicts"]
    parts = [f"{counts[DIFFERS]} differ", f"{counts[NOISE]} differ within noise", f"{counts[NO_INTERVAL]} differ and have no interval"]
    lines = [f"{told['suite']}: {', '.join(parts)}, {counts[SAME]} are equal."]
    if counts[DIFFERS] and told["judged_by_bounds"]:
        by_chance = CHANCE * told["judged_by_bounds"]
        lines.append(f"Of {told['judged_by_bounds']} figures judged by 95 % bounds some {by_chance:.1f} would differ by chance alone.")
    lines += [f"Only in {told[side]}: {', '.join(told[f'only_in_{side}'])}" for side in ("a", "b") if told[f"only_in_{side}"]]
    return "\n".join(lines)
