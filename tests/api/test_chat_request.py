import pytest
from hypothesis import given
from hypothesis import strategies as st

from netgpt.api.chat_request import ReplyForm, parse_chat, parse_form
from netgpt.core.errors import InvalidRequest, NotSupported
from netgpt.inference.request import CacheWish, ChatRequest, CompressWish
from netgpt.models.generation import Penalties

HELLO = {"model": "auto", "messages": [{"role": "user", "content": "Hello"}]}


def parse(**fields: object) -> ChatRequest:
    return parse_chat({**HELLO, **fields}, "chatcmpl-1")


def test_the_least_body_has_openais_defaults() -> None:
    assert parse() == ChatRequest(request_id="chatcmpl-1", model="auto", messages=(("user", "Hello"),))


def test_every_parameter_arrives() -> None:
    request = parse(
        messages=[
            {"role": "developer", "content": "Be brief."},
            {"role": "user", "content": [{"type": "text", "text": "a"}, {"type": "text", "text": "b"}]},
        ],
        max_completion_tokens=5, temperature=0, top_p=0.5, top_k=3, seed=-4, stop="END", logprobs=True, top_logprobs=2,
        privacy="device-only", deadline_s=2.5, user="u", metadata={}, n=1, tools=[], response_format={"type": "text"}, vendor_extra=1,
    )  # fmt: skip
    assert request == ChatRequest(
        request_id="chatcmpl-1", model="auto", messages=(("system", "Be brief."), ("user", "ab")), max_tokens=5, temperature=0, top_p=0.5, top_k=3,
        seed=-4, stop=("END",), logprobs=True, top_logprobs=2, privacy="device-only", deadline_s=2.5,
    )  # fmt: skip


def test_null_means_not_given() -> None:
    names = ("max_tokens", "max_completion_tokens", "temperature", "top_p", "seed", "stop", "n", "logprobs", "top_logprobs", "stream")
    assert parse(**dict.fromkeys(names), top_k=None, tools=None, privacy=None, deadline_s=None) == parse()


