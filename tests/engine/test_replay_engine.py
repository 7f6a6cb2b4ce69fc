"""A recorded model says what was recorded, when it was recorded, and nothing else."""

import asyncio

import pytest

from netgpt.bench.pairs import draft_run, pair_outcomes
from netgpt.core.clock import VirtualClock, run_virtual
from netgpt.core.errors import InvalidRequest, Overloaded, SessionNotFound, UsageError
from netgpt.engine.replay_engine import ReplayEngine, script_of
from netgpt.engine.timed import TimedEngine
from netgpt.models.card import weightless_card
from netgpt.models.generation import Generate, Prefill, Rollback, Sampling, Tokens, Verify
from netgpt.models.recording import Recorded, Recording
from netgpt.models.tokenizer import ByteTokenizer, render_chat
from netgpt.network.profile import find_profile
from netgpt.network.roofline import declare
from netgpt.network.shape import sized_shape
from netgpt.world.assemble import replay_of

CARD = weightless_card("m", tier="edge", parameters=10**9, context_tokens=256, tokenizer=ByteTokenizer())
MESSAGES = (("user", "Which slice?"),)
PROMPT = tuple(render_chat(ByteTokenizer(), MESSAGES))
END = ByteTokenizer.end_id
SAID = (*b"Slice \xc3\xa9 two", END)


def row(model: str = "m", tokens: tuple[bytes, ...] = (b"Slice", b" \xc3", b"\xa9", b" two"), finish: str = "stop", **fields: object) -> Recorded:
    values = {
        "task_id": "t1",
        "family": "f",
        "grade": 1,
        "language": "en",
        "template": "w",
        "messages": MESSAGES,
        "reference": "",
        "upstream": "http://u/v1",
        "model": model,
        "answer": b"".join(tokens).decode("utf-8", "replace"),
        "finish_reason": finish,
        "correct": True,
        "tokens": tokens,
        "logprobs": tuple(-0.5 * n for n in range(len(tokens))),
        "top_tokens": tuple((token, b"xyz") for token in tokens),
        "top_logprobs": tuple((-0.5 * n, -3.0) for n in range(len(tokens))),
        "arrivals_s": tuple(0.5 + 0.1 * n for n in range(len(tokens))),
        "time_to_first_token_s": 0.5,
        "total_s": 0.5 + 0.1 * len(tokens),
        "prompt_tokens": 5,
        "completion_tokens": len(tokens) + 1,
    }
    return Recorded(**(values | fields))  # type: ignore[arg-type]


def engine(recorded: Recorded | None = None, **settings: object) -> ReplayEngine:
    replay = replay_of(Recording(path="r", rows=(recorded or row(),)), "m")
    return ReplayEngine(CARD, replay.scripts, VirtualClock(), **settings)  # type: ignore[arg-type]


async def collect(engine: ReplayEngine | TimedEngine, request: Generate) -> tuple[tuple[int, ...], list[Tokens]]:
    replies = [tokens async for tokens in engine.generate(request)]
    return tuple(i for tokens in replies for i in tokens.ids), replies


def ask(**fields: object) -> Generate:
    return Generate(**({"session": "s", "ids": PROMPT, "max_tokens": 99, "stop_ids": (END,), "top_logprobs": 2} | fields))  # type: ignore[arg-type]


@pytest.mark.parametrize("temperature", [0.0, 1.0])
def test_an_answer_is_the_recorded_one_token_by_token_and_in_its_time(temperature: float):
    async def main() -> None:
        one, times, replies = engine(), [], []
        async for tokens in one.generate(ask(sampling=Sampling(temperature=temperature))):
            replies.append(tokens)
            times.append(VirtualClock().now_s())
        assert [bytes(tokens.ids) for tokens in replies[:-1]] == [b"Slice", b" \xc3", b"\xa9", b" two"]
        assert (replies[-1].ids, replies[-1].finish) == ((END,), "stop")
        assert times == pytest.approx([0.5, 0.6, 0.7, 0.8, 0.9])
        assert [tokens.position - len(PROMPT) for tokens in replies] == [0, 5, 7, 8, 12]
        assert replies[1].logprobs == (-0.5, 0.0)
        assert replies[0].top[0].ids == (ord("S"), ord("x"))
        assert [top.ids for top in replies[0].top[1:]] == [(i,) for i in b"lice"]
        assert replies[-1].timings is not None
        assert replies[-1].timings.prefill_s == 0.5
        assert one.load().held_tokens == 0

    run_virtual(main())


