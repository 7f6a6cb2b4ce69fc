"""The same requests in a simulated and in an emulated network: what `netgpt bench worlds` compares, and what it measures processes by.

Both have `hash` models and declared timing; the emulated one is `netgpt up --links stream`. Times are those that doors tell.
"""

from __future__ import annotations

import asyncio
import json
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import uvloop

from netgpt.bench.gateways import run_netgpt
from netgpt.bench.http_load import Answer, Target, ask_at
from netgpt.core.chance import SeededChance
from netgpt.core.clock import WallClock, run_virtual
from netgpt.core.ids import new_id
from netgpt.core.scheduling import TaskGroup
from netgpt.core.storage import SimulatedStorage
from netgpt.inference.request import ChatRequest, Finish
from netgpt.network.scenario import Scenario
from netgpt.world.runstate import RunState, running_state
from netgpt.world.simulated import SimulatedWorld

SETTLE_S = 2.0  # before the first request: nodes join, connections come about


@dataclass(frozen=True, kw_only=True)
class Ask:
    """One request; its seed tells it from others."""

    at_s: float
    node: str
    seed: int
    content: str
    max_tokens: int


@dataclass(frozen=True, kw_only=True)
class Seen:
    """How one request went."""

    first_s: float  # from arrival at the door to the first token
    token_s: float | None  # mean time between tokens; None of a single token
    payload: Mapping[str, Mapping[str, int]]  # bytes by peer
    overruns: int = 0
    tokens: int = 0


def simulated(scenario: Scenario, model: str, asks: Sequence[Ask], *, seed: int = 1) -> dict[int, Seen]:
    """How each request went under the virtual clock, by its seed."""

    async def main() -> dict[int, Seen]:
        world = SimulatedWorld(scenario, seed, SimulatedStorage())
        await world.start()
        found: dict[int, Seen] = {}

        async def request(ask: Ask) -> None:
            await world.clock.sleep(max(0.0, ask.at_s - world.clock.now_s()))
            wanted = ChatRequest(
                request_id=new_id("chatcmpl", SeededChance(seed).stream(f"worlds id {ask.seed}")),
                model=model,
                messages=(("user", ask.content),),
                max_tokens=ask.max_tokens,
                temperature=0.0,
                seed=ask.seed,
            )
            async for answer in world.door(ask.node).chat(wanted):
                if isinstance(answer, Finish):
                    found[ask.seed] = _of_finish(answer)

        async with TaskGroup() as tasks:
            for ask in asks:
                tasks.create_task(request(ask), name=f"ask-{ask.seed}")
        await world.close()
        return found

    return run_virtual(main())


def _of_finish(finish: Finish) -> Seen:
    gaps = finish.completion_tokens - 1
    token_s = (finish.duration_s - finish.time_to_first_token_s) / gaps if gaps > 0 else None
    return Seen(
        first_s=finish.time_to_first_token_s,
        token_s=token_s,
        payload={peer: dict(count) for peer, count in finish.link_bytes.items()},
        tokens=finish.completion_tokens,
    )


@contextmanager
def emulated_network(text: str) -> Iterator[RunState]:
    """The scenario of that text as processes, until the context ends.

    Raises:
        NetgptError: the network does not start.
    """
    with tempfile.TemporaryDirectory() as scratch:
        home, scenario = Path(scratch) / "home", Path(scratch) / "worlds.toml"
        scenario.write_text(text, encoding="utf-8")
        try:
            words = ("--engine", "hash", "--timing", "declared", "--links", "stream", "--port", "0")
            run_netgpt(home, "up", str(scenario), "--detach", *words)
            yield running_state(home)
        finally:
            run_netgpt(home, "down")


def emulated(state: RunState, model: str, asks: Sequence[Ask]) -> dict[int, Seen]:
    """How each request went over real processes and shaped links, by its seed."""
    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        answers = runner.run(_ask_doors(state.doors(), model, asks))
    told = [json.loads(b"".join(piece for _, piece in answer.pieces)) for answer in answers if answer.status == 200]
    return {reply["netgpt"]["seed"]: _of_reply(reply) for reply in told}


async def _ask_doors(doors: Mapping[str, str], model: str, asks: Sequence[Ask]) -> list[Answer]:
    """Every device's door, each request at its time; those that connect the nodes come before and do not count."""
    await asyncio.gather(*(_warm(Target(url=url, model=model)) for url in doors.values()))
    await WallClock().sleep(SETTLE_S)
    timed: dict[str, list[tuple[float, bytes]]] = {}
    for ask in asks:
        target = Target(url=doors[ask.node], model=model)
        request = target.request(ask.content, max_tokens=ask.max_tokens, temperature=0, seed=ask.seed)
        timed.setdefault(ask.node, []).append((ask.at_s, request))
    answers = await asyncio.gather(*(ask_at(Target(url=doors[node], model=model), each) for node, each in timed.items()))
    return [answer for each in answers for answer in each]


async def _warm(target: Target) -> None:
    await ask_at(target, [(0.0, target.request("hello", max_tokens=2))])


def _of_reply(reply: Mapping[str, Any]) -> Seen:
    metrics, account = reply["metrics"], reply["netgpt"]
    gap_ms = metrics["mean_itl_ms"]
    return Seen(
        first_s=(metrics["time_to_first_token_ms"] + metrics["queue_time_ms"]) / 1e3,
        token_s=None if gap_ms is None else gap_ms / 1e3,
        payload=account["link_bytes"],
        overruns=account["timing"]["overruns"],
        tokens=reply["usage"]["completion_tokens"],
    )
