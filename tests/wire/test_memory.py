"""What only the simulated world shows: exact times, link accounts, cuts and deaths, and replay."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, Awaitable, Callable

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from netgpt.core.clock import VirtualClock, WallClock, run_virtual
from netgpt.core.errors import DeadlineExceeded, NodeUnreachable, UsageError
from netgpt.core.scheduling import TaskGroup
from netgpt.core.transport import Call, Connection
from netgpt.network.link import Link, Ways
from netgpt.network.service import ConstantRate
from netgpt.network.wired import OneWay
from netgpt.wire.memory_transport import REFUSAL_S, MemoryNetwork
from netgpt.wire.payload import Sent
from netgpt.wire.segments import HEADER_BYTES, charged_bytes

from .worlds import Worker, replies

DETECTION_S = 2.0
ACCESS = OneWay(service=ConstantRate(8000), delay_s=0.1)  # a thousand bytes a second
BACKHAUL = OneWay(service=ConstantRate(80_000), delay_s=0.5)
KILOBYTE_S = charged_bytes(1000) / 1000  # on the access link
SIGN_S = HEADER_BYTES / 1000


class Campus:
    """phone - edge - cloud, with times that can be checked by hand."""

    def __init__(self) -> None:
        self.access = Link(("phone", "edge"), up=ACCESS, down=ACCESS)
        self.backhaul = Link(("edge", "cloud"), up=BACKHAUL, down=BACKHAUL)
        self.network = MemoryNetwork(VirtualClock(), Ways([self.access, self.backhaul]), detection_s=DETECTION_S)

    def connect(self, source: str, target: str) -> Connection:
        return self.network.transport(source).connect(target)


def on_campus(story: Callable[[Campus], Awaitable[None]]) -> None:
    async def main() -> None:
        await story(Campus())

    run_virtual(main())


def now_s() -> float:
    return asyncio.get_running_loop().time()


async def echo(call: Call) -> AsyncGenerator[bytes, None]:
    yield call.payload


async def a_thousand_bytes_three_times(call: Call) -> AsyncGenerator[bytes, None]:
    for _ in range(3):
        yield bytes(1000)


def test_a_payload_is_stored_and_forwarded_and_counted_on_each_link() -> None:
    async def story(campus: Campus) -> None:
        await campus.network.transport("cloud").listen("cloud", echo)
        assert await replies(campus.connect("phone", "cloud"), "generate", bytes(1000)) == [bytes(1000)]
        one_way_s = (KILOBYTE_S + 0.1) + (KILOBYTE_S / 10 + 0.5)
        assert now_s() == pytest.approx(2 * one_way_s + SIGN_S), "and the end, behind the reply"
        crossed = [(link, direction) for link in ("phone-edge", "edge-cloud") for direction in ("up", "down")]
        assert campus.network.carried == {(*lane, "generate"): Sent(payloads=1, payload_bytes=1000) for lane in crossed}

    on_campus(story)


def test_payloads_of_one_call_follow_each_other_through_the_pipe() -> None:
    async def story(campus: Campus) -> None:
        await campus.network.transport("cloud").listen("cloud", a_thousand_bytes_three_times)
        times_s = [now_s() async for _ in campus.connect("phone", "cloud").call("generate", b"", deadline_s=60)]
        first_s = (1.1 * SIGN_S + 0.6) + (KILOBYTE_S / 10 + 0.5) + (KILOBYTE_S + 0.1)
        assert times_s == pytest.approx([first_s + number * KILOBYTE_S for number in range(3)])

    on_campus(story)


def test_callers_share_a_link_first_come_first_served() -> None:
    async def story(campus: Campus) -> None:
        await campus.network.transport("edge").listen("edge", a_thousand_bytes_three_times)
        ends_s: list[float] = []

        async def call() -> None:
            await replies(campus.connect("phone", "edge"), "generate")
            ends_s.append(now_s())

        await asyncio.gather(call(), call())
        begin_s, one_s = SIGN_S + 0.1, 3 * KILOBYTE_S + SIGN_S
        assert ends_s == pytest.approx([begin_s + one_s + 0.1, begin_s + 2 * one_s + 0.1])

    on_campus(story)


def test_a_node_calls_itself_over_no_link() -> None:
    async def story(campus: Campus) -> None:
        await campus.network.transport("phone").listen("phone:engine", echo)
        assert await replies(campus.connect("phone", "phone:engine"), "generate", b"x") == [b"x"]
        assert (now_s(), campus.network.carried) == (0.0, {})

    on_campus(story)


def test_cancellation_reaches_the_server_after_the_delay() -> None:
    async def story(campus: Campus) -> None:
        worker = Worker(pause_s=3600)
        await campus.network.transport("edge").listen("edge", worker)
        got = campus.connect("phone", "edge").call("generate", b"", deadline_s=60)
        await anext(got)
        closed_s = now_s()
        await got.aclose()
        await worker.closed.wait()
        assert now_s() == pytest.approx(closed_s + SIGN_S + ACCESS.delay_s)

    on_campus(story)


def lose_link(campus: Campus) -> None:
    campus.network.cut(campus.backhaul)


def lose_node(campus: Campus) -> None:
    campus.network.kill("cloud")


def lose_caller(campus: Campus) -> None:
    campus.network.kill("phone")


@pytest.mark.parametrize("lose", [lose_link, lose_node, lose_caller])
def test_a_loss_is_noticed_at_both_ends_after_the_detection_time(lose: Callable[[Campus], None]) -> None:
    async def story(campus: Campus) -> None:
        worker = Worker(pause_s=3600)
        await campus.network.transport("cloud").listen("cloud", worker)
        got = campus.connect("phone", "cloud").call("generate", b"", deadline_s=60)
        await anext(got)
        lost_s = now_s()
        lose(campus)
        with pytest.raises(NodeUnreachable, match="cloud") as caught:
            await anext(got)
        assert "netgpt ps" in caught.value.hint
        assert now_s() == pytest.approx(lost_s + DETECTION_S)
        await asyncio.sleep(0)
        assert worker.closed.is_set()

    on_campus(story)


def test_a_dead_nodes_work_is_closed_at_once() -> None:
    async def story(campus: Campus) -> None:
        worker = Worker(pause_s=3600)
        await campus.network.transport("cloud").listen("cloud", worker)
        got = campus.connect("phone", "cloud").call("generate", b"", deadline_s=60)
        await anext(got)
        dead_s = now_s()
        campus.network.kill("cloud")
        await worker.closed.wait()
        assert now_s() == dead_s
        await got.aclose()

    on_campus(story)


@pytest.mark.parametrize("lose", [lose_link, lose_node])
def test_new_calls_after_a_loss_fail_with_its_detection_and_then_fast(lose: Callable[[Campus], None]) -> None:
    async def story(campus: Campus) -> None:
        await campus.network.transport("cloud").listen("cloud", echo)
        lose(campus)
        await asyncio.sleep(0.5)
        for expected_s in (DETECTION_S - 0.5, REFUSAL_S):
            started_s = now_s()
            with pytest.raises(NodeUnreachable):
                await replies(campus.connect("phone", "cloud"), "generate")
            assert now_s() == pytest.approx(started_s + expected_s)

    on_campus(story)


def test_a_healed_link_carries_new_calls_and_none_of_the_old() -> None:
    async def story(campus: Campus) -> None:
        await campus.network.transport("cloud").listen("cloud", a_thousand_bytes_three_times)
        old = campus.connect("phone", "cloud").call("generate", b"", deadline_s=60)
        await anext(old)
        campus.network.cut(campus.access)
        campus.network.heal(campus.access)
        assert len(await replies(campus.connect("phone", "cloud"), "generate")) == 3
        with pytest.raises(NodeUnreachable):
            await anext(old)

    on_campus(story)


def test_a_revived_node_serves_once_it_listens_again() -> None:
    async def story(campus: Campus) -> None:
        cloud = campus.network.transport("cloud")
        await cloud.listen("cloud", echo)
        campus.network.kill("cloud")
        with pytest.raises(NodeUnreachable):
            await cloud.listen("cloud", echo)
        campus.network.revive("cloud")
        with pytest.raises(NodeUnreachable, match="nothing listens"):
            await replies(campus.connect("phone", "cloud"), "generate")
        await cloud.listen("cloud", echo)
        assert await replies(campus.connect("phone", "cloud"), "generate", b"x") == [b"x"]

    on_campus(story)


def test_no_path_is_no_node() -> None:
    async def story(campus: Campus) -> None:
        with pytest.raises(NodeUnreachable, match="mars"):
            await replies(campus.connect("phone", "mars"), "generate")
        with pytest.raises(UsageError):
            await campus.network.transport("phone").listen("cloud", echo)

    on_campus(story)


def test_a_run_replays_to_the_same_instant() -> None:
    def run() -> list[tuple[float, str]]:
        log: list[tuple[float, str]] = []

        async def story(campus: Campus) -> None:
            await campus.network.transport("cloud").listen("cloud", Worker(pause_s=0.05))

            async def user(name: str) -> None:
                try:
                    async for reply in campus.connect("phone", "cloud").call(name, bytes(len(name)), deadline_s=4):
                        log.append((now_s(), f"{name} {reply!r}"))  # noqa: PERF401 - what came before an error counts
                except Exception as error:
                    log.append((now_s(), f"{name} {error}"))

            users = asyncio.gather(*(user("x" * size) for size in range(1, 20)))
            await asyncio.sleep(3)
            campus.network.cut(campus.backhaul)
            await users

        on_campus(story)
        return log

    first = run()
    assert len(first) > 40
    assert run() == first


@settings(max_examples=30, deadline=None)
@given(st.lists(st.tuples(st.floats(0, 3), st.sampled_from(["access", "backhaul", "edge", "cloud", "phone", "call"])), max_size=12))
def test_whatever_breaks_every_call_ends_and_nothing_stays_in_flight(faults: list[tuple[float, str]]) -> None:
    async def story(campus: Campus) -> None:
        network, links = campus.network, {"access": campus.access, "backhaul": campus.backhaul}
        ends: list[str] = []

        async def user() -> None:
            try:
                got = await replies(campus.connect("phone", "cloud"), "generate", bytes(300), deadline_s=5)
                ends.append("whole" if got == [bytes(1000)] * 3 else "torn")
            except (NodeUnreachable, DeadlineExceeded) as error:
                ends.append(error.code)

        async with TaskGroup() as users:
            users.create_task(user())
            for wait_s, what in faults:
                await asyncio.sleep(wait_s)
                if what == "call":
                    users.create_task(user())
                elif what in links:
                    network.heal(links[what]) if links[what].cut_at_s is not None else network.cut(links[what])
                else:
                    network.kill(what)
                    network.revive(what)
                    if what == "cloud":
                        await network.transport("cloud").listen("cloud", a_thousand_bytes_three_times)
        await asyncio.sleep(10)
        assert "torn" not in ends
        assert network.in_flight == 0

    on_campus(story)


def test_the_network_also_runs_on_a_real_loop() -> None:
    async def main() -> None:
        fast = OneWay(service=ConstantRate(1e9), delay_s=0.0)
        network = MemoryNetwork(WallClock(), Ways([Link(("a", "b"), up=fast, down=fast)]))

        async def count(call: Call) -> AsyncGenerator[bytes, None]:
            for index in range(500):
                yield b"%d" % index

        listener = await network.transport("b").listen("b", count)
        assert await replies(network.transport("a").connect("b"), "generate") == [b"%d" % index for index in range(500)]
        await listener.close()

    asyncio.run(main())
