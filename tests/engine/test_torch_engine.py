"""The engine contract, kept by the torch engine."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Awaitable, Callable, Sequence
from contextlib import aclosing
from pathlib import Path

import pytest
import torch

from netgpt.core.clock import VirtualClock, run_virtual
from netgpt.core.compute import ThreadCompute, VirtualCompute
from netgpt.core.errors import ContextLengthExceeded, InvalidRequest, NetgptError, NodeUnreachable, Overloaded, SessionNotFound
from netgpt.core.scheduling import TaskGroup
from netgpt.engine.contract import Engine
from netgpt.engine.decode import FusedDecoder, Segment
from netgpt.engine.torch_engine import TorchEngine
from netgpt.models.checkpoint import save_model
from netgpt.models.generation import GREEDY, Embed, Generate, Prefill, Rollback, Sampling, Score, Tokens, Verify

from .torch_models import decode_alone, tiny_card, tiny_decoder, with_engine_of

DECODER = tiny_decoder()
MODEL = FusedDecoder(DECODER)
PROMPT = (3, 1, 4, 1, 5, 9, 2, 6)
WARM = Sampling(temperature=1.0, top_p=0.9, seed=11)


def with_engine(scenario: Callable[[TorchEngine], Awaitable[None]], model: FusedDecoder = MODEL, **settings: int) -> None:
    with_engine_of(model, tiny_card(), scenario, **settings)


async def collect(engine: Engine, request: Generate) -> list[Tokens]:
    return [tokens async for tokens in engine.generate(request)]


async def written(engine: Engine, request: Generate) -> list[int]:
    return [i for tokens in await collect(engine, request) for i in tokens.ids]


def test_a_generation_ends_at_its_length_and_reports_itself() -> None:
    async def scenario(engine: TorchEngine) -> None:
        parts = await collect(engine, Generate(session="a", epoch=4, ids=PROMPT, max_tokens=20))
        assert [i for tokens in parts for i in tokens.ids] == decode_alone(MODEL, PROMPT, 20, GREEDY)
        assert [tokens.position for tokens in parts] == [8 + sum(len(t.ids) for t in parts[:n]) for n in range(len(parts))]
        assert {tokens.epoch for tokens in parts} == {4}
        assert [tokens.finish for tokens in parts] == [""] * (len(parts) - 1) + ["length"]
        timings = parts[-1].timings
        assert timings is not None
        assert min(timings.queue_s, timings.prefill_s, timings.decode_s) >= 0
        assert engine.load().held_tokens == 0

    with_engine(scenario)


@pytest.mark.parametrize("sampling", [GREEDY, WARM])
def test_a_stop_id_ends_the_generation_and_is_included(sampling: Sampling) -> None:
    expected = decode_alone(MODEL, PROMPT, 20, sampling)
    stop = expected[9]

    async def scenario(engine: TorchEngine) -> None:
        parts = await collect(engine, Generate(session="a", ids=PROMPT, max_tokens=20, stop_ids=(stop, 49), sampling=sampling))
        assert [i for tokens in parts for i in tokens.ids] == expected[: expected.index(stop) + 1]
        assert parts[-1].finish == "stop"

    with_engine(scenario)


def test_the_engine_says_when_its_slots_get_free() -> None:
    async def scenario(engine: TorchEngine) -> None:
        assert (engine.load().free_s, engine.load().step_s) == ((), 0.0)
        await written(engine, Generate(session="a", ids=PROMPT, max_tokens=20))
        load = engine.load()
        assert load.free_s == (0.0, 0.0)
        assert load.step_s > 0
        assert load.prompt_token_s > 0
        streams = [engine.generate(Generate(session=name, ids=PROMPT, max_tokens=80)) for name in ("b", "c")]
        await anext(streams[0])
        free, busy = engine.load().free_s
        assert free == 0.0
        assert 30 * load.step_s < busy, "no answer has ended before its limit yet"
        await anext(streams[1])
        async with TaskGroup() as tasks:
            waiting = tasks.create_task(written(engine, Generate(session="d", ids=PROMPT, max_tokens=80)))
            before = engine.load().free_s
            await asyncio.sleep(0)
            assert engine.load().waiting == 1
            assert engine.load().free_s[0] >= before[0], "who waits takes the first slot"
            for stream in streams:
                await stream.aclose()
            assert len(await waiting) == 80
        assert engine.load().free_s == (0.0, 0.0)

    with_engine(scenario, slots=2)


def test_what_is_no_answer_teaches_no_pace_and_is_not_left_behind() -> None:
    async def scenario(engine: TorchEngine) -> None:
        await written(engine, Generate(session="a", ids=PROMPT, max_tokens=20))
        known = engine.load()
        await engine.prefill(Prefill(session="b", ids=PROMPT))
        await engine.verify(Verify(session="b", keep=len(PROMPT), ids=(), drafts=(1, 2)))
        await engine.embed(Embed(session="c", ids=PROMPT))
        with pytest.raises(SessionNotFound):
            await written(engine, Generate(session="none", keep=4, ids=PROMPT, max_tokens=4))
        load = engine.load()
        assert (load.step_s, load.prompt_token_s, load.free_s) == (known.step_s, known.prompt_token_s, (0.0, 0.0))

    with_engine(scenario, slots=2)


def test_logprobs_are_of_the_raw_logits() -> None:
    async def scenario(engine: TorchEngine) -> None:
        parts = await collect(engine, Generate(session="a", ids=PROMPT, max_tokens=6, top_logprobs=3, sampling=WARM))
        ids = [i for tokens in parts for i in tokens.ids]
        with torch.no_grad():
            expected_TV = DECODER(torch.tensor([[*PROMPT, *ids]]))[0, 7:-1].log_softmax(-1)
        chosen = [float(expected_TV[n, i]) for n, i in enumerate(ids)]
        assert [p for tokens in parts for p in tokens.logprobs] == pytest.approx(chosen, abs=1e-4)
        for n, top in enumerate(t for tokens in parts for t in tokens.top):
            assert top.logprobs == pytest.approx(expected_TV[n].topk(3).values.tolist(), abs=1e-4)
            assert list(top.ids) == expected_TV[n].topk(3).indices.tolist()

    with_engine(scenario)


@pytest.mark.parametrize("sampling", [GREEDY, WARM])
def test_coupled_verification_gives_what_plain_generation_gives(sampling: Sampling) -> None:
    expected = decode_alone(MODEL, PROMPT, 24, sampling)

    async def scenario(engine: TorchEngine) -> None:
        text, keep, ids = list(PROMPT), 0, PROMPT
        drafts_right = [4, 0, 2, 4, 3, 1]
        for right in drafts_right:
            position = len(text) - len(PROMPT)
            drafts = expected[position : position + 4]
            if right < 4:
                drafts[right] = (drafts[right] + 1) % 50
            verdict = await engine.verify(Verify(session="a", epoch=2, keep=keep, ids=ids, drafts=tuple(drafts), sampling=sampling))
            assert (verdict.accepted, verdict.epoch) == (right, 2)
            keep = len(text) + right
            assert engine.load().held_tokens == keep  # next_id is not yet held
            text += [*drafts[:right], verdict.next_id]
            ids = (verdict.next_id,)
        assert text[len(PROMPT) :] == expected[: len(text) - len(PROMPT)]
        rest = await written(engine, Generate(session="a", epoch=2, keep=keep, ids=ids, max_tokens=4, sampling=sampling))
        assert rest == expected[len(text) - len(PROMPT) :][:4]

    with_engine(scenario)


def test_a_verification_without_drafts_draws_one_token() -> None:
    async def scenario(engine: TorchEngine) -> None:
        verdict = await engine.verify(Verify(session="a", ids=PROMPT, drafts=()))
        assert (verdict.accepted, [verdict.next_id]) == (0, decode_alone(MODEL, PROMPT, 1, GREEDY))

    with_engine(scenario)


def test_a_held_session_continues_from_its_kv() -> None:
    expected = decode_alone(MODEL, PROMPT, 12, WARM)

    async def scenario(engine: TorchEngine) -> None:
        held = await engine.prefill(Prefill(session="a", ids=PROMPT))
        assert held.tokens == 8
        first = await written(engine, Generate(session="a", keep=8, ids=(), max_tokens=5, sampling=WARM, hold=True))
        parts = await collect(engine, Generate(session="a", keep=13, ids=(), max_tokens=7, sampling=WARM, hold=True))
        assert first + [i for tokens in parts for i in tokens.ids] == expected
        assert parts[-1].cached == 12  # the newest token is fed now
        assert (await engine.rollback(Rollback(session="a", length=9))).tokens == 9
        again = await written(engine, Generate(session="a", keep=9, ids=(), max_tokens=3, sampling=WARM))
        assert again == expected[1:4]

    with_engine(scenario)


def test_a_session_sent_again_in_full_reuses_what_is_the_same() -> None:
    async def scenario(engine: TorchEngine) -> None:
        await engine.prefill(Prefill(session="a", ids=PROMPT))
        for ids, cached in ((PROMPT, 7), ((*PROMPT, 7), 8), ((*PROMPT[:5], 8, 8), 5), (PROMPT[:3], 2), ((9, *PROMPT), 0)):
            parts = await collect(engine, Generate(session="a", ids=ids, max_tokens=4, hold=True))
            assert [i for tokens in parts for i in tokens.ids] == decode_alone(MODEL, ids, 4, GREEDY)
            assert parts[-1].cached == cached

    with_engine(scenario)


def test_rollback_frees_and_is_harmless_for_an_unknown_session() -> None:
    async def scenario(engine: TorchEngine) -> None:
        await engine.prefill(Prefill(session="a", ids=PROMPT))
        assert (await engine.rollback(Rollback(session="b", length=3))).tokens == 0
        assert (await engine.rollback(Rollback(session="a", length=99))).tokens == 8
        assert (await engine.rollback(Rollback(session="a"))).tokens == 0
        assert engine.load().sessions == ()

    with_engine(scenario)


def test_what_can_never_be_served_is_refused_by_name() -> None:
    async def scenario(engine: TorchEngine) -> None:
        for request, error, param in (
            (Generate(session="a", ids=(), max_tokens=3), InvalidRequest, "ids"),
            (Generate(session="a", ids=(50,), max_tokens=3), InvalidRequest, "ids"),
            (Generate(session="a", ids=(1, -1), max_tokens=3), InvalidRequest, "ids"),
            (Generate(session="a", ids=(1,), max_tokens=0), InvalidRequest, "max_tokens"),
            (Generate(session="a", ids=(1,), max_tokens=3, sampling=Sampling(top_p=7.0)), InvalidRequest, "top_p"),
            (Generate(session="a", ids=PROMPT, max_tokens=89), ContextLengthExceeded, "ids"),
            (Generate(session="a", keep=90, ids=PROMPT, max_tokens=1), ContextLengthExceeded, "ids"),
        ):
            with pytest.raises(error) as caught:
                await collect(engine, request)
            assert caught.value.param == param
        with pytest.raises(InvalidRequest):
            await engine.verify(Verify(session="a", ids=(1,), drafts=(99,)))
        with pytest.raises(ContextLengthExceeded):
            await engine.prefill(Prefill(session="a", ids=(1,) * 97))
        assert len(await written(engine, Generate(session="a", ids=PROMPT, max_tokens=88))) == 88  # just fits

    with_engine(scenario)


def test_a_session_that_is_not_held_must_be_sent_again() -> None:
    async def scenario(engine: TorchEngine) -> None:
        with pytest.raises(SessionNotFound, match="holds 0 tokens"):
            await collect(engine, Generate(session="a", keep=3, ids=(1,), max_tokens=2))
        await written(engine, Generate(session="a", ids=PROMPT, max_tokens=2))  # not held afterwards
        with pytest.raises(SessionNotFound):
            await engine.verify(Verify(session="a", keep=8, ids=(1,), drafts=()))

    with_engine(scenario)


def test_the_session_unused_for_longest_is_evicted() -> None:
    async def scenario(engine: TorchEngine) -> None:
        for name in ("a", "b", "c"):
            await engine.prefill(Prefill(session=name, ids=(1,) * 30))
        await engine.prefill(Prefill(session="a", keep=30, ids=(2,)))  # a is used again
        await engine.prefill(Prefill(session="d", ids=(1,) * 30))
        assert engine.load().sessions == ("c", "a", "d")
        assert engine.load().held_tokens == 91
        with pytest.raises(SessionNotFound):
            await engine.prefill(Prefill(session="b", keep=30, ids=(2,)))

    with_engine(scenario, capacity_tokens=96)


def test_a_full_queue_refuses_and_says_when_to_retry() -> None:
    async def scenario(engine: TorchEngine) -> None:
        async with TaskGroup() as group:
            calls = [group.create_task(written(engine, Generate(session=f"s{n}", ids=PROMPT, max_tokens=60))) for n in range(3)]
            await asyncio.sleep(0)
            with pytest.raises(Overloaded) as caught:
                await engine.prefill(Prefill(session="one too many", ids=PROMPT))
            assert caught.value.retry_after_s > 0
        expected = decode_alone(MODEL, PROMPT, 60, GREEDY)
        assert [call.result() for call in calls] == [expected] * 3
        assert (await engine.prefill(Prefill(session="later", ids=PROMPT))).tokens == 8

    with_engine(scenario, slots=1, queue=2)


def test_closing_a_stream_frees_its_slot_soon() -> None:
    async def scenario(engine: TorchEngine) -> None:
        async with aclosing(engine.generate(Generate(session="long", ids=PROMPT, max_tokens=80))) as stream:
            await anext(stream)
        second = await written(engine, Generate(session="next", ids=PROMPT, max_tokens=2))  # the only slot is free again
        assert len(second) == 2
        assert engine.load().sessions == ()

    with_engine(scenario, slots=1)


def test_a_newer_call_of_a_session_ends_the_older_one() -> None:
    async def scenario(engine: TorchEngine) -> None:
        async with aclosing(engine.generate(Generate(session="a", epoch=1, ids=PROMPT, max_tokens=80))) as older:
            await anext(older)
            newer = await written(engine, Generate(session="a", epoch=2, ids=PROMPT, max_tokens=5))
            assert newer == decode_alone(MODEL, PROMPT, 5, GREEDY)
            with pytest.raises(SessionNotFound, match="newer call"):
                async for _ in older:
                    pass

    with_engine(scenario)


def test_an_older_epoch_is_refused_even_after_the_session_is_gone() -> None:
    async def scenario(engine: TorchEngine) -> None:
        await written(engine, Generate(session="a", epoch=3, ids=PROMPT, max_tokens=1))
        for call in (
            collect(engine, Generate(session="a", epoch=2, ids=PROMPT, max_tokens=1)),
            engine.verify(Verify(session="a", epoch=2, ids=PROMPT, drafts=())),
            engine.prefill(Prefill(session="a", epoch=0, ids=PROMPT)),
        ):
            with pytest.raises(SessionNotFound, match="epoch 3"):
                await call
        assert len(await written(engine, Generate(session="a", epoch=3, ids=PROMPT, max_tokens=1))) == 1

    with_engine(scenario)


def test_closing_the_engine_ends_every_call() -> None:
    async def scenario(engine: TorchEngine) -> None:
        stream = engine.generate(Generate(session="a", ids=PROMPT, max_tokens=80))
        await anext(stream)
        await engine.close()
        with pytest.raises(NodeUnreachable):
            async for _ in stream:
                pass
        with pytest.raises(NodeUnreachable):
            await engine.prefill(Prefill(session="a", ids=PROMPT))

    with_engine(scenario)


class FailsOnThree(FusedDecoder):
    """Runs out of memory whenever a step starts with token 3."""

    def step(self, segments: Sequence[Segment]) -> torch.Tensor:
        if segments[0].ids[0] == 3:
            raise MemoryError("no room for 3")
        return super().step(segments)


def test_a_failing_step_fails_its_calls_and_not_the_engine() -> None:
    async def scenario(engine: TorchEngine) -> None:
        with pytest.raises(NetgptError, match="no room for 3"):
            await collect(engine, Generate(session="a", ids=(3,), max_tokens=3))
        assert len(await written(engine, Generate(session="a", ids=(4, 4), max_tokens=1))) == 1

    with_engine(scenario, FailsOnThree(DECODER))


def test_the_engine_runs_under_the_virtual_clock() -> None:
    async def main() -> list[int]:
        clock = VirtualClock()
        engine = TorchEngine(MODEL, tiny_card(), compute=VirtualCompute(clock), clock=clock)
        found = await written(engine, Generate(session="a", ids=PROMPT, max_tokens=20, sampling=WARM))
        await engine.close()
        return found

    assert run_virtual(main()) == decode_alone(MODEL, PROMPT, 20, WARM)


def test_an_engine_is_made_from_a_folder(tmp_path: Path) -> None:
    save_model(tmp_path / "tiny", DECODER, "float32")
    (tmp_path / "tiny" / "tokenizer.json").write_text(json.dumps({}))

    async def main() -> list[int]:
        compute = ThreadCompute()
        engine = TorchEngine.from_folder(tmp_path / "tiny", compute=compute, slots=2)
        assert (engine.card.id, engine.load().slots, engine.capabilities.verify) == ("tiny", 2, True)
        found = await written(engine, Generate(session="a", ids=PROMPT, max_tokens=20))
        await engine.close()
        compute.close()
        return found

    assert asyncio.run(main()) == decode_alone(MODEL, PROMPT, 20, GREEDY)


def mean_hidden_state(ids: Sequence[int]) -> torch.Tensor:
    """The same by the readable model: mean over the positions after the last norm, scaled to length 1."""
    with torch.inference_mode():
        return torch.nn.functional.normalize(DECODER.model(torch.tensor([ids]))[0].mean(dim=0), dim=0)


def test_an_embedding_is_the_readable_models_mean_hidden_state_also_beside_others_and_in_several_steps() -> None:
    texts = [PROMPT, (7,), tuple(n % 50 for n in range(90)), tuple(n % 49 for n in range(90))]  # 188 rows: more than one step has

    async def scenario(engine: TorchEngine) -> None:
        async with TaskGroup() as tasks:
            answer = tasks.create_task(written(engine, Generate(session="g", ids=PROMPT, max_tokens=20)))
            made = [tasks.create_task(engine.embed(Embed(session=f"e{n}", ids=ids))) for n, ids in enumerate(texts)]
        assert answer.result() == decode_alone(MODEL, PROMPT, 20, GREEDY)
        for ids, embedding in zip(texts, (task.result() for task in made), strict=True):
            torch.testing.assert_close(torch.tensor(embedding.values), mean_hidden_state(ids), atol=1e-5, rtol=1e-4)
        assert engine.load().sessions == ()

    with_engine(scenario)


def test_of_parts_an_embedding_tells_the_mean_and_the_last_state_of_each_wherever_steps_cut_them() -> None:
    ids = tuple(n % 50 for n in range(90))
    filler = tuple(n % 49 for n in range(90))  # beside it, so that its 90 rows come in more than one step

    async def scenario(engine: TorchEngine) -> None:
        async with TaskGroup() as tasks:
            tasks.create_task(engine.embed(Embed(session="f", ids=filler)))
            made = tasks.create_task(engine.embed(Embed(session="p", ids=ids, parts=(60, 1, 29))))
        with torch.inference_mode():
            states_TD = DECODER.model(torch.tensor([ids]))[0]
        parts = states_TD.split((60, 1, 29))
        wanted = torch.cat([torch.nn.functional.normalize(one, dim=0) for part in parts for one in (part.mean(dim=0), part[-1])])
        torch.testing.assert_close(torch.tensor(made.result().values), wanted, atol=1e-5, rtol=1e-4)
        for parts in ((60, 29), (0, 90), (91,)):
            with pytest.raises(InvalidRequest, match="parts of"):
                await engine.embed(Embed(session="p", ids=ids, parts=parts))

    with_engine(scenario)


def test_an_embedding_does_not_take_up_a_held_session() -> None:
    async def scenario(engine: TorchEngine) -> None:
        await engine.prefill(Prefill(session="s", ids=PROMPT))
        embedding = await engine.embed(Embed(session="s", ids=PROMPT))
        torch.testing.assert_close(torch.tensor(embedding.values), mean_hidden_state(PROMPT), atol=1e-5, rtol=1e-4)

    with_engine(scenario)


def test_what_cannot_be_embedded_is_refused() -> None:
    async def scenario(engine: TorchEngine) -> None:
        for ids, error in (((), InvalidRequest), ((50,), InvalidRequest), ((1,) * 97, ContextLengthExceeded)):
            with pytest.raises(error):
                await engine.embed(Embed(session="s", ids=ids))

    with_engine(scenario)


def test_scores_are_the_readable_models_log_probabilities_also_beside_others_and_in_several_steps() -> None:
    texts = [PROMPT, (7,), tuple(n % 50 for n in range(90)), tuple(n % 49 for n in range(90))]

    async def scenario(engine: TorchEngine) -> None:
        async with TaskGroup() as tasks:
            answer = tasks.create_task(written(engine, Generate(session="g", ids=PROMPT, max_tokens=20)))
            read = [tasks.create_task(engine.score(Score(session=f"r{n}", ids=ids))) for n, ids in enumerate(texts)]
        assert answer.result() == decode_alone(MODEL, PROMPT, 20, GREEDY)
        for ids, scores in zip(texts, (task.result() for task in read), strict=True):
            with torch.inference_mode():
                logprobs_TV = DECODER(torch.tensor([ids]))[0].log_softmax(dim=-1)
            wanted = [logprobs_TV[place, token].item() for place, token in enumerate(ids[1:])]
            assert list(scores.logprobs) == pytest.approx(wanted, abs=1e-4)
        assert engine.load().sessions == ()
        for ids, error in (((), InvalidRequest), ((50,), InvalidRequest), ((1,) * 97, ContextLengthExceeded)):
            with pytest.raises(error):
                await engine.score(Score(session="s", ids=ids))

    with_engine(scenario)
