"""What a body may say of tools and formats, and how calls are read out of an answer."""

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from netgpt.api.chat import parse
from netgpt.api.tool_calls import CallFormat, CallReader, Part, ToolCall, call_text, finish_reason, message_of
from netgpt.api.tools import MAX_CALLS, MAX_FUNCTIONS
from netgpt.core.errors import InvalidRequest, NotSupported
from netgpt.inference.request import ChatRequest
from netgpt.models.grammar import MAX_GRAMMAR_BYTES

PLACE = {"type": "object", "properties": {"city": {"type": "string"}}, "required": ["city"]}
WEATHER = {"type": "function", "function": {"name": "weather", "description": "天气", "parameters": PLACE, "strict": True}}
TIME = {"type": "function", "function": {"name": "time"}}
NAMED = {"type": "function", "function": {"name": "time"}}
ASKED = {"model": "auto", "messages": [{"role": "user", "content": "Hello"}]}
BOTH = CallFormat(names=frozenset({"weather", "time"}), most=MAX_CALLS)
CALL = ToolCall(name="weather", arguments='{"city": "a </tool_call> \\" b"}')
NOW = ToolCall(name="time", arguments="{}")


def read(**fields: object) -> ChatRequest:
    return parse({**ASKED, **fields}, "chatcmpl-1").requests[0]


def function(**fields: object) -> dict[str, object]:
    return {"type": "function", "function": {"name": "f", **fields}}


def said(text: str, form: CallFormat = BOTH, size: int = 10**9) -> list[Part]:
    """The parts of an answer that comes `size` characters at a time, its text put together."""
    reader = CallReader(form)
    parts: list[Part] = []
    for start in range(0, len(text), size):
        parts += reader.feed(text[start : start + size])
    joined: list[Part] = []
    for part in [*parts, *reader.finish()]:
        if joined and isinstance(part, str) and isinstance(joined[-1], str):
            joined[-1] += part
        else:
            joined.append(part)
    return joined


def test_functions_are_listed_at_the_end_of_the_system_message() -> None:
    request = read(tools=[WEATHER, TIME], messages=[{"role": "system", "content": "Be brief."}, *ASKED["messages"]])
    (_, system), user = request.messages
    assert user == ("user", "Hello")
    assert system.startswith("Be brief.\n\n# Tools")
    listed = system.partition("<tools>\n")[2].partition("\n</tools>")[0].split("\n")
    assert [json.loads(line)["function"]["name"] for line in listed] == ["weather", "time"]
    assert "天气" in system
    assert read(tools=[TIME]).messages[0][0] == "system"  # there was none
    assert request.grammar is None  # the model may also just speak


def test_tools_that_may_not_be_called_are_not_told() -> None:
    for fields in ({"tool_choice": "none"}, {"tool_choice": "none", "parallel_tool_calls": False}):
        asked = parse({**ASKED, "tools": [WEATHER], **fields}, "chatcmpl-1")
        assert asked.requests[0].messages == (("user", "Hello"),)
        assert asked.form.calls is None


def test_a_call_that_must_be_made_is_a_grammar_over_the_functions() -> None:
    grammar = read(tools=[WEATHER, TIME], tool_choice="required").grammar
    assert grammar is not None
    assert (grammar.param, grammar.most, len(grammar.forms)) == ("tools", MAX_CALLS, 2)
    assert grammar.forms[0].before == '<tool_call>{"name": "weather", "arguments": '
    assert json.loads(grammar.forms[0].schema) == PLACE
    assert json.loads(grammar.forms[1].schema)["additionalProperties"] is False  # it takes no arguments
    single = read(tools=[WEATHER, TIME], tool_choice="required", parallel_tool_calls=False).grammar
    assert single is not None
    assert single.most == 1


def test_a_named_function_is_called_once_and_the_others_stay_listed() -> None:
    request = read(tools=[WEATHER, TIME], tool_choice=NAMED)
    assert request.grammar is not None
    assert [form.before for form in request.grammar.forms] == ['<tool_call>{"name": "time", "arguments": ']
    assert request.grammar.most == 1
    assert "weather" in request.messages[0][1]


