"""OpenAI's own client against a door with three `hash` engines: every parameter, good and bad, whole and streamed, sync and async."""

from __future__ import annotations

import asyncio
import inspect
import math
import re
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

import httpx
import openai
import pytest
from openai.types import Completion
from openai.types.chat import ChatCompletion, ChatCompletionChunk

from netgpt.api.unsupported import HARMLESS
from netgpt.core.clock import WallClock

from .hash_door import hash_app, served_in_a_thread

TALK: dict[str, Any] = {"model": "auto", "messages": [{"role": "user", "content": "What is 5QI 1?"}]}
RAW: dict[str, Any] = {"model": "auto", "prompt": "A GBR flow is"}
TURNS = [{"role": role, "content": "Grüß"} for role in ("system", "developer", "user", "assistant", "user")]


@pytest.fixture(scope="module")
def url() -> Iterator[str]:
    with served_in_a_thread(hash_app(WallClock())) as url:
        yield f"{url}/v1"


@pytest.fixture(scope="module")
def client(url: str) -> Iterator[openai.OpenAI]:
    with openai.OpenAI(base_url=url, api_key="-", max_retries=0) as client:
        yield client


def account(reply: Any) -> dict[str, Any]:
    return (reply.model_extra or {})["netgpt"]


def texts(chunks: Iterable[ChatCompletionChunk | Completion]) -> dict[int, str]:
    """The text of each choice, put together from a stream."""
    found: dict[int, str] = {}
    for chunk in chunks:
        if isinstance(chunk, ChatCompletionChunk):  # the type of a completion's chunk does without OpenAI's own null
            ChatCompletionChunk.model_validate(chunk.to_dict(), strict=True)
        for choice in chunk.choices:
            new = choice.text if isinstance(chunk, Completion) else choice.delta.content  # type: ignore[union-attr]
            found[choice.index] = found.get(choice.index, "") + (new or "")
    return found


GOOD: list[dict[str, Any]] = [
    {},
    {"messages": TURNS},
    {"messages": [{"role": "user", "content": [{"type": "text", "text": "a"}, {"type": "text", "text": "b"}]}]},
    {"messages": [{"role": "user", "content": "\u202eevil\u0000\U0001f9ff\ufeff" * 5}]},
    {"model": "netgpt-device"},
    {"model": "netgpt-cloud", "max_tokens": 1},
    {"max_completion_tokens": 7},
    {"temperature": 0},
    {"temperature": 2, "top_p": 0.3},
    {"n": 2},
    {"n": 16, "max_tokens": 2},
    {"stop": "e"},
    {"stop": ["zz", "t", "a ", "x"]},
    {"logprobs": True},
    {"logprobs": True, "top_logprobs": 20, "max_tokens": 5},
    {"seed": -(1 << 63)},
    {"seed": (1 << 63) - 1},
    {"presence_penalty": 0, "frequency_penalty": 0.0, "logit_bias": {}, "modalities": ["text"], "response_format": {"type": "text"}},
    {"presence_penalty": 1.5, "frequency_penalty": -0.5, "logit_bias": {"101": -100, "116": 2.5}},
    {"user": "u", "metadata": {"k": "v"}, "store": False, "service_tier": "auto", "parallel_tool_calls": True},
    {"extra_body": {"top_k": 5, "privacy": "device-only", "deadline_s": 60, "vendor": {"x": 1}}},
]


@pytest.mark.parametrize("fields", GOOD, ids=lambda fields: "+".join(fields) or "least")
def test_a_chat_answer_is_the_same_text_whole_and_streamed(client: openai.OpenAI, fields: dict[str, Any]) -> None:
    body = {**TALK, "seed": 5, **fields}
    whole = client.chat.completions.create(**body)
    ChatCompletion.model_validate(whole.to_dict(), strict=True)
    assert [choice.index for choice in whole.choices] == list(range(fields.get("n", 1)))
    stream = client.chat.completions.create(**body, stream=True, stream_options={"include_usage": True})
    chunks = list(stream)
    assert texts(chunks) == {choice.index: choice.message.content for choice in whole.choices}
    assert chunks[-1].usage == whole.usage
    assert account(chunks[-1])["origin"] == account(whole)["origin"]


def test_a_bias_and_a_penalty_reach_the_model_and_logprobs_stay_its_own(client: openai.OpenAI) -> None:
    body = {**TALK, "temperature": 0, "max_tokens": 30, "logprobs": True, "top_logprobs": 2}

    def said(**more: Any) -> Any:
        return client.chat.completions.create(**body, **more).choices[0]

    plain = said()
    first = plain.logprobs.content[0]
    forbidden = said(logit_bias={str(first.bytes[0]): -100})  # the vocabulary of this door is bytes
    assert forbidden.message.content[0] != plain.message.content[0]
    assert forbidden.logprobs.content[0].logprob == pytest.approx(first.top_logprobs[1].logprob)
    assert said(frequency_penalty=2, presence_penalty=2).message.content != plain.message.content
    assert said(frequency_penalty=0, presence_penalty=0, logit_bias={}).message.content == plain.message.content


