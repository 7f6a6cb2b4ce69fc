"""The simulated world: it replays from its seed, and no token is lost, doubled or stale."""

import asyncio
import os
import subprocess
import sys
from contextlib import aclosing
from dataclasses import replace
from pathlib import Path

import pytest

from netgpt.core.clock import run_virtual
from netgpt.core.storage import SimulatedStorage
from netgpt.inference.request import ChatRequest, Delta
from netgpt.network.scenario import FaultSpec, ProcessesSpec, Scenario
from netgpt.network.scenario_file import load_scenario
from netgpt.telemetry.events import parse_event
from netgpt.world.simulated import EVENTS, SimulatedWorld, simulate

CAMPUS = load_scenario("campus")


def run(scenario: Scenario, seed: int, duration_s: float) -> tuple[bytes, dict]:
    storage = SimulatedStorage()
    report = simulate(scenario, seed=seed, duration_s=duration_s, output=storage)
    return storage.read(EVENTS), report


def test_a_seed_replays_alone_in_a_batch_and_in_a_fresh_process(tmp_path: Path):
    alone, _ = run(CAMPUS, 3, 90)
    batch = {seed: run(CAMPUS, seed, 90)[0] for seed in (2, 3, 4)}
    assert batch[3] == alone
    assert len({*batch.values()}) == 3, "another seed gives another log"
    code = "from netgpt.cli.main import entry; entry()"
    command = [sys.executable, "-c", code, "simulate", "campus", "--seed", "3", "--duration", "90s", "--output", str(tmp_path / "fresh")]
    subprocess.run(command, env={**os.environ, "PYTHONHASHSEED": "12345"}, check=True, capture_output=True)
    assert (tmp_path / "fresh" / "events.jsonl").read_bytes() == alone


@pytest.mark.parametrize("seed", range(1, 6))
def test_every_answer_is_exactly_what_its_nodes_would_say(seed: int):
    users = tuple(replace(user, requests_per_s=4.0) for user in CAMPUS.users)
    faults = (FaultSpec(at_s=5, for_s=5, node="cloud1"), FaultSpec(at_s=15, for_s=5, cell="cell1"), FaultSpec(at_s=25, for_s=3, node="edge1"))
    _, report = run(replace(CAMPUS, users=users, faults=faults), seed, 40)
    assert report["answers_wrong"] == 0
    assert report["finished"] > 150
    assert report["switched"] > 0, "the faults must have hit some answer half-way"


def test_processes_that_take_time_delay_first_tokens_and_change_no_answer():
    takes = ProcessesSpec(request_s=0.002, call_s=0.001, reply_s=0.001, kilobyte_s=0.0005, shaper_s=0.0005, cores=2)
    slower = replace(CAMPUS, processes=takes)
    fault = FaultSpec(at_s=5, for_s=5, node="edge1")
    log, report = run(replace(slower, faults=(fault,)), 1, 15)
    assert run(replace(slower, faults=(fault,)), 1, 15)[0] == log, "a seed replays"
    assert report["answers_wrong"] == 0
    _, plain = run(replace(CAMPUS, faults=(fault,)), 1, 15)
    assert report["requests"] == plain["requests"]
    later_s = report["time_to_first_token_p50_s"] - plain["time_to_first_token_p50_s"]
    assert 0.006 <= later_s < 0.020, "a request, and both ends of a call and a reply"


def test_a_lost_node_is_noticed_within_a_second():
    log, _ = run(CAMPUS, 1, 100)
    events = [parse_event(line) for line in log.splitlines()]
    began = next(event.at_s for event in events if event.kind == "fault.began" and event.node == "cloud1")
    lost = next(event.at_s for event in events if event.kind == "node.lost" and event.node == "cloud1")
    back = next(event.at_s for event in events if event.kind == "node.joined" and event.node == "cloud1" and event.at_s > lost)
    assert 0 < lost - began <= 1.0
    assert back - (began + 20) <= 1.0


def test_no_content_enters_the_event_log():
    canary = "xyzzycanaryxyzzy"

    async def main() -> bytes:
        storage = SimulatedStorage()
        world = SimulatedWorld(CAMPUS, 1, storage)
        await world.start()
        request = ChatRequest(request_id="chatcmpl-canary", model="auto", messages=(("user", canary),), max_tokens=20)
        async for _ in world.door("device1").chat(request):
            pass
        await world.close()
        return storage.read(EVENTS)

    log = run_virtual(main())
    assert b"request.finished" in log
    assert canary.encode() not in log


@pytest.mark.parametrize("model", ["netgpt-device", "netgpt-edge", "netgpt-cloud"])
def test_a_client_that_goes_away_frees_its_slot_and_kv_on_every_node(model: str):
    async def main() -> None:
        world = SimulatedWorld(CAMPUS, 1, SimulatedStorage())
        await world.start()
        request = ChatRequest(request_id="chatcmpl-gone", model=model, messages=(("user", "a long story"),), max_tokens=1500)
        async with aclosing(world.door("device1").chat(request)) as answers:
            async for answer in answers:
                if isinstance(answer, Delta):
                    break
            assert sum(engine.load().running for engine in world.engines()) == 1
        await world.clock.sleep(1.0)
        for engine in world.engines():
            assert (engine.load().running, engine.load().waiting, engine.load().held_tokens) == (0, 0, 0)
        assert world.door("device1").open_requests == 0
        await world.close()

    run_virtual(main())


def test_device_only_content_stays_on_the_device():
    async def main() -> None:
        world = SimulatedWorld(CAMPUS, 1, SimulatedStorage())
        await world.start()
        before = world.link_bytes()
        request = ChatRequest(request_id="chatcmpl-private", model="auto", messages=(("user", "secret"),), max_tokens=20, privacy="device-only")
        answers = [answer async for answer in world.door("device1").chat(request)]
        assert {answer.origin for answer in answers if isinstance(answer, Delta)} == {"device1"}
        sent = {node for answer in answers if not isinstance(answer, Delta) for node in answer.link_bytes}
        assert sent == {"device1"}
        assert {call[2] for call in world.network.carried} <= {"join", "heartbeat", "leave"}, "only control messages crossed links"
        assert before.keys() <= world.link_bytes().keys()
        await world.close()

    run_virtual(main())


def test_a_seeded_answer_is_the_same_on_whichever_node_it_is_asked_again():
    async def answer(world: SimulatedWorld, number: int) -> str:
        request = ChatRequest(request_id=f"chatcmpl-{number}", model="netgpt-edge", messages=(("user", "same"),), max_tokens=30, seed=9)
        return "".join([part.text async for part in world.door("device1" if number % 2 else "device2").chat(request) if isinstance(part, Delta)])

    async def main() -> None:
        world = SimulatedWorld(CAMPUS, 1, SimulatedStorage())
        await world.start()
        texts = await asyncio.gather(*(answer(world, number) for number in range(6)))
        assert len(set(texts)) == 1
        await world.close()

    run_virtual(main())
