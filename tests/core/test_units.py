import pytest

from netgpt.core.errors import UsageError
from netgpt.core.units import format_bytes, format_duration, parse_duration_s, parse_rate_bps


@pytest.mark.parametrize(("text", "seconds"), [("250ms", 0.25), ("5m", 300), ("1.5 s", 1.5), (2, 2), ("3", 3), ("10us", 1e-5), ("1h", 3600)])
def test_durations(text: str | float, seconds: float):
    assert parse_duration_s(text) == pytest.approx(seconds)


@pytest.mark.parametrize(("text", "bps"), [("20Mbps", 20e6), ("500 kbps", 5e5), ("1Gbps", 1e9), (9600, 9600)])
def test_rates(text: str | float, bps: float):
    assert parse_rate_bps(text) == pytest.approx(bps)


@pytest.mark.parametrize("text", ["", "fast", "5 parsecs", "-3s", "1s2s"])
def test_what_is_no_quantity_is_refused_with_examples(text: str):
    with pytest.raises(UsageError, match="is not") as caught:
        parse_duration_s(text)
    assert "5ms" in caught.value.hint


def test_people_read_quantities():
    assert [format_bytes(n) for n in (12, 2048, 3 << 20, 5 << 30)] == ["12 B", "2.0 KiB", "3.0 MiB", "5.0 GiB"]
    assert [format_duration(s) for s in (0.0123, 2.5, 300)] == ["12.3 ms", "2.5 s", "5.0 min"]
