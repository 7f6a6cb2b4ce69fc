"""What radio access costs small packets, and what the link shaper adds: the suites of both as one."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from netgpt.bench import links_access, links_shaper


def run(quick: bool) -> dict[str, Any]:
    """Measure; some minutes, or about one if `quick`.

    Returns:
        {"suite": "links", "figures": {name: number}, "charts": {name: ...}, "conditions": {...}}: times of the access model in ms;
        names of the shaper's begin with `shaper_`, and those of mode `packet` are missing where it is not permitted.
    """
    access = links_access.run(quick)
    return {**access, "suite": "links", "figures": access["figures"] | links_shaper.figures(quick=quick)}


def draw_pictures(report: Mapping[str, Any], folder: Path) -> list[Path]:
    """See `links_access.draw_pictures`."""
    return links_access.draw_pictures(report, folder)
