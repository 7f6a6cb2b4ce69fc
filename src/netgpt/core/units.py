"""Quantities as people write them: `20Mbps`, `5ms`, `100MHz`, `120km/h`, `1%`. One spelling in, plain SI numbers out."""

from __future__ import annotations

import re

from netgpt.core.errors import UsageError

_DURATION_S = {"us": 1e-6, "ms": 1e-3, "s": 1.0, "m": 60.0, "min": 60.0, "h": 3600.0, "d": 86400.0}
_RATE_BPS = {"bps": 1.0, "kbps": 1e3, "mbps": 1e6, "gbps": 1e9}
_FREQUENCY_HZ = {"hz": 1.0, "khz": 1e3, "mhz": 1e6, "ghz": 1e9}
_SPEED_M_PER_S = {"m/s": 1.0, "km/h": 1 / 3.6}
_SHARE = {"": 1.0, "%": 0.01}
_NUMBER = re.compile(r"\s*([0-9]*\.?[0-9]+(?:e[+-]?[0-9]+)?)\s*([a-z/%]*)\s*", re.IGNORECASE)


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


def parse_frequency_hz(text: str | float) -> float:
    """Hertz from `"100MHz"`, or a plain number.

    Raises:
        UsageError: not a frequency.
    """
    return _parse(text, _FREQUENCY_HZ, "a frequency", "30kHz, 100MHz or 3.5GHz", default="hz")


def parse_speed_m_per_s(text: str | float) -> float:
    """Metres per second from `"120km/h"`, or a plain number.

    Raises:
        UsageError: not a speed.
    """
    return _parse(text, _SPEED_M_PER_S, "a speed", "3km/h or 33m/s", default="m/s")


def parse_share(text: str | float) -> float:
    """A share of one from `"1%"`, or a plain number: 0.01. Its range is the caller's to check.

    Raises:
        UsageError: not a share.
    """
    return _parse(text, _SHARE, "a share", "1% or 0.01", default="")


def _parse(text: str | float, units: dict[str, float], what: str, examples: str, *, default: str) -> float:
    if isinstance(text, int | float):
        return float(text)
    match = _NUMBER.fullmatch(text)
    unit = (match.group(2).lower() or default) if match else ""
    if match is None or unit not in units:
        raise UsageError(f"{text!r} is not {what}", hint=f"write it as {examples}")
    return float(match.group(1)) * units[unit]


def format_rate(rate_bps: float) -> str:
    """`20 Mbit/s` and the like, for people."""
    return _scaled(rate_bps, ("bit/s", "kbit/s", "Mbit/s", "Gbit/s"))


def format_frequency(frequency_hz: float) -> str:
    """`100 MHz` and the like, for people."""
    return _scaled(frequency_hz, ("Hz", "kHz", "MHz", "GHz"))


def format_count(count: float) -> str:
    """`8 B`, `1.5 M` and the like for parameters of a model, for people."""
    return _scaled(count, ("", "k", "M", "B"))


def _scaled(value: float, units: tuple[str, ...]) -> str:
    for unit in units[:-1]:
        if abs(value) < 1000:
            return f"{value:.4g} {unit}".rstrip()
        value /= 1000
    return f"{value:.4g} {units[-1]}"


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
