"""The HTTP surface on a real door, node handle, engine service and `hash` engine; only the wire between them is a function call."""

import asyncio
import time
from typing import Any

import httpx
import openai
import pytest
from starlette.applications import Starlette

from netgpt.api.app import create_door_app
from netgpt.core.chance import SeededChance
from netgpt.core.clock import WallClock
from netgpt.engine.contract import Engine
from netgpt.engine.hash_engine import HashEngine
from netgpt.engine.timed import TimedEngine
from netgpt.network.profile import find_profile
from netgpt.network.roofline import declare
from netgpt.network.shape import sized_shape
from netgpt.telemetry.metrics import Metrics

from .hash_door import card, make_door, member

CARD = card("device")
HELLO: dict[str, Any] = {"model": "auto", "messages": [{"role": "user", "content": "Hello"}], "seed": 5}
CLOCK = WallClock()
CHAT = "/v1/chat/completions"


def make_app(engine: Engine, metrics: Metrics) -> Starlette:
    door = make_door(CLOCK, metrics, {"device1": engine}, [member("device")])
    return create_door_app(door, node_id="device1", metrics=metrics, ready=lambda: True, chance=SeededChance(1))


def test_streamed_and_whole_answers_are_one_text_with_its_account(serving: Any) -> None:
    async def main() -> None:
        metrics = Metrics()
        async with serving(make_app(HashEngine(CARD, CLOCK), metrics)) as url, openai.AsyncOpenAI(base_url=f"{url}/v1", api_key="-") as client:
            whole = await client.chat.completions.create(**HELLO, logprobs=True, top_logprobs=2, max_tokens=300)
            stream = await client.chat.completions.create(**HELLO, stream=True, max_tokens=300)
            chunks = [chunk async for chunk in stream]
            text = whole.choices[0].message.content
            assert text
            assert text == "".join(chunk.choices[0].delta.content or "" for chunk in chunks)
            assert whole.usage is not None
            account = (whole.model_extra or {})["netgpt"]
            assert account["origin"] == [{"node": "device1", "tokens": whole.usage.completion_tokens}]
            assert account["seed"] == 5
            differing = {name: account[name] for name in ("link_bytes", "why", "plan")}  # what is known of the node is other by then
            assert account == (chunks[-1].model_extra or {})["netgpt"] | differing
            scores = whole.choices[0].logprobs
            assert scores is not None
            assert scores.content is not None
            assert bytes(b for entry in scores.content for b in entry.bytes or []).decode() == text
        assert 'netgpt_tokens_total{direction="output",model="auto"}' in metrics.render().decode()

    asyncio.run(main())


@pytest.mark.parametrize(("stream", "choices"), [(False, 1), (True, 1), (False, 3), (True, 3)])
def test_a_client_that_leaves_frees_the_engines_slots_within_a_second(stream: bool, choices: int, serving: Any) -> None:
    async def main() -> None:
        metrics = Metrics()
        engine = TimedEngine(HashEngine(CARD, CLOCK), declare(find_profile("phone"), sized_shape(3e9)), CLOCK)
        async with serving(make_app(engine, metrics)) as url:
            async with httpx.AsyncClient(base_url=url, timeout=10) as client:
                if stream:
                    async with client.stream("POST", CHAT, json={**HELLO, "n": choices, "stream": True}) as reply:
                        await anext(reply.aiter_lines())
                else:
                    with pytest.raises(httpx.ReadTimeout):
                        await client.post(CHAT, json={**HELLO, "n": choices}, timeout=0.5)
            assert engine.load().running
            left_s = time.monotonic()
            while engine.load().running:
                assert time.monotonic() - left_s < 1
                await asyncio.sleep(0.01)
        assert f'netgpt_requests_total{{finish_reason="cancelled",model="auto"}} {choices}.0' in metrics.render().decode()

    asyncio.run(main())
