import json
import math
from collections.abc import Callable, Sequence
from dataclasses import replace

from openai.types.chat import ChatCompletion, ChatCompletionChunk

from netgpt.api.account import DONE, ReplyHead, Told, account, error_frame, last_frames, metrics, timing, usage
from netgpt.api.chat_reply import CHUNK, ChunkWriter, chat_completion
from netgpt.api.chat_request import ReplyForm
from netgpt.core.errors import NodeUnreachable
from netgpt.inference.request import ChatRequest, Delta, Finish, Span
from netgpt.models.generation import TopLogprobs

HEAD = ReplyHead(id="chatcmpl-1", model="auto", created=5, entry="device1")
PLAIN = ChatRequest(request_id="chatcmpl-1", model="auto", messages=(("user", "hi"),))
SCORED = ChatRequest(request_id="chatcmpl-1", model="auto", messages=(("user", "hi"),), logprobs=True, top_logprobs=2)
SCORES = Delta(
    text="é",
    origin="edge1",
    tokens=(b"\xc3", b"\xa9", b""),
    logprobs=(-0.5, -math.inf, -0.1),
    top=(TopLogprobs(ids=(1, 2), logprobs=(-0.5, -2.0)), TopLogprobs(ids=(3,), logprobs=(-0.1,)), TopLogprobs(ids=(4,), logprobs=(-0.1,))),
    top_tokens=((b"\xc3", b"e"), (b"x",), (b"",)),
)


def frames(data: bytes) -> list[dict[str, object]]:
    parts = data.decode().split("\n\n")
    assert parts.pop() == ""
    return [json.loads(part.removeprefix("data: ")) for part in parts if part != "data: [DONE]"]


def streamed(request: ChatRequest, form: ReplyForm, deltas: Sequence[Delta], finish: Finish) -> bytes:
    """Every frame of a stream with one choice."""
    writer = ChunkWriter(HEAD, request, form)
    return b"".join(map(writer.text, deltas)) + writer.finish(finish) + last_frames(HEAD, CHUNK, form, [finish])


def test_a_whole_answer_is_openais_object_with_ours_beside_it(make_finish: Callable[..., Finish]) -> None:
    told = Told(deltas=(Delta(text="a", origin="e"), Delta(text="b", origin="e")), finish=make_finish())
    reply = chat_completion(HEAD, PLAIN, ReplyForm(), [told])
    completion = ChatCompletion.model_validate(reply, strict=True)
    assert completion.choices[0].message.content == "ab"
    assert completion.choices[0].logprobs is None
    assert completion.usage is not None
    assert completion.usage.total_tokens == 9
    assert completion.usage.prompt_tokens_details is not None
    assert completion.usage.prompt_tokens_details.cached_tokens == 3
    assert reply["netgpt"] == {
        "strategy": "direct",
        "why": "the request names netgpt-edge",
        "entry": "device1",
        "origin": [{"node": "edge1", "tokens": 2}],
        "switches": [],
        "link_bytes": {"edge1": {"sent": 40, "received": 20}},
        "modelled": False,
        "timing": {"mode": "real", "machines": [], "overruns": 0},
        "seed": 11,
    }


def test_log_probabilities_keep_a_split_characters_bytes(make_finish: Callable[..., Finish]) -> None:
    reply = chat_completion(HEAD, SCORED, ReplyForm(), [Told(deltas=(SCORES,), finish=make_finish())])
    completion = ChatCompletion.model_validate_json(json.dumps(reply, allow_nan=False))
    logprobs = completion.choices[0].logprobs
    assert logprobs is not None
    assert logprobs.content is not None
    assert [entry.bytes for entry in logprobs.content] == [[0xC3], [0xA9]]
    assert [entry.logprob for entry in logprobs.content] == [-0.5, -9999.0]
    assert [alternative.bytes for alternative in logprobs.content[0].top_logprobs] == [[0xC3], [ord("e")]]


def test_metrics_count_from_scheduling_as_vllm_does(make_finish: Callable[..., Finish]) -> None:
    assert metrics([make_finish(3)]) == {
        "time_to_first_token_ms": 20.0,  # 30 ms from arrival, 10 of them in the queue
        "generation_time_ms": 20.0,
        "queue_time_ms": 10.0,
        "mean_itl_ms": 10.0,
        "tokens_per_second": 75.0,  # 3 in 40 ms
    }
    single = metrics([make_finish(1, duration_s=0.0, queue_s=0.0)])
    assert single["mean_itl_ms"] is None
    assert single["tokens_per_second"] is None


