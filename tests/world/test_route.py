"""`route` in the simulated world: doors, links and engines as they are, models without weights."""

import asyncio
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from netgpt.core.errors import DeadlineExceeded, NodeUnreachable, NotSupported
from netgpt.engine.hash_engine import embed_tokens
from netgpt.inference.calibration import fit_router
from netgpt.inference.calibration_file import HOME_FILE, write_calibrations
from netgpt.inference.confidence import Calibrations
from netgpt.inference.planning import Decision
from netgpt.inference.reading import MOST_READING
from netgpt.inference.request import ChatRequest, Finish
from netgpt.inference.surface import surface_of
from netgpt.inference.words import Words, words_of
from netgpt.models.generation import Embedding
from netgpt.models.tokenizer import ByteTokenizer, render_chat
from netgpt.network.scenario_file import load_scenario
from netgpt.node.handle import NodeHandle
from netgpt.node.session import Session
from netgpt.world.simulated import SimulatedWorld

from .simulation import in_world

CAMPUS = replace(load_scenario("campus"), users=(), faults=())
EASY, HARD = "echo the word", "prove the theorem"


async def ask(world: SimulatedWorld, text: str, door: str = "device1", **fields: Any) -> Finish:
    values = {"model": "route", "messages": (("user", text),), "max_tokens": 12, "temperature": 0.0, **fields}
    request = ChatRequest(request_id=f"r-{text}", **values)
    async for answer in world.door(door).chat(request):
        if isinstance(answer, Finish):
            return answer
    raise AssertionError("an answer ends with a finish")


def fitted_home(home: Path) -> str:
    """A home whose router knows that the device without weights is right about `EASY` prompts alone, the cloud about all."""
    tokenizer = ByteTokenizer()
    rows: list[tuple[float, ...]] = []
    for i in range(400):
        messages = (("user", f"{EASY if i % 2 else HARD} {8800 + i}"),)
        ids = render_chat(tokenizer, messages)
        rows.append(
            (
                *surface_of(messages),
                *Words().features([words_of(messages)])[0],
                *embed_tokens("hash-device", ids),
                *embed_tokens("hash-device", ids[-1:]),
            )
        )
    features_NF = np.array(rows)
    easy = np.arange(400) % 2 == 1
    router = fit_router(features_NF, {"hash-device": easy, "hash-edge": np.zeros(400, dtype=np.bool_), "hash-cloud": easy | ~easy}, price=0.5)
    write_calibrations(Calibrations(price=0.5, models={}, routers={"hash-device": router}), home / HOME_FILE)
    return str(home)


def test_the_device_keeps_what_it_is_expected_to_know_and_sends_the_rest_up(tmp_path: Path) -> None:
    async def both(world: SimulatedWorld) -> list[Finish]:
        return [await ask(world, f"{text} 9000") for text in (EASY, HARD)]

    easy, hard = in_world(CAMPUS, both, fitted_home(tmp_path))
    assert [span.node for span in easy.origin] == ["device1"]
    assert set(easy.link_bytes) == {"device1"}, "an easy prompt leaves its device in no form"
    assert [span.node for span in hard.origin] == ["cloud1"]
    assert hard.strategy == "route"


def test_content_that_may_not_leave_its_device_is_answered_there_whatever_is_expected(tmp_path: Path) -> None:
    finish = in_world(CAMPUS, lambda world: ask(world, f"{HARD} 9000", privacy="device-only"), fitted_home(tmp_path))
    assert set(finish.link_bytes) == {"device1"}


@pytest.mark.parametrize("door", ["device1", "edge1"])
def test_a_network_without_a_router_for_its_models_refuses_and_says_what_to_do(door: str) -> None:
    with pytest.raises(NotSupported, match="no router for hash-") as refused:
        in_world(CAMPUS, lambda world: ask(world, EASY, door))
    assert "netgpt calibrate" in refused.value.hint


FAR = replace(
    load_scenario("wires"), users=(), faults=(), links=tuple(replace(link, delay_s=0.2) for link in load_scenario("wires").links)
)  # so that an answer from elsewhere takes long


async def known(world: SimulatedWorld) -> None:
    """Let the door learn how far away the others are."""
    for model in ("netgpt-device", "netgpt-edge", "netgpt-cloud") * 3:
        await ask(world, "far", model=model)


