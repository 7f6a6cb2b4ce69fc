"""Variants of models and shortened prompts in the simulated world: doors, links and engines as they are, models without weights."""

import asyncio
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from netgpt.core.clock import WallClock
from netgpt.core.errors import NotSupported, ScenarioInvalid, UsageError
from netgpt.core.transport import Call
from netgpt.inference.request import ChatRequest, CompressWish, Finish
from netgpt.inference.showing import row
from netgpt.models.generation import Generate, Tokens
from netgpt.models.quality import precision_quality
from netgpt.network.scenario import NodeSpec, Scenario
from netgpt.network.scenario_file import load_scenario, parse_scenario
from netgpt.node.service import EngineService
from netgpt.wire.codec import decode, encode
from netgpt.world.assemble import make_engine, make_offer
from netgpt.world.config import EngineConfig
from netgpt.world.simulated import SimulatedWorld

from .simulation import in_world

DEVICE = Path(__file__).parents[2] / "weights" / "netgpt-device"
CAMPUS = replace(load_scenario("campus"), users=(), faults=())
LONG = (("user", "Read this.\n" + "".join(f"Note {n}: the unit {n} was looked at and found well.\n" for n in range(30)) + "What of unit 7?"),)


def changed(node: str, **changes: Any) -> Scenario:
    def edited(spec: NodeSpec) -> NodeSpec:
        return replace(spec, **changes) if spec.id == node else spec

    return replace(CAMPUS, nodes=tuple(map(edited, CAMPUS.nodes)))


def request(number: int = 0, **fields: Any) -> ChatRequest:
    values: dict[str, Any] = {"model": "auto", "messages": (("user", "tell me " * 30),), "max_tokens": 24, "temperature": 0.0, **fields}
    return ChatRequest(request_id=f"chatcmpl-{number}", **values)


async def ask(world: SimulatedWorld, number: int = 0, **fields: Any) -> Finish:
    async for answer in world.door("device1").chat(request(number, **fields)):
        if isinstance(answer, Finish):
            return answer
    raise AssertionError("an answer ends with a finish")


def test_a_variant_is_a_place_of_its_own_with_its_own_pace_and_quality() -> None:
    async def planned(world: SimulatedWorld) -> dict[str, dict[str, Any]]:
        await ask(world, privacy="edge-allowed")
        decision = world.door("device1").plan(request(privacy="edge-allowed"))
        return {str(one.prediction.candidate): row(one) for one in decision.ranked}

    ways = in_world(changed("edge1", variants=("int4", "fp8")), planned)
    assert {"edge1", "edge1@fp8", "edge1@int4", "device1"} <= set(ways)
    own, narrow = ways["edge1"], ways["edge1@int4"]
    assert narrow["variants"] == ["int4"]
    assert narrow["token_s"] < 0.7 * own["token_s"], "a step reads the weights, and it runs in int8"
    assert narrow["quality"] == pytest.approx(own["quality"] * precision_quality("edge", "int4"), abs=1e-4)
    assert narrow["sources"]["quality"].endswith("int4 as measured")


def test_the_variant_that_was_chosen_answers_at_its_pace_and_the_reply_names_it() -> None:
    async def three(world: SimulatedWorld) -> list[Finish]:
        return [await ask(world, number, privacy="edge-allowed", service="interactive", max_tokens=200) for number in range(3)]

    finishes = in_world(changed("edge1", variants=("int4",)), three)
    last = finishes[-1]
    assert last.origin[0].node == "edge1"
    assert last.why.startswith("edge1@int4")
    assert last.plan["chosen"]["variants"] == ["int4"]
    assert [machine.split(" on ")[0].rpartition(" ")[2] for machine in last.declared] == ["int4"]
    assert last.plan["chosen"]["token_s"] == pytest.approx((last.duration_s - last.time_to_first_token_s) / (last.completion_tokens - 1), rel=0.1)
    own = in_world(CAMPUS, three)[-1]
    assert last.duration_s < own.duration_s


