"""The `openai` engine against an upstream that answers as it should, and against every way in which one can be wrong."""

from __future__ import annotations

import asyncio
from collections.abc import Coroutine
from contextlib import aclosing
from dataclasses import replace
from typing import Any

import pytest
import uvloop

from netgpt.core.clock import WallClock
from netgpt.core.errors import ContextLengthExceeded, InvalidRequest, NetgptError, NodeUnreachable, NotSupported, Overloaded, UsageError
from netgpt.core.scheduling import TaskGroup
from netgpt.engine.openai_engine import OpenAIEngine
from netgpt.engine.openai_http import parse_base_url
from netgpt.engine.openai_request import Upstream as Settings
from netgpt.models.generation import Generate, Prefill, Sampling, Text, Tokens, Turn, Verify

from .openai_upstream import (
    CLOSE,
    DONE,
    HANG,
    PAUSE,
    PAUSE_S,
    RESET,
    STREAM,
    Step,
    Upstream,
    counts,
    delta,
    event,
    finish,
    framed,
    reply,
    serving,
    stream,
)

KEY = "sk-canary-0123"
REQUEST = Generate(session="s", ids=(), max_tokens=8, text=Text(messages=(Turn(role="user", content="How is it?"),)))


def settings(upstream: Upstream, **changes: Any) -> Settings:
    return replace(Settings(url=upstream.url, model=upstream.model, connect_s=2, first_token_s=5, next_token_s=5, retries=0), **changes)


def make(upstream: Upstream, **changes: Any) -> OpenAIEngine:
    return OpenAIEngine(settings(upstream, **changes), WallClock(), key=KEY, tier="cloud", parameters=7)


async def collect(engine: OpenAIEngine, request: Generate = REQUEST) -> list[Tokens]:
    async with aclosing(engine.generate(request)) as replies:
        return [tokens async for tokens in replies]


def text_of(replies: list[Tokens]) -> bytes:
    return b"".join(tokens.data for tokens in replies)


def run(main: Coroutine[Any, Any, None]) -> None:
    """On the loop that doors run on."""
    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        runner.run(main)


async def probed(upstream: Upstream, **changes: Any) -> OpenAIEngine:
    engine = make(upstream, **changes)
    await engine.look()
    upstream.asked.clear()
    return engine


def test_an_answer_comes_as_bytes_in_the_upstreams_own_count() -> None:
    async def main() -> None:
        async with serving(Upstream()) as upstream:
            engine = await probed(upstream)
            replies = await collect(engine)
            assert text_of(replies) == b"All is well"
            assert (replies[-1].finish, replies[-1].prompt_tokens, sum(tokens.made for tokens in replies)) == ("stop", 13, 4)
            assert all(tokens.ids == () for tokens in replies)
            assert upstream.asked[0]["model"] == "strange"
            assert set(upstream.keys) == {f"Bearer {KEY}"}
            await engine.close()

    run(main())


def test_what_comes_together_is_passed_on_together() -> None:
    async def main() -> None:
        async with serving(Upstream()) as upstream:
            engine = await probed(upstream)
            burst = b"".join([delta("one"), delta(" two"), delta(" three"), finish(), counts(5, 3), DONE])
            upstream.scripts = [stream(burst)]
            (words,) = await collect(engine)  # with the end, since that came too
            assert (words.data, words.made) == (b"one two three", 3)
            assert (words.finish, words.prompt_tokens) == ("stop", 5)
            upstream.scripts = [stream(delta("one"), finish(), PAUSE, counts(5, 3), DONE)]
            words, end = await collect(engine)  # words do not wait for counts
            assert (words.data, words.made, words.finish) == (b"one", 1, "")
            assert (end.data, end.made, end.finish, end.prompt_tokens) == (b"", 2, "stop", 5)
            await engine.close()

    run(main())


