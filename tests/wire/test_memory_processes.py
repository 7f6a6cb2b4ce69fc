"""Processes that take time: what a message occupies on its way, and who waits for whom."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator
from contextlib import aclosing
from dataclasses import replace
from itertools import pairwise

import pytest

from netgpt.core.clock import VirtualClock, run_virtual
from netgpt.core.errors import NodeUnreachable
from netgpt.core.transport import Call
from netgpt.network.link import Link, Ways
from netgpt.network.scenario import ProcessesSpec
from netgpt.network.service import ConstantRate
from netgpt.network.wired import OneWay
from netgpt.wire.memory_processes import Processes
from netgpt.wire.memory_transport import MemoryNetwork

DELAY_S = 0.01
REQUEST_S, CALL_S, REPLY_S, KILOBYTE_S, SHAPER_S = 0.004, 0.002, 0.001, 0.0005, 0.0003
SPEC = ProcessesSpec(request_s=REQUEST_S, call_s=CALL_S, reply_s=REPLY_S, kilobyte_s=KILOBYTE_S, shaper_s=SHAPER_S)


class Lab:
    """A phone and a site with a fast link of 10 ms between; engines answer with so many replies of 1,000 bytes."""

    def __init__(self, spec: ProcessesSpec | None, replies: int = 1) -> None:
        way = OneWay(service=ConstantRate(1e15), delay_s=DELAY_S)
        processes = Processes(spec, beside=("controller",)) if spec else None
        links = [Link(("phone", "site"), up=way, down=way), Link(("controller", "site"), up=way, down=way)]
        self.network = MemoryNetwork(VirtualClock(), Ways(links), processes=processes)
        self.replies = replies

    async def handle(self, call: Call) -> AsyncGenerator[bytes, None]:
        for _ in range(self.replies):
            yield b"r" * 1000

    async def times_s(self, address: str, method: str = "generate", *, caller: str = "phone", payload: bytes = b"p" * 2000) -> list[float]:
        """When each reply came, from now."""
        loop = asyncio.get_running_loop()
        begin_s = loop.time()
        async with aclosing(self.network.transport(caller).connect(address).call(method, payload, deadline_s=9)) as replies:
            return [loop.time() - begin_s async for _ in replies]

    async def listen(self, *addresses: str) -> None:
        for address in addresses:
            await self.network.transport(address.partition(":")[0]).listen(address, self.handle)


def times_s(spec: ProcessesSpec | None, address: str, method: str = "generate", *, replies: int = 1) -> list[float]:
    async def main() -> list[float]:
        lab = Lab(spec, replies)
        await lab.listen(address)
        return await lab.times_s(address, method)

    return run_virtual(main())


def test_processes_that_are_not_described_take_no_time():
    assert times_s(None, "phone:engine") == pytest.approx([0], abs=1e-9)
    assert times_s(ProcessesSpec(), "site:engine") == pytest.approx([2 * DELAY_S])


def test_a_request_to_a_nodes_own_engine_occupies_door_and_engine():
    ends_s = REQUEST_S + 2 * (CALL_S + 2 * KILOBYTE_S) + 2 * (REPLY_S + KILOBYTE_S)
    assert times_s(SPEC, "phone:engine") == pytest.approx([ends_s])
    assert times_s(SPEC, "phone:engine", "stats") == pytest.approx([ends_s - REQUEST_S]), "only what a user asks is admitted and rendered"


def test_the_link_shaper_takes_its_time_at_each_end_of_a_link_and_the_controller_is_beside_it():
    ends_s = 2 * (CALL_S + 2 * KILOBYTE_S) + 2 * (REPLY_S + KILOBYTE_S)
    pieces = 2  # of 2,000 bytes: segments of 1,448
    assert times_s(SPEC, "site:engine", "verify") == pytest.approx([ends_s + 2 * DELAY_S + (pieces + 1) * SHAPER_S + 2 * SHAPER_S], rel=0.02)
    assert times_s(SPEC, "controller", "heartbeat") == pytest.approx([ends_s + 4 * DELAY_S])


def test_replies_come_in_order_and_no_faster_than_their_ends_can():
    found = times_s(replace(SPEC, shaper_s=0.0), "site:engine", replies=20)
    gaps_s = [b - a for a, b in pairwise(found)]
    assert gaps_s == pytest.approx([REPLY_S + KILOBYTE_S] * 19)


def test_a_process_does_one_thing_at_a_time_and_processors_are_shared():
    async def main(cores: int, callers: int) -> float:
        lab = Lab(ProcessesSpec(call_s=CALL_S, cores=cores))
        nodes = [f"n{number}" for number in range(callers)]
        await lab.listen(*(f"{node}:engine" for node in nodes))
        loop = asyncio.get_running_loop()
        begin_s = loop.time()
        await asyncio.gather(*(lab.times_s(f"{node}:engine", caller=node) for node in nodes))
        return loop.time() - begin_s

    assert run_virtual(main(0, 6)) == pytest.approx(2 * CALL_S), "each process has its own processor"
    assert run_virtual(main(2, 6)) == pytest.approx(6 * 2 * CALL_S / 2), "two do the work of twelve ends"
    assert run_virtual(main(1, 6)) == pytest.approx(6 * 2 * CALL_S)

    async def one_door() -> list[float]:
        lab = Lab(ProcessesSpec(call_s=CALL_S))
        await lab.listen("phone:engine")
        return [times[0] for times in await asyncio.gather(*(lab.times_s("phone:engine") for _ in range(3)))]

    assert run_virtual(one_door()) == pytest.approx([3 * CALL_S, 4 * CALL_S, 4 * CALL_S]), "replies wait behind calls that came before"


def test_what_processes_still_have_to_do_for_a_call_that_is_broken_off_never_arrives():
    async def main() -> None:
        lab = Lab(ProcessesSpec(reply_s=0.1), replies=5)
        await lab.listen("site:engine")
        asking = asyncio.ensure_future(lab.times_s("site:engine"))
        await asyncio.sleep(0.15)  # the first reply is being taken in
        lab.network.kill("site")
        with pytest.raises(NodeUnreachable, match="does not answer"):
            await asking
        assert lab.network.in_flight == 0

    run_virtual(main())
