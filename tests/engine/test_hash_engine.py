import asyncio
import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from netgpt.core.clock import VirtualClock, run_virtual
from netgpt.core.errors import ContextLengthExceeded, InvalidRequest, Overloaded, SessionNotFound
from netgpt.engine.hash_engine import HashEngine, HashLaw, absorb, embed_tokens
from netgpt.engine.timed import TimedEngine
from netgpt.models.card import weightless_card
from netgpt.models.generation import GREEDY, Embed, Generate, Prefill, Rollback, Sampling, Tokens, Verify
from netgpt.models.tokenizer import ByteTokenizer
from netgpt.network.profile import find_profile
from netgpt.network.roofline import declare
from netgpt.network.shape import sized_shape

CARD = weightless_card("hash-test", tier="edge", parameters=10**9, context_tokens=256, tokenizer=ByteTokenizer())
PROMPT = tuple(b"hello")


def engine(**settings: object) -> HashEngine:
    return HashEngine(CARD, VirtualClock(), **settings)  # type: ignore[arg-type]


async def collect(engine: HashEngine, request: Generate) -> tuple[list[int], list[Tokens]]:
    replies = [tokens async for tokens in engine.generate(request)]
    return [i for tokens in replies for i in tokens.ids], replies


def law_says(ids: tuple[int, ...], count: int, sampling: Sampling = GREEDY, agreement: float = 1.0) -> list[int]:
    law, answer = HashLaw(CARD.id, agreement), list(ids)
    for _ in range(count):
        answer.append(law.choose(absorb(0, answer), sampling, len(answer))[0])
    return answer[len(ids) :]


@pytest.mark.parametrize("sampling", [Sampling(), Sampling(temperature=1.0, seed=5)])
def test_an_answer_is_what_the_law_says(sampling: Sampling):
    ids, replies = run_virtual(collect(engine(), Generate(session="s", ids=PROMPT, max_tokens=40, sampling=sampling)))
    assert ids == law_says(PROMPT, 40, sampling)
    assert [tokens.position for tokens in replies] == list(range(5, 45))
    assert replies[-1].finish == "length"
    assert not any(tokens.finish for tokens in replies[:-1])


@given(st.lists(st.integers(0, 255), min_size=1, max_size=20), st.integers(0, 19), st.integers(1, 255))
def test_any_changed_token_changes_what_follows(ids: list[int], where: int, by: int):
    changed = list(ids)
    changed[where % len(ids)] = (changed[where % len(ids)] + by) % 256
    assert absorb(0, ids) != absorb(0, changed)
    assert absorb(0, ids) != absorb(0, [*ids, 0])


def test_models_agree_as_often_as_they_are_told():
    reference, other = HashLaw("a", 1.0), HashLaw("b", 0.7)
    states = [absorb(0, (number,)) for number in range(4000)]
    same = sum(reference.choose(state, Sampling(), 1)[0] == other.choose(state, Sampling(), 1)[0] for state in states)
    assert same / 4000 == pytest.approx(0.7 + 0.3 / 18, abs=0.03)  # a deviation may land on the same letter


def test_a_stop_id_ends_the_answer_and_is_part_of_it():
    expected = law_says(PROMPT, 40)
    ids, replies = run_virtual(collect(engine(), Generate(session="s", ids=PROMPT, max_tokens=40, stop_ids=(expected[7],))))
    first = expected.index(expected[7])
    assert ids == expected[: first + 1]
    assert replies[-1].finish == "stop"


def test_log_probabilities_are_of_a_distribution():
    _, replies = run_virtual(collect(engine(), Generate(session="s", ids=PROMPT, max_tokens=9, top_logprobs=2)))
    for tokens in replies:
        assert sum(math.exp(logprob) for logprob in tokens.top[0].logprobs) == pytest.approx(1)
        assert tokens.logprobs[0] == tokens.top[0].logprobs[0]


@pytest.mark.parametrize("sampling", [Sampling(), Sampling(temperature=1.0, seed=3)])
def test_verification_accepts_exactly_what_generation_would_give(sampling: Sampling):
    async def main() -> None:
        right = law_says(PROMPT, 6, sampling)
        wrong = [*right[:4], (right[4] + 1) % 256, right[5]]
        verdict = await engine().verify(Verify(session="s", ids=PROMPT, drafts=tuple(wrong), sampling=sampling))
        assert (verdict.accepted, verdict.next_id) == (4, right[4])
        verdict = await engine().verify(Verify(session="s", ids=PROMPT, drafts=tuple(right[:5]), sampling=sampling))
        assert (verdict.accepted, verdict.next_id) == (5, right[5])

    run_virtual(main())


