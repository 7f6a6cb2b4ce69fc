"""A story told in a simulated world, which tests of several rooms start and close alike."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import TypeVar

from netgpt.core.clock import run_virtual
from netgpt.core.storage import SimulatedStorage
from netgpt.network.scenario import Scenario
from netgpt.world.simulated import SimulatedWorld

T = TypeVar("T")


def in_world(scenario: Scenario, act: Callable[[SimulatedWorld], Awaitable[T]], home: str = "") -> T:
    """What `act` returns, run under the virtual clock in a world that has started."""

    async def main() -> T:
        world = SimulatedWorld(scenario, 1, SimulatedStorage(), home=home)
        await world.start()
        try:
            return await act(world)
        finally:
            await world.close()

    return run_virtual(main())
