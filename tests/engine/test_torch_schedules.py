"""Whatever the company, the interruptions and the memory: a session's tokens are those of decoding alone."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from contextlib import aclosing

import numpy as np
import pytest
import torch

from netgpt.core.chance import SeededChance
from netgpt.core.compute import ThreadCompute
from netgpt.core.errors import SessionNotFound
from netgpt.core.scheduling import TaskGroup
from netgpt.engine.decode import FusedDecoder
from netgpt.engine.torch_engine import TorchEngine
from netgpt.models.generation import GREEDY, Generate, Prefill, Rollback, Sampling, Verify

from .torch_models import decode_alone, tiny_card, tiny_decoder

SCHEDULES, CHUNKS = 500, 10


@pytest.fixture(scope="module")
def model() -> Iterator[FusedDecoder]:
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield FusedDecoder(tiny_decoder())
    torch.set_num_threads(threads)


class Life:
    """One session that does random things, and knows what every token must be."""

    def __init__(self, engine: TorchEngine, model: FusedDecoder, name: str, chance: np.random.Generator) -> None:
        self.engine, self.model, self.name, self.chance = engine, model, name, chance
        self.ids = [int(i) for i in chance.integers(0, 50, chance.integers(1, 24))]
        self.sampling = self._random_sampling()
        self.held = 0  # tokens that the engine is believed to hold

    def _random_sampling(self) -> Sampling:
        if self.chance.random() < 0.4:
            return GREEDY
        top_p, top_k = self.chance.choice([1.0, 0.9, 0.5]), self.chance.choice([0, 5, 20])
        return Sampling(
            temperature=float(self.chance.choice([0.3, 1.0, 2.0])), top_p=float(top_p), top_k=int(top_k), seed=int(self.chance.integers(99))
        )

    async def live(self) -> None:
        for _ in range(int(self.chance.integers(0, 6))):
            await asyncio.sleep(0.0005)
        for _ in range(int(self.chance.integers(1, 5))):
            action = self.chance.choice(["generate", "cancel", "verify", "verify true", "rollback", "prefill"])
            before = self.held
            try:
                await getattr(self, "_" + action.split()[0])(action)
            except SessionNotFound:
                assert before > 0, "an evicted session is asked for again only if something was believed held"
                self.held = 0  # evicted: the next action sends all ids
        await self.engine.rollback(Rollback(session=self.name))

    def _send(self) -> tuple[int, tuple[int, ...]]:
        keep = int(self.chance.integers(0, self.held + 1)) if self.chance.random() < 0.3 else self.held
        return keep, tuple(self.ids[keep:])

    async def _generate(self, action: str) -> None:
        count = int(self.chance.integers(1, 10))
        keep, ids = self._send()
        expected = decode_alone(self.model, self.ids, count, self.sampling)
        stop_at = int(self.chance.integers(0, count)) if action == "cancel" else count
        request = Generate(session=self.name, keep=keep, ids=ids, max_tokens=count, sampling=self.sampling, hold=True)
        found: list[int] = []
        async with aclosing(self.engine.generate(request)) as stream:
            async for tokens in stream:
                assert tokens.position == len(self.ids) + len(found)
                found.extend(tokens.ids)
                if len(found) > stop_at:
                    break
        assert found == expected[: len(found)]
        if action == "generate":
            assert len(found) == count
        self.ids.extend(found)
        self.held = len(self.ids)

    _cancel = _generate

    async def _verify(self, action: str) -> None:
        count = int(self.chance.integers(1, 6))
        expected = decode_alone(self.model, self.ids, count + 1, self.sampling)
        drafts = expected[:count]
        right = count
        if action != "verify true":
            right = int(self.chance.integers(0, count))
            drafts[right] = (drafts[right] + 1) % 50
        keep, ids = self._send()
        verdict = await self.engine.verify(Verify(session=self.name, keep=keep, ids=ids, drafts=tuple(drafts), sampling=self.sampling))
        assert (verdict.accepted, verdict.next_id) == (right, expected[right])
        assert len(verdict.logprobs) == right + 1
        self.held = len(self.ids) + right
        self.ids.extend(expected[: right + 1])

    async def _rollback(self, action: str) -> None:
        length = int(self.chance.integers(1, len(self.ids) + 1))
        held = await self.engine.rollback(Rollback(session=self.name, length=length))
        del self.ids[length:]
        self.ids.append(int(self.chance.integers(0, 50)))
        self.held = min(held.tokens, length)

    async def _prefill(self, action: str) -> None:
        keep, ids = self._send()
        held = await self.engine.prefill(Prefill(session=self.name, keep=keep, ids=ids))
        assert held.tokens == len(self.ids)
        self.held = held.tokens


async def run_schedule(model: FusedDecoder, seed: int) -> None:
    chance = SeededChance(seed)
    shape = chance.stream("engine")
    compute = ThreadCompute()
    engine = TorchEngine(
        model,
        tiny_card(),
        compute=compute,
        slots=int(shape.integers(1, 6)),
        capacity_tokens=int(shape.choice([96, 150, 400])),
    )
    async with TaskGroup() as group:
        for number in range(int(shape.integers(1, 7))):
            group.create_task(Life(engine, model, f"s{number}", chance.stream(f"life {number}")).live())
    load = engine.load()
    assert (load.running, load.waiting, load.held_tokens, load.sessions) == (0, 0, 0, ())
    await engine.close()
    compute.close()


@pytest.mark.parametrize("chunk", range(CHUNKS))
def test_any_schedule_gives_the_tokens_of_decoding_alone(model: FusedDecoder, chunk: int) -> None:
    size = SCHEDULES // CHUNKS
    for seed in range(chunk * size, (chunk + 1) * size):
        asyncio.run(asyncio.wait_for(run_schedule(model, seed), timeout=60))