@pytest.mark.parametrize("place", range(len(SAID)))
@pytest.mark.parametrize("count", [1, 3, 50])
def test_it_goes_on_from_any_byte_by_as_many_as_are_asked(place: int, count: int):
    ids, replies = run_virtual(collect(engine(timing="none"), ask(ids=(*PROMPT, *SAID[:place]), max_tokens=count)))
    assert ids == SAID[place : place + count]
    assert replies[-1].finish == ("stop" if place + count >= len(SAID) else "length")
    assert not any(tokens.finish for tokens in replies[:-1])


def test_verification_accepts_exactly_what_was_recorded():
    async def main() -> None:
        for right in range(len(SAID)):
            wrong = (*SAID[:right], (SAID[right] + 1) % 256)
            verdict = await engine().verify(Verify(session="s", ids=PROMPT, drafts=wrong))
            assert (verdict.accepted, verdict.next_id) == (right, SAID[right])
        one = engine()
        await one.verify(Verify(session="s", ids=PROMPT, drafts=SAID[:4]))
        assert one.load().held_tokens == len(PROMPT) + 4
        before_s = VirtualClock().now_s()
        verdict = await one.verify(Verify(session="s", keep=len(PROMPT) + 4, ids=(SAID[4],), drafts=(1,)))
        assert (verdict.accepted, verdict.next_id) == (0, SAID[5])
        assert VirtualClock().now_s() - before_s == pytest.approx(0.1), "a held prompt costs one step"

    run_virtual(main())


def test_a_cut_answer_ends_with_length_and_is_verified_as_if_it_ended_there():
    cut = engine(row(finish="length"), timing="none")
    ids, replies = run_virtual(collect(cut, ask()))
    assert (ids, replies[-1].finish) == (SAID[:-1], "length")
    after = run_virtual(collect(engine(row(finish="length"), timing="none"), ask(ids=(*PROMPT, *SAID[:-1]))))
    assert (after[0], after[1][-1].finish) == ((), "length")
    verdict = run_virtual(engine(row(finish="length")).verify(Verify(session="s", ids=PROMPT, drafts=(*SAID[:-1], 65))))
    assert (verdict.accepted, verdict.next_id) == (len(SAID) - 1, END)


def test_an_empty_answer_and_one_without_logprobs_play_too():
    assert run_virtual(collect(engine(row(tokens=())), ask()))[0] == (END,)
    silent = engine(row(logprobs=None, top_tokens=None, top_logprobs=None))
    assert not silent.capabilities.logprobs
    assert {tokens.logprobs for tokens in run_virtual(collect(silent, ask()))[1]} == {()}


def test_what_was_not_recorded_is_refused_with_the_next_step():
    async def main() -> None:
        other = tuple(render_chat(ByteTokenizer(), (("user", "Another?"),)))
        with pytest.raises(InvalidRequest, match="does not hold the prompt 'Another") as caught:
            await collect(engine(), ask(ids=other))
        assert "netgpt record" in caught.value.hint
        with pytest.raises(InvalidRequest, match="departs from this one after 2 bytes"):
            await collect(engine(), ask(ids=(*PROMPT, *b"Slow")))
        with pytest.raises(UsageError, match="no model 'n'"):
            replay_of(Recording(path="r", rows=(row(),)), "n")

    run_virtual(main())


def test_sessions_are_held_rolled_back_and_guarded_by_epochs():
    async def main() -> None:
        one = engine(timing="none")
        ids, _ = await collect(one, ask(max_tokens=4, hold=True))
        assert one.load().held_tokens == len(PROMPT) + 4
        assert (await one.rollback(Rollback(session="s", length=len(PROMPT) + 2))).tokens == len(PROMPT) + 2
        more, replies = await collect(one, ask(epoch=1, keep=len(PROMPT) + 2, ids=ids[2:3], max_tokens=3, hold=True))
        assert more == SAID[3:6]
        assert replies[-1].cached == len(PROMPT) + 2
        with pytest.raises(SessionNotFound, match="at epoch 1, not 0"):
            await one.prefill(Prefill(session="s", ids=PROMPT))
        assert (await one.rollback(Rollback(session="s"))).tokens == 0
        with pytest.raises(SessionNotFound, match="fewer than 3"):
            await collect(one, ask(keep=3, ids=(1,)))

    run_virtual(main())