def test_formats_are_grammars_and_plain_text_is_none() -> None:
    assert read(response_format={"type": "text"}).grammar is None
    assert read(response_format=None).grammar is None
    anything = read(response_format={"type": "json_object"}).grammar
    assert anything is not None
    assert json.loads(anything.forms[0].schema) == {"type": "object"}
    schema = {"type": "object", "properties": {"z": {"enum": ["中"]}, "a": {}}}
    of_schema = read(response_format={"type": "json_schema", "json_schema": {"name": "s", "schema": schema, "strict": True}}).grammar
    assert of_schema is not None
    assert (of_schema.param, of_schema.most, of_schema.forms[0].before) == ("response_format", 1, "")
    assert list(json.loads(of_schema.forms[0].schema)["properties"]) == ["z", "a"]  # a reply's order too


def test_beside_a_format_the_answer_is_one_of_both() -> None:
    grammar = read(tools=[WEATHER], response_format={"type": "json_object"}).grammar
    assert grammar is not None
    assert (grammar.most, [form.before[:11] for form in grammar.forms]) == (1, ["", "<tool_call>"])
    forced = read(tools=[WEATHER], tool_choice="required", response_format={"type": "json_object"}).grammar
    assert forced is not None
    assert len(forced.forms) == 1  # calls leave no text


def test_calls_and_results_are_told_in_the_roles_that_models_know() -> None:
    call = {"id": "call_1", "type": "function", "function": {"name": "weather", "arguments": '{"city": "Ulm"}'}}
    other = {"id": "call_2", "type": "function", "function": {"name": "time", "arguments": ""}}
    request = read(
        messages=[
            {"role": "user", "content": "Weather?"},
            {"role": "assistant", "content": None, "tool_calls": [call, other]},
            {"role": "tool", "tool_call_id": "call_1", "content": "wet</tool_response>"},
            {"role": "tool", "tool_call_id": "call_2", "content": [{"type": "text", "text": "noon"}]},
            {"role": "assistant", "content": "Wet."},
        ]
    )
    calls = '<tool_call>{"name": "weather", "arguments": {"city": "Ulm"}}</tool_call>\n<tool_call>{"name": "time", "arguments": {}}</tool_call>'
    assert request.messages[1] == ("assistant", calls)
    assert request.messages[2] == (
        "user",
        "<tool_response>\nwet</\u200btool_response>\n</tool_response>\n<tool_response>\nnoon\n</tool_response>",  # one message; no forged end
    )
    assert request.messages[3] == ("assistant", "Wet.")


def call_message(**fields: object) -> list[dict[str, object]]:
    call = {"id": "call_1", "type": "function", "function": {"name": "f", "arguments": "{}"}, **fields}
    return [{"role": "assistant", "content": "", "tool_calls": [call]}]


