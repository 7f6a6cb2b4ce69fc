"""The control API on the real controller."""

import asyncio
import json
from collections.abc import AsyncIterator
from typing import Any

import httpx
import pytest

from netgpt.api.control import create_control_app, first_index
from netgpt.controller.gate import TokenGate
from netgpt.controller.service import Controller
from netgpt.core.clock import WallClock
from netgpt.core.errors import InvalidRequest
from netgpt.core.storage import SimulatedStorage
from netgpt.telemetry.events import EventLog
from netgpt.wire.identity import JoinAuthority

SSE = {"accept": "text/event-stream"}


def make_controller() -> Controller:
    clock = WallClock()
    return Controller(EventLog(clock, SimulatedStorage()), TokenGate(JoinAuthority(b"k" * 32, clock.date_s)), clock)


async def events_of(reply: httpx.Response) -> AsyncIterator[dict[str, Any]]:
    fields: dict[str, Any] = {}
    async for line in reply.aiter_lines():
        if line.startswith(":"):
            continue
        if not line and fields:
            yield {**fields, "data": json.loads(fields["data"])}
            fields = {}
        elif line:
            name, _, value = line.partition(": ")
            fields[name] = value


def test_nodes_events_health_and_metrics(serving: Any) -> None:
    async def main() -> None:
        controller = make_controller()
        controller.record("test.fact", "edge1", size=3)
        async with serving(create_control_app(controller)) as url, httpx.AsyncClient(base_url=url) as client:
            assert (await client.get("/api/v1/nodes")).json() == {"version": controller.snapshot().version, "nodes": []}
            events = (await client.get("/api/v1/events")).json()["events"]
            assert [event["index"] for event in events] == [0, 1]
            assert events[1]["data"] == {"size": 3}
            assert (await client.get("/api/v1/events", params={"since": 1})).json()["events"] == events[1:]
            assert (await client.get("/api/v1/events", params={"since": "soon"})).json()["error"]["param"] == "since"
            assert (await client.get("/health")).json() == {"status": "ok"}
            assert 'netgpt_members_ready{tier="edge"} 0.0' in (await client.get("/metrics")).text
            assert (await client.get("/api/v2")).status_code == 404

    asyncio.run(main())


def test_a_stream_tells_the_past_then_the_present_and_resumes_where_it_broke(serving: Any) -> None:
    async def main() -> None:
        controller = make_controller()
        async with serving(create_control_app(controller)) as url, httpx.AsyncClient(base_url=url) as client:
            async with client.stream("GET", "/api/v1/events", headers=SSE) as reply:
                events = events_of(reply)
                first = await anext(events)
                assert (first["id"], first["event"]) == ("0", first["data"]["kind"])
                controller.record("test.fact", "edge1", size=1)
                assert (await anext(events))["data"]["data"] == {"size": 1}
            controller.record("test.fact", "edge1", size=2)
            async with client.stream("GET", "/api/v1/events", headers={**SSE, "last-event-id": "1"}) as reply:
                assert (await anext(events_of(reply)))["data"]["data"] == {"size": 2}

    asyncio.run(main())


def test_a_silent_stream_shows_that_it_lives(serving: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("netgpt.api.control.HEARTBEAT_S", 0.05)

    async def main() -> None:
        async with (
            serving(create_control_app(make_controller())) as url,
            httpx.AsyncClient(base_url=url) as client,
            client.stream("GET", "/api/v1/events?since=1", headers=SSE) as reply,
        ):
            lines = reply.aiter_lines()
            comments = [await anext(lines) for _ in range(6)]
            assert comments[::2] == [": events follow", ": still here", ": still here"]

    asyncio.run(main())


def test_a_resumed_streams_mark_goes_before_its_query() -> None:
    assert first_index(None, None) == 0
    assert first_index("7", None) == 7
    assert first_index("7", "9") == 10
    for since in ("-1", "1.5", "²", "9" * 30, ""):
        if since:
            with pytest.raises(InvalidRequest):
                first_index(since, None)
