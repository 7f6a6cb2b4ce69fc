"""The link shaper's HTTP surface: what links are set to and how they do, and how to set them.

`GET /api/v1/links` shows, `PATCH /api/v1/links/LINK` sets: `{"rate": "2Mbps", "delay": "40ms", "loss": "1%"}`.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Protocol

from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from netgpt.api.app import assemble
from netgpt.api.auth import Guard
from netgpt.api.connection import read_json
from netgpt.api.reply import json_response
from netgpt.core.chance import Chance, SystemChance
from netgpt.core.clock import Clock
from netgpt.core.errors import InvalidRequest
from netgpt.wire.shaper_control import changed, link_rows
from netgpt.wire.shaper_link import ShapedLink, Wires
from netgpt.wire.shaper_network import LinkNetwork


class LinkDriver(Protocol):
    """What the HTTP surface needs of `wire.shaper_pump.Pump`."""

    network: LinkNetwork
    clock: Clock

    def change(self, link: ShapedLink, wires: Wires) -> None: ...


def create_links_app(
    driver: LinkDriver, *, mode: str, own_bytes: Callable[[], int] = lambda: 0, chance: Chance | None = None, guard: Guard | None = None
) -> Starlette:
    """The ASGI application of the link shaper's process. Without a guard everybody on this machine may call it.

    Args:
        own_bytes: what the shaper holds that no link has.
    """
    network = driver.network

    def rows() -> list[dict[str, Any]]:
        return link_rows(network, driver.clock.now_s())

    async def list_links(_: Request) -> Response:
        return json_response({"mode": mode, "own_queue_bytes": own_bytes(), "unrouted_packets": network.unrouted, "links": rows()})

    async def set_link(request: Request) -> Response:
        link = network.find(request.path_params["link"])
        changes = await read_json(request.scope, request.receive)
        if not isinstance(changes, dict) or not changes:
            raise InvalidRequest("the body sets nothing", hint='send an object such as {"rate": "2Mbps", "delay": "40ms"}')
        driver.change(link, changed(link.wires(), changes))
        return json_response({"links": [row for row in rows() if row["link"] == link.id]})

    async def is_alive(_: Request) -> Response:
        return json_response({"status": "ok"})

    return assemble(
        [
            Route("/api/v1/links", list_links),
            Route("/api/v1/links/{link}", set_link, methods=["PATCH"]),
            Route("/health", is_alive),
        ],
        chance=chance or SystemChance(),
        server="shaper",
        guard=guard,
    )
