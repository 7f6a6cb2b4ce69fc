"""The control plane's HTTP surface: who is in the network, and what happens in it.

Read only. Events come as a list, or as a stream that a client resumes by the last index it saw. No
prompt and no token is ever here: the controller does not have them.
"""

from __future__ import annotations

import asyncio
import dataclasses
from collections import Counter
from typing import Any, Protocol, get_args

from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route
from starlette.types import Receive, Scope, Send

from netgpt.api.app import assemble
from netgpt.api.auth import Guard
from netgpt.api.connection import EventStream, while_connected
from netgpt.api.reply import json_response
from netgpt.core.chance import Chance, SystemChance
from netgpt.core.compact import to_json
from netgpt.core.errors import InvalidRequest
from netgpt.network.member import Snapshot, Tier
from netgpt.telemetry.events import SCHEMA_VERSION, Event
from netgpt.telemetry.metrics import CONTENT_TYPE, Metrics

HEARTBEAT_S = 15.0  # a comment is sent when nothing else was, so that proxies and clients see life
COALESCE_S = 0.1  # after a frame, what happens is gathered for so long
MAX_EVENTS = 10_000  # of one reply; a client asks again from the last index


class ControlPlane(Protocol):
    """What the HTTP surface needs of `controller.service.Controller`."""

    def snapshot(self) -> Snapshot: ...

    def events(self, since: int = 0) -> list[Event]:
        """Events with an index of at least `since`."""
        ...

    async def wait_for_event(self, index: int) -> None:
        """Return once an event of at least that index exists."""
        ...


def create_control_app(
    controller: ControlPlane, *, metrics: Metrics | None = None, chance: Chance | None = None, guard: Guard | None = None
) -> Starlette:
    """The ASGI application of the controller process. Without a guard everybody on this machine may read it."""
    shown = metrics or Metrics()

    async def list_nodes(_: Request) -> Response:
        snapshot = controller.snapshot()
        return json_response({"version": snapshot.version, "nodes": [dataclasses.asdict(member) for member in snapshot.members]})

    async def is_alive(_: Request) -> Response:
        return json_response({"status": "ok"})

    async def read_metrics(_: Request) -> Response:
        ready = Counter(member.tier for member in controller.snapshot().members if member.state == "ready")
        for tier in get_args(Tier):
            shown.members_ready.labels(tier).set(ready[tier])
        return Response(shown.render(), headers={"content-type": CONTENT_TYPE})

    return assemble(
        [
            Route("/api/v1/nodes", list_nodes),
            Route("/api/v1/events", EventsEndpoint(controller), methods=["GET"]),
            Route("/health", is_alive),
            Route("/metrics", read_metrics),
        ],
        chance=chance or SystemChance(),
        server="controller",
        guard=guard,
    )


class EventsEndpoint:
    """`GET /api/v1/events?since=N`: events from index N on, as a JSON list or as server-sent events."""

    def __init__(self, controller: ControlPlane) -> None:
        self._controller = controller

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        request = Request(scope)
        since = first_index(request.query_params.get("since"), request.headers.get("last-event-id"))
        if "text/event-stream" in request.headers.get("accept", ""):
            stream = EventStream(send)
            try:
                await while_connected(scope, receive, self._follow(since, stream))
            finally:
                stream.close()
            return
        events = self._controller.events(since)[:MAX_EVENTS]
        await json_response({"events": [event_object(event) for event in events]})(scope, receive, send)

    async def _follow(self, index: int, stream: EventStream) -> None:
        await stream.write(b": events follow\n\n")
        while True:
            events = self._controller.events(index)[:MAX_EVENTS]
            if events:
                index = events[-1].index + 1
                await stream.write(b"".join(event_frame(event) for event in events))
                await asyncio.sleep(COALESCE_S)
            await self._wait(index, stream)

    async def _wait(self, index: int, stream: EventStream) -> None:
        """Return when event `index` exists or a heartbeat was sent."""
        try:
            async with asyncio.timeout(HEARTBEAT_S):
                await self._controller.wait_for_event(index)
        except TimeoutError:
            await stream.write(b": still here\n\n")


def first_index(since: str | None, last_event_id: str | None) -> int:
    """The index of the first event that a client wants. A resumed stream's own mark goes before its query.

    Raises:
        InvalidRequest: not a whole number from 0 up.
    """
    param, text, step = ("last-event-id", last_event_id, 1) if last_event_id else ("since", since or "0", 0)
    if not (text.isascii() and text.isdigit() and len(text) < 19):
        raise InvalidRequest(f"{param} is {text!r}", hint="give the index of an event: 0 or more", param=param)
    return int(text) + step


def event_object(event: Event) -> dict[str, Any]:
    """The event as its log line has it."""
    return {"v": SCHEMA_VERSION, "index": event.index, "at_s": round(event.at_s, 9), "kind": event.kind, "node": event.node, "data": dict(event.data)}


def event_frame(event: Event) -> bytes:
    """The event as one server-sent event: its index is the id, its kind the name."""
    return f"id: {event.index}\nevent: {event.kind}\n".encode() + b"data: " + to_json(event_object(event)) + b"\n\n"
