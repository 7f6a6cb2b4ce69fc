"""What a door leaves to the garbage collector: nothing. One look at a thousand open streams' objects would hold all of them up."""

import asyncio
import gc
import json
import socket
from collections import Counter
from typing import Any
from urllib.parse import urlsplit

import pytest
import uvloop

from netgpt.api.app import create_door_app
from netgpt.bench.gateways import mock_upstream
from netgpt.bench.http_load import Target
from netgpt.core.chance import SeededChance
from netgpt.core.clock import WallClock
from netgpt.engine.openai_engine import OpenAIEngine
from netgpt.engine.openai_request import Upstream
from netgpt.inference.door import Door
from netgpt.models.tokenizer import ByteTokenizer
from netgpt.network.member import Member
from netgpt.node.handle import NodeHandle
from netgpt.node.service import EngineService
from netgpt.telemetry.metrics import Metrics
from netgpt.wire.grpc_transport import GrpcTransport
from netgpt.wire.messages import PROTOCOL_VERSION
from netgpt.wire.near_transport import NearTransport

REQUESTS = 100
AT_ONCE = 10
CLOCK = WallClock()


def talk(url: str, request: bytes, ends: bytes) -> None:
    """Ask on a connection of its own, and leave once the reply has `ends`."""
    parts = urlsplit(url)
    with socket.create_connection((parts.hostname, parts.port), timeout=20) as line:
        line.sendall(request)
        heard = b""
        while ends not in heard:
            if not (data := line.recv(1 << 16)):
                raise AssertionError(heard)
            heard += data


async def ask_many(url: str, requests: list[tuple[bytes, bytes]]) -> None:
    for begin in range(0, len(requests), AT_ONCE):
        await asyncio.gather(*(asyncio.to_thread(talk, url, request, ends) for request, ends in requests[begin : begin + AT_ONCE]))


KINDS: dict[str, tuple[dict[str, Any], dict[str, Any], bytes]] = {  # fields of the request, pace of the upstream, last words that are waited for
    "streamed": ({"stream": True}, {"tokens": 5, "gap_s": 0.002}, b"[DONE]"),
    "whole": ({}, {"tokens": 5}, b'"usage"'),
    "left": ({"stream": True}, {"tokens": 50, "gap_s": 0.05}, b"word"),
    "refused": ({"temperature": 9}, {}, b"temperature is 9"),
}


@pytest.mark.parametrize("kind", KINDS)
def test_an_ended_request_is_freed_without_the_garbage_collector(kind: str, serving: Any) -> None:
    fields, pace, ends = KINDS[kind]

    async def main(upstream: str) -> None:
        engine = OpenAIEngine(Upstream(url=f"{upstream}/v1", model="mock"), CLOCK, tier="cloud", slots=64)
        await engine.look()
        transport = NearTransport(GrpcTransport())
        listener = await transport.listen("127.0.0.1:0", EngineService("cloud1", engine, lambda _: None).handle)
        connection = transport.connect(listener.address)
        node = Member(
            id="cloud1",
            tier="cloud",
            engine_address=listener.address,
            door_url="-",
            model="mock",
            tokenizer=engine.card.tokenizer,
            state="ready",
            slots=64,
            context_tokens=4096,
            text=True,
            protocol_version=PROTOCOL_VERSION,
        )
        metrics, tokenizer = Metrics(), ByteTokenizer()
        door = Door(
            entry=lambda: node,
            members=lambda: [node],
            handle=lambda member: NodeHandle(member, connection, tokenizer, CLOCK, is_entry=True),
            tokenizer=tokenizer,
            clock=CLOCK,
            chance=SeededChance(1),
            metrics=metrics,
            record=lambda *_, **__: None,
        )
        app = create_door_app(door, node_id="cloud1", metrics=metrics, ready=lambda: True, chance=SeededChance(1))
        async with serving(app) as url:
            request = Target(url=url, model="auto").request(json.dumps(pace), max_tokens=50, **fields)
            await ask_many(url, [(request, ends)] * AT_ONCE)
            await idle(door)
            found = await garbage(door, ask_many(url, [(request, ends)] * REQUESTS))
        await listener.close()
        await connection.close()
        await engine.close()
        assert sum(found.values()) < REQUESTS / 10, found

    with mock_upstream() as upstream, asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        runner.run(main(upstream))


async def idle(door: Door) -> None:
    async with asyncio.timeout(5):
        while door.open_requests:
            await asyncio.sleep(0.01)
    await asyncio.sleep(0.05)  # for connections to hear that their clients have gone


async def garbage(door: Door, work: Any) -> Counter[str]:
    """What some work leaves that only a garbage collector can free, by type."""
    gc.collect()
    gc.disable()
    try:
        await work
        await idle(door)
        gc.set_debug(gc.DEBUG_SAVEALL)
        gc.collect()
        return Counter(f"{type(one).__module__}.{type(one).__qualname__}" for one in gc.garbage)
    finally:
        gc.set_debug(0)
        gc.garbage.clear()
        gc.enable()
