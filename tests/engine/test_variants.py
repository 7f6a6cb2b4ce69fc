"""One model in two precisions: each answers as if it were alone, the second one loaded when it is first asked for."""

from __future__ import annotations

import asyncio
from pathlib import Path

import pytest

from netgpt.core.clock import VirtualClock, run_virtual
from netgpt.core.compute import ThreadCompute
from netgpt.core.errors import NotSupported
from netgpt.engine.contract import Engine
from netgpt.engine.hash_engine import HashEngine
from netgpt.engine.timed import TimedEngine
from netgpt.engine.torch_engine import TorchEngine
from netgpt.engine.variants import VariantEngine
from netgpt.models.card import weightless_card
from netgpt.models.generation import Generate, Rollback
from netgpt.models.tokenizer import ByteTokenizer
from netgpt.network.profile import find_profile
from netgpt.network.roofline import declare
from netgpt.network.shape import sized_shape

DEVICE = Path(__file__).parents[2] / "weights" / "netgpt-device"
PROMPT = tuple(range(5, 60))


async def said(engine: Engine, **fields: object) -> list[int]:
    request = Generate(session="s", ids=PROMPT, max_tokens=40, **fields)  # type: ignore[arg-type]
    return [i for tokens in [tokens async for tokens in engine.generate(request)] for i in tokens.ids]


def test_each_precision_says_what_it_would_say_alone_and_is_loaded_once() -> None:
    async def main() -> None:
        compute, loaded = ThreadCompute("engine"), []

        def load(dtype: str) -> Engine:
            loaded.append(dtype)
            return TorchEngine.from_folder(DEVICE, dtype=dtype, compute=compute, threads=1)

        both = VariantEngine(load("float32"), {"bf16": lambda: load("bfloat16")}, compute=compute)
        alone = {dtype: TorchEngine.from_folder(DEVICE, dtype=dtype, compute=compute, threads=1) for dtype in ("float32", "bfloat16")}
        assert loaded == ["float32"], "nobody has asked for the other"
        first, second = await asyncio.gather(said(both, variant="bf16"), said(both, variant="bf16"), return_exceptions=True)
        assert isinstance(first, Exception) != isinstance(second, Exception), "the newer call of a session takes it over"
        assert await said(both, variant="bf16") == await said(alone["bfloat16"])
        assert await said(both) == await said(alone["float32"])
        assert loaded == ["float32", "bfloat16"]
        await said(both, variant="bf16", hold=True)
        assert both.load().sessions == ("s",)
        await both.rollback(Rollback(session="s"))
        assert both.load().held_tokens == 0
        with pytest.raises(NotSupported, match="does not run in 'bf61'") as refused:
            await said(both, variant="bf61")
        assert "'bf16'" in refused.value.hint
        for engine in (both, *alone.values()):
            await engine.close()

    asyncio.run(main())


def test_a_declared_machine_takes_the_time_of_the_precision_that_is_asked_for() -> None:
    shape, machine = sized_shape(3e9), find_profile("phone")
    own, narrow = declare(machine, shape, "int8"), declare(machine, shape, "int4")
    card = weightless_card("hash-test", tier="device", parameters=1, context_tokens=256, tokenizer=ByteTokenizer())

    async def main() -> None:
        clock = VirtualClock()
        timed = TimedEngine(HashEngine(card, clock), own, clock, variants={"int4": narrow})
        for variant, declared in (("int4", narrow), ("", own)):
            began_s = clock.now_s()
            tokens = [each async for each in timed.generate(Generate(session=variant, ids=PROMPT, max_tokens=4, variant=variant))]
            steps_s = sum(declared.decode_s([len(PROMPT) + made]) for made in range(3))
            assert clock.now_s() - began_s == pytest.approx(declared.prefill_s(len(PROMPT)) + steps_s)
            assert tokens[-1].timings is not None
            assert tokens[-1].timings.declared == str(declared)

    run_virtual(main())


def test_two_precisions_in_one_machine_take_a_step_each() -> None:
    shape, machine = sized_shape(3e9), find_profile("phone")
    own, narrow = declare(machine, shape, "int8"), declare(machine, shape, "int4")
    card = weightless_card("hash-test", tier="device", parameters=1, context_tokens=256, tokenizer=ByteTokenizer())

    async def main() -> None:
        clock = VirtualClock()
        timed = TimedEngine(HashEngine(card, clock), own, clock, variants={"int4": narrow})

        async def ask(variant: str) -> float:
            async for _ in timed.generate(Generate(session=f"v{variant}", ids=PROMPT, max_tokens=30, variant=variant)):
                pass
            return clock.now_s()

        await asyncio.gather(ask(""), ask("int4"))
        alone_s = 29 * (own.decode_s([70]) + narrow.decode_s([70]))
        assert clock.now_s() == pytest.approx(own.prefill_s(len(PROMPT)) + narrow.prefill_s(len(PROMPT)) + alone_s, rel=0.1)

    run_virtual(main())