def test_slots_and_queue_are_bounded():
    async def main() -> None:
        one = engine(slots=1, queue=1)
        first = one.generate(ask(session="a"))
        await anext(first)
        waiting = asyncio.ensure_future(collect(one, ask(session="b")))
        await asyncio.sleep(0)
        with pytest.raises(Overloaded):
            await collect(one, ask(session="c"))
        await first.aclose()
        assert (await waiting)[0] == SAID
        assert (one.load().running, one.load().held_tokens) == (0, 0)

    run_virtual(main())


def test_a_profile_counts_the_recorded_models_tokens_not_bytes():
    async def main() -> None:
        one, clock, profile = engine(timing="none"), VirtualClock(), declare(find_profile("phone"), sized_shape(10**9))
        timed = TimedEngine(one, profile, clock, count=one.model_tokens, count_new=lambda ids: min(len(ids), 1))
        assert one.model_tokens((*PROMPT, *b"Slice \xc3")) == 5 + 2
        await collect(timed, ask())
        assert clock.now_s() == pytest.approx(profile.prefill_s(5) + sum(profile.decode_s([5 + made]) for made in range(4)))

    run_virtual(main())


def test_a_script_keeps_places_of_tokens_without_bytes_out():
    script = script_of(row(tokens=(b"a", b"", b"bc")))
    assert (script.ids, script.starts) == ((*b"abc", END), (0, 1, 3))
    assert script.gaps_s == pytest.approx((0.0, 0.2, 0.1))


def test_a_draft_agrees_until_the_texts_part():
    large = row(tokens=(b"Sl", b"ice one"))
    assert draft_run(row(tokens=(b"Slice", b" two", b" x")), large) == (2, 1)
    assert draft_run(row(tokens=(b"Slice", b" one")), large) == (3, 3), "the end agrees too"
    assert draft_run(row(tokens=(b"Slice",)), large) == (2, 1), "the end comes too early"
    assert draft_run(row(tokens=(b"Slice", b" one", b" and")), row(tokens=(b"Slice one",), finish="length")) == (2, 2)
    assert draft_run(row(tokens=(b"Slice",), finish="length"), large) == (1, 1)


def test_joint_outcomes_are_counted_over_common_tasks():
    outcomes = [(True, True)] * 30 + [(True, False)] * 10 + [(False, True)] * 20 + [(False, False)] * 40
    rows = [row(model, task_id=f"t{n}", correct=right[k]) for n, right in enumerate(outcomes) for k, model in enumerate(("small", "large"))]
    pair = pair_outcomes(Recording(path="r", rows=(*rows, row("small", task_id="alone"))), "small", "large")
    assert (pair.counts, pair.tasks) == ((30, 10, 20, 40), 100)
    assert pair.phi == pytest.approx((30 * 40 - 10 * 20) / (40 * 60 * 50 * 50) ** 0.5)
    assert pair.phi_low is not None
    assert pair.phi_high is not None
    assert pair.phi_low < pair.phi < pair.phi_high


def test_it_says_when_its_slots_get_free_in_recorded_time() -> None:
    async def main() -> None:
        recorded = engine(slots=2)
        assert recorded.load().free_s == ()
        await collect(recorded, Generate(session="a", ids=PROMPT, max_tokens=40))
        assert recorded.load().free_s == (0.0, 0.0)
        assert recorded.load().prompt_token_s == pytest.approx(0.5 / len(PROMPT))
        stream = recorded.generate(Generate(session="b", ids=PROMPT, max_tokens=40))
        await anext(stream)
        free, busy = recorded.load().free_s
        assert free == 0.0
        assert 0.1 < busy < 1.0
        await stream.aclose()

    run_virtual(main())
