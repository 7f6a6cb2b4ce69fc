"""Links between nodes a, b and c, and what drives them, for tests of the link shaper."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from contextlib import asynccontextmanager
from typing import Literal, TypeVar

import uvloop

from netgpt.core.clock import WallClock
from netgpt.wire.shaper_link import ShapedLink, Wire, Wires
from netgpt.wire.shaper_network import LinkNetwork
from netgpt.wire.shaper_pump import Pump
from netgpt.wire.shaper_stream import StreamShaper, Way

T = TypeVar("T")
NODES = "abcdefgh"


def chain(*wires: Wires) -> list[Wire]:
    """Links a-b, b-c, ... like these."""
    return [Wire((NODES[number], NODES[number + 1]), each, seed=7 + number) for number, each in enumerate(wires)]


def network_of(links: Sequence[ShapedLink], full: Literal["drop", "hold"] = "hold") -> LinkNetwork:
    return LinkNetwork(links, full=full)


def run(work: Awaitable[T]) -> T:
    """Run on the loop that processes run on."""

    async def within() -> T:
        async with asyncio.timeout(120):
            return await work

    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        return runner.run(within())


class Stalls:
    """How long this process had no processor, or too much to do: what a measured time may exceed the links' own by."""

    TICK_S, USUAL_S = 0.001, 0.003

    def __init__(self) -> None:
        self.total_s = 0.0

    async def __aenter__(self) -> Stalls:
        self._task = asyncio.ensure_future(self._watch())
        return self

    async def __aexit__(self, *_: object) -> None:
        self._task.cancel()

    async def _watch(self) -> None:
        while True:
            begin_s = time.monotonic()
            await asyncio.sleep(self.TICK_S)
            self.total_s += max(0.0, time.monotonic() - begin_s - self.USUAL_S)


Serve = Callable[[asyncio.StreamReader, asyncio.StreamWriter], Awaitable[None]]


class Site:
    """A stream shaper, a server at the last node, and the port at which the first finds it."""

    def __init__(self, shaper: StreamShaper, port: int, way: Way) -> None:
        self.shaper, self.port, self.way = shaper, port, way

    async def connect(self) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
        return await asyncio.open_connection("127.0.0.1", self.port)


@asynccontextmanager
async def stream_site(serve: Serve, links: Sequence[ShapedLink]) -> AsyncIterator[Site]:
    """What still runs at the server when this is left is cancelled with the loop."""
    server = await asyncio.start_server(serve, "127.0.0.1", 0)
    pump = Pump(network_of(links), WallClock())
    shaper = StreamShaper(pump)
    way = Way(source="a", target=NODES[len(links)], address=server.sockets[0].getsockname())
    try:
        yield Site(shaper, shaper.listen(way), way)
    finally:
        shaper.close()
        pump.close()
        server.close()
        await asyncio.sleep(0.02)  # for the ends of connections to be seen