def test_a_held_session_goes_on_from_what_is_kept():
    async def main() -> None:
        one = engine()
        ids, _ = await collect(one, Generate(session="s", ids=PROMPT, max_tokens=4, hold=True))
        assert one.load().held_tokens == 9
        more, _ = await collect(one, Generate(session="s", epoch=1, keep=7, ids=(1, 2), max_tokens=3))
        assert more == law_says((*PROMPT, *ids[:2], 1, 2), 3)
        assert one.load().held_tokens == 0
        with pytest.raises(SessionNotFound, match="fewer than 3 tokens"):
            await collect(one, Generate(session="s", keep=3, ids=(1,), max_tokens=1))

    run_virtual(main())


def test_an_older_epoch_is_refused():
    async def main() -> None:
        one = engine()
        await one.prefill(Prefill(session="s", epoch=2, ids=PROMPT))
        with pytest.raises(SessionNotFound, match="at epoch 2, not 1"):
            await one.prefill(Prefill(session="s", epoch=1, ids=PROMPT))
        assert (await one.rollback(Rollback(session="s", length=3))).tokens == 3
        assert (await one.rollback(Rollback(session="s"))).tokens == 0

    run_virtual(main())


def test_what_does_not_fit_is_refused():
    async def main() -> None:
        with pytest.raises(ContextLengthExceeded, match="do not fit the context of 256"):
            await collect(engine(), Generate(session="s", ids=PROMPT, max_tokens=252))
        with pytest.raises(InvalidRequest, match="outside the vocabulary"):
            await collect(engine(), Generate(session="s", ids=(9999,), max_tokens=1))
        with pytest.raises(InvalidRequest, match="at least one token"):
            await collect(engine(), Generate(session="s", ids=(), max_tokens=1))

    run_virtual(main())


def test_slots_and_queue_are_bounded():
    async def main() -> None:
        one = engine(slots=1, queue=1)
        first = one.generate(Generate(session="a", ids=PROMPT, max_tokens=50))
        await anext(first)
        waiting = asyncio.ensure_future(collect(one, Generate(session="b", ids=PROMPT, max_tokens=2)))
        await asyncio.sleep(0)
        assert (one.load().running, one.load().waiting) == (1, 1)
        with pytest.raises(Overloaded, match="wait for 1 slots"):
            await collect(one, Generate(session="c", ids=PROMPT, max_tokens=2))
        await first.aclose()  # type: ignore[attr-defined]
        assert (await waiting)[0] == law_says(PROMPT, 2)
        assert (one.load().running, one.load().held_tokens) == (0, 0)

    run_virtual(main())


def vectors_of(*texts: str) -> list[float]:
    """Of the engine's model, one after the other."""
    return [value for text in texts for value in embed_tokens(engine().card.id, tuple(text.encode()))]


def test_an_embedding_is_a_function_of_model_and_text_and_similar_texts_lie_close():
    async def vectors(*texts: str) -> list[tuple[float, ...]]:
        one = engine()
        return [(await one.embed(Embed(session=f"s{n}", ids=tuple(text.encode())))).values for n, text in enumerate(texts)]

    same, again, near, far = run_virtual(vectors("the packet delay", "the packet delay", "the packet delays", "roses are red"))
    assert same == again
    assert sum(value * value for value in same) == pytest.approx(1)
    assert sum(a * b for a, b in zip(same, near, strict=True)) > 0.8 > 0.5 > abs(sum(a * b for a, b in zip(same, far, strict=True)))

    async def of_parts() -> tuple[float, ...]:
        return (await engine().embed(Embed(session="p", ids=tuple(b"the packet delay"), parts=(10, 6)))).values

    parts = run_virtual(of_parts())
    assert parts == (*vectors_of("the packet", "t"), *vectors_of(" delay", "y"))


def test_an_embedding_takes_a_slot_and_modelled_time_and_leaves_nothing():
    async def main() -> None:
        clock = VirtualClock()
        inner = HashEngine(CARD, clock)
        declared = declare(find_profile("phone"), sized_shape(10**9))
        timed = TimedEngine(inner, declared, clock)
        embedding = await timed.embed(Embed(session="s", ids=PROMPT))
        assert clock.now_s() == pytest.approx(declared.prefill_s(len(PROMPT)))
        assert embedding.timings is not None
        assert embedding.timings.modelled
        assert inner.load().sessions == ()
        with pytest.raises(ContextLengthExceeded):
            await inner.embed(Embed(session="s", ids=(1,) * 257))
        with pytest.raises(InvalidRequest):
            await inner.embed(Embed(session="s", ids=()))

    run_virtual(main())