def test_it_says_when_its_own_slots_get_free_as_far_as_it_can_know() -> None:
    async def main() -> None:
        async with serving(Upstream()) as upstream:
            engine = OpenAIEngine(settings(upstream), WallClock(), key=KEY, tier="cloud", slots=2)
            await engine.look()
            assert engine.load().free_s == ()
            for _ in range(2):
                await collect(engine)
            assert engine.load().step_s == 0, "all came together, which says nothing of a step"
            upstream.scripts = [stream(delta("All"), PAUSE, delta(" well"), PAUSE, finish(), DONE)]
            await collect(engine)
            load = engine.load()
            assert load.free_s == (0.0, 0.0)
            assert load.step_s > 0.9 * PAUSE_S
            assert load.prompt_token_s == 0, "it is for the upstream to know what a prompt takes"
            upstream.scripts = [[STREAM, HANG], [STREAM, HANG]]
            async with TaskGroup() as tasks:
                asking = [tasks.create_task(collect(engine)) for _ in range(2)]
                while engine.load().running < 2:
                    await asyncio.sleep(0)
                assert engine.load().free_s[0] > 0
                for task in asking:
                    task.cancel()
            assert engine.load().free_s == (0.0, 0.0)
            await engine.close()

    run(main())


def test_connections_are_kept() -> None:
    async def main() -> None:
        async with serving(Upstream()) as upstream:
            engine = await probed(upstream)
            for _ in range(5):
                await collect(engine)
            assert upstream.connections == 1
            await engine.close()

    run(main())


def test_a_kept_connection_that_the_upstream_closed_meanwhile_is_no_failure() -> None:
    async def main() -> None:
        async with serving(Upstream()) as upstream:
            engine = await probed(upstream)
            upstream.scripts = [[*stream(delta("x"), finish(), DONE), RESET]]
            assert text_of(await collect(engine)) == b"x"
            assert text_of(await collect(engine)) == b"All is well"
            await engine.close()

    run(main())


@pytest.mark.parametrize("logprobs", [True, False])
@pytest.mark.parametrize("continues", [True, False])
def test_what_an_upstream_can_do_is_found_out(logprobs: bool, continues: bool) -> None:
    async def main() -> None:
        async with serving(Upstream(logprobs=logprobs, continues=continues)) as upstream:
            engine = await probed(upstream)
            able = engine.capabilities
            assert (able.text, able.logprobs, able.top_logprobs, able.continues, able.usage) == (
                True,
                logprobs,
                20 if logprobs else 0,
                continues,
                True,
            )
            assert (able.verify, able.hold, able.prompt_ids, able.scores) == (False, False, False, False)
            assert (engine.card.id, engine.card.context_tokens, engine.card.parameters) == ("strange", 1000, 7)
            await engine.close()

    run(main())


def test_it_is_down_until_it_was_found_and_found_anew_when_it_comes_back() -> None:
    async def main() -> None:
        async with serving(Upstream()) as upstream:
            engine = make(upstream)
            with pytest.raises(NodeUnreachable, match="not been asked"):
                engine.load()
            await engine.look()
            assert engine.load().slots == 16
            upstream.model = "other"  # another model runs there now
            await engine.look()
            with pytest.raises(NodeUnreachable, match="no model 'strange'"):
                _ = engine.card
            upstream.model, upstream.logprobs = "strange", False
            await engine.look()
            assert not engine.capabilities.logprobs
            await engine.close()

    run(main())


def test_logprobs_are_the_upstreams_and_its_end_token_is_none() -> None:
    async def main() -> None:
        async with serving(Upstream()) as upstream:
            engine = await probed(upstream)
            end = {"logprobs": {"content": [{"token": "<|im_end|>", "logprob": -0.1, "bytes": None, "top_logprobs": []}]}}
            scored = {"content": [{"token": "Ä", "logprob": -0.5, "bytes": [195, 132], "top_logprobs": [{"token": "Ä", "logprob": -0.5}]}]}
            upstream.scripts = [stream(delta("Ä", logprobs=scored), delta("", **end), finish(), DONE)]
            assert REQUEST.text
            request = replace(REQUEST, top_logprobs=1, text=replace(REQUEST.text, logprobs=True))
            first, last = await collect(engine, request)
            assert (first.data, first.tokens, first.logprobs, first.top[0].tokens) == ("Ä".encode(), ("Ä".encode(),), (-0.5,), ("Ä".encode(),))
            assert last.finish == "stop"
            assert (upstream.asked[-1]["logprobs"], upstream.asked[-1]["top_logprobs"]) == (True, 1)
            await engine.close()

    run(main())


