"""Waiting at a door under the virtual clock: turns, deadlines, and clients that leave."""

import asyncio

import pytest

from netgpt.core.clock import VirtualClock, run_virtual
from netgpt.core.errors import DeadlineExceeded, NetgptError, Overloaded, RateLimited
from netgpt.inference.admission import Admission, Lane
from netgpt.inference.entrance import RECHECK_S, Entrance
from netgpt.telemetry.metrics import Metrics

LANE = Lane(model="edge", privacy="cloud-allowed")
SERVICE_S = 1.0


class Door:
    """Requests that each take a second at one node with some slots."""

    def __init__(self, *, slots: int, queue: int = 100, queue_per_key: int = 100) -> None:
        self.slots = slots
        self.metrics = Metrics()
        self.admission = Admission(queue=queue, queue_per_key=queue_per_key)
        self.entrance = Entrance(self.admission, self._place, VirtualClock(), self.metrics)
        self.began: list[tuple[str, float]] = []

    def _place(self, lane: Lane) -> str | None:
        return "edge1" if self.admission.running.get("edge1", 0) < self.slots else None

    async def request(self, key: str, deadline_s: float = 1e6) -> str:
        try:
            with self.entrance.place(key, LANE) as ticket:
                await self.entrance.turn(ticket, deadline_s=deadline_s)
                self.began.append((key, round(VirtualClock().now_s(), 6)))
                await asyncio.sleep(SERVICE_S)
        except NetgptError as error:
            return error.code
        return "done"


def test_keys_take_turns_and_everything_ends() -> None:
    async def main() -> None:
        door = Door(slots=1)
        keys = ["flood"] * 8 + ["polite"] * 2
        assert await asyncio.gather(*map(door.request, keys)) == ["done"] * 10
        assert [at_s for key, at_s in door.began if key == "polite"] == [2.0, 4.0]
        assert door.admission.waiting == door.admission.running["edge1"] == 0
        text = door.metrics.render().decode()
        assert "netgpt_requests_waiting 0.0" in text
        assert "netgpt_requests_running 0.0" in text

    run_virtual(main())


def test_a_deadline_ends_the_wait_and_nothing_was_begun() -> None:
    async def main() -> None:
        door = Door(slots=1)
        results = await asyncio.gather(door.request("a"), door.request("b", deadline_s=0.5), door.request("c"))
        assert results == ["done", DeadlineExceeded.code, "done"]
        assert door.began == [("a", 0.0), ("c", 1.0)]
        assert VirtualClock().now_s() == pytest.approx(2.0)

    run_virtual(main())


def test_a_client_that_leaves_is_out_of_the_queue_at_once() -> None:
    async def main() -> None:
        door = Door(slots=1)
        tasks = [asyncio.ensure_future(door.request(key)) for key in ("a", "b", "c")]
        await asyncio.sleep(0.1)
        assert door.admission.waiting == 2
        tasks[1].cancel()
        await asyncio.sleep(0)
        assert door.admission.waiting == 1
        tasks[0].cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        assert door.began == [("a", 0.0), ("c", 0.1)], "and a slot goes to the next one at once"

    run_virtual(main())


def test_a_full_queue_turns_away_and_makes_room_for_another_key() -> None:
    async def main() -> None:
        door = Door(slots=1, queue=4, queue_per_key=4)
        results = await asyncio.gather(*map(door.request, ["flood"] * 6 + ["polite"]))
        assert results == ["done"] * 4 + [RateLimited.code, RateLimited.code, "done"], "the flood's newest made room"
        assert door.began[2][0] == "polite"

    run_virtual(main())


def test_requests_without_a_key_share_the_whole_queue() -> None:
    async def main() -> None:
        door = Door(slots=1, queue=4, queue_per_key=2)
        assert sorted(await asyncio.gather(*map(door.request, [""] * 6))) == ["done"] * 5 + [Overloaded.code]

    run_virtual(main())


def test_a_node_that_comes_up_is_noticed_without_a_request_that_ends() -> None:
    async def main() -> None:
        door = Door(slots=0)
        waiting = asyncio.ensure_future(door.request("a"))
        await asyncio.sleep(1.05)
        door.slots = 1
        assert await waiting == "done"
        assert door.began[0][1] == pytest.approx(1.05, abs=RECHECK_S)

    run_virtual(main())
