"""Text completions: from JSON to requests, from answers to OpenAI's legacy shape."""

import json
from collections.abc import Callable
from typing import Any

import pytest
from openai.types import Completion

from netgpt.api.account import ReplyHead, Told
from netgpt.api.answer import Asked, choice_seed, choices
from netgpt.api.chat_request import ReplyForm
from netgpt.api.completion_reply import Scores, TextWriter, text_completion, token_text
from netgpt.api.completion_request import parse_completion
from netgpt.core.errors import InvalidRequest, NotSupported
from netgpt.inference.request import ChatRequest, Delta, Finish
from netgpt.models.generation import TopLogprobs

HEAD = ReplyHead(id="cmpl-1", model="auto", created=5, entry="device1")
PLAIN = ChatRequest(request_id="cmpl-1", model="auto", prompt="hi")
SCORED = ChatRequest(request_id="cmpl-1", model="auto", prompt="hi", logprobs=True, top_logprobs=1)
SCORES = Delta(
    text="aé",
    origin="edge1",
    tokens=(b"a", b"\xc3", b"\xa9", b""),
    logprobs=(-0.25, -0.5, -1.0, -0.1),
    top=(TopLogprobs(ids=(1,), logprobs=(-0.2,)), TopLogprobs(ids=(2,), logprobs=(-0.5,))),
    top_tokens=((b"b",), (b"\xc3",)),
)


def parse(**fields: Any) -> Asked:
    return parse_completion({"model": "auto", "prompt": "hi", **fields}, "cmpl-1")


def test_the_least_body_has_openais_defaults() -> None:
    expected = ChatRequest(request_id="cmpl-1", model="auto", prompt="hi", max_tokens=16)
    assert parse() == Asked(requests=(expected,), form=ReplyForm())


def test_every_form_of_prompt_arrives() -> None:
    for given, read in (
        ("a", ("a",)),
        (["a", "b"], ("a", "b")),
        ([1, 2.0], ((1, 2),)),
        ([[1], [2, 3]], ((1,), (2, 3))),
        (["a", [1]], ("a", (1,))),
    ):
        assert tuple(request.prompt for request in parse(prompt=given).requests) == read


@pytest.mark.parametrize("prompt", [None, "", [], [""], [[]], 5, {"a": 1}, [1, "a"], ["a", 1], [True], [-1], [1 << 32], [1.5], "\ud800", ["a"] * 17])
def test_a_wrong_prompt_is_refused(prompt: object) -> None:
    with pytest.raises(InvalidRequest) as caught:
        parse(prompt=prompt)
    assert (caught.value.param or "").startswith("prompt")
    assert caught.value.hint


@pytest.mark.parametrize("fields", [{"echo": True}, {"suffix": "x"}, {"best_of": 2}, {"min_tokens": 4}, {"guided_regex": "a+"}])
def test_what_would_change_the_answer_is_not_ignored(fields: dict[str, Any]) -> None:
    with pytest.raises(NotSupported) as caught:
        parse(**fields)
    assert caught.value.param == next(iter(fields))


def test_what_changes_nothing_is_taken() -> None:
    assert parse(echo=False, suffix="", best_of=1, logit_bias={}, frequency_penalty=0, user="u", repetition_penalty=1.0, min_p=0.0) == parse()
    assert parse(n=3, best_of=3) == parse(n=3)


def test_prompts_times_choices_are_bounded() -> None:
    assert len(choices(parse(prompt=["a", "b"], n=8))) == 16
    with pytest.raises(InvalidRequest) as caught:
        parse(prompt=["a", "b"], n=9)
    assert caught.value.param == "n"


def test_each_choice_is_a_session_with_a_seed_of_its_own() -> None:
    asked = choices(parse(prompt=["a", "b"], n=2, seed=7))
    assert [request.request_id for request in asked] == ["cmpl-1-0", "cmpl-1-1", "cmpl-1-2", "cmpl-1-3"]
    assert [request.prompt for request in asked] == ["a", "a", "b", "b"]
    assert [request.seed for request in asked] == [7, choice_seed(7, 1)] * 2
    assert len({choice_seed(seed, number) for seed in (7, 8, -7) for number in range(16)}) == 48
    assert all(0 <= (choice_seed(seed, 3) or -1) < 1 << 53 for seed in (0, -1, (1 << 63) - 1))


def test_without_a_clients_seed_the_door_draws_one_for_each_choice() -> None:
    assert [request.seed for request in choices(parse(n=3))] == [None] * 3
    assert choices(parse())[0].request_id == "cmpl-1"


def test_a_whole_answer_is_openais_object(make_finish: Callable[..., Finish]) -> None:
    told = [Told(deltas=(Delta(text="a", origin="e"), Delta(text="b", origin="e")), finish=make_finish())]
    reply = text_completion(HEAD, PLAIN, ReplyForm(), told)
    completion = Completion.model_validate(reply, strict=True)
    assert completion.choices[0].text == "ab"
    assert completion.choices[0].logprobs is None
    assert reply["netgpt"]["entry"] == "device1"


def test_scores_are_four_lists_and_parts_of_characters_are_bytes() -> None:
    assert Scores(SCORED).read([SCORES]) == {
        "tokens": ["a", "bytes:\\xc3", "bytes:\\xa9"],
        "token_logprobs": [-0.25, -0.5, -1.0],
        "top_logprobs": [{"b": -0.2, "a": -0.25}, {"bytes:\\xc3": -0.5}, {"bytes:\\xa9": -1.0}],
        "text_offset": [0, 1, 1],
    }
    assert token_text("é".encode()) == "é"
    assert Scores(PLAIN).read([SCORES]) is None


def test_without_alternatives_top_logprobs_is_null() -> None:
    told = Scores(ChatRequest(request_id="r", model="auto", prompt="hi", logprobs=True)).read([SCORES])
    assert told is not None
    assert told["top_logprobs"] is None


def test_chunks_carry_their_index_and_offsets_go_on(make_finish: Callable[..., Finish]) -> None:
    writer = TextWriter(HEAD, SCORED, ReplyForm(stream=True), 3)
    data = writer.text(SCORES) + writer.text(SCORES) + writer.finish(make_finish())
    chunks = [json.loads(part.removeprefix("data: ")) for part in data.decode().split("\n\n")[:-1]]
    Completion.model_validate(chunks[-1], strict=True)
    assert [chunk["choices"][0]["index"] for chunk in chunks] == [3, 3, 3]
    assert chunks[1]["choices"][0]["logprobs"]["text_offset"] == [2, 3, 3]
    assert chunks[2]["choices"][0]["finish_reason"] == "stop"
    assert chunks[2]["netgpt"]["seed"] == 11
