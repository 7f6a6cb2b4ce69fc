"""Quantities as people write them: `20Mbps`, `5ms`, `5m`. One spelling in, plain SI numbers out."""

from __future__ import annotations

import re

from netgpt.core.errors import UsageError

_DURATION_S = {"us": 1e-6, "ms": 1e-3, "s": 1.0, "m": 60.0, "min": 60.0, "h": 3600.0, "d": 86400.0}
_RATE_BPS = {"bps": 1.0, "kbps": 1e3, "mbps": 1e6, "gbps": 1e9}
_NUMBER = re.compile(r"\s*([0-9]*\.?[0-9]+(?:e[+-]?[0-9]+)?)\s*([a-z/]*)\s*", re.IGNORECASE)


def parse_duration_s(text: str | float) -> float:
    """Seconds from `"250ms"`, `"5m"`, or a plain number of seconds.

    Raises:
        UsageError: not a duration.
    """
    return _parse(text, _DURATION_S, "a duration", "5ms, 2s, 5m, 1h or 30d", default="s")


def parse_rate_bps(text: str | float) -> float:
    """Bits per second from `"20Mbps"`, or a plain number.

    Raises:
        UsageError: not a rate.
    """
    return _parse(text, _RATE_BPS, "a rate", "500kbps, 20Mbps or 1Gbps", default="bps")


def _parse(text: str | float, units: dict[str, float], what: str, examples: str, *, default: str) -> float:
    if isinstance(text, int | float):
        return float(text)
    match = _NUMBER.fullmatch(text)
    unit = (match.group(2).lower() or default) if match else ""
    if match is None or unit not in units:
        raise UsageError(f"{text!r} is not {what}", hint=f"write it as {examples}")
    return float(match.group(1)) * units[unit]


def format_bytes(count: float) -> str:
    """`1.5 MiB` and the like, for people."""
    for unit in ("B", "KiB", "MiB"):
        if abs(count) < 1024:
            return f"{count:.0f} {unit}" if unit == "B" else f"{count:.1f} {unit}"
        count /= 1024
    return f"{count:.1f} GiB"


def format_duration(duration_s: float) -> str:
    """`3 ms`, `1.24 s` and the like, for people."""
    if duration_s < 1:
        return f"{duration_s * 1e3:.3g} ms"
    return f"{duration_s:.3g} s" if duration_s < 120 else f"{duration_s / 60:.1f} min"
