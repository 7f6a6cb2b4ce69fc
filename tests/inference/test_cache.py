"""What an edge node keeps: found by digest or by meaning, in its scope alone, bounded, for a time."""

from __future__ import annotations

import asyncio
import hashlib

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from netgpt.core.clock import VirtualClock, WallClock, run_virtual
from netgpt.core.errors import Overloaded
from netgpt.core.transport import Peer
from netgpt.engine.hash_engine import HashEngine, embed_tokens
from netgpt.inference.cache import BYTES_PER_ENTRY, MOST_EMBEDDING, AnswerCache, Vector, engine_embedder
from netgpt.inference.caching import LONGEST_LIFE_S, SHARED
from netgpt.models.card import weightless_card
from netgpt.models.generation import Embed, Embedding, Recall, Recalled, Remember
from netgpt.models.tokenizer import ByteTokenizer

TOKENIZER = ByteTokenizer()
CARD = weightless_card("hash-edge", tier="edge", parameters=1, context_tokens=512, tokenizer=TOKENIZER)


async def vector(text: str) -> Vector:
    return np.asarray(embed_tokens("m", TOKENIZER.encode(text)), dtype=np.float32)


def recall(question: str, *, scope: str = "alice", group: bytes = b"g", max_age_s: float = 60.0, by_meaning: bool = True) -> Recall:
    digest = hashlib.sha256(question.encode()).digest()
    return Recall(scope=scope, group=group, exact=digest, question=question if by_meaning else "", max_age_s=max_age_s)


async def keep(cache: AnswerCache, question: str, text: str, *, life_s: float = 100.0, scope: str = "alice", group: bytes = b"g") -> bool:
    asked = recall(question, scope=scope, group=group)
    await cache.recall(asked)
    answer = Remember(scope=scope, exact=asked.exact, text=text, reason="stop", completion_tokens=3, made_by="cloud1", life_s=life_s)
    return (await cache.remember(answer, None)).kept


ASKED = "What is the packet delay budget of 5QI 7?"
PARAPHRASE = "Please tell me the packet delay budget of 5QI 7."
OTHER = "What is the packet delay budget of 5QI 9?"


def test_an_answer_is_found_by_its_question_and_by_one_that_means_the_same() -> None:
    async def main() -> None:
        cache = AnswerCache(VirtualClock(), entries=10, embed=vector, threshold=0.3)
        assert await cache.recall(recall(ASKED)) == Recalled()
        assert await keep(cache, ASKED, "100 ms")
        exact = await cache.recall(recall(ASKED))
        assert (exact.found, exact.match, exact.text, exact.reason, exact.completion_tokens, exact.made_by) == (
            True,
            "exact",
            "100 ms",
            "stop",
            3,
            "cloud1",
        )
        alike = await cache.recall(recall(PARAPHRASE))
        assert (alike.found, alike.match, alike.text) == (True, "semantic", "100 ms")
        assert 0.3 <= alike.similarity < 1
        other = await cache.recall(recall(OTHER))
        assert (other.found, other.gate) == (False, "number"), "it is near, and not the same"
        assert not (await cache.recall(recall(PARAPHRASE, by_meaning=False))).found
        assert not (await cache.recall(recall(PARAPHRASE, group=b"another conversation"))).found

    run_virtual(main())


def test_a_vector_that_is_far_away_is_no_match_whatever_the_words() -> None:
    async def far(text: str) -> Vector:
        return np.asarray([1.0, 0.0] if text == ASKED else [0.0, 1.0], dtype=np.float32)

    async def main() -> None:
        cache = AnswerCache(VirtualClock(), entries=10, embed=far)
        await keep(cache, ASKED, "100 ms")
        assert not (await cache.recall(recall(PARAPHRASE))).found

    run_virtual(main())


def test_nothing_of_one_scope_is_found_in_another() -> None:
    async def main() -> None:
        cache = AnswerCache(VirtualClock(), entries=10, embed=vector, threshold=0.0)
        await keep(cache, ASKED, "Alice's", scope="alice")
        for question in (ASKED, PARAPHRASE):
            assert await cache.recall(recall(question, scope="bob")) == Recalled()
        await keep(cache, ASKED, "Bob's", scope="bob")
        assert (await cache.recall(recall(PARAPHRASE, scope="bob"))).text == "Bob's"
        assert (await cache.recall(recall(PARAPHRASE, scope="alice"))).text == "Alice's"

    run_virtual(main())


def test_an_answer_is_given_only_as_long_as_it_is_fresh() -> None:
    async def main() -> None:
        clock = VirtualClock()
        cache = AnswerCache(clock, entries=10, embed=vector, threshold=0.3)
        await keep(cache, ASKED, "100 ms", life_s=50.0)
        await clock.sleep(30.0)
        for question in (ASKED, PARAPHRASE):
            assert (await cache.recall(recall(question, max_age_s=31.0))).age_s == 30.0
            assert not (await cache.recall(recall(question, max_age_s=29.0))).found, "too old for whoever asks"
            assert not (await cache.recall(recall(question, max_age_s=0.0))).found, "it wants a new one"
        await clock.sleep(20.0)
        for question in (ASKED, PARAPHRASE):
            assert not (await cache.recall(recall(question, max_age_s=1e6))).found, "it has died"
        assert await keep(cache, ASKED, "new", life_s=50.0)
        assert (await cache.recall(recall(PARAPHRASE))).text == "new"
        assert len(cache) == 1

    run_virtual(main())