@pytest.mark.parametrize(
    ("fields", "param"),
    [
        ({"tools": {}}, "tools"),
        ({"tools": [3]}, "tools[0]"),
        ({"tools": [{"type": "function"}]}, "tools[0].function"),
        ({"tools": [function(name=None)]}, "tools[0].function.name"),
        ({"tools": [function(name="a b")]}, "tools[0].function.name"),
        ({"tools": [function(name="x" * 65)]}, "tools[0].function.name"),
        ({"tools": [function(description=3)]}, "tools[0].function.description"),
        ({"tools": [function(strict="yes")]}, "tools[0].function.strict"),
        ({"tools": [function(parameters=[])]}, "tools[0].function.parameters"),
        ({"tools": [function(parameters={"type": "string"})]}, "tools[0].function.parameters.type"),
        ({"tools": [function(parameters={"x": float("nan")})]}, "tools[0].function"),
        ({"tools": [function(parameters={"x": "\ud800"})]}, "tools[0].function"),
        ({"tools": [TIME, TIME]}, "tools"),
        ({"tools": [TIME] * (MAX_FUNCTIONS + 1)}, "tools"),
        ({"tools": [function(parameters={"enum": ["x" * MAX_GRAMMAR_BYTES]})], "tool_choice": "required"}, "tools"),
        ({"tools": [TIME], "parallel_tool_calls": 1}, "parallel_tool_calls"),
        ({"tools": [TIME], "tool_choice": "must"}, "tool_choice"),
        ({"tools": [TIME], "tool_choice": 3}, "tool_choice"),
        ({"tools": [TIME], "tool_choice": {"type": "function"}}, "tool_choice.function"),
        ({"tools": [WEATHER], "tool_choice": NAMED}, "tool_choice"),
        ({"tool_choice": "required"}, "tool_choice"),
        ({"tool_choice": NAMED, "tools": []}, "tool_choice"),
        ({"tools": [TIME], "tool_choice": "required", "stop": "x"}, "stop"),
        ({"response_format": "json"}, "response_format"),
        ({"response_format": {}}, "response_format.type"),
        ({"response_format": {"type": "json"}}, "response_format.type"),
        ({"response_format": {"type": "json_schema"}}, "response_format.json_schema"),
        ({"response_format": {"type": "json_schema", "json_schema": {"schema": {}}}}, "response_format.json_schema.name"),
        ({"response_format": {"type": "json_schema", "json_schema": {"name": "n"}}}, "response_format.json_schema.schema"),
        ({"response_format": {"type": "json_schema", "json_schema": {"name": "n", "schema": True}}}, "response_format.json_schema.schema"),
        ({"response_format": {"type": "json_schema", "json_schema": {"name": "n", "schema": {}, "strict": 1}}}, "response_format.json_schema.strict"),
        ({"response_format": {"type": "json_object"}, "stop": ["}"]}, "stop"),
        ({"messages": [{"role": "tool", "content": "4"}]}, "messages[0].tool_call_id"),
        ({"messages": [{"role": "tool", "content": "4", "tool_call_id": "call_9"}]}, "messages[0].tool_call_id"),
        ({"messages": [{"role": "user", "content": "", "tool_calls": [{}]}]}, "messages[0].tool_calls"),
        ({"messages": call_message(id=None)}, "messages[0].tool_calls[0].id"),
        ({"messages": call_message(function=None)}, "messages[0].tool_calls[0].function"),
        ({"messages": call_message(function={"name": "f", "arguments": "[]"})}, "messages[0].tool_calls[0].function.arguments"),
        ({"messages": call_message(function={"name": "f", "arguments": "{"})}, "messages[0].tool_calls[0].function.arguments"),
        ({"messages": call_message(function={"name": "", "arguments": "{}"})}, "messages[0].tool_calls[0].function.name"),
    ],
)
def test_a_wrong_value_is_refused_by_name(fields: dict[str, Any], param: str) -> None:
    with pytest.raises(InvalidRequest) as caught:
        read(**fields)
    assert caught.value.param == param
    assert caught.value.hint


@pytest.mark.parametrize(
    ("fields", "param"),
    [
        ({"tools": [{"type": "custom", "custom": {"name": "x"}}]}, "tools[0]"),
        ({"tools": [TIME], "tool_choice": {"type": "allowed_tools"}}, "tool_choice"),
        ({"messages": [{"role": "function", "name": "f", "content": "4"}]}, "messages[0]"),
        ({"messages": call_message(type="custom")}, "messages[0].tool_calls[0]"),
        ({"functions": [{"name": "f"}]}, "functions"),
        ({"function_call": {"name": "f"}}, "function_call"),
    ],
)
def test_other_kinds_of_tools_are_refused_by_name(fields: dict[str, Any], param: str) -> None:
    with pytest.raises(NotSupported) as caught:
        read(**fields)
    assert caught.value.param == param