@pytest.mark.parametrize(
    "fields",
    [
        {},
        {"prompt": ["one", "two", "three"]},
        {"prompt": [72, 105, 260]},
        {"prompt": [[72], [105, 33]], "n": 3},
        {"max_tokens": 40, "stop": ["e", "t"]},
        {"logprobs": 0},
        {"logprobs": 5, "n": 2},
        {"temperature": 0, "top_p": 1, "echo": False, "suffix": "", "best_of": 1, "presence_penalty": 0, "user": "u"},
        {"temperature": 0, "frequency_penalty": 2, "logit_bias": {"32": -100}},
    ],
    ids=lambda fields: "+".join(fields) or "least",
)
def test_a_completion_is_the_same_text_whole_and_streamed(client: openai.OpenAI, fields: dict[str, Any]) -> None:
    body = {**RAW, "seed": 5, **fields}
    whole = client.completions.create(**body)
    Completion.model_validate(whole.to_dict(), strict=True)
    chunks = list(client.completions.create(**body, stream=True, stream_options={"include_usage": True}))
    assert texts(chunks) == {choice.index: choice.text for choice in whole.choices}
    assert chunks[-1].usage == whole.usage
    assert whole.usage is not None
    assert whole.usage.total_tokens == whole.usage.prompt_tokens + whole.usage.completion_tokens


def test_the_first_of_n_choices_is_the_answer_alone_and_each_replays_from_its_own_seed(client: openai.OpenAI) -> None:
    alone = client.chat.completions.create(**TALK, seed=7)
    three = client.chat.completions.create(**TALK, seed=7, n=3)
    said = [choice.message.content for choice in three.choices]
    assert said[0] == alone.choices[0].message.content
    assert len(set(said)) == 3
    for choice, told in zip(said, account(three)["choices"], strict=True):
        assert client.chat.completions.create(**TALK, seed=told["seed"]).choices[0].message.content == choice
    assert alone.usage is not None
    assert three.usage is not None
    assert three.usage.prompt_tokens == alone.usage.prompt_tokens
    assert three.usage.completion_tokens == sum(span["tokens"] for told in account(three)["choices"] for span in told["origin"])


def test_a_prompt_among_others_is_answered_as_alone(client: openai.OpenAI) -> None:
    several = client.completions.create(model="auto", prompt=["one", "two"], n=2, seed=3)
    two = client.completions.create(model="auto", prompt="two", n=2, seed=3)
    assert [choice.text for choice in several.choices[2:]] == [choice.text for choice in two.choices]
    assert several.usage is not None
    assert several.usage.prompt_tokens == 6  # bytes: the hash engines have a token for each


def test_chat_log_probabilities_spell_the_text(client: openai.OpenAI) -> None:
    reply = client.chat.completions.create(**TALK, seed=5, logprobs=True, top_logprobs=2)
    scores = reply.choices[0].logprobs
    assert scores is not None
    assert scores.content is not None
    assert "".join(entry.token for entry in scores.content) == reply.choices[0].message.content
    assert all(len(entry.top_logprobs) == 2 and entry.logprob <= 0 for entry in scores.content)


def test_completion_log_probabilities_spell_the_text(client: openai.OpenAI) -> None:
    choice = client.completions.create(**RAW, seed=5, logprobs=2, max_tokens=30).choices[0]
    assert choice.logprobs is not None
    assert choice.logprobs.tokens is not None
    assert "".join(choice.logprobs.tokens) == choice.text
    assert choice.logprobs.text_offset == list(range(len(choice.text)))
    assert choice.logprobs.top_logprobs is not None
    assert all(token in top for token, top in zip(choice.logprobs.tokens, choice.logprobs.top_logprobs, strict=True))


def test_embeddings_are_unit_vectors_equal_in_both_encodings(client: openai.OpenAI) -> None:
    default = client.embeddings.create(model="auto", input=["packet loss", "delay"])  # the client asks for base64 by itself
    floats = client.embeddings.create(model="auto", input=["packet loss", "delay"], encoding_format="float")
    assert [item.index for item in floats.data] == [0, 1]
    for packed, plain in zip(default.data, floats.data, strict=True):
        assert math.dist(packed.embedding, plain.embedding) < 1e-6
        assert math.hypot(*plain.embedding) == pytest.approx(1, abs=1e-5)
    assert default.usage.prompt_tokens == default.usage.total_tokens == len("packet loss" + "delay")
    assert account(default)["origin"] == [{"node": "cloud1", "tokens": 16}]
    for ids in (list(b"delay"), [list(b"delay")]):
        assert client.embeddings.create(model="auto", input=ids, encoding_format="float").data[0].embedding == floats.data[1].embedding


