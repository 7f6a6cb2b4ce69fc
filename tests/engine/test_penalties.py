"""Penalties and biases: OpenAI's formula on logits, counted over the answer alone, and confidence as it was."""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import Awaitable, Callable
from contextlib import aclosing

import numpy as np
import pytest
import torch

from netgpt.core.clock import VirtualClock, WallClock, run_virtual
from netgpt.core.errors import InvalidRequest, NotSupported
from netgpt.engine.contract import Engine
from netgpt.engine.decode import FusedDecoder
from netgpt.engine.hash_engine import HashEngine, HashLaw, absorb
from netgpt.engine.openai_engine import OpenAIEngine
from netgpt.engine.openai_request import Upstream as Asked
from netgpt.engine.replay_engine import ReplayEngine
from netgpt.engine.sampling import Shift, check_penalties
from netgpt.engine.torch_engine import TorchEngine
from netgpt.models.generation import GREEDY, Generate, Penalties, Sampling, Text, Tokens, Turn
from netgpt.models.tokenizer import ByteTokenizer

from .openai_upstream import Upstream, serving
from .test_hash_engine import CARD
from .torch_models import decode_alone, tiny_card, tiny_decoder, with_engine_of

DECODER = tiny_decoder()
MODEL = FusedDecoder(DECODER)
PROMPT = (3, 1, 4, 1, 5, 9, 2, 6)
COUNTED = Penalties(presence=0.7, frequency=0.4)


def with_torch(scenario: Callable[[TorchEngine], Awaitable[None]]) -> None:
    with_engine_of(MODEL, tiny_card(), scenario)


async def said(engine: Engine, request: Generate) -> list[Tokens]:
    async with aclosing(engine.generate(request)) as replies:
        return [tokens async for tokens in replies]


async def written(engine: Engine, request: Generate) -> list[int]:
    return [i for tokens in await said(engine, request) for i in tokens.ids]


def asked(penalties: Penalties | None, *, answer: tuple[int, ...] = (), max_tokens: int = 24, session: str = "s", **more: object) -> Generate:
    values = {"session": session, "ids": PROMPT + answer, "answer_from": len(PROMPT), "max_tokens": max_tokens, "penalties": penalties}
    return Generate(**values, **more)  # type: ignore[arg-type]


def by_formula(penalties: Penalties, count: int) -> list[int]:
    """mu[j] - c[j] * frequency - (c[j] > 0) * presence + bias[j], written out, over the whole sequence each time."""
    answer: list[int] = []
    for _ in range(count):
        with torch.inference_mode():
            logits_V = DECODER(torch.tensor([[*PROMPT, *answer]]))[0, -1].float().tolist()
        for token, times in Counter(answer).items():
            logits_V[token] -= times * penalties.frequency + penalties.presence
        for token, bias in zip(penalties.bias_ids, penalties.biases, strict=True):
            logits_V[token] += bias
        answer.append(int(np.argmax(logits_V)))
    return answer


PENALTIES = [COUNTED, Penalties(frequency=2.0), Penalties(presence=-2.0, frequency=-1.0), Penalties(bias_ids=(7, 3), biases=(100.0, -100.0))]


@pytest.mark.parametrize("penalties", PENALTIES)
def test_greedy_answers_follow_the_published_formula(penalties: Penalties) -> None:
    async def scenario(engine: TorchEngine) -> None:
        assert await written(engine, asked(penalties)) == by_formula(penalties, 24)

    with_torch(scenario)


def test_a_bias_forces_and_forbids_and_the_prompt_does_not_count() -> None:
    async def scenario(engine: TorchEngine) -> None:
        plain = decode_alone(MODEL, PROMPT, 8, GREEDY)
        assert await written(engine, asked(Penalties(bias_ids=(11,), biases=(100.0,)), max_tokens=8)) == [11] * 8
        forbidden = await written(engine, asked(Penalties(bias_ids=(plain[0],), biases=(-100.0,)), max_tokens=8))
        assert plain[0] not in forbidden
        first = await written(engine, asked(Penalties(presence=2.0, frequency=2.0), max_tokens=1))
        assert first == plain[:1], "nothing has been answered yet"

    with_torch(scenario)


@pytest.mark.parametrize("sampling", [GREEDY, Sampling(temperature=1.0, top_p=0.9, seed=11)])
def test_another_engine_that_goes_on_counts_what_was_answered_before(sampling: Sampling) -> None:
    async def scenario(engine: TorchEngine) -> None:
        whole = await written(engine, asked(COUNTED, sampling=sampling))
        rest = await written(engine, asked(COUNTED, sampling=sampling, answer=tuple(whole[:10]), max_tokens=14, session="t"))
        assert whole[:10] + rest == whole
        assert whole != decode_alone(MODEL, PROMPT, 24, sampling)

    with_torch(scenario)


def test_sessions_in_one_batch_keep_their_own_counts_and_plain_ones_stay_plain() -> None:
    async def scenario(engine: TorchEngine) -> None:
        wishes = [None, COUNTED, Penalties(frequency=2.0)]
        alone = [await written(engine, asked(penalties)) for penalties in wishes]
        together = await asyncio.gather(*(written(engine, asked(penalties, session=str(n))) for n, penalties in enumerate(wishes)))
        assert together == alone
        assert alone[0] == decode_alone(MODEL, PROMPT, 24, GREEDY)

    with_torch(scenario)


