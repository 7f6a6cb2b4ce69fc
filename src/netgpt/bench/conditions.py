"""What a figure needs beside it to be worth quoting: versions, machine, commit, load, and spread."""

from __future__ import annotations

import importlib.metadata
import os
import platform
import statistics
import subprocess
import sys
from collections.abc import Sequence
from datetime import UTC, datetime
from pathlib import Path

from netgpt import __version__
from netgpt.core.clock import WallClock

MOST_OVERRUNS = 0.01  # of a declared machine's results: a run with more says what this machine can do, not what was declared


def tell(what: str) -> None:
    """Say what a long bench is at, where its figures do not go."""
    sys.stderr.write(f"{what}\n")


def conditions(*, packages: Sequence[str], **facts: object) -> dict[str, object]:
    """Where and when a suite ran.

    Args:
        packages: installed distributions whose versions matter.
        facts: the suite's own, such as seeds and repeats.
    """
    return {
        "time": datetime.fromtimestamp(WallClock().date_s(), tz=UTC).isoformat(timespec="seconds"),
        "commit": _commit(),
        "netgpt": __version__,
        "python": platform.python_version(),
        **{package: _version(package) for package in packages},
        "cpu": _cpu_model(),
        "cpus": os.cpu_count(),
        "omp_wait_policy": os.environ.get("OMP_WAIT_POLICY"),
        "load_average_1min": os.getloadavg()[0],  # of other work, where this is read first
        **facts,
    }


class Stolen:
    """How much of this machine's processor time its host gave to others, since this was made. Timings of such a while are worth little."""

    def __init__(self) -> None:
        self._begun = _processor_ticks()

    def share(self) -> float | None:
        """Of the time that was wanted here; None where nobody counts it."""
        now = _processor_ticks()
        if self._begun is None or now is None:
            return None
        stolen, worked = (after - before for before, after in zip(self._begun, now, strict=True))
        return round(stolen / max(stolen + worked, 1), 4)


def _processor_ticks() -> tuple[int, int] | None:
    """Stolen, and worked: of all processors since the machine began (proc(5), /proc/stat)."""
    try:
        first = Path("/proc/stat").read_text(encoding="ascii").splitlines()[0].split()
        user, nice, system, _idle, _waiting, irq, softirq, stolen = map(int, first[1:9])
    except (OSError, ValueError, IndexError):
        return None
    return stolen, user + nice + system + irq + softirq


def spread(name: str, values: Sequence[float]) -> dict[str, float]:
    """The median under `name`, the extremes under `name_min` and `name_max`; four significant digits."""
    found = {name: statistics.median(values), f"{name}_min": min(values), f"{name}_max": max(values)}
    return {key: float(f"{value:.4g}") for key, value in found.items()}


def _version(package: str) -> str | None:
    try:
        return importlib.metadata.version(package)
    except importlib.metadata.PackageNotFoundError:
        return None


def _commit() -> str | None:
    """The source checkout's commit, with `+` where tracked files differ from it; None outside a checkout."""
    here = Path(__file__).parent
    try:
        head = subprocess.run(["git", "rev-parse", "HEAD"], cwd=here, capture_output=True, text=True, check=True, timeout=10)
        changed = subprocess.run(["git", "status", "--porcelain", "-uno"], cwd=here, capture_output=True, text=True, check=True, timeout=10)
    except (OSError, subprocess.SubprocessError):
        return None
    return head.stdout.strip() + ("+" if changed.stdout.strip() else "")


def _cpu_model() -> str:
    try:
        for line in Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines():
            if line.startswith("model name"):
                return line.partition(":")[2].strip()
    except OSError:
        pass
    return platform.processor() or platform.machine()