def test_what_it_cannot_do_is_refused_by_name() -> None:
    async def main() -> None:
        async with serving(Upstream(logprobs=False, continues=False)) as upstream:
            engine = await probed(upstream)
            assert REQUEST.text
            for request, named in (
                (replace(REQUEST, text=replace(REQUEST.text, logprobs=True)), "no logprobs"),
                (replace(REQUEST, text=replace(REQUEST.text, answer=b"All")), "cannot go on"),
                (Generate(session="s", ids=(1,), max_tokens=1), "takes text"),
            ):
                with pytest.raises(NotSupported, match=named):
                    await collect(engine, request)
            with pytest.raises(NotSupported, match="verify drafts"):
                await engine.verify(Verify(session="s", ids=(1,), drafts=(2,)))
            with pytest.raises(NotSupported, match="KV"):
                await engine.prefill(Prefill(session="s", ids=(1,)))
            assert upstream.asked == []
            await engine.close()

    run(main())


def test_it_goes_on_from_an_answer_that_has_begun_and_gives_no_byte_twice() -> None:
    async def main() -> None:
        async with serving(Upstream(says=("A", "ll", " \u00e4rger"))) as upstream:
            engine = await probed(upstream)
            assert REQUEST.text
            replies = await collect(engine, replace(REQUEST, text=replace(REQUEST.text, answer=b"All")))
            assert text_of(replies).decode() == " \u00e4rger"
            upstream.scripts = [stream(delta("\u00e4rger"), finish(), DONE)]
            replies = await collect(engine, replace(REQUEST, text=replace(REQUEST.text, answer=b"All \xc3")))
            assert text_of(replies) == b"\xa4rger"
            assert upstream.asked[-1]["messages"][-1] == {"role": "assistant", "content": "All "}
            await engine.close()

    run(main())


def test_sampling_and_limits_are_passed_on_and_the_seed_where_it_matters() -> None:
    async def main() -> None:
        async with serving(Upstream()) as upstream:
            engine = await probed(upstream)
            await collect(engine, replace(REQUEST, sampling=Sampling(temperature=0.5, top_p=0.9, top_k=7, seed=(1 << 52) + 3)))
            asked = upstream.asked[-1]
            assert (asked["temperature"], asked["top_p"], asked["top_k"], asked["seed"], asked["max_tokens"]) == (0.5, 0.9, 7, 3, 8)
            assert REQUEST.text
            await collect(engine, replace(REQUEST, text=replace(REQUEST.text, fit=True)))
            assert {"max_tokens", "seed", "top_k"} & upstream.asked[-1].keys() == set()
            await engine.close()

    run(main())


def test_a_caller_that_leaves_closes_the_upstreams_stream_at_once() -> None:
    async def main() -> None:
        async with serving(Upstream()) as upstream:
            engine = await probed(upstream)
            upstream.scripts = [stream(delta("All"), HANG)]
            async with aclosing(engine.generate(REQUEST)) as replies:
                assert (await anext(replies)).data == b"All"
                assert engine.load().running == 1
            async with asyncio.timeout(1):
                await upstream.left.wait()
            assert engine.load().running == 0
            await engine.close()

    run(main())


