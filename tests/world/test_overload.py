"""A network under three times its capacity, in the simulated world: as much work is done, and a polite key hardly notices.

What the factor of `inference.room` costs and brings, by this scenario at three times its capacity (tokens in 60 s; the polite key's
p95): 1.0: 3386, 6.4 s; 1.125: 3386, 6.5 s; 1.25: 3427, 7.6 s; 1.5: 3451, 9.0 s; 2.0: 3451, 10.0 s. Alone it has 5.5 s.
"""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from contextlib import aclosing
from dataclasses import replace

import numpy as np
import pytest

from netgpt.core.clock import run_virtual
from netgpt.core.errors import DeadlineExceeded
from netgpt.core.storage import SimulatedStorage
from netgpt.inference.request import ChatRequest
from netgpt.network.scenario import Scenario, UserSpec
from netgpt.network.scenario_file import parse_scenario
from netgpt.world.report import Outcome
from netgpt.world.simulated import EVENTS, SimulatedWorld, simulate

DEVICE = """
[[node]]
id = "{0}"
tier = "device"
model = "netgpt-device"
profile = "phone"
parameters = 1e9
[[link]]
between = ["{0}", "edge1"]
up = "67Mbps"
down = "127Mbps"
delay = "8ms"
"""
SITE = """
[[node]]
id = "edge1"
tier = "edge"
model = "netgpt-edge"
profile = "edge-server"
parameters = 8e9
slots = 8
"""
NETWORK = parse_scenario(SITE + DEVICE.format("device1") + DEVICE.format("device2"), where="overload")
CAPACITY_PER_S = 2.35  # 8 slots, 3.4 s a request
POLITE = UserSpec(at="device1", model="netgpt-edge", key="polite", requests_per_s=0.5)
DURATION_S = 60.0


def flood(times_capacity: float, at: str = "device1") -> UserSpec:
    return UserSpec(at=at, model="netgpt-edge", key="flood", requests_per_s=times_capacity * CAPACITY_PER_S)


def run(*users: UserSpec, duration_s: float = DURATION_S) -> list[Outcome]:
    async def main() -> list[Outcome]:
        world = SimulatedWorld(NETWORK, 1, SimulatedStorage())
        await world.start()
        for number, user in enumerate(users):
            world.background.spawn(world.use(user, f"user.{number}"), name=f"user-{number}")
        await world.clock.sleep(duration_s)
        await world.close()
        return world.outcomes

    return run_virtual(main())


def done(outcomes: Sequence[Outcome], key: str = "") -> list[Outcome]:
    return [outcome for outcome in outcomes if outcome.result in ("stop", "length") and outcome.key.startswith(key)]


def p95_s(outcomes: Sequence[Outcome]) -> float:
    return float(np.percentile([outcome.duration_s for outcome in done(outcomes, "polite")], 95))


@pytest.fixture(scope="module")
def unloaded() -> list[Outcome]:
    return run(POLITE)


def test_three_times_the_capacity_neither_lowers_goodput_nor_delays_a_polite_key(unloaded: list[Outcome]) -> None:
    full, overloaded = run(flood(1.2)), run(POLITE, flood(3.0))
    goodput, peak = (sum(outcome.tokens for outcome in done(outcomes)) for outcomes in (overloaded, full))
    assert goodput >= 0.9 * peak
    assert p95_s(overloaded) <= 2 * p95_s(unloaded)
    assert {outcome.result for outcome in overloaded if outcome.key == "polite"} <= {"stop", "length", "unfinished"}, "and none was refused"
    assert sum(outcome.result == "rate_limit_exceeded" for outcome in overloaded) > 50, "the flood was, early"
    assert all(outcome.right for outcome in overloaded if outcome.checked)


def test_a_flood_at_another_door_does_not_delay_a_polite_key_either(unloaded: list[Outcome]) -> None:
    assert p95_s(run(POLITE, flood(3.0, at="device2"))) <= 2 * p95_s(unloaded)


def test_an_overloaded_run_replays_from_its_seed() -> None:
    scenario: Scenario = replace(NETWORK, users=(POLITE, flood(3.0)))
    logs = []
    for _ in range(2):
        storage = SimulatedStorage()
        simulate(scenario, seed=5, duration_s=12.0, output=storage)
        logs.append(storage.read(EVENTS))
    assert logs[0] == logs[1]
    assert b'"key":"polite"' in logs[0]


def test_a_deadline_that_passes_in_the_queue_costs_no_engine_anything() -> None:
    def request(name: str, max_tokens: int = 1000, deadline_s: float | None = None) -> ChatRequest:
        return ChatRequest(
            request_id=name, model="netgpt-edge", messages=(("user", name),), max_tokens=max_tokens, temperature=0.5, deadline_s=deadline_s
        )

    async def main() -> None:
        world = SimulatedWorld(NETWORK, 1, SimulatedStorage())
        await world.start()
        door, edge = world.door("device1"), world.engines()[0]

        async def ask(one: ChatRequest) -> None:
            async with aclosing(door.chat(one)) as answers:
                async for _ in answers:
                    pass

        others = [asyncio.ensure_future(ask(request(f"long-{number}"))) for number in range(12)]
        await world.clock.sleep(0.1)
        with pytest.raises(DeadlineExceeded, match="in the queue"):
            await ask(request("late", max_tokens=5, deadline_s=0.5))  # short enough to be let in: nobody knows how long the others are
        assert "late" not in edge.load().sessions
        assert world.clock.now_s() == pytest.approx(0.6, abs=0.1)
        for other in others:
            other.cancel()
        await asyncio.gather(*others, return_exceptions=True)
        await world.clock.sleep(1.0)
        assert (door.open_requests, edge.load().running, edge.load().waiting) == (0, 0, 0)
        await world.close()

    run_virtual(main())
