"""A door of the tests' own that answers from a script, and applications served on real sockets."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, AsyncIterator, Callable, Sequence
from contextlib import AbstractAsyncContextManager, asynccontextmanager

import pytest
from starlette.applications import Starlette

from netgpt.api.app import create_door_app
from netgpt.api.server import serve_http
from netgpt.core.chance import SeededChance
from netgpt.core.errors import NotSupported
from netgpt.core.scheduling import TaskGroup
from netgpt.inference.planning import Decision
from netgpt.inference.request import Answer, ChatRequest, Delta, EmbedRequest, Finish, ServedModel, Span, Vectors
from netgpt.telemetry.metrics import Metrics

Step = Answer | Exception | float  # a float: wait so many seconds
Serve = Callable[[Starlette], AbstractAsyncContextManager[str]]


def finish(text_tokens: int = 2, **changes: object) -> Finish:
    values: dict[str, object] = {
        "reason": "stop",
        "prompt_tokens": 7,
        "completion_tokens": text_tokens,
        "cached_tokens": 3,
        "strategy": "direct",
        "why": "the request names netgpt-edge",
        "origin": (Span(node="edge1", tokens=text_tokens),),
        "switches": (),
        "link_bytes": {"edge1": {"sent": 40, "received": 20}},
        "queue_s": 0.01,
        "time_to_first_token_s": 0.03,
        "duration_s": 0.05,
        "seed": 11,
    }
    return Finish(**{**values, **changes})  # type: ignore[arg-type]


class ScriptedDoor:
    """Answers every request with the same steps; knows which requests it saw and how many are open."""

    def __init__(self, steps: Sequence[Step]) -> None:
        self._steps = steps
        self.seen: list[ChatRequest] = []
        self.open = 0
        self.opened = asyncio.Event()
        self.closed = asyncio.Event()

    def models(self) -> list[ServedModel]:
        return [
            ServedModel(name="netgpt-edge", ready=True, nodes=("edge1",), context_tokens=2048, parameters=50),
            ServedModel(name="auto", ready=False, nodes=(), context_tokens=0, parameters=0),
        ]

    vocabulary = 261

    async def embed(self, request: EmbedRequest) -> Vectors:
        raise NotSupported("a script has no vectors", hint="ask a real door")

    def plan(self, request: ChatRequest) -> Decision:
        raise NotSupported("a script has no plan", hint="ask a real door")

    async def chat(self, request: ChatRequest) -> AsyncGenerator[Answer, None]:
        self.seen.append(request)
        self.open += 1
        self.opened.set()
        try:
            for step in self._steps:
                if isinstance(step, int | float):
                    await asyncio.sleep(step)
                elif isinstance(step, Exception):
                    raise step
                else:
                    yield step
        finally:
            self.open -= 1
            self.closed.set()


@asynccontextmanager
async def serve(app: Starlette) -> AsyncIterator[str]:
    """The application's URL on a free port of the loopback."""
    stop, port = asyncio.Event(), asyncio.get_running_loop().create_future()
    async with TaskGroup() as tasks:
        tasks.create_task(serve_http(app, host="127.0.0.1", port=0, ready=port.set_result, stop=stop))
        try:
            yield f"http://127.0.0.1:{await port}"
        finally:
            stop.set()


@pytest.fixture
def serving() -> Serve:
    return serve


@pytest.fixture
def scripted() -> type[ScriptedDoor]:
    return ScriptedDoor


@pytest.fixture
def answer() -> tuple[Answer, ...]:
    return (Delta(text="Grüß", origin="edge1"), Delta(text=" dich", origin="edge1"), finish())


@pytest.fixture
def make_finish() -> Callable[..., Finish]:
    return finish


@pytest.fixture
def door_app() -> Callable[..., Starlette]:
    def make(door: ScriptedDoor, *, ready: bool = True) -> Starlette:
        return create_door_app(door, node_id="device1", metrics=Metrics(), ready=lambda: ready, chance=SeededChance(1))

    return make
