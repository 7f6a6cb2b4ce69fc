from collections.abc import Callable

import pytest

from netgpt.core.errors import UsageError
from netgpt.core.units import (
    format_bytes,
    format_count,
    format_duration,
    format_frequency,
    format_rate,
    parse_duration_s,
    parse_frequency_hz,
    parse_rate_bps,
    parse_share,
    parse_speed_m_per_s,
)


@pytest.mark.parametrize(("text", "seconds"), [("250ms", 0.25), ("5m", 300), ("1.5 s", 1.5), (2, 2), ("3", 3), ("10us", 1e-5), ("1h", 3600)])
def test_durations(text: str | float, seconds: float):
    assert parse_duration_s(text) == pytest.approx(seconds)


@pytest.mark.parametrize(("text", "bps"), [("20Mbps", 20e6), ("500 kbps", 5e5), ("1Gbps", 1e9), (9600, 9600)])
def test_rates(text: str | float, bps: float):
    assert parse_rate_bps(text) == pytest.approx(bps)


@pytest.mark.parametrize(("text", "hertz"), [("100MHz", 100e6), ("30 khz", 30e3), ("3.5GHz", 3.5e9), (15e3, 15e3), ("50", 50)])
def test_frequencies(text: str | float, hertz: float):
    assert parse_frequency_hz(text) == pytest.approx(hertz)


@pytest.mark.parametrize(("text", "m_per_s"), [("36km/h", 10), ("3 m/s", 3), (1.5, 1.5)])
def test_speeds(text: str | float, m_per_s: float):
    assert parse_speed_m_per_s(text) == pytest.approx(m_per_s)


@pytest.mark.parametrize(("text", "share"), [("1%", 0.01), ("0.001 %", 1e-5), ("0.3", 0.3), (0.3, 0.3)])
def test_shares(text: str | float, share: float):
    assert parse_share(text) == pytest.approx(share)


@pytest.mark.parametrize(
    ("parse", "text"), [(parse_rate_bps, "5%"), (parse_share, "5ms"), (parse_speed_m_per_s, "5km"), (parse_frequency_hz, "1THz")]
)
def test_a_quantity_in_another_unit_is_refused(parse: Callable[[str], float], text: str):
    with pytest.raises(UsageError, match="is not") as caught:
        parse(text)
    assert caught.value.hint


@pytest.mark.parametrize("text", ["", "fast", "5 parsecs", "-3s", "1s2s"])
def test_what_is_no_quantity_is_refused_with_examples(text: str):
    with pytest.raises(UsageError, match="is not") as caught:
        parse_duration_s(text)
    assert "5ms" in caught.value.hint


def test_people_read_quantities():
    assert [format_bytes(n) for n in (12, 2048, 3 << 20, 5 << 30)] == ["12 B", "2.0 KiB", "3.0 MiB", "5.0 GiB"]
    assert [format_duration(s) for s in (0.0123, 2.5, 300)] == ["12.3 ms", "2.5 s", "5.0 min"]
    assert [format_rate(r) for r in (800, 42e3, 67e6, 2.5e9)] == ["800 bit/s", "42 kbit/s", "67 Mbit/s", "2.5 Gbit/s"]
    assert [format_frequency(f) for f in (15e3, 100e6, 3.5e9)] == ["15 kHz", "100 MHz", "3.5 GHz"]
    assert [format_count(n) for n in (12, 1.5e6, 70e9, 2e12)] == ["12", "1.5 M", "70 B", "2000 B"]