def test_content_for_the_device_alone_is_embedded_there(client: openai.OpenAI) -> None:
    reply = client.embeddings.create(model="auto", input="secret", extra_body={"privacy": "device-only"})
    assert [span["node"] for span in account(reply)["origin"]] == ["device1"]
    with pytest.raises(openai.PermissionDeniedError) as caught:
        client.embeddings.create(model="netgpt-cloud", input="secret", extra_body={"privacy": "device-only"})
    assert caught.value.code == "privacy_refused"


LONG = "x" * 3000
BAD_CHAT: list[tuple[dict[str, Any], str]] = [
    ({"messages": []}, "messages"),
    ({"messages": [{"role": "robot", "content": "x"}]}, "messages"),
    ({"messages": [{"role": "user", "content": LONG}]}, "messages"),
    ({"max_tokens": 0}, "max_tokens"),
    ({"max_tokens": 1 << 70}, "max_tokens"),
    ({"max_tokens": 1 << 20}, "messages"),
    ({"max_completion_tokens": 0}, "max_completion_tokens"),
    ({"reasoning_effort": "low"}, "reasoning_effort"),
    ({"verbosity": "high"}, "verbosity"),
    ({"moderation": {"model": "m"}}, "moderation"),
    ({"temperature": -0.1}, "temperature"),
    ({"temperature": "1"}, "temperature"),
    ({"top_p": 1.1}, "top_p"),
    ({"n": 0}, "n"),
    ({"n": 17}, "n"),
    ({"seed": 1 << 64}, "seed"),
    ({"stop": ["a"] * 5}, "stop"),
    ({"top_logprobs": 3}, "top_logprobs"),
    ({"logprobs": True, "top_logprobs": 21}, "top_logprobs"),
    ({"stream_options": {"include_usage": True}}, "stream_options"),
    ({"presence_penalty": 2.5}, "presence_penalty"),
    ({"frequency_penalty": -2.1}, "frequency_penalty"),
    ({"logit_bias": {"1": 101}}, "logit_bias"),
    ({"logit_bias": {"99999": 1}}, "logit_bias"),
    ({"modalities": ["text", "audio"]}, "modalities"),
    ({"extra_body": {"privacy": "none"}}, "privacy"),
    ({"extra_body": {"deadline_s": 0}}, "deadline_s"),
    ({"extra_body": {"top_k": -1}}, "top_k"),
]
BAD_COMPLETION: list[tuple[dict[str, Any], str]] = [
    ({"prompt": ""}, "prompt"),
    ({"prompt": []}, "prompt"),
    ({"prompt": ["a", ""]}, "prompt[1]"),
    ({"prompt": ["a"] * 17}, "prompt"),
    ({"prompt": ["a", "b"], "n": 9}, "n"),
    ({"prompt": [1, "a"]}, "prompt"),
    ({"prompt": [-1]}, "prompt"),
    ({"prompt": [999]}, "prompt"),
    ({"prompt": LONG}, "prompt"),
    ({"logprobs": 6}, "logprobs"),
    ({"logprobs": True}, "logprobs"),
    ({"echo": True}, "echo"),
    ({"suffix": "end"}, "suffix"),
    ({"best_of": 3}, "best_of"),
]
BAD_EMBEDDING: list[tuple[dict[str, Any], str]] = [
    ({"input": ""}, "input"),
    ({"input": []}, "input"),
    ({"input": ["a"] * 257}, "input"),
    ({"input": ["a", LONG]}, "input[1]"),
    ({"input": [[5], [300]]}, "input[1]"),
    ({"input": {"text": "a"}}, "input"),
    ({"dimensions": 8}, "dimensions"),
    ({"encoding_format": "int8"}, "encoding_format"),
]


@pytest.mark.parametrize("stream", [False, True])
def test_a_bad_parameter_is_refused_by_name(client: openai.OpenAI, stream: bool) -> None:
    cases = [(client.chat.completions.create, {**TALK, "stream": stream, **fields}, param) for fields, param in BAD_CHAT]
    cases += [(client.completions.create, {**RAW, "stream": stream, **fields}, param) for fields, param in BAD_COMPLETION]
    cases += [] if stream else [(client.embeddings.create, {"model": "auto", "input": "a", **fields}, param) for fields, param in BAD_EMBEDDING]
    for create, body, param in cases:
        if stream and "stream_options" in body:
            continue  # good beside a stream
        with pytest.raises(openai.BadRequestError) as caught:
            create(**body)
        told = caught.value
        assert told.param == param, body
        assert told.request_id == caught.value.response.json()["request_id"]
        assert caught.value.response.json()["hint"]