def test_nothing_is_kept_that_was_not_asked_here_or_that_a_device_tells_everybody() -> None:
    async def main() -> None:
        cache = AnswerCache(VirtualClock(), entries=10, embed=vector)
        answer = Remember(scope="alice", exact=b"never asked", text="x", reason="stop", life_s=10.0)
        assert not (await cache.remember(answer, None)).kept
        device, edge = (Peer(node=tier, tier=tier, role="node", serial="1") for tier in ("device", "edge"))
        for scope, by, kept in ((SHARED, device, False), (SHARED, edge, True), ("alice", device, True)):
            asked = recall(ASKED, scope=scope)
            await cache.recall(asked)
            told = Remember(scope=scope, exact=asked.exact, text="x", reason="stop", life_s=10.0)
            assert (await cache.remember(told, by)).kept is kept
        assert not await keep(cache, OTHER, "x", life_s=0.0)
        assert not await keep(cache, OTHER, "x" * 100_000)

    run_virtual(main())


def test_the_least_recently_used_goes_first() -> None:
    async def main() -> None:
        cache = AnswerCache(VirtualClock(), entries=2, embed=vector)
        await keep(cache, "What is paging?", "1")
        await keep(cache, "What is roaming?", "2")
        await cache.recall(recall("What is paging?"))
        await keep(cache, "What is slicing?", "3")
        found = {word: (await cache.recall(recall(f"What is {word}?"))).found for word in ("paging", "roaming", "slicing")}
        assert found == {"paging": True, "roaming": False, "slicing": True}

    run_virtual(main())


@settings(max_examples=25, deadline=None)
@given(st.lists(st.tuples(st.integers(0, 40), st.integers(0, 2), st.integers(1, 40_000), st.sampled_from(["a", "b"])), max_size=60))
def test_memory_is_bounded_and_its_count_exact_whatever_comes(steps: list[tuple[int, int, int, str]]) -> None:
    async def main() -> None:
        clock = VirtualClock()
        cache = AnswerCache(clock, entries=6, embed=vector, threshold=0.0)
        for number, wait_s, size, scope in steps:
            await clock.sleep(float(wait_s))
            await keep(cache, f"What is {number}?", "x" * size, life_s=5.0, scope=scope)
            await cache.recall(recall(f"Please, what is {number + 1}?", scope=scope, max_age_s=3.0))
            assert len(cache) <= 6
            assert cache.bytes <= 6 * BYTES_PER_ENTRY
            assert cache.bytes == sum(entry.size_bytes for entry in cache._entries.values())
            assert sum(len(group.keys) for group in cache._groups.values()) == len(cache)
            assert sum(len(group.by_meaning) for group in cache._groups.values()) == len(cache)
        for number in range(600):
            await cache.recall(recall(f"nobody answers {number}"))
        assert len(cache._asked) <= 6

    run_virtual(main())


def test_vectors_are_made_by_the_nodes_own_model_and_without_them_digests_remain() -> None:
    async def main() -> None:
        engine = HashEngine(CARD, WallClock())
        embed = engine_embedder(engine, TOKENIZER)
        assert embed is not None
        made = await embed(ASKED)
        assert made is not None
        assert np.isclose(np.linalg.norm(made), 1.0)
        assert await embed("x" * 5_000) is None, "longer than the model's context"
        assert engine_embedder(engine, None) is None
        cache = AnswerCache(WallClock(), entries=10, embed=None)
        await keep(cache, ASKED, "100 ms")
        assert (await cache.recall(recall(ASKED))).found
        assert not (await cache.recall(recall(PARAPHRASE))).found
        await engine.close()

    asyncio.run(main())


def test_a_flood_of_questions_has_few_vectors_made_at_once_and_the_rest_is_found_by_digest() -> None:
    async def main() -> None:
        engine = HashEngine(CARD, WallClock())
        made, free, asked = engine.embed, asyncio.Event(), 0

        async def held(request: Embed) -> Embedding:
            nonlocal asked
            asked += 1
            await free.wait()
            return await made(request)

        engine.embed = held  # type: ignore[method-assign]
        embed = engine_embedder(engine, TOKENIZER)
        assert embed is not None
        tasks = [asyncio.ensure_future(embed(f"question {number}")) for number in range(20)]
        await asyncio.sleep(0)
        assert (asked, sum(task.done() and task.result() is None for task in tasks)) == (MOST_EMBEDDING, 20 - MOST_EMBEDDING)
        free.set()
        assert sum(vector is not None for vector in await asyncio.gather(*tasks)) == MOST_EMBEDDING
        assert await embed(ASKED) is not None, "the next finds room"
        await engine.close()

    asyncio.run(main())


def test_an_engine_that_is_too_busy_for_a_vector_costs_no_answer() -> None:
    async def main() -> None:
        engine = HashEngine(CARD, VirtualClock())

        async def refuse(request: object) -> object:
            raise Overloaded("the queue is full", hint="retry")

        engine.embed = refuse  # type: ignore[method-assign]
        cache = AnswerCache(VirtualClock(), entries=10, embed=engine_embedder(engine, TOKENIZER))
        assert await keep(cache, ASKED, "100 ms")
        assert (await cache.recall(recall(ASKED))).found
        assert not (await cache.recall(recall(PARAPHRASE))).found
        await engine.close()

    run_virtual(main())


def test_a_question_without_a_limit_lives_a_day_at_most() -> None:
    async def main() -> None:
        clock = VirtualClock()
        cache = AnswerCache(clock, entries=10)
        await keep(cache, ASKED, "100 ms", life_s=1e9)
        await clock.sleep(LONGEST_LIFE_S + 1)
        assert not (await cache.recall(recall(ASKED, max_age_s=1e9))).found

    run_virtual(main())
