import json
import math
from collections.abc import Callable

from openai.types.chat import ChatCompletion, ChatCompletionChunk

from netgpt.api.chat_reply import ChunkWriter, ReplyHead, chat_completion, metrics
from netgpt.api.chat_request import ReplyForm
from netgpt.core.errors import NodeUnreachable
from netgpt.inference.request import ChatRequest, Delta, Finish
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


def test_a_whole_answer_is_openais_object_with_ours_beside_it(make_finish: Callable[..., Finish]) -> None:
    reply = chat_completion(HEAD, PLAIN, [Delta(text="a", origin="e"), Delta(text="b", origin="e")], make_finish())
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
        "seed": 11,
    }


def test_log_probabilities_keep_a_split_characters_bytes(make_finish: Callable[..., Finish]) -> None:
    reply = chat_completion(HEAD, SCORED, [SCORES], make_finish())
    completion = ChatCompletion.model_validate_json(json.dumps(reply, allow_nan=False))
    logprobs = completion.choices[0].logprobs
    assert logprobs is not None
    assert logprobs.content is not None
    assert [entry.bytes for entry in logprobs.content] == [[0xC3], [0xA9]]
    assert [entry.logprob for entry in logprobs.content] == [-0.5, -9999.0]
    assert [alternative.bytes for alternative in logprobs.content[0].top_logprobs] == [[0xC3], [ord("e")]]


def test_metrics_count_from_scheduling_as_vllm_does(make_finish: Callable[..., Finish]) -> None:
    assert metrics(make_finish(3)) == {
        "time_to_first_token_ms": 20.0,  # 30 ms from arrival, 10 of them in the queue
        "generation_time_ms": 20.0,
        "queue_time_ms": 10.0,
        "mean_itl_ms": 10.0,
        "tokens_per_second": 75.0,  # 3 in 40 ms
    }
    single = metrics(make_finish(1, duration_s=0.0, queue_s=0.0))
    assert single["mean_itl_ms"] is None
    assert single["tokens_per_second"] is None


def test_chunks_begin_with_the_role_and_end_with_the_reason(make_finish: Callable[..., Finish]) -> None:
    writer = ChunkWriter(HEAD, PLAIN, ReplyForm(stream=True))
    data = writer.text(Delta(text='"a\n', origin="e")) + writer.text(Delta(text="ß", origin="e")) + writer.finish(make_finish())
    assert data.endswith(b"data: [DONE]\n\n")
    chunks = [ChatCompletionChunk.model_validate(frame, strict=True) for frame in frames(data)]
    assert chunks[0].choices[0].delta.role == "assistant"
    assert "".join(chunk.choices[0].delta.content or "" for chunk in chunks) == '"a\nß'
    assert [chunk.choices[0].finish_reason for chunk in chunks] == [None, None, None, "stop"]
    assert frames(data)[-1]["netgpt"]
    assert all("usage" not in frame for frame in frames(data))


def test_with_include_usage_a_last_chunk_has_usage_metrics_and_netgpt(make_finish: Callable[..., Finish]) -> None:
    writer = ChunkWriter(HEAD, SCORED, ReplyForm(stream=True, include_usage=True))
    told = frames(writer.text(SCORES) + writer.finish(make_finish()))
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
    frame = frames(ChunkWriter(HEAD, PLAIN, ReplyForm(stream=True)).error(NodeUnreachable("no node is up", hint="wait")))[0]
    assert frame == NodeUnreachable("no node is up", hint="wait").body("chatcmpl-1")