@pytest.mark.parametrize(
    ("fields", "param"),
    [
        ({"model": None}, "model"),
        ({"model": 3}, "model"),
        ({"model": "\ud800"}, "model"),
        ({"messages": None}, "messages"),
        ({"messages": []}, "messages"),
        ({"messages": "hi"}, "messages"),
        ({"messages": ["hi"]}, "messages[0]"),
        ({"messages": [{"content": "hi"}]}, "messages[0].role"),
        ({"messages": [{"role": "usr", "content": "hi"}]}, "messages"),
        ({"messages": [{"role": "user"}]}, "messages[0].content"),
        ({"messages": [{"role": "user", "content": 1}]}, "messages[0].content"),
        ({"messages": [{"role": "user", "content": "\udc00"}]}, "messages[0].content"),
        ({"messages": [{"role": "user", "content": ["hi"]}]}, "messages[0].content[0]"),
        ({"messages": [{"role": "user", "content": [{"type": "text", "text": 1}]}]}, "messages[0].content[0].text"),
        ({"max_tokens": 0}, "max_tokens"),
        ({"max_tokens": 1.5}, "max_tokens"),
        ({"max_tokens": True}, "max_tokens"),
        ({"max_tokens": 1, "max_completion_tokens": 2}, "max_completion_tokens"),
        ({"temperature": "hot"}, "temperature"),
        ({"temperature": 2.1}, "temperature"),
        ({"temperature": float("nan")}, "temperature"),
        ({"temperature": 10**400}, "temperature"),
        ({"top_p": 0}, "top_p"),
        ({"top_k": -1}, "top_k"),
        ({"seed": 1 << 63}, "seed"),
        ({"stop": 1}, "stop"),
        ({"stop": [""]}, "stop"),
        ({"stop": ["a", "b", "c", "d", "e"]}, "stop"),
        ({"logprobs": 1}, "logprobs"),
        ({"top_logprobs": 1}, "top_logprobs"),
        ({"logprobs": True, "top_logprobs": 21}, "top_logprobs"),
        ({"privacy": "secret"}, "privacy"),
        ({"strategy": "fog"}, "strategy"),
        ({"strategy": 1}, "strategy"),
        ({"model": "netgpt-cloud", "strategy": "edge"}, "strategy"),
        ({"deadline_s": 0}, "deadline_s"),
        ({"deadline_s": float("inf")}, "deadline_s"),
        ({"presence_penalty": 2.1}, "presence_penalty"),
        ({"frequency_penalty": "1"}, "frequency_penalty"),
        ({"compress": "allways"}, "compress"),
        ({"compress": 1}, "compress"),
        ({"compress": {"ratio": 0.5}}, "compress"),
        ({"compress": {"rate": "half"}}, "compress.rate"),
        ({"compress": {"rate": 0}}, "compress.rate"),
        ({"compress": {"when": 1}}, "compress.when"),
        ({"cache": True}, "cache"),
        ({"cache": {"max_age": 3}}, "cache"),
        ({"cache": {"match": "fuzzy"}}, "cache.match"),
        ({"cache": {"match": 1}}, "cache.match"),
        ({"cache": {"shared": "yes"}}, "cache.shared"),
        ({"cache": {"keep": 1}}, "cache.keep"),
        ({"cache": {"max_age_s": -1}}, "cache.max_age_s"),
        ({"cache": {"max_age_s": "1 min"}}, "cache.max_age_s"),
        ({"cache": {"place": "x" * 129}}, "cache.place"),
        ({"logit_bias": [1]}, "logit_bias"),
        ({"logit_bias": {"one": 1}}, "logit_bias"),
        ({"logit_bias": {"01": 1}}, "logit_bias"),
        ({"logit_bias": {"-1": 1}}, "logit_bias"),
        ({"logit_bias": {"1": None}}, "logit_bias"),
        ({"logit_bias": {"1": True}}, "logit_bias"),
        ({"logit_bias": {"1": 100.5}}, "logit_bias"),
        ({"logit_bias": {str(i): 1 for i in range(301)}}, "logit_bias"),
    ],
)
def test_a_wrong_value_is_refused_by_name(fields: dict[str, object], param: str) -> None:
    with pytest.raises(InvalidRequest) as caught:
        parse(**fields)
    assert caught.value.param == param
    assert caught.value.hint


def test_leave_to_shorten_the_prompt_is_given_in_a_word_or_an_object() -> None:
    assert parse().compress is None
    assert parse(compress=False).compress is None
    assert parse(compress=True).compress == parse(compress="always").compress == CompressWish(when="always")
    assert parse(compress="auto").compress == parse(compress={}).compress == CompressWish(when="auto")
    assert parse(compress={"when": "always", "rate": 0.25}).compress == CompressWish(when="always", rate=0.25)


def test_leave_to_keep_an_answer_arrives() -> None:
    assert parse().cache is None
    assert parse(cache=None).cache is None
    assert parse(cache={}).cache == CacheWish()
    assert parse(cache={"match": None, "shared": None, "max_age_s": None, "keep": None, "place": None}).cache == CacheWish()
    wish = {"match": "semantic", "shared": True, "max_age_s": 60, "keep": False, "place": "cell-7"}
    assert parse(cache=wish).cache == CacheWish(match="semantic", shared=True, max_age_s=60, keep=False, place="cell-7")
    tools = [{"type": "function", "function": {"name": "weather", "parameters": {"type": "object"}}}]
    assert parse(cache={}, tools=tools).cache == CacheWish(tools=True)


@pytest.mark.parametrize(
    ("model", "strategy", "answers"),
    [
        ("auto", "edge", "netgpt-edge"),
        ("auto", "auto", "auto"),
        ("auto", None, "auto"),
        ("netgpt-edge", "auto", "netgpt-edge"),
        ("netgpt-device", "device", "netgpt-device"),
        ("gpt-9", "edge", "gpt-9"),
    ],
)
def test_a_strategy_is_a_tier_for_auto_and_changes_no_named_model(model: str, strategy: str | None, answers: str) -> None:
    assert parse(model=model, strategy=strategy).model == answers