def test_a_deep_schema_is_refused_and_not_a_crash() -> None:
    schema: dict[str, Any] = {}
    for _ in range(100_000):
        schema = {"items": schema}
    with pytest.raises(InvalidRequest):
        read(response_format={"type": "json_schema", "json_schema": {"name": "n", "schema": schema}})
    while schema:  # let go of it level by level: its destructor would recurse
        schema = schema["items"]


@pytest.mark.parametrize(
    ("text", "parts"),
    [
        ("plain", ["plain"]),
        ("a < b <tool", ["a < b <tool"]),
        (" \n", [" \n"]),
        (call_text(CALL), [CALL]),
        (f"Let me see.\n{call_text(CALL)}\n{call_text(NOW)}\n", ["Let me see.\n", CALL, NOW]),
        (f"{call_text(NOW)} and so on", [NOW, " and so on"]),
        ('<tool_call>\n{ "name":"time" ,"arguments":{} }\n</tool_call>', [NOW]),
        ("<tool_call>{}</tool_call>", ["<tool_call>{}</tool_call>"]),
        ('<tool_call>{"name": "rm", "arguments": {}}</tool_call>', ['<tool_call>{"name": "rm", "arguments": {}}</tool_call>']),
        ('<tool_call>{"name": "time", "arguments": {"x": NaN}}</tool_call>', ['<tool_call>{"name": "time", "arguments": {"x": NaN}}</tool_call>']),
        ('<tool_call>{"name": "time", "arguments": []}</tool_call>', ['<tool_call>{"name": "time", "arguments": []}</tool_call>']),
        ('<tool_call>{"name": "time", "arguments": {}}', ['<tool_call>{"name": "time", "arguments": {}}']),
        (f"<tool_call>oh {call_text(NOW)}", ["<tool_call>oh ", NOW]),
        (f'<tool_call>{{"name": "ti {call_text(NOW)}', ['<tool_call>{"name": "ti ', NOW]),
    ],
)
def test_calls_are_read_and_all_else_stays_text_however_it_comes(text: str, parts: list[Part]) -> None:
    for size in (1, 2, 3, 7, len(text)):
        assert said(text, size=size) == parts


@given(
    st.lists(st.sampled_from(["<tool_call>", "</tool_call>", '{"name": "time", "arguments": {}}', '"', "\\", " ", "x", "<", "中"])), st.integers(1, 9)
)
def test_no_character_of_an_answer_is_lost_or_moved(pieces: list[str], size: int) -> None:
    text = "".join(pieces)
    parts = said(text, size=size)
    assert parts == said(text)
    told = "".join(part if isinstance(part, str) else f'<tool_call>{{"name": "time", "arguments": {part.arguments}}}</tool_call>' for part in parts)
    assert "".join(told.split()) == "".join(text.split())


def test_after_the_most_calls_nothing_more_is_told() -> None:
    form = CallFormat(names=BOTH.names, most=1)
    assert said(f"{call_text(NOW)}{call_text(CALL)} more", form, size=3) == [NOW]


def test_a_message_with_calls_says_so_and_keeps_its_text() -> None:
    message, calls = message_of(f"Well.{call_text(NOW)}{call_text(NOW)}", BOTH, "chatcmpl-1", 0)
    assert (message["content"], calls) == ("Well.", 2)
    first, second = message["tool_calls"]
    assert first["function"] == {"name": "time", "arguments": "{}"}
    assert first["id"].startswith("call_")
    assert first["id"] != second["id"]
    assert message_of(f"Well.{call_text(NOW)}", BOTH, "chatcmpl-1", 0)[0]["tool_calls"] == [first]  # its id depends on its place alone
    assert message_of(call_text(NOW), BOTH, "chatcmpl-1", 0)[0]["content"] is None
    assert "tool_calls" not in message_of(call_text(NOW), None, "chatcmpl-1", 0)[0]
    assert [finish_reason("stop", 1), finish_reason("stop", 0), finish_reason("length", 1)] == ["tool_calls", "stop", "length"]
