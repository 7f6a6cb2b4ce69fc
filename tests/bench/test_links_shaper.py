"""The measurements of the link shaper: that they measure, and not how fast this machine is."""

from __future__ import annotations

import asyncio

import pytest

from netgpt.bench.links_shaper import backlogged, charged_share, one_way_ms, wired
from netgpt.wire.shaper_link import plain_wires

SLOW = plain_wires(up_bps=8e6, down_bps=8e6, delay_s=0.005)


def test_in_mode_stream_a_transfer_is_charged_as_tcp_would_be() -> None:
    assert asyncio.run(charged_share("stream", SLOW, seconds=1.0)) == pytest.approx(1.0, rel=0.01)


def test_a_message_is_on_the_way_for_the_links_delay_at_least() -> None:
    found = asyncio.run(one_way_ms("stream", plain_wires(delay_s=0.02), count=30))
    assert len(found) == 27
    assert min(found) >= 20


def test_a_link_that_is_kept_full_serves_no_more_than_its_opportunities() -> None:
    figures = asyncio.run(backlogged("stream", "steady", wired(SLOW), lambda begin_s, end_s: 1e6 * (end_s - begin_s), seconds=1.0, connections=2))
    assert set(figures) == {f"shaper_stream_steady_{what}" for what in ("served_share", "goodput_mbps", "goodput_bound_mbps", "dropped_share")}
    assert 0 < figures["shaper_stream_steady_served_share"] <= 1.02
    assert figures["shaper_stream_steady_dropped_share"] == 0