@pytest.mark.parametrize(
    ("fields", "param"),
    [
        ({"functions": [{"name": "f"}]}, "functions"),
        ({"web_search_options": {}}, "web_search_options"),
        ({"guided_json": {"type": "object"}}, "guided_json"),
        ({"ignore_eos": True}, "ignore_eos"),
        ({"min_tokens": 5}, "min_tokens"),
        ({"repetition_penalty": 1.1}, "repetition_penalty"),
        ({"continue_final_message": True}, "continue_final_message"),
        ({"reasoning_effort": "high"}, "reasoning_effort"),
        ({"verbosity": "low"}, "verbosity"),
        ({"reasoning": {"effort": "high"}}, "reasoning"),
        ({"thinking": {"type": "enabled", "budget_tokens": 1024}}, "thinking"),
        ({"chat_template_kwargs": {"enable_thinking": True}}, "chat_template_kwargs"),
        ({"n_predict": 5}, "n_predict"),
        ({"regex": "a+"}, "regex"),
        ({"echo": True}, "echo"),
        ({"messages": [{"role": "user", "content": [{"type": "image_url"}]}]}, "messages[0].content[0]"),
    ],
)
def test_what_would_change_the_answer_is_not_ignored(fields: dict[str, object], param: str) -> None:
    with pytest.raises(NotSupported) as caught:
        parse(**fields)
    assert caught.value.param == param


def test_penalties_are_what_is_added_to_logits() -> None:
    told = parse(presence_penalty=1, frequency_penalty=-0.5, logit_bias={"7": -100, "0": 2.5}).penalties
    assert told == Penalties(presence=1.0, frequency=-0.5, bias_ids=(7, 0), biases=(-100.0, 2.5))
    assert parse(presence_penalty=0, frequency_penalty=None, logit_bias={}).penalties is None
    assert len(parse(logit_bias={str(i): 1 for i in range(300)}).logit_bias) == 300


def test_the_form_of_the_reply() -> None:
    assert parse_form(HELLO) == ReplyForm()
    assert parse_form({**HELLO, "stream": True}) == ReplyForm(stream=True)
    assert parse_form({**HELLO, "stream": True, "stream_options": {"include_usage": True}}) == ReplyForm(stream=True, include_usage=True)
    assert parse_form({**HELLO, "n": 16}) == ReplyForm(choices=16)
    wrong: list[tuple[dict[str, object], str]] = [
        ({"stream": 1}, "stream"),
        ({"stream_options": {}}, "stream_options"),
        ({"stream": True, "stream_options": 1}, "stream_options"),
        ({"n": 0}, "n"),
        ({"n": 17}, "n"),
        ({"n": True}, "n"),
        ({"n": "2"}, "n"),
    ]
    for fields, param in wrong:
        with pytest.raises(InvalidRequest) as caught:
            parse_form({**HELLO, **fields})
        assert caught.value.param == param


INNER_NAMES = ["role", "content", "type", "text", "include_usage", "function", "name", "parameters", "json_schema", "schema", "tool_calls", "id"]
JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(st.characters(exclude_categories=())),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.sampled_from(INNER_NAMES), inner, max_size=3),
    max_leaves=8,
)
NAMES = [
    *ChatRequest.__dataclass_fields__,
    "n",
    "stream",
    "stream_options",
    "max_completion_tokens",
    "tools",
    "logit_bias",
    "response_format",
    "tool_choice",
]


@given(JSON | st.dictionaries(st.sampled_from(NAMES), JSON).map(lambda fields: {**HELLO, **fields}))
def test_any_json_is_a_request_or_a_refusal(body: object) -> None:
    try:
        request = parse_chat(body, "chatcmpl-1")
        parse_form(body)
    except (InvalidRequest, NotSupported):
        return
    for _, content in request.messages:
        content.encode()
