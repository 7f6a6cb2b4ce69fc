"""Answers that are held to a grammar: what they are, how sure the model was, and who else they disturb."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import replace
from typing import Any

import jsonschema
import pytest
import torch

from netgpt.core.clock import WallClock
from netgpt.core.compute import ThreadCompute
from netgpt.core.errors import InvalidRequest, NotSupported
from netgpt.engine.decode import FusedDecoder
from netgpt.engine.grammar import KEPT_GRAMMARS, Grammars
from netgpt.engine.hash_engine import HashEngine
from netgpt.engine.replay_engine import ReplayEngine
from netgpt.engine.torch_engine import TorchEngine
from netgpt.models.generation import GREEDY, Generate, Sampling
from netgpt.models.grammar import MAX_GRAMMAR_BYTES, MAX_MOST, Form, Grammar, json_grammar
from netgpt.models.tokenizer import END, SPECIAL_TOKENS, ByteTokenizer

from .torch_models import MODEL_SEEDS, WRITER, decode_alone, tiny_decoder, with_engine_of, writer_card

TOKENIZER = ByteTokenizer()
DECODER = tiny_decoder(config=WRITER)
MODEL = FusedDecoder(DECODER)
PROMPT = tuple(TOKENIZER.encode("Say it in JSON: "))
WARM = Sampling(temperature=1.0, seed=3)
END_ID = TOKENIZER.special_id(END)
SMALL = {"type": "object", "properties": {"a": {"type": "integer", "minimum": 0, "maximum": 99}}, "required": ["a"], "additionalProperties": False}
SCHEMAS: dict[str, dict[str, Any]] = {
    "object": SMALL,
    "enum": {"enum": ["上行", "下行", "x", 3, None]},
    "numbers": {"type": "array", "items": {"type": "number", "minimum": -2, "maximum": 2.5, "multipleOf": 0.5}, "minItems": 1, "maxItems": 3},
    "text": {"type": "string", "maxLength": 6},
    "pattern": {"type": "string", "pattern": "^小区[0-9]{2,4}$"},
    "nested": {
        "type": "object",
        "properties": {
            "基站": {"$ref": "#/$defs/Site"},
            "kind": {"anyOf": [{"const": "macro"}, {"type": "array", "items": {"type": "boolean"}, "maxItems": 2}]},
        },
        "required": ["基站", "kind"],
        "additionalProperties": False,
        "$defs": {
            "Site": {
                "type": "object",
                "properties": {"name": {"type": "string", "maxLength": 4}, "up": {"type": ["boolean", "null"]}},
                "required": ["name"],
                "additionalProperties": False,
            }
        },
    },
}


def asked(schema: object, **changes: Any) -> Generate:
    grammar = json_grammar(json.dumps(schema, ensure_ascii=False), param="response_format")
    values: dict[str, Any] = {"session": "a", "ids": PROMPT, "max_tokens": 700, "stop_ids": (END_ID,), "sampling": WARM, "grammar": grammar}
    return Generate(**{**values, "answer_from": len(PROMPT), **changes})


def with_engine(scenario: Callable[[TorchEngine], Awaitable[None]], model: FusedDecoder = MODEL) -> None:
    with_engine_of(model, writer_card(), scenario, timeout_s=120, tokenizer=ByteTokenizer)


async def answer(engine: TorchEngine, request: Generate) -> tuple[list[int], str]:
    """The ids that were drawn, and why the answer ended."""
    parts = [tokens async for tokens in engine.generate(request)]
    return [i for tokens in parts for i in tokens.ids], parts[-1].finish


@pytest.mark.parametrize("schema", SCHEMAS.values(), ids=SCHEMAS)
def test_every_finished_answer_of_any_weights_is_of_its_schema(schema: dict[str, Any]) -> None:
    finished = 0

    async def scenario(engine: TorchEngine) -> None:
        nonlocal finished
        requests = [asked(schema, session=f"s{seed}", sampling=Sampling(temperature=1.5, top_p=0.95, seed=seed)) for seed in range(6)]
        for ids, finish in await asyncio.gather(*(answer(engine, request) for request in requests)):
            if finish == "stop":
                finished += 1
                assert ids[-1] == END_ID
                jsonschema.validate(json.loads(TOKENIZER.decode(ids).decode()), schema)

    for seed in MODEL_SEEDS:
        with_engine(scenario, FusedDecoder(tiny_decoder(seed, WRITER)))
    assert finished > 3 * len(MODEL_SEEDS)


def test_an_answer_that_does_not_end_in_time_ends_for_its_length() -> None:
    async def scenario(engine: TorchEngine) -> None:
        ids, finish = await answer(engine, asked({"type": "string", "minLength": 50}, max_tokens=20))
        assert (len(ids), finish) == (20, "length")

    with_engine(scenario)


@pytest.mark.parametrize("sampling", [GREEDY, WARM])
def test_what_is_reported_is_how_sure_the_model_was_before_the_mask(sampling: Sampling) -> None:
    async def scenario(engine: TorchEngine) -> None:
        parts = [tokens async for tokens in engine.generate(asked(SCHEMAS["nested"], sampling=sampling, top_logprobs=2, max_tokens=60))]
        ids = [i for tokens in parts for i in tokens.ids]
        with torch.no_grad():
            expected_TV = DECODER(torch.tensor([[*PROMPT, *ids]]))[0, len(PROMPT) - 1 : -1].log_softmax(-1)
        assert [p for tokens in parts for p in tokens.logprobs] == pytest.approx([float(expected_TV[n, i]) for n, i in enumerate(ids)], abs=1e-3)
        tops = [top for tokens in parts for top in tokens.top]
        assert [list(top.ids) for top in tops] == expected_TV.topk(2).indices.tolist()
        assert ids[0] not in tops[0].ids  # the model did not want to begin with a brace

    with_engine(scenario)


def test_another_node_goes_on_with_the_very_same_tokens() -> None:
    async def scenario(engine: TorchEngine) -> None:
        request = asked(SCHEMAS["nested"])
        whole, finish = await answer(engine, request)
        assert finish == "stop"
        for cut in (0, 1, len(whole) // 3, len(whole) // 2, len(whole) - 1):
            rest = replace(request, epoch=1, ids=(*PROMPT, *whole[:cut]), max_tokens=700 - cut)
            assert await answer(engine, rest) == (whole[cut:], "stop")

    with_engine(scenario)


def test_a_held_session_goes_on_in_its_grammar() -> None:
    async def scenario(engine: TorchEngine) -> None:
        whole, _ = await answer(engine, asked(SMALL))
        first, finish = await answer(engine, asked(SMALL, max_tokens=3, hold=True))
        assert finish == "length"
        rest, _ = await answer(engine, asked(SMALL, keep=len(PROMPT) + 3, ids=()))
        assert first + rest == whole

    with_engine(scenario)


def test_a_batch_of_sessions_with_and_without_a_grammar_changes_none_of_them() -> None:
    async def scenario(engine: TorchEngine) -> None:
        alone = [await answer(engine, asked(schema, session=name)) for name, schema in SCHEMAS.items()]
        free = Generate(session="free", ids=PROMPT, max_tokens=80, sampling=WARM)
        mixed = [asked(schema, session=f"{name} again") for name, schema in SCHEMAS.items()]
        *together, (plain, _) = await asyncio.gather(*(answer(engine, request) for request in (*mixed, free)))
        assert together == alone
        assert plain == decode_alone(MODEL, PROMPT, 80, WARM)

    with_engine(scenario)


def test_tool_calls_have_their_frame_their_name_and_their_arguments() -> None:
    forms = tuple(
        Form(before=f'<tool_call>{{"name": "{name}", "arguments": ', schema=json.dumps(schema), after="}</tool_call>")
        for name, schema in (("one", SMALL), ("two", {"type": "object", "properties": {"b": {"enum": ["中"]}}, "additionalProperties": False}))
    )

    async def scenario(engine: TorchEngine) -> None:
        seen = set()
        for seed in range(12):
            sampling = Sampling(temperature=2, seed=seed)
            ids, finish = await answer(engine, asked({}, sampling=sampling, grammar=Grammar(forms=forms, most=2, param="tools")))
            assert finish == "stop"
            calls = TOKENIZER.decode(ids).decode().split("</tool_call>")
            assert calls.pop() == ""
            assert 1 <= len(calls) <= 2
            for call in calls:
                told = json.loads(call.lstrip("\n").removeprefix("<tool_call>"))
                jsonschema.validate(told["arguments"], json.loads(forms[("one", "two").index(told["name"])].schema))
                seen.add(told["name"])
        assert seen == {"one", "two"}

    with_engine(scenario)


@pytest.mark.parametrize(
    "schema",
    [
        {"type": "objekt"},
        {"type": "string", "pattern": "(?=a)b"},
        {"type": "array", "uniqueItems": True},
        {"$ref": "https://example.org/schema"},
        {"type": "string", "minLength": 3, "maxLength": 2},
        {"uniqueItems": True, "x-guidance": {"lenient": True}},
        [],
        "no schema",
        {"enum": ["x" * MAX_GRAMMAR_BYTES]},
    ],
)
def test_a_schema_that_cannot_be_followed_fails_its_call_and_no_other(schema: object) -> None:
    async def scenario(engine: TorchEngine) -> None:
        free = answer(engine, Generate(session="free", ids=PROMPT, max_tokens=30, sampling=WARM))
        results = await asyncio.gather(free, answer(engine, asked(schema)), return_exceptions=True)
        assert results[0] == (decode_alone(MODEL, PROMPT, 30, WARM), "length")
        assert isinstance(results[1], InvalidRequest)
        assert results[1].param == "response_format"
        assert results[1].hint
        assert engine.load().running == 0
        assert engine.load().sessions == ()

    with_engine(scenario)


def test_a_schema_that_costs_too_much_on_the_way_ends_its_call(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("netgpt.engine.grammar.MAX_LEXER_STATES", 5)

    async def scenario(engine: TorchEngine) -> None:
        with pytest.raises(InvalidRequest, match="too many states") as caught:
            await answer(engine, asked({"type": "string", "pattern": "x[a-z]{3,40}y"}))
        assert caught.value.param == "response_format"
        assert "Tokens" not in caught.value.message  # nor what was said so far

    with_engine(scenario)


@pytest.mark.parametrize(
    ("changes", "param"),
    [
        ({"answer_from": len(PROMPT) + 1}, "answer_from"),
        ({"answer_from": len(PROMPT) - 2}, "response_format"),  # the prompt's end is no JSON
        ({"grammar": Grammar(forms=(), most=1, param="tools")}, "tools"),
        ({"grammar": replace(json_grammar("{}", param="tools"), most=MAX_MOST + 1)}, "tools"),
    ],
)
def test_a_grammar_that_makes_no_sense_is_refused_by_name(changes: dict[str, Any], param: str) -> None:
    async def scenario(engine: TorchEngine) -> None:
        with pytest.raises(InvalidRequest) as caught:
            await answer(engine, asked(SMALL, **changes))
        assert caught.value.param == param

    with_engine(scenario)


def test_engines_without_grammars_say_so() -> None:
    async def main() -> None:
        compute = ThreadCompute()
        engines = (
            HashEngine(writer_card(), WallClock()),
            ReplayEngine(writer_card(), {}, WallClock()),
            TorchEngine(MODEL, writer_card(), compute=compute),
        )
        for engine in engines:
            assert not engine.capabilities.grammar
            with pytest.raises(NotSupported) as caught:
                async for _ in engine.generate(asked(SMALL)):
                    pass
            assert caught.value.param == "response_format"
            await engine.close()
        compute.close()

    asyncio.run(main())


def test_ids_that_are_no_text_are_never_allowed() -> None:
    matcher = Grammars(ByteTokenizer, WRITER.vocab_size).matcher(json_grammar('{"type": "string"}', param="p"), TOKENIZER.encode('"ab'))
    allowed = set(matcher.allowed().tolist())
    assert ord("c") in allowed
    assert ord("中".encode()[:1]) in allowed
    assert not allowed & {TOKENIZER.special_id(token) for token in SPECIAL_TOKENS}
    assert max(allowed) < 256
    matcher.take(ord('"'))
    assert matcher.allowed().tolist() == [END_ID]


def test_compiled_grammars_are_kept_and_their_number_is_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    grammars, compiled = Grammars(ByteTokenizer, WRITER.vocab_size), 0
    compile_one = grammars._compile

    def counted(grammar: Grammar) -> Any:
        nonlocal compiled
        compiled += 1
        return compile_one(grammar)

    monkeypatch.setattr(grammars, "_compile", counted)

    def ask(numbers: Sequence[int]) -> None:
        for number in numbers:
            grammars.matcher(json_grammar(json.dumps({"const": number}), param="p"))

    ask(range(KEPT_GRAMMARS))
    ask(range(KEPT_GRAMMARS))
    assert compiled == KEPT_GRAMMARS
    ask([KEPT_GRAMMARS, 1, 0])  # the oldest, 0, made room and is compiled again
    assert compiled == KEPT_GRAMMARS + 2
