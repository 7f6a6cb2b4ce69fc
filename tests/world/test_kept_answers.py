"""Kept answers in the simulated world: through doors, links and an edge node, as in any other."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, Awaitable, Callable, Sequence
from contextlib import aclosing
from dataclasses import replace
from typing import Any

import pytest

from netgpt.core.clock import run_virtual
from netgpt.core.errors import NodeUnreachable
from netgpt.core.scheduling import TaskGroup
from netgpt.core.storage import SimulatedStorage
from netgpt.inference.cache import AnswerCache
from netgpt.inference.direct import direct
from netgpt.inference.request import CacheUse, CacheWish, ChatRequest, Delta, Finish
from netgpt.inference.steps import Step
from netgpt.network.scenario_file import load_scenario
from netgpt.node.handle import NodeHandle
from netgpt.node.session import Session
from netgpt.world import simulated
from netgpt.world.simulated import EVENTS, SimulatedWorld

CAMPUS = load_scenario("campus")
KEEPING = replace(CAMPUS, nodes=tuple(replace(node, cache_entries=50) if node.tier == "edge" else node for node in CAMPUS.nodes), users=(), faults=())
ASKED = "What is the packet delay budget of 5QI 3?"
PARAPHRASE = "Please tell me what the packet delay budget of 5QI 3 is."
OTHER = "What is the packet delay budget of 5QI 9?"

World = tuple[SimulatedWorld, list[AnswerCache], SimulatedStorage]


@pytest.fixture
def in_world(monkeypatch: pytest.MonkeyPatch) -> Callable[..., None]:
    """Runs a story in a fresh world of which it also sees what nodes keep."""
    caches: list[AnswerCache] = []
    make = simulated.make_keeper

    def make_and_note(*args: Any, **named: Any) -> AnswerCache | None:
        keeper = make(*args, **named)
        if keeper is not None:
            caches.append(keeper)
        return keeper

    monkeypatch.setattr(simulated, "make_keeper", make_and_note)

    def run(story: Callable[..., Awaitable[None]], scenario: Any = KEEPING) -> None:
        async def main() -> None:
            caches.clear()
            storage = SimulatedStorage()
            world = SimulatedWorld(scenario, 1, storage)
            await world.start()
            await world.clock.sleep(2.0)  # everybody has heard of everybody
            await story(world, caches, storage)
            await world.close()

        run_virtual(main())

    return run


class Asked:
    """One answer as its client sees it."""

    def __init__(self, text: str, finish: Finish) -> None:
        self.text, self.finish = text, finish
        assert finish.cache is not None
        self.use: CacheUse = finish.cache


async def ask(
    world: SimulatedWorld, text: str = ASKED, *, door: str = "device1", key: str = "alice", wish: CacheWish | None = None, **fields: Any
) -> Asked:
    world_ask.number += 1
    request = ChatRequest(
        **(
            {
                "request_id": f"chatcmpl-{world_ask.number}",
                "model": "netgpt-edge",
                "messages": (("user", text),),
                "max_tokens": 24,
                "temperature": 0.0,
                "key": key,
                "cache": wish or CacheWish(match="semantic"),
            }
            | fields
        )
    )
    told: list[str] = []
    async with aclosing(world.door(door).chat(request)) as answers:
        async for answer in answers:
            if isinstance(answer, Delta):
                told.append(answer.text)
            else:
                await world.clock.sleep(0.5)  # what is to be kept is, by then
                return Asked("".join(told), answer)
    raise AssertionError("an answer has an end")


class world_ask:
    number = 0


def calls(world: SimulatedWorld, method: str) -> int:
    """How many payloads of a method crossed links, on all of them."""
    return sum(sent.payloads for (_, _, name), sent in world.network.carried.items() if name == method)


def test_the_same_and_a_question_that_means_the_same_are_answered_by_the_edge(in_world: Callable[..., None]) -> None:
    async def story(world: SimulatedWorld, caches: Sequence[AnswerCache], storage: SimulatedStorage) -> None:
        first = await ask(world)
        assert (first.use.result, first.use.node) == ("miss", "edge1")
        before = calls(world, "generate")
        again, alike, other = await ask(world), await ask(world, PARAPHRASE), await ask(world, OTHER)
        assert [(one.use.result, one.use.match) for one in (again, alike, other)] == [("hit", "exact"), ("hit", "semantic"), ("miss", "")]
        assert again.text == alike.text == first.text != other.text
        assert "differs in number" in other.use.why
        assert calls(world, "generate") > before, "the other one was made"
        assert again.finish.completion_tokens == first.finish.completion_tokens
        assert again.finish.cached_tokens == 0
        assert [(span.node, span.kept) for span in again.finish.origin] == [("edge1", True)]
        assert "edge1 had kept the answer of edge1 to the same request" in again.finish.why
        assert again.finish.duration_s < first.finish.duration_s
        assert 0 < again.finish.link_bytes["edge1"]["received"] < first.finish.link_bytes["edge1"]["received"]
        counted = {name: world.door("device1")._metrics.cache_requests.labels(name).value for name in ("exact", "semantic", "miss", "gate")}
        assert counted == {"exact": 1, "semantic": 1, "miss": 1, "gate": 1}
        await world.clock.sleep(1.5)  # the edge's door has asked its engine
        shown = world.door("edge1")._metrics
        assert (shown.cache_answers.value, shown.cache_bytes.value) == (len(caches[0]), caches[0].bytes) == (2, caches[0].bytes)

    in_world(story)


def test_without_leave_nothing_is_kept_or_looked_up(in_world: Callable[..., None]) -> None:
    async def story(world: SimulatedWorld, caches: Sequence[AnswerCache], storage: SimulatedStorage) -> None:
        request = ChatRequest(request_id="r", model="netgpt-edge", messages=(("user", ASKED),), max_tokens=8, temperature=0.0)
        for _ in range(2):
            finish = [answer async for answer in world.door("device1").chat(request)][-1]
            assert isinstance(finish, Finish)
            assert finish.cache is None
        assert [len(cache) for cache in caches] == [0]
        assert (calls(world, "recall"), calls(world, "remember")) == (0, 0)
        await ask(world, wish=CacheWish(keep=False))
        assert [len(cache) for cache in caches] == [0]

    in_world(story)


def test_what_a_key_asked_is_given_to_no_other_key_and_to_it_at_every_door(in_world: Callable[..., None]) -> None:
    async def story(world: SimulatedWorld, caches: Sequence[AnswerCache], storage: SimulatedStorage) -> None:
        assert (await ask(world, key="alice")).use.result == "miss"
        for question in (ASKED, PARAPHRASE):
            for door in ("device1", "device2", "edge1"):
                assert (await ask(world, question, key="bob", door=door, wish=CacheWish(match="semantic", keep=False))).use.result == "miss"
                assert (await ask(world, question, key="alice", door=door)).use.result == "hit"
        for door in ("device1", "device2"):
            assert (await ask(world, key="", door=door)).use.result == "miss", "without keys a door's users share nothing with another's"
            assert (await ask(world, key="", door=door)).use.result == "hit"

    in_world(story)


def test_what_is_marked_as_shared_is_given_to_all_keys_and_nothing_else_is(in_world: Callable[..., None]) -> None:
    async def story(world: SimulatedWorld, caches: Sequence[AnswerCache], storage: SimulatedStorage) -> None:
        shared = CacheWish(match="semantic", shared=True)
        await ask(world, key="alice", wish=shared)
        assert (await ask(world, PARAPHRASE, key="bob", door="device2", wish=shared)).use.result == "hit"
        assert (await ask(world, key="bob")).use.result == "miss", "who does not share is given nothing shared"
        mine = await ask(world, "What is my name?", key="alice", wish=shared)
        assert (mine.use.result, "whoever asks" in mine.use.why) == ("refused", True)

    in_world(story)


def test_content_that_may_not_leave_its_device_is_in_no_cache_on_no_link_and_in_no_record(in_world: Callable[..., None]) -> None:
    canary = "xyzzycanaryxyzzy"

    async def story(world: SimulatedWorld, caches: Sequence[AnswerCache], storage: SimulatedStorage) -> None:
        async with TaskGroup() as tasks:  # in flight together, too
            for _ in range(2):
                tasks.create_task(ask(world, f"What is {canary}?", model="auto", privacy="device-only"))
        refused = await ask(world, f"What is {canary}?", model="auto", privacy="device-only")
        assert (refused.use.result, refused.use.why) == ("refused", "device-only content stays on its device")
        assert [span.node for span in refused.finish.origin] == ["device1"]
        assert (calls(world, "recall"), calls(world, "remember"), calls(world, "generate")) == (0, 0, 0)
        assert [len(cache) + len(cache._asked) for cache in caches] == [0]
        assert canary.encode() not in world.door("device1")._metrics.render()
        at_edge = await ask(world, f"What is {canary}?", door="edge1", privacy="device-only", model="auto")
        assert at_edge.use.result == "refused", "nor does the edge keep what entered there"
        assert [len(cache) + len(cache._asked) for cache in caches] == [0]
        permitted = await ask(world, f"What is {canary}?")
        assert (await ask(world, f"What is {canary}?")).use.result == "hit"
        assert permitted.text
        assert canary.encode() not in storage.read(EVENTS)
        assert permitted.text.encode() not in storage.read(EVENTS)

    in_world(story)


def test_answers_grow_old_by_what_was_asked_and_by_what_the_client_permits(in_world: Callable[..., None]) -> None:
    async def story(world: SimulatedWorld, caches: Sequence[AnswerCache], storage: SimulatedStorage) -> None:
        await ask(world)
        await world.clock.sleep(20)
        assert (await ask(world, wish=CacheWish(max_age_s=10))).use.result == "miss", "and so it is made anew"
        assert (await ask(world)).use.age_s < 10
        await world.clock.sleep(62)
        assert (await ask(world, wish=CacheWish(keep=False))).use.result == "miss", "a minute, if the client does not say otherwise"
        assert (await ask(world, wish=CacheWish(max_age_s=5000))).use.result == "hit"
        assert (await ask(world, wish=CacheWish(max_age_s=0))).use.result == "miss"
        state, now, here = "What is the status of edge1?", "How many users are there now?", "Which cell is the nearest?"
        assert [(await ask(world, state)).use.result for _ in range(2)] == ["miss", "hit"]
        await world.clock.sleep(31)
        assert (await ask(world, state)).use.result == "miss"
        assert [(await ask(world, now)).use.result for _ in range(2)] == ["refused", "refused"]
        assert [(await ask(world, now, wish=CacheWish(max_age_s=20))).use.result for _ in range(2)] == ["miss", "hit"]
        await world.clock.sleep(21)
        assert (await ask(world, now, wish=CacheWish(max_age_s=20))).use.result == "miss"
        assert (await ask(world, here)).use.result == "refused"
        places = ["north", "north", "south"]
        assert [(await ask(world, here, wish=CacheWish(match="semantic", place=place))).use.result for place in places] == ["miss", "hit", "miss"]

    in_world(story)


def test_equal_requests_in_flight_are_answered_once_and_the_first_may_leave(in_world: Callable[..., None]) -> None:
    async def story(world: SimulatedWorld, caches: Sequence[AnswerCache], storage: SimulatedStorage) -> None:
        async with TaskGroup() as tasks:
            told = [tasks.create_task(ask(world)) for _ in range(4)]
            other = tasks.create_task(ask(world, key="bob"))
        assert [one.result().use.result for one in told] == ["miss", "merged", "merged", "merged"]
        assert len({one.result().text for one in told}) == 1
        assert told[1].result().finish.link_bytes == {}
        assert other.result().use.result == "miss", "another key's request is another one"
        assert calls(world, "recall") == 2 * 2, "request and reply, of each key"
        async with TaskGroup() as tasks:
            first = tasks.create_task(ask(world, "What is slicing?", max_tokens=400))
            second = tasks.create_task(ask(world, "What is slicing?", max_tokens=400))
            await world.clock.sleep(0.3)
            first.cancel()
        assert second.result().finish.completion_tokens == 400 or second.result().finish.reason == "stop"
        assert sum(engine.load().running for engine in world.engines()) == 0
        assert world.door("device1").open_requests == 0
        async with TaskGroup() as tasks:
            both = [tasks.create_task(ask(world, "What is paging?", max_tokens=1500)) for _ in range(2)]
            await world.clock.sleep(0.3)
            for one in both:
                one.cancel()
        await world.clock.sleep(1.0)
        assert sum(engine.load().running for engine in world.engines()) == 0, "nobody waits for it any more"
        assert world.door("device1").open_requests == 0

    in_world(story)


@pytest.mark.parametrize("pieces", [0, 5])
def test_a_request_that_follows_one_that_fails_asks_for_itself(in_world: Callable[..., None], pieces: int) -> None:
    async def story(world: SimulatedWorld, caches: Sequence[AnswerCache], storage: SimulatedStorage) -> None:
        runs = 0

        async def fails_at_first(session: Session, nodes: Sequence[NodeHandle]) -> AsyncGenerator[Step, None]:
            nonlocal runs
            runs += 1
            mine, told = runs, 0
            async with aclosing(direct(session, nodes)) as steps:
                async for step in steps:
                    if mine == 1 and told == pieces:
                        raise NodeUnreachable("gone", hint="ask again")
                    told += 1
                    yield step

        world.door("device1")._strategies = {"netgpt-edge": fails_at_first}
        results = await asyncio.gather(*(ask(world) for _ in range(3)), return_exceptions=True)
        assert isinstance(results[0], NodeUnreachable)
        followers = [result for result in results[1:] if isinstance(result, Asked)]
        assert len(followers) == 2
        assert runs == 2, "one of them for both"
        assert {one.text for one in followers} == {(await ask(world)).text}
        assert world.door("device1").open_requests == 0

    in_world(story)


def test_a_cache_that_does_not_answer_in_time_costs_a_quarter_of_a_second(in_world: Callable[..., None]) -> None:
    async def story(world: SimulatedWorld, caches: Sequence[AnswerCache], storage: SimulatedStorage) -> None:
        async def never(asked: object) -> object:
            await asyncio.sleep(3600)

        caches[0].recall = never  # type: ignore[assignment, method-assign]
        slow = await ask(world)
        assert (slow.use.result, "did not say in time" in slow.use.why) == ("miss", True)
        assert slow.finish.completion_tokens
        assert 0.25 <= slow.finish.time_to_first_token_s < 2.0

    in_world(story)


def test_where_no_node_keeps_answers_a_request_is_answered_all_the_same(in_world: Callable[..., None]) -> None:
    async def story(world: SimulatedWorld, caches: Sequence[AnswerCache], storage: SimulatedStorage) -> None:
        told = await ask(world)
        assert (told.use.result, told.use.node) == ("miss", "")
        assert "keeps answers" in told.use.why
        assert told.text
        assert caches == []

    in_world(story, CAMPUS)
