"""A whole door over `hash` engines of three tiers in this process; only the wire between them is a function call."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import AsyncGenerator, Iterator, Mapping
from contextlib import contextmanager
from typing import get_args

from starlette.applications import Starlette

from netgpt.api.app import create_door_app
from netgpt.api.server import serve_http
from netgpt.core.chance import SeededChance
from netgpt.core.clock import Clock
from netgpt.core.transport import Call
from netgpt.engine.contract import Engine
from netgpt.engine.hash_engine import HashEngine
from netgpt.inference.door import Door, DoorLimits
from netgpt.models.card import ModelCard, weightless_card
from netgpt.models.tokenizer import ByteTokenizer
from netgpt.network.member import Member, Tier
from netgpt.node.handle import NodeHandle
from netgpt.node.service import EngineService
from netgpt.telemetry.metrics import Metrics
from netgpt.wire.messages import PROTOCOL_VERSION

CONTEXT_TOKENS = 2048
TIERS: tuple[Tier, ...] = get_args(Tier)


class DirectConnection:
    """A connection to a handler in the same process."""

    near = False

    def __init__(self, service: EngineService) -> None:
        self._service = service

    def call(self, method: str, payload: bytes, *, deadline_s: float, qos: str = "standard") -> AsyncGenerator[bytes, None]:
        return self._service.handle(Call(method=method, payload=payload))

    async def close(self) -> None: ...


def card(tier: Tier) -> ModelCard:
    return weightless_card(f"hash-{tier}", tier=tier, parameters=1 + TIERS.index(tier), context_tokens=CONTEXT_TOKENS, tokenizer=ByteTokenizer())


def member(tier: Tier, name: str = "") -> Member:
    """A node of that tier that is up: `device1`, `edge1` or `cloud1`, if it has no other name."""
    return Member(
        id=name or f"{tier}1",
        tier=tier,
        engine_address="-",
        door_url="-",
        model=f"hash-{tier}",
        tokenizer=ByteTokenizer.hash,
        parameters=1 + TIERS.index(tier),
        state="ready",
        slots=16,
        context_tokens=CONTEXT_TOKENS,
        protocol_version=PROTOCOL_VERSION,
    )


def hash_engines(clock: Clock) -> dict[str, Engine]:
    """One engine a tier, by the node's name."""
    return {f"{tier}1": HashEngine(card(tier), clock, agreement=0.8) for tier in TIERS}


def make_door(clock: Clock, metrics: Metrics, engines: Mapping[str, Engine], members: list[Member], limits: DoorLimits | None = None) -> Door:
    """The door of the first member."""
    connections = {name: DirectConnection(EngineService(name, engine, lambda call: "device1")) for name, engine in engines.items()}
    return Door(
        entry=lambda: members[0],
        members=lambda: members,
        handle=lambda one: NodeHandle(one, connections[one.id], ByteTokenizer(), clock, is_entry=one is members[0]),
        tokenizer=ByteTokenizer(),
        clock=clock,
        chance=SeededChance(1),
        metrics=metrics,
        record=lambda *_, **__: None,
        limits=limits,
    )


def hash_app(clock: Clock) -> Starlette:
    """The application of `device1`, beside `edge1` and `cloud1`."""
    metrics = Metrics()
    door = make_door(clock, metrics, hash_engines(clock), [member(tier) for tier in TIERS])
    return create_door_app(door, node_id="device1", metrics=metrics, ready=lambda: True, chance=SeededChance(1), clock=clock)


@contextmanager
def served_in_a_thread(app: Starlette) -> Iterator[str]:
    """The application's URL; for clients that block the thread they are called from."""
    started, ports = threading.Event(), []

    def ready(port: int) -> None:
        ports.append(port)
        started.set()

    loop, stop = asyncio.new_event_loop(), asyncio.Event()
    thread = threading.Thread(target=loop.run_until_complete, args=(serve_http(app, host="127.0.0.1", port=0, ready=ready, stop=stop),))
    thread.start()
    try:
        assert started.wait(60)
        yield f"http://127.0.0.1:{ports[0]}"
    finally:
        loop.call_soon_threadsafe(stop.set)
        thread.join(60)
        loop.close()