def test_every_parameter_of_the_official_client_is_read_or_refused_or_known_to_change_nothing(client: openai.OpenAI, url: str) -> None:
    schemas = httpx.get(f"{url.removesuffix('/v1')}/openapi.json").json()["components"]["schemas"]
    page = (Path(__file__).parents[2] / "docs" / "api.md").read_text(encoding="utf-8")
    for create, body in (
        (client.chat.completions.create, "ChatBody"),
        (client.completions.create, "CompletionBody"),
        (client.embeddings.create, "EmbeddingBody"),
    ):
        own = {"extra_headers", "extra_query", "extra_body", "timeout", "self"}  # the client's, not the API's
        assert set(inspect.signature(create).parameters) - own - HARMLESS <= set(schemas[body]["properties"])
    assert all(f"`{name}`" in page for name in HARMLESS)


def test_the_example_of_the_page_on_the_api_runs(url: str, capsys: pytest.CaptureFixture[str]) -> None:
    page = (Path(__file__).parents[2] / "docs" / "api.md").read_text(encoding="utf-8")
    (example,) = re.findall(r"^```python\n(.*?)^```$", page, re.MULTILINE | re.DOTALL)
    exec(example.replace("http://127.0.0.1:8080/v1", url), {})
    assert len(capsys.readouterr().out.splitlines()) == 5


def test_an_unknown_model_is_not_found_at_every_route(client: openai.OpenAI) -> None:
    for create, fields in (
        (client.chat.completions.create, TALK),
        (client.completions.create, RAW),
        (client.embeddings.create, {"input": "a"}),
    ):
        with pytest.raises(openai.NotFoundError) as caught:
            create(**{**fields, "model": "gpt-9"})
        assert caught.value.code == "model_not_found"


def test_models_are_listed_and_found_and_ids_tell_the_routes_apart(client: openai.OpenAI) -> None:
    names = [model.id for model in client.models.list()]
    assert names == ["netgpt-device", "netgpt-edge", "netgpt-cloud", "auto", "cascade", "route"]
    assert client.models.retrieve("auto").id == "auto"
    assert client.chat.completions.create(**TALK, max_tokens=1).id.startswith("chatcmpl-")
    assert client.completions.create(**RAW, max_tokens=1).id.startswith("cmpl-")
    raw = client.embeddings.with_raw_response.create(model="auto", input="a")
    assert raw.headers["x-request-id"].startswith("embd-")


def test_the_async_client_gets_the_same_answers_many_at_once(client: openai.OpenAI, url: str) -> None:
    talk, raw = {**TALK, "model": "netgpt-cloud"}, {**RAW, "model": "netgpt-cloud"}  # `auto` may ask another node when many ask

    async def ask() -> list[tuple[str | None, dict[int, str], str, list[float]]]:
        async with openai.AsyncOpenAI(base_url=url, api_key="-", max_retries=0) as many:

            async def one(seed: int) -> tuple[str | None, dict[int, str], str, list[float]]:
                whole = await many.chat.completions.create(**talk, seed=seed)
                stream = await many.chat.completions.create(**talk, seed=seed, stream=True, n=2)
                chunks = [chunk async for chunk in stream]
                completion = await many.completions.create(**raw, seed=seed)
                vector = await many.embeddings.create(model="auto", input=f"text {seed}")
                return whole.choices[0].message.content, texts(chunks), completion.choices[0].text, vector.data[0].embedding

            return await asyncio.gather(*(one(seed) for seed in range(8)))

    answers = asyncio.run(ask())
    assert all(whole == streamed[0] for whole, streamed, _, _ in answers)
    assert answers[3][1][1] == client.chat.completions.create(**talk, seed=3, n=2).choices[1].message.content
    assert answers[3][2] == client.completions.create(**raw, seed=3).choices[0].text
    assert answers[3][3] == client.embeddings.create(model="auto", input="text 3").data[0].embedding


def test_the_async_client_is_told_of_bad_parameters_too(url: str) -> None:
    async def ask() -> None:
        async with openai.AsyncOpenAI(base_url=url, api_key="-", max_retries=0) as many:
            with pytest.raises(openai.BadRequestError) as caught:
                await many.completions.create(**RAW, stream=True, logprobs=9)
            assert caught.value.param == "logprobs"

    asyncio.run(ask())