BEFORE: dict[str, tuple[list[Step], type[NetgptError], str]] = {
    "an error in place of the answer": (
        stream(event({"error": {"message": f"GPU on fire, key {KEY}"}})),
        NodeUnreachable,
        "GPU on fire, key \\*\\*\\*",
    ),
    "an old vLLM's error": (stream(event({"object": "error", "message": "no room"})), NodeUnreachable, "no room"),
    "a silent close": ([CLOSE], NodeUnreachable, "without an answer"),
    "a reset": ([RESET], NodeUnreachable, "without an answer"),
    "a close after the head": ([STREAM, CLOSE], NodeUnreachable, "broke off"),
    "an end without a reason": (stream(DONE), NodeUnreachable, "without a reason"),
    "no JSON": (stream(b"data: {nope\n\n"), NodeUnreachable, "no JSON"),
    "JSON that nests without end": (stream(b"data: " + b"[" * 100_000 + b"\n\n"), NodeUnreachable, "no JSON"),
    "no object": (stream(event([1])), NodeUnreachable, "no object"),
    "choices that are none": (stream(event({"choices": "x"})), NodeUnreachable, "'choices' of type str"),
    "two choices": (stream(event({"choices": [{}, {}]})), NodeUnreachable, "2 choices"),
    "a choice that is none": (stream(event({"choices": [7]})), NodeUnreachable, "no object"),
    "text that is none": (stream(event({"choices": [{"delta": {"content": 7}}]})), NodeUnreachable, "'content' of type int"),
    "a count that is none": (stream(event({"choices": [], "usage": {"completion_tokens": -1}})), NodeUnreachable, "no count"),
    "a score that is none": (stream(delta("x", logprobs={"content": [{"token": "x", "logprob": "?"}]})), NodeUnreachable, "no number"),
    "a line without end": ([STREAM, framed(b"data: " + b"x" * (1 << 21)), HANG], NodeUnreachable, "a line of more than"),
    "a head without end": ([b"HTTP/1.1 200 OK\r\n" + b"x-y: z\r\n" * 20_000, HANG], NodeUnreachable, "head that does not end"),
    "no HTTP": ([b"220 smtp.example.org ESMTP\r\n", HANG], NodeUnreachable, "no HTTP"),
    "a page": (reply(200, b"<html>Log in</html>", "text/html"), NodeUnreachable, "does not stream.*Log in"),
    "an answer that is not streamed": (reply(200, b"{}"), NodeUnreachable, "does not stream"),
    "a redirect": (reply(302, b"", location="http://elsewhere/"), NodeUnreachable, "302"),
    "too many requests": (reply(429, b'{"error": {"message": "slow down"}}', retry_after="30"), Overloaded, "slow down"),
    "a refused key": (reply(401, f'{{"error": {{"message": "bad {KEY}"}}}}'.encode()), NodeUnreachable, "bad \\*\\*\\*"),
    "a lost model": (reply(404, b'{"error": {"message": "gone"}}'), NodeUnreachable, "gone"),
    "a bug": (reply(500, b"<html>" + b"x" * 100_000), NodeUnreachable, "500"),
    "a refused request": (reply(400, b'{"error": {"message": "bad top_p"}}'), InvalidRequest, "bad top_p"),
    "a long prompt": (reply(400, b'{"error": {"message": "maximum context length is 10"}}'), ContextLengthExceeded, "maximum context"),
}


@pytest.mark.parametrize("case", BEFORE)
def test_an_upstream_that_is_wrong_is_a_clear_error_that_shows_no_key(case: str) -> None:
    script, kind, said = BEFORE[case]

    async def main() -> None:
        async with serving(Upstream()) as upstream:
            engine = await probed(upstream)
            upstream.scripts = [script, script]  # a kept connection that says nothing is no answer: a new one is asked
            with pytest.raises(kind, match=said) as caught:
                await collect(engine)
            assert caught.value.hint
            assert KEY not in caught.value.message + caught.value.hint
            assert len(caught.value.message) < 600
            await engine.close()

    run(main())


@pytest.mark.parametrize("script", [stream(delta("All"), event({"error": "out of memory"})), stream(delta("All"), end=CLOSE), stream(delta("All"))])
def test_an_answer_that_breaks_off_keeps_what_it_said_and_is_not_asked_again(script: list[Step]) -> None:
    async def main() -> None:
        async with serving(Upstream()) as upstream:
            engine = await probed(upstream, retries=2)
            upstream.scripts = [script]
            replies = engine.generate(REQUEST)
            assert (await anext(replies)).data == b"All"
            with pytest.raises(NodeUnreachable):
                await anext(replies)
            assert len(upstream.asked) == 1
            await engine.close()

    run(main())