def test_a_shortened_prompt_takes_less_of_a_slow_uplink_and_its_reading_is_foretold() -> None:
    slow = replace(CAMPUS.links[0], up_bps=0.05e6)
    scenario = replace(CAMPUS, links=(slow, *CAMPUS.links[1:]))

    async def both(world: SimulatedWorld) -> tuple[Finish, Finish, Finish]:
        whole = await ask(world, 0, model="netgpt-cloud", messages=LONG)
        short = await ask(world, 1, model="netgpt-cloud", messages=LONG, compress=CompressWish(when="always"))
        for number in range(2, 5):
            told = await ask(world, number, messages=LONG, compress=CompressWish(when="always"))
        return whole, short, told

    whole, short, told = in_world(scenario, both)
    assert short.compression is not None
    assert short.compression.by == "self-information"
    assert short.compression.took_s > 0, "the declared phone reads the prompt"
    assert short.prompt_tokens < 0.7 * whole.prompt_tokens
    assert short.link_bytes["cloud1"]["sent"] < 0.75 * whole.link_bytes["cloud1"]["sent"]
    assert told.plan["chosen"]["fidelity"] == "compressed"
    assert told.plan["chosen"]["ttft_s"] == pytest.approx(told.time_to_first_token_s, rel=0.15)


@pytest.mark.parametrize(
    ("keys", "says", "hint"),
    [
        ('variants = ["int9"]', "unknown precision 'int9'", "'int8'"),
        ('variants = ["int8", "int8"]', "stands twice", "once"),
        ('precision = "int8"\nvariants = ["int8"]', "stands twice", "once"),
        ('variants = ["int4", "bf16"]', "stands twice", "once"),
        ('variants = "int8"', "no list of names", '["one", "other"]'),
        ('variants = ["fp32"]', "needs", "narrower"),
        ('engine = "openai"\nupstream = "http://127.0.0.1:1/v1"\nvariants = ["int8"]', "'variants'", "leave variants out"),
    ],
)
def test_variants_that_cannot_be_are_refused_with_their_line(keys: str, says: str, hint: str) -> None:
    text = f'[[node]]\nid = "cloud1"\ntier = "cloud"\nmodel = "netgpt-cloud"\nprofile = "edge-server"\nparameters = 8e9\n{keys}\n'
    with pytest.raises(ScenarioInvalid, match=says) as refused:
        parse_scenario(text, where="home.toml")
    assert hint in refused.value.hint
    assert refused.value.message.startswith("home.toml:")


def test_torch_runs_the_precisions_that_it_has_and_says_so_in_its_offer() -> None:
    def config(*variants: str) -> EngineConfig:
        return EngineConfig(
            node="device1", tier="device", model_folder=str(DEVICE), engine="torch", dtype="float32", threads=1, slots=2, profile="phone",
            parameters=0, timing="real", port=0, network_key_file="", agreement=1.0, variants=variants,
        )  # fmt: skip

    async def main() -> None:
        service = EngineService("device1", make_engine(config("bf16"), WallClock()), lambda call: "d", offer=make_offer(config("bf16")))
        asked = Generate(session="s", ids=(5, 6, 7), max_tokens=3, variant="bf16")
        tokens = [decode(Tokens, payload) async for payload in service.handle(Call(method="generate", payload=encode(asked)))]
        assert sum(len(each.ids) for each in tokens) == 3
        with pytest.raises(NotSupported, match="'int8'") as refused:
            service.handle(Call(method="generate", payload=encode(replace(asked, variant="int8"))))
        assert "bf16" in refused.value.hint

    asyncio.run(main())
    assert [variant.name for variant in make_offer(config("bf16")).variants] == ["bf16"]
    with pytest.raises(UsageError, match="cannot run its model in 'int8'") as refused:
        make_engine(config("int8"), WallClock())
    assert "fp32, bf16" in refused.value.hint
