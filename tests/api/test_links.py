"""The link shaper's HTTP surface."""

from __future__ import annotations

import asyncio
from typing import Any

import httpx
import pytest

from netgpt.api.links import create_links_app
from netgpt.core.chance import SeededChance
from netgpt.core.clock import WallClock
from netgpt.wire.shaper_link import ShapedLink, Wire, Wires, plain_wires
from netgpt.wire.shaper_network import LinkNetwork


class Driver:
    """A network that nothing drives: what is set is set at time 0."""

    def __init__(self) -> None:
        link = Wire(("edge1", "cloud1"), plain_wires(up_bps=1e6, down_bps=2e6, delay_s=0.01))
        self.network = LinkNetwork([link], full="hold")
        self.clock = WallClock()

    def change(self, link: ShapedLink, wires: Wires) -> None:
        self.network.change(0.0, link, wires)


def call(driver: Driver, method: str, path: str, **sent: Any) -> httpx.Response:
    async def work() -> httpx.Response:
        app = create_links_app(driver, mode="stream", own_bytes=lambda: 7, chance=SeededChance(1))
        async with httpx.AsyncClient(transport=httpx.ASGITransport(app), base_url="http://localhost") as client:
            return await client.request(method, path, **sent)

    return asyncio.run(work())


def test_links_are_listed_both_ways() -> None:
    told = call(Driver(), "GET", "/api/v1/links").json()
    assert (told["mode"], told["own_queue_bytes"], told["unrouted_packets"]) == ("stream", 7, 0)
    assert [(row["link"], row["from"], row["to"], row["rate_bps"]) for row in told["links"]] == [
        ("edge1-cloud1", "edge1", "cloud1", 1e6),
        ("edge1-cloud1", "cloud1", "edge1", 2e6),
    ]


def test_a_link_is_set_and_told_as_it_then_is() -> None:
    driver = Driver()
    rows = call(driver, "PATCH", "/api/v1/links/edge1-cloud1", json={"rate": "3Mbps", "delay": 0.5, "loss": "2%"}).json()["links"]
    assert [(row["rate_bps"], row["delay_s"], row["loss"]) for row in rows] == [(3e6, 0.5, 0.02)] * 2
    assert call(driver, "GET", "/api/v1/links").json()["links"][0]["rate_bps"] == 3e6


@pytest.mark.parametrize(
    ("path", "body", "words"),
    [
        ("edge1-cloud", {"rate": "1Mbps"}, "unknown link 'edge1-cloud'"),
        ("edge1-cloud1", {"rat": "1Mbps"}, "unknown key 'rat'"),
        ("edge1-cloud1", {"rate": -5}, "the rate -5 is negative"),
        ("edge1-cloud1", {"delay": None}, "the delay is None"),
        ("edge1-cloud1", {}, "the body sets nothing"),
        ("edge1-cloud1", [1], "the body sets nothing"),
    ],
)
def test_what_is_wrong_changes_nothing_and_is_named(path: str, body: object, words: str) -> None:
    driver = Driver()
    reply = call(driver, "PATCH", f"/api/v1/links/{path}", json=body)
    assert reply.status_code == 400
    assert words in reply.json()["error"]["message"]
    assert reply.json()["hint"]
    assert driver.network.find("edge1-cloud1").rate_bps("up") == 1e6
