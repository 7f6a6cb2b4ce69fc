"""Formats and tools from OpenAI's client to a real door and a real engine with random weights, and back."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncGenerator, AsyncIterator, Sequence
from contextlib import asynccontextmanager
from typing import Any

import jsonschema
import openai
import pytest
import torch

from netgpt.api.app import create_door_app
from netgpt.core.chance import SeededChance
from netgpt.core.clock import WallClock
from netgpt.core.compute import ThreadCompute
from netgpt.core.errors import NodeUnreachable
from netgpt.core.transport import Call
from netgpt.engine.decode import FusedDecoder
from netgpt.engine.torch_engine import TorchEngine
from netgpt.inference.door import Door
from netgpt.inference.request import Delta
from netgpt.models.card import ModelCard
from netgpt.models.decoder import Decoder
from netgpt.models.decoder_config import DecoderConfig
from netgpt.models.tokenizer import ByteTokenizer
from netgpt.network.member import Member
from netgpt.node.handle import NodeHandle
from netgpt.node.service import EngineService
from netgpt.telemetry.metrics import Metrics
from netgpt.wire.messages import PROTOCOL_VERSION

CONFIG = DecoderConfig(
    vocab_size=ByteTokenizer.vocabulary, hidden_size=16, intermediate_size=24, num_layers=2, num_heads=4, num_kv_heads=2, head_dim=4,
    max_position=4096, rope_theta=100.0,
)  # fmt: skip
CARD = ModelCard(
    id="tiny", tier="device", parameters=1, layers=2, bytes=0, context_tokens=4096, vocabulary=CONFIG.vocab_size, tokenizer=ByteTokenizer.hash
)
CLOCK = WallClock()
HELLO: dict[str, Any] = {"model": "auto", "messages": [{"role": "user", "content": "Hello"}], "seed": 5, "max_tokens": 600}
SCHEMA = {
    "type": "object",
    "properties": {"cell": {"type": "string", "pattern": "^小区[0-9]{1,3}$"}, "load": {"type": "integer", "minimum": 0, "maximum": 100}},
    "required": ["cell", "load"],
    "additionalProperties": False,
}
LEVEL = {"type": "object", "properties": {"level": {"enum": [1, 2, 3]}}, "required": ["level"], "additionalProperties": False}
TOOLS = [
    {"type": "function", "function": {"name": "report", "description": "Report a cell.", "parameters": SCHEMA}},
    {"type": "function", "function": {"name": "sleep", "parameters": LEVEL}},
]
PARAMETERS = {"report": SCHEMA, "sleep": LEVEL}


def as_format(schema: object) -> dict[str, object]:
    return {"type": "json_schema", "json_schema": {"name": "answer", "schema": schema, "strict": True}}


def random_model() -> FusedDecoder:
    decoder = Decoder(CONFIG, seed=1).eval()
    with torch.no_grad():
        for parameter in decoder.parameters():
            if parameter.dim() > 1:
                parameter.mul_(25)
    return FusedDecoder(decoder)


MODEL = random_model()


class DirectConnection:
    """A connection to a handler in the same process, which may be lost after some replies."""

    near = False

    def __init__(self, service: EngineService) -> None:
        self._service = service
        self.calls = 0
        self.lost_after: int | None = None

    async def call(self, method: str, payload: bytes, *, deadline_s: float, qos: str = "standard") -> AsyncGenerator[bytes, None]:
        self.calls += 1
        count = 0
        async for reply in self._service.handle(Call(method=method, payload=payload)):
            if count == self.lost_after:
                raise NodeUnreachable("the node is lost")
            yield reply
            count += 1

    async def close(self) -> None: ...


def member(name: str, *, grammar: bool, foreign: bool) -> Member:
    return Member(
        id=name, tier="edge", engine_address=name, door_url="-", model=CARD.id, tokenizer="another" if foreign else CARD.tokenizer, state="ready",
        slots=4, context_tokens=CARD.context_tokens, grammar=grammar, text=foreign, protocol_version=PROTOCOL_VERSION,
    )  # fmt: skip


@asynccontextmanager
async def network(
    serving: Any, *, grammar: Sequence[bool] = (True,), foreign: frozenset[int] = frozenset()
) -> AsyncIterator[tuple[openai.AsyncOpenAI, dict[str, DirectConnection]]]:
    """A client of a door with one node for each entry of `grammar`: whether it can follow one. Those of `foreign` get text, not ids."""
    compute, chance = ThreadCompute(), SeededChance(1)
    members = [member(f"edge{number}", grammar=able, foreign=number in foreign) for number, able in enumerate(grammar)]
    engines = {one.id: TorchEngine(MODEL, CARD, compute=compute, tokenizer=ByteTokenizer if one.grammar else None) for one in members}
    connections = {name: DirectConnection(EngineService(name, engine, lambda call: "door", ByteTokenizer())) for name, engine in engines.items()}
    door = Door(
        entry=lambda: members[0],
        members=lambda: members,
        handle=lambda node: NodeHandle(node, connections[node.id], ByteTokenizer(), CLOCK, is_entry=node is members[0]),
        tokenizer=ByteTokenizer(),
        clock=CLOCK,
        chance=chance,
        metrics=Metrics(),
        record=lambda *_, **__: None,
    )
    app = create_door_app(door, node_id="edge0", metrics=Metrics(), ready=lambda: True, chance=chance)
    try:
        async with serving(app) as url, openai.AsyncOpenAI(base_url=f"{url}/v1", api_key="-", max_retries=0) as client:
            yield client, connections
    finally:
        for engine in engines.values():
            await engine.close()
        compute.close()


def check_calls(calls: Sequence[Any]) -> None:
    for call in calls:
        assert call.type == "function"
        assert call.id.startswith("call_")
        jsonschema.validate(json.loads(call.function.arguments), PARAMETERS[call.function.name])


def test_a_reply_is_json_of_the_schema_whole_and_streamed(serving: Any) -> None:
    async def main() -> None:
        async with network(serving) as (client, _):
            whole = await client.chat.completions.create(**HELLO, response_format=as_format(SCHEMA), logprobs=True)
            choice = whole.choices[0]
            assert choice.finish_reason == "stop"
            jsonschema.validate(json.loads(choice.message.content or ""), SCHEMA)
            assert choice.logprobs is not None
            assert choice.logprobs.content is not None
            assert min(entry.logprob for entry in choice.logprobs.content) < -1  # forced against the model's own wish
            stream = await client.chat.completions.create(**HELLO, response_format=as_format(SCHEMA), stream=True)
            assert "".join([chunk.choices[0].delta.content or "" async for chunk in stream]) == choice.message.content
            anything = await client.chat.completions.create(**{**HELLO, "max_tokens": 40}, response_format={"type": "json_object"})
            assert (anything.choices[0].message.content or "").startswith("{")

    asyncio.run(main())


def test_another_node_finishes_the_json_that_a_lost_one_began(serving: Any) -> None:
    async def main() -> None:
        async with network(serving, grammar=(True, True)) as (client, connections):
            asked = {**HELLO, "response_format": as_format(SCHEMA)}
            whole = await client.chat.completions.create(**asked)
            connections["edge0"].lost_after = 2
            mended = await client.chat.completions.create(**asked)
            assert mended.choices[0] == whole.choices[0]
            account = (mended.model_extra or {})["netgpt"]
            assert [span["node"] for span in account["origin"]] == ["edge0", "edge1"]

    asyncio.run(main())


@pytest.mark.parametrize("foreign", [{0}, {1}, {0, 1}])
def test_so_does_one_of_another_tokenizer(foreign: set[int], serving: Any) -> None:
    async def main() -> None:
        async with network(serving, grammar=(True, True), foreign=frozenset(foreign)) as (client, connections):
            connections["edge0"].lost_after = 2
            mended = await client.chat.completions.create(**HELLO, response_format=as_format(SCHEMA))
            jsonschema.validate(json.loads(mended.choices[0].message.content or ""), SCHEMA)
            account = (mended.model_extra or {})["netgpt"]
            assert [(span["node"], span.get("recoded", False)) for span in account["origin"]] == [("edge0", 0 in foreign), ("edge1", 1 in foreign)]

    asyncio.run(main())


@pytest.mark.parametrize("stream", [False, True])
def test_a_schema_that_cannot_be_followed_is_refused_by_name(stream: bool, serving: Any) -> None:
    async def main() -> None:
        async with network(serving) as (client, _):
            for bad in ({"type": "objekt"}, {"type": "array", "uniqueItems": True}):
                with pytest.raises(openai.BadRequestError) as caught:
                    await client.chat.completions.create(**HELLO, response_format=as_format(bad), stream=stream)  # type: ignore[call-overload]
                assert caught.value.param == "response_format"
            wrong = {"type": "function", "function": {"name": "f", "parameters": {"type": "object", "properties": {"x": {"type": "y"}}}}}
            with pytest.raises(openai.BadRequestError) as caught:
                await client.chat.completions.create(**HELLO, tools=[wrong], tool_choice="required", stream=stream)  # type: ignore[call-overload]
            assert caught.value.param == "tools"
            assert (await client.chat.completions.create(**{**HELLO, "max_tokens": 3})).choices[0].finish_reason == "length"  # the engine goes on

    asyncio.run(main())


def test_a_call_that_must_be_made_is_made_whole_and_streamed(serving: Any) -> None:
    async def main() -> None:
        async with network(serving) as (client, _):
            asked = {**HELLO, "tools": TOOLS, "tool_choice": "required", "parallel_tool_calls": False}
            choice = (await client.chat.completions.create(**asked)).choices[0]
            assert (choice.finish_reason, choice.message.content) == ("tool_calls", None)
            calls = choice.message.tool_calls or []
            assert len(calls) == 1
            check_calls(calls)
            chunks = [chunk.choices[0] async for chunk in await client.chat.completions.create(**asked, stream=True)]
            assert chunks[-1].finish_reason == "tool_calls"
            deltas = [call for chunk in chunks for call in chunk.delta.tool_calls or []]
            assert [call.index for call in deltas] == [0]
            check_calls(deltas)
            assert deltas[0].function is not None
            assert deltas[0].function.arguments == calls[0].function.arguments  # type: ignore[union-attr]
            assert not any(chunk.delta.content for chunk in chunks)

    asyncio.run(main())


def test_a_named_function_is_called_in_every_choice(serving: Any) -> None:
    async def main() -> None:
        async with network(serving) as (client, _):
            named = {"type": "function", "function": {"name": "sleep"}}
            reply = await client.chat.completions.create(**HELLO, tools=TOOLS, tool_choice=named, n=3, logprobs=True)
            ids = set()
            for choice in reply.choices:
                calls = choice.message.tool_calls or []
                assert [call.function.name for call in calls] == ["sleep"]  # type: ignore[union-attr]
                check_calls(calls)
                ids.add(calls[0].id)
            assert len(ids) == 3

    asyncio.run(main())


@pytest.mark.parametrize(
    ("fields", "param"),
    [({"response_format": {"type": "json_object"}}, "response_format"), ({"tools": TOOLS, "tool_choice": "required"}, "tools")],
)
def test_where_no_node_can_follow_a_grammar_it_is_refused_before_a_byte_leaves(fields: dict[str, Any], param: str, serving: Any) -> None:
    async def main() -> None:
        async with network(serving, grammar=(False, False)) as (client, connections):
            with pytest.raises(openai.BadRequestError) as caught:
                await client.chat.completions.create(**HELLO, **fields)
            assert (caught.value.param, caught.value.code) == (param, "not_supported")
            assert [connection.calls for connection in connections.values()] == [0, 0]
        async with network(serving, grammar=(False, True)) as (client, connections):  # one that can is asked
            await client.chat.completions.create(**HELLO, **fields)
            assert [connection.calls for connection in connections.values()] == [0, 1]

    asyncio.run(main())


SPOKEN = 'I look.\n<tool_call>{"name": "sleep", "arguments": {"level": 2}}</tool_call> <tool_call>{"name": "rm", "arguments": {}}</tool_call>'


def test_calls_that_a_model_makes_of_its_own_are_read_out_of_its_text(scripted: Any, door_app: Any, serving: Any, make_finish: Any) -> None:
    async def main() -> None:
        door = scripted([*(Delta(text=letter, origin="edge1") for letter in SPOKEN), make_finish()])
        async with serving(door_app(door)) as url, openai.AsyncOpenAI(base_url=f"{url}/v1", api_key="-") as client:
            asked: dict[str, Any] = {**HELLO, "tools": TOOLS}
            message = (await client.chat.completions.create(**asked)).choices[0].message
            assert message.content == 'I look.\n <tool_call>{"name": "rm", "arguments": {}}</tool_call>'  # it is no function of ours
            check_calls(message.tool_calls or [])
            chunks = [chunk.choices[0] async for chunk in await client.chat.completions.create(**asked, stream=True)]
            assert "".join(chunk.delta.content or "" for chunk in chunks) == message.content
            check_calls([call for chunk in chunks for call in chunk.delta.tool_calls or []])
            assert chunks[-1].finish_reason == "tool_calls"
            plain = (await client.chat.completions.create(**asked, tool_choice="none")).choices[0]
            assert (plain.message.content, plain.message.tool_calls, plain.finish_reason) == (SPOKEN, None, "stop")
            answered = [
                *HELLO["messages"],
                message.model_dump(exclude_none=True),
                *({"role": "tool", "tool_call_id": call.id, "content": "ok"} for call in message.tool_calls or []),
            ]
            await client.chat.completions.create(**{**asked, "messages": answered})  # what came can be sent back
            assert door.seen[-1].messages[-1] == ("user", "<tool_response>\nok\n</tool_response>")

    asyncio.run(main())