def test_log_probabilities_are_those_before_penalties() -> None:
    async def scenario(engine: TorchEngine) -> None:
        forced = asked(Penalties(bias_ids=(11,), biases=(100.0,)), max_tokens=1, top_logprobs=3)
        (biased,) = await said(engine, forced)
        (plain,) = await said(engine, asked(None, max_tokens=1, top_logprobs=3))
        assert biased.top == plain.top
        assert biased.ids == (11,)
        assert biased.logprobs[0] < -1, "as unlikely as the model thinks it"

    with_torch(scenario)


@pytest.mark.parametrize(
    ("penalties", "param"),
    [
        (Penalties(presence=float("nan")), "presence_penalty"),
        (Penalties(frequency=float("inf")), "frequency_penalty"),
        (Penalties(bias_ids=(1,), biases=()), "logit_bias"),
        (Penalties(bias_ids=(1, 1), biases=(1.0, 2.0)), "logit_bias"),
        (Penalties(bias_ids=(64,), biases=(1.0,)), "logit_bias"),
    ],
)
def test_what_has_no_meaning_is_refused_by_name(penalties: Penalties, param: str) -> None:
    with pytest.raises(InvalidRequest) as caught:
        check_penalties(penalties, 64)
    assert caught.value.param == param
    assert caught.value.hint


def test_a_shift_leaves_the_model_s_logits_alone() -> None:
    logits_V = np.array([0.0, 1.0, 2.0, 3.0], dtype=np.float32)
    shift = Shift(Penalties(presence=0.5, frequency=0.25, bias_ids=(0, 3), biases=(5.0, -5.0)), answer=[1, 3, 3])
    assert shift.applied(logits_V).tolist() == pytest.approx([5.0, 0.25, 2.0, -3.0])
    shift.count(1)
    assert shift.applied(logits_V).tolist() == pytest.approx([5.0, 0.0, 2.0, -3.0])
    assert [shift.gain(token) for token in range(4)] == pytest.approx([5.0, -1.0, 0.0, -6.0])
    assert logits_V.tolist() == [0.0, 1.0, 2.0, 3.0]


def test_the_language_without_weights_honours_them_between_its_two_candidates() -> None:
    law, engine = HashLaw(CARD.id, 1.0), HashEngine(CARD, VirtualClock())
    first, probability, second = law.choose(absorb(0, PROMPT), GREEDY, len(PROMPT))

    async def one(penalties: Penalties | None) -> tuple[int, float]:
        (tokens,) = await said(engine, asked(penalties, max_tokens=1))
        return tokens.ids[0], tokens.logprobs[0]

    assert run_virtual(one(None))[0] == first
    token, logprob = run_virtual(one(Penalties(bias_ids=(first,), biases=(-100.0,))))
    assert (token, logprob) == (second, pytest.approx(np.log(1 - probability)))
    whole = run_virtual(written(engine, asked(COUNTED, max_tokens=60)))
    assert whole != run_virtual(written(engine, asked(None, max_tokens=60)))
    rest = run_virtual(written(engine, asked(COUNTED, answer=tuple(whole[:20]), max_tokens=40)))
    assert whole[:20] + rest == whole


def test_a_recording_refuses_them_by_name() -> None:
    engine = ReplayEngine(CARD, {}, VirtualClock())
    assert not engine.capabilities.penalties
    for penalties, param in ((COUNTED, "presence_penalty"), (Penalties(frequency=1.0), "frequency_penalty"), (PENALTIES[-1], "logit_bias")):
        with pytest.raises(NotSupported, match=f"knows no {param}") as caught:
            run_virtual(written(engine, asked(penalties)))
        assert caught.value.param == param


def test_an_upstream_is_told_them_but_not_in_the_middle_of_an_answer() -> None:
    async def main() -> None:
        async with serving(Upstream()) as upstream:
            engine = OpenAIEngine(Asked(url=upstream.url, model=upstream.model), WallClock(), tier="cloud")
            try:
                await engine.look()
                await written(engine, by_text(Penalties(presence=0.5, bias_ids=(5, 7), biases=(-100.0, 1.5))))
                body = upstream.asked[-1]
                assert (body["presence_penalty"], body["logit_bias"]) == (0.5, {"5": -100.0, "7": 1.5})
                assert "frequency_penalty" not in body
                await written(engine, by_text(None))
                assert not {"presence_penalty", "frequency_penalty", "logit_bias"} & upstream.asked[-1].keys()
                with pytest.raises(NotSupported, match="does not count"):
                    await written(engine, by_text(COUNTED, answer=b"All"))
                await written(engine, by_text(Penalties(bias_ids=(5,), biases=(1.0,)), answer=b"All"))
            finally:
                await engine.close()

    asyncio.run(main())


def by_text(penalties: Penalties | None, answer: bytes = b"") -> Generate:
    text = Text(messages=(Turn(role="user", content="How is it?"),), answer=answer)
    return Generate(session="s", ids=(), max_tokens=8, text=text, penalties=penalties)


def test_bytes_are_the_vocabulary_of_the_language_without_weights() -> None:
    with pytest.raises(InvalidRequest, match="names token"):
        run_virtual(written(HashEngine(CARD, VirtualClock()), asked(Penalties(bias_ids=(ByteTokenizer.vocabulary,), biases=(1.0,)))))
