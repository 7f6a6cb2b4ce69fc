"""A word that is followed: content that may not leave its device is on no link, and no content is in any log, event, metric or cache of others.

Every payload that crosses from one node of the simulated world to another is looked at, whatever called for it, so that a new way to answer
is watched without a word of its own here. The models without weights read bytes, so that what crosses as tokens can be read, too.
"""

from __future__ import annotations

import logging
from collections.abc import Callable
from contextlib import aclosing
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import pytest

from netgpt.core.scheduling import TaskGroup
from netgpt.core.storage import SimulatedStorage
from netgpt.inference.cache import AnswerCache
from netgpt.inference.request import CacheWish, ChatRequest, CompressWish, Delta, EmbedRequest
from netgpt.network.scenario_file import load_scenario
from netgpt.wire.memory_carrier import Carrier, Stream
from netgpt.world import simulated
from netgpt.world.simulated import EVENTS, SimulatedWorld

from .simulation import in_world
from .test_route import fitted_home

CANARY = "xyzzycanaryplugh"
QUESTION = "\n".join((f"Of {CANARY}.", *(f"Note {n}: the unit {n} was looked at and found well." for n in range(30)), "What of unit 7?"))
CAMPUS = load_scenario("campus")
WATCHED = replace(
    CAMPUS,
    users=(),
    faults=(),
    nodes=tuple(replace(node, cache_entries=50 if node.tier == "edge" else 0, variants=("int8",)) for node in CAMPUS.nodes),
)
PATHS: dict[str, dict[str, Any]] = {
    "auto": {},
    "auto, batch": {"service": "batch"},
    "auto, read first": {"service": "critical"},
    "auto, shortened": {"compress": CompressWish(when="always")},
    "auto, kept and merged": {"cache": CacheWish(match="semantic")},
    "auto, shared": {"cache": CacheWish(match="semantic", shared=True)},
    "auto, within limits": {"deadline_s": 60.0, "max_energy_j": 1e6},
    "cascade": {"model": "cascade"},
    "cascade, batch": {"model": "cascade", "service": "batch"},
    "cascade, shortened": {"model": "cascade", "compress": CompressWish(when="always")},
    "route": {"model": "route"},
    "log-probabilities": {"logprobs": True, "top_logprobs": 2},
}


@dataclass
class Watch:
    """What was seen of one run."""

    crossed: list[tuple[str, str, str, bytes]] = field(default_factory=list)  # source, target, method, payload
    caches: list[AnswerCache] = field(default_factory=list)
    answers: dict[int, str] = field(default_factory=dict)
    reasons: list[str] = field(default_factory=list)  # with plans
    written: bytes = b""  # events, log and metrics

    def links_with(self, word: bytes) -> set[str]:
        return {method for source, target, method, payload in self.crossed if word in payload and source != target}


@pytest.fixture
def watch(monkeypatch: pytest.MonkeyPatch) -> Watch:
    seen = Watch()
    send, make = Carrier.send, simulated.make_keeper

    def send_and_note(self: Carrier, stream: Stream, payload: bytes | None, arrive: Callable[[], None]) -> None:
        seen.crossed.append((stream.source, stream.target, stream.method, payload or b""))
        send(self, stream, payload, arrive)

    def make_and_note(*args: Any, **named: Any) -> AnswerCache | None:
        if (keeper := make(*args, **named)) is not None:
            seen.caches.append(keeper)
        return keeper

    monkeypatch.setattr(Carrier, "send", send_and_note)
    monkeypatch.setattr(simulated, "make_keeper", make_and_note)
    return seen


async def ask(world: SimulatedWorld, seen: Watch, number: int, fields: dict[str, Any]) -> None:
    values = {"model": "auto", "messages": (("user", QUESTION),), "max_tokens": 24, "temperature": 0.0, "key": "alice", **fields}
    async with aclosing(world.door("device1").chat(ChatRequest(request_id=f"chatcmpl-{number}", **values))) as answers:
        async for answer in answers:
            if isinstance(answer, Delta):
                seen.answers[number] = seen.answers.get(number, "") + answer.text
            else:
                seen.reasons += [answer.why, repr(answer.plan)]


def run(seen: Watch, home: Path, caplog: pytest.LogCaptureFixture, fields: dict[str, Any], *, times: int = 2) -> None:
    """Ask together, then once more, then for a vector; and read what was written down."""
    caplog.set_level(logging.DEBUG)

    async def story(world: SimulatedWorld) -> None:
        await world.clock.sleep(2.0)
        async with TaskGroup() as tasks:
            for number in range(times):
                tasks.create_task(ask(world, seen, number, fields))
        await ask(world, seen, times, fields)
        await world.door("device1").embed(
            EmbedRequest(request_id="embd-1", model="netgpt-device", texts=(QUESTION,), key="alice", privacy=fields.get("privacy", "cloud-allowed"))
        )
        await world.clock.sleep(1.0)  # what is to be kept, learnt or written is, by then
        assert isinstance(world.log._storage, SimulatedStorage)
        metrics = b"".join(world.door(node.id)._metrics.render() for node in WATCHED.nodes)
        seen.written = world.log._storage.read(EVENTS) + metrics + caplog.text.encode() + repr(world.outcomes).encode()

    in_world(WATCHED, story, fitted_home(home))


@pytest.mark.parametrize("path", PATHS)
def test_what_may_not_leave_its_device_is_on_no_link_in_no_cache_and_written_nowhere(
    path: str, watch: Watch, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    run(watch, tmp_path, caplog, {**PATHS[path], "privacy": "device-only"})
    assert b"chatcmpl-0" in watch.written
    assert watch.links_with(CANARY.encode()) == set()
    assert [len(cache) + len(cache._asked) for cache in watch.caches] == [0]
    assert CANARY.encode() not in watch.written
    for answer in watch.answers.values():
        assert len(answer.encode()) >= 20
        assert watch.links_with(answer.encode()[:20]) == set()
        assert answer.encode() not in watch.written
    assert CANARY not in "".join(watch.reasons)


@pytest.mark.parametrize("path", PATHS)
def test_content_that_may_leave_is_written_nowhere_either_and_the_watch_sees_it_cross(
    path: str, watch: Watch, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    run(watch, tmp_path, caplog, {**PATHS[path], "privacy": "cloud-allowed"})
    assert "generate" in watch.links_with(CANARY.encode()), "else the watch would see nothing anyway"
    assert CANARY.encode() not in watch.written
    assert CANARY not in "".join(watch.reasons)
    assert not any(answer.encode() in watch.written for answer in watch.answers.values())