def test_chunks_begin_with_the_role_and_end_with_the_reason(make_finish: Callable[..., Finish]) -> None:
    deltas = [Delta(text='"a\n', origin="e"), Delta(text="ß", origin="e")]
    data = streamed(PLAIN, ReplyForm(stream=True), deltas, make_finish())
    assert data.endswith(DONE)
    chunks = [ChatCompletionChunk.model_validate(frame, strict=True) for frame in frames(data)]
    assert chunks[0].choices[0].delta.role == "assistant"
    assert "".join(chunk.choices[0].delta.content or "" for chunk in chunks) == '"a\nß'
    assert [chunk.choices[0].finish_reason for chunk in chunks] == [None, None, None, "stop"]
    assert frames(data)[-1]["netgpt"]
    assert all("usage" not in frame for frame in frames(data))


def test_with_include_usage_a_last_chunk_has_usage_metrics_and_netgpt(make_finish: Callable[..., Finish]) -> None:
    told = frames(streamed(SCORED, ReplyForm(stream=True, include_usage=True), [SCORES], make_finish()))
    chunks = [ChatCompletionChunk.model_validate(frame, strict=True) for frame in told]
    assert [chunk.usage is None for chunk in chunks] == [True, True, True, False]
    assert chunks[-1].choices == []
    assert {"metrics", "netgpt"} <= told[-1].keys()
    assert "netgpt" not in told[-2]
    logprobs = chunks[1].choices[0].logprobs
    assert logprobs is not None
    assert logprobs.content is not None
    assert len(logprobs.content) == 2


def test_an_empty_answer_still_names_its_role(make_finish: Callable[..., Finish]) -> None:
    told = frames(ChunkWriter(HEAD, PLAIN, ReplyForm(stream=True)).finish(make_finish(1)))
    assert len(told) == 2
    assert told[0]["choices"] == [{"index": 0, "delta": {"role": "assistant", "content": ""}, "logprobs": None, "finish_reason": None}]


def test_a_failed_streams_last_frame_has_the_error_shape() -> None:
    frame = frames(error_frame(NodeUnreachable("no node is up", hint="wait"), HEAD.id))[0]
    assert frame == NodeUnreachable("no node is up", hint="wait").body("chatcmpl-1")


def test_of_several_choices_usage_is_the_sum_and_the_prompt_counts_once(make_finish: Callable[..., Finish]) -> None:
    two_prompts = [
        make_finish(3),
        make_finish(4),
        make_finish(5, prompt_tokens=10, cached_tokens=0),
        make_finish(6, prompt_tokens=10, cached_tokens=0),
    ]
    assert usage(two_prompts, 2) == {
        "prompt_tokens": 17,
        "completion_tokens": 18,
        "total_tokens": 35,
        "prompt_tokens_details": {"cached_tokens": 3},
    }


def test_of_several_choices_each_has_its_origin_and_link_bytes_are_added_up(make_finish: Callable[..., Finish]) -> None:
    cloud = make_finish(4, origin=(Span(node="cloud1", tokens=4),), link_bytes={"edge1": {"sent": 2, "received": 1}}, seed=12, switches=("why",))
    told = account(HEAD, [make_finish(2), cloud])
    assert told["origin"] == [{"node": "edge1", "tokens": 2}, {"node": "cloud1", "tokens": 4}]
    assert told["link_bytes"] == {"edge1": {"sent": 42, "received": 21}}
    assert told["choices"] == [
        {"index": 0, "origin": [{"node": "edge1", "tokens": 2}], "switches": [], "seed": 11},
        {"index": 1, "origin": [{"node": "cloud1", "tokens": 4}], "switches": ["why"], "seed": 12},
    ]


def test_choices_that_run_side_by_side_are_timed_from_the_first_token_of_any_to_the_last(make_finish: Callable[..., Finish]) -> None:
    slow = make_finish(3, queue_s=0.02, time_to_first_token_s=0.04, duration_s=0.07)
    assert metrics([make_finish(3), slow]) == {
        "time_to_first_token_ms": 20.0,
        "generation_time_ms": 40.0,
        "queue_time_ms": 10.0,
        "mean_itl_ms": 12.5,  # 20 ms and 30 ms for two gaps each
        "tokens_per_second": 100.0,  # 6 in 60 ms
    }


def test_declared_machines_and_late_results_are_told_over_all_choices(make_finish: Callable[..., Finish]) -> None:
    one = replace(make_finish(), modelled=True, declared=("qwen2.5-7b in int4 on l4",), overruns=2)
    other = replace(one, declared=("qwen2.5-7b in int4 on l4", "llama-3.2-1b in bf16 on phone"), overruns=1)
    assert timing([one, other]) == {"mode": "declared", "machines": list(other.declared), "overruns": 3}
    assert timing([replace(one, declared=(), overruns=0)])["mode"] == "recorded"  # a replay's times, not a machine's
