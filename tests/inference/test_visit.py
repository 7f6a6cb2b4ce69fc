"""What is written down of a request: after its answer, and however it ends."""

import asyncio
import contextlib
from typing import Any

import pytest

from netgpt.core.clock import VirtualClock, run_virtual
from netgpt.core.errors import NetgptError, NodeUnreachable, Overloaded
from netgpt.inference.request import ChatRequest, Finish
from netgpt.inference.visit import WRITTEN_AFTER_S, Visit, Visits
from netgpt.network.member import Member
from netgpt.telemetry.metrics import Metrics

REQUEST = ChatRequest(request_id="chatcmpl-1", model="auto", messages=(("user", "Hello"),), key="key_1")
FINISH = Finish(
    reason="length", prompt_tokens=7, completion_tokens=2, cached_tokens=0, strategy="auto", why="it is there", origin=(), switches=(), duration_s=2.0
)
ENTRY = Member(id="edge1", tier="edge", engine_address="-", door_url="-")


class Book:
    def __init__(self) -> None:
        self.events: list[tuple[str, Any]] = []
        self.metrics = Metrics()
        self.visits = Visits(lambda: ENTRY, VirtualClock(), self.metrics, lambda kind, node, **data: self.events.append((kind, data)))

    def counted(self, outcome: str) -> bool:
        return f'netgpt_requests_total{{finish_reason="{outcome}",model="auto"}} 1.0' in self.metrics.render().decode()


def test_an_answer_is_written_down_a_moment_after_it() -> None:
    async def main() -> None:
        book = Book()
        with Visit(book.visits, REQUEST) as visit:
            assert book.visits.open == 1
            visit.answered(REQUEST, FINISH)
        assert (book.events, book.visits.open) == ([], 0)
        await asyncio.sleep(WRITTEN_AFTER_S)
        ((kind, data),) = book.events
        assert (kind, data["request"], data["key"], data["completion_tokens"]) == ("request.finished", "chatcmpl-1", "key_1", 2)
        assert book.counted("length")

    run_virtual(main())


def test_requests_of_one_moment_are_written_down_together() -> None:
    async def main() -> None:
        book = Book()
        for _ in range(3):
            with Visit(book.visits, REQUEST) as visit:
                visit.answered(REQUEST, FINISH)
            await asyncio.sleep(WRITTEN_AFTER_S / 4)
        assert book.events == []
        await asyncio.sleep(WRITTEN_AFTER_S / 4)
        assert [kind for kind, _ in book.events] == ["request.finished"] * 3

    run_virtual(main())


def test_a_plan_is_written_down_once_the_answer_has_begun_or_will_not() -> None:
    async def kinds(error: NetgptError | None, *, begun: bool) -> list[str]:
        book = Book()
        with contextlib.suppress(NetgptError), Visit(book.visits, REQUEST) as visit:
            visit.planned(lambda: {"why": "it is there"})
            await asyncio.sleep(WRITTEN_AFTER_S)
            assert book.events == []
            if begun:
                visit.begun()
                await asyncio.sleep(WRITTEN_AFTER_S)
                assert [kind for kind, _ in book.events] == ["request.planned"]
            if error is not None:
                raise error
            visit.answered(REQUEST, FINISH)
        await asyncio.sleep(WRITTEN_AFTER_S)
        return [kind for kind, _ in book.events]

    async def main() -> None:
        for begun in (True, False):
            assert await kinds(None, begun=begun) == ["request.planned", "request.finished"]
            assert await kinds(NodeUnreachable("edge1 is lost"), begun=begun) == ["request.planned", "request.failed"]
        assert await kinds(Overloaded("full"), begun=False) == []  # a flood does not fill the disk

    run_virtual(main())


@pytest.mark.parametrize(
    ("error", "outcome", "events"),
    [
        (asyncio.CancelledError(), "cancelled", []),
        (GeneratorExit(), "cancelled", []),
        (NodeUnreachable("edge1 is lost"), "node_unreachable", ["request.failed"]),
        (Overloaded("full"), Overloaded.code, []),
    ],
)
def test_a_request_that_is_not_answered_is_counted_too(error: BaseException, outcome: str, events: list[str]) -> None:
    async def main() -> None:
        book = Book()
        with pytest.raises((NetgptError, asyncio.CancelledError, GeneratorExit)), Visit(book.visits, REQUEST):
            raise error
        await asyncio.sleep(WRITTEN_AFTER_S)
        assert [kind for kind, _ in book.events] == events
        assert book.counted(outcome)
        assert book.visits.open == 0

    run_virtual(main())