def test_before_the_first_token_it_is_asked_again() -> None:
    async def main() -> None:
        async with serving(Upstream()) as upstream:
            engine = await probed(upstream, retries=2)
            upstream.scripts = [[CLOSE], reply(429, b"busy", retry_after="0.01")]
            assert text_of(await collect(engine)) == b"All is well"
            assert len(upstream.asked) == 3
            upstream.asked.clear()
            upstream.scripts = [reply(503, b"busy", retry_after="60")]  # longer than it is worth: the next node is asked
            with pytest.raises(Overloaded) as caught:
                await collect(engine)
            assert caught.value.retry_after_s == 60
            assert len(upstream.asked) == 1
            await engine.close()

    run(main())


@pytest.mark.parametrize(
    ("script", "limits", "said"),
    [
        ([HANG], {"first_token_s": 0.05}, "no first token within 0.05 s"),
        (stream(b": still here\n\n", HANG), {"first_token_s": 0.05}, "no first token within 0.05 s"),
        (stream(delta("All"), HANG), {"next_token_s": 0.05}, "no next token within 0.05 s"),
    ],
)
def test_silence_has_limits(script: list[Step], limits: dict[str, float], said: str) -> None:
    async def main() -> None:
        async with serving(Upstream()) as upstream:
            engine = await probed(upstream)
            hasty = make(upstream, **limits)
            hasty._probed, hasty._down = engine._probed, None
            upstream.scripts = [script]
            with pytest.raises(NodeUnreachable, match=said) as caught:
                await collect(hasty)
            assert "_token_timeout" in caught.value.hint
            await hasty.close()
            await engine.close()

    run(main())


def test_an_upstream_that_never_stops_is_stopped() -> None:
    async def main() -> None:
        async with serving(Upstream()) as upstream:
            engine = await probed(upstream)
            upstream.scripts = [stream(*[delta("x" * 1000)] * 100, HANG)]
            replies = await collect(engine)
            assert replies[-1].finish == "length"
            assert len(text_of(replies)) < 10_000
            await engine.close()

    run(main())


def test_counts_that_lie_are_bounded_and_an_end_mark_that_never_comes_is_not_waited_for() -> None:
    async def main() -> None:
        async with serving(Upstream()) as upstream:
            engine = await probed(upstream)
            upstream.scripts = [stream(delta("x"), finish("length"), counts(1 << 30, 1 << 30), HANG)]
            replies = await collect(engine)
            assert (replies[-1].finish, sum(tokens.made for tokens in replies)) == ("length", REQUEST.max_tokens)
            await engine.close()

    run(main())


def test_surrogates_and_zeroes_in_text_come_through_as_utf8() -> None:
    async def main() -> None:
        async with serving(Upstream()) as upstream:
            engine = await probed(upstream)
            upstream.scripts = [stream(b'data: {"choices": [{"delta": {"content": "a\\ud800\\u0000b"}, "finish_reason": "stop"}]}\n\n', DONE)]
            assert text_of(await collect(engine)) == b"a?\x00b"
            await engine.close()

    run(main())


@pytest.mark.parametrize(
    "url", ["", "ftp://x/v1", "http://", "http://x:99999/v1", "http://a b/v1", "http://user:pw@x/v1", "http://x/v1?key=1", "http://[::1/v1"]
)
def test_what_is_no_base_url_is_refused_and_no_password_shown(url: str) -> None:
    with pytest.raises(UsageError) as caught:
        parse_base_url(url)
    assert "pw" not in caught.value.message
    assert caught.value.hint


def test_nothing_listens_there() -> None:
    async def main() -> None:
        engine = make(Upstream(url="http://127.0.0.1:9/v1"))
        await engine.look()
        with pytest.raises(NodeUnreachable, match="does not answer"):
            engine.load()
        await engine.close()

    run(main())