def test_auto_reads_a_prompt_first_where_that_tells_it_who_should_answer(tmp_path: Path) -> None:
    async def both(world: SimulatedWorld) -> list[Finish]:
        await known(world)
        return [await ask(world, f"{text} {number}", model="auto") for number in (9000, 9001) for text in (EASY, HARD)]

    finishes = in_world(FAR, both, fitted_home(tmp_path))
    assert [finish.origin[0].node for finish in finishes] == ["device1", "cloud1"] * 2
    for finish in finishes:
        read = finish.plan["read"]
        assert finish.why.startswith("device1 read the prompt (right: hash-device ")
        assert (read["node"], set(read["right"])) == ("device1", {"hash-device", "hash-edge", "hash-cloud"})
        assert finish.plan["chosen"]["strategy"] == "direct"
        assert finish.plan["chosen"]["read_s"] == pytest.approx(read["took_s"])
        assert read["took_s"] > 0
        assert finish.queue_s < 0.001, "reading is no queue"
        assert finish.plan["chosen"]["ttft_s"] == pytest.approx(finish.time_to_first_token_s, rel=0.5)
        assert finish.link_bytes["device1"]["sent"] > 0, "what reading took is counted"
    assert set(finishes[0].link_bytes) == {"device1"}, "an easy prompt leaves its device in no form"


def test_auto_reads_nothing_where_all_are_near_or_one_alone_may_answer(tmp_path: Path) -> None:
    async def asked(world: SimulatedWorld) -> list[Finish]:
        await known(world)
        own = await ask(world, EASY, model="auto", privacy="device-only")
        raw = await ask(world, "raw", model="auto", messages=(), prompt=(97, 98, 99))
        return [own, raw]

    assert [finish.plan.get("read") for finish in in_world(FAR, asked, fitted_home(tmp_path))] == [None, None]
    at_edge = in_world(FAR, lambda world: ask(world, EASY, "edge1", model="auto"), fitted_home(tmp_path))
    assert "read" not in at_edge.plan, "its own model has no router"


def test_a_plan_shows_what_reading_first_would_take(tmp_path: Path) -> None:
    async def planned(world: SimulatedWorld) -> Decision:
        request = ChatRequest(request_id="plan", model="auto", messages=(("user", EASY),), max_tokens=12)
        await known(world)
        return world.door("device1").plan(request)

    decision = in_world(FAR, planned, fitted_home(tmp_path))
    first = next(one.prediction for one in decision.ranked if one.prediction.candidate.strategy == "route")
    assert decision.chosen.prediction == first
    assert str(first.candidate) == "route device1 | edge1 | cloud1"
    assert 0 < first.read_s < first.ttft_s
    assert first.quality > 0.7, "what is right is known beforehand"


def test_of_many_prompts_at_once_some_are_answered_unread(tmp_path: Path) -> None:
    async def at_once(world: SimulatedWorld) -> list[Finish]:
        await known(world)
        finishes = await asyncio.gather(*(ask(world, f"{HARD} {number}", model="auto") for number in range(2 * MOST_READING)))
        return [*finishes, await ask(world, HARD, model="auto")]

    *finishes, later = in_world(FAR, at_once, fitted_home(tmp_path))
    reads = [finish.plan["read"] for finish in finishes]
    assert [bool(read["right"]) for read in reads] == [True] * MOST_READING + [False] * MOST_READING
    assert all(read["why"] == "4 other prompts were being read" for read in reads[MOST_READING:])
    assert later.plan["read"]["right"]


@pytest.mark.parametrize("failing", ["lost", "slow", "other weights"])
def test_auto_goes_on_without_what_it_cannot_read(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, failing: str) -> None:
    async def states(self: NodeHandle, session: Session, ids: tuple[int, ...], parts: tuple[int, ...]) -> Embedding:
        if failing == "lost":
            raise NodeUnreachable("gone", hint="-")
        if failing == "slow":
            left_s = session.deadline_s - self._clock.now_s()
            await self._clock.sleep(left_s)
            raise DeadlineExceeded("too late", hint="-")
        return Embedding(values=(1.0, 2.0))

    async def two(world: SimulatedWorld) -> list[Finish]:
        await known(world)
        return [await ask(world, f"{HARD} {number}", model="auto") for number in range(2)]

    monkeypatch.setattr(NodeHandle, "states", states)
    first, second = in_world(FAR, two, fitted_home(tmp_path))
    assert first.why.startswith("device1 did not read the prompt (")
    assert first.completion_tokens == second.completion_tokens == 12
    assert first.plan["read"]["took_s"] < 1.0
    assert ("read" in second.plan) == (failing != "other weights"), "a router for other weights is asked once"
