"""What radio access costs small packets, and what the link shaper adds: the suites of both as one."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from netgpt.bench import links_access, links_shaper, links_traces
from netgpt.bench.conditions import tell


def run(quick: bool, traces: Path | None = None) -> dict[str, Any]:
    """Measure; minutes (three more for each trace), or under two if `quick`. What is measured is told on standard error.

    Args:
        traces: a folder of Mahimahi traces, measured beside generated ones.

    Returns:
        {"suite": "links", "figures": {name: number}, "charts": {name: ...}, "conditions": {...}}: times of the access model in ms;
        names of the shaper's begin with `shaper_`, and those of mode `packet` are missing where it is not permitted.

    Raises:
        UsageError: no traces in the folder.
    """
    access = links_access.run(quick)
    shaped = links_shaper.figures(quick=quick) | links_traces.figures(quick=quick, folder=traces, tell=tell)
    return {**access, "suite": "links", "figures": access["figures"] | shaped}


def draw_pictures(report: Mapping[str, Any], folder: Path) -> list[Path]:
    """See `links_access.draw_pictures`."""
    return links_access.draw_pictures(report, folder)
