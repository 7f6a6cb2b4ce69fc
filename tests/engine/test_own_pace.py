"""The pace that the torch engine measures of itself: what a model takes by its clock, and that of the shipped model in use."""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import pytest
from torch import Tensor

from netgpt.core.clock import WallClock
from netgpt.core.compute import ThreadCompute
from netgpt.engine.decode import FusedDecoder, Segment
from netgpt.engine.own_pace import BUDGET_S, measured_pace
from netgpt.engine.torch_engine import TorchEngine
from netgpt.models.generation import Generate

from .torch_models import WRITER, tiny_decoder

WEIGHTS = Path(__file__).parents[2] / "weights" / "netgpt-device"
STEP_S, ROW_S, DRAW_S = 0.002, 0.0001, 0.0005


class Metered(FusedDecoder):
    """Takes a stated time for each step, row and draw, on a clock of its own."""

    def __init__(self, slower: float = 1.0) -> None:
        super().__init__(tiny_decoder(config=WRITER))
        self.slower = slower
        self.spent_s = 0.0

    def step(self, segments: Sequence[Segment]) -> Tensor:
        self.spent_s += self.slower * (STEP_S + ROW_S * sum(len(segment.ids) for segment in segments))
        return super().step(segments)

    def logits(self, hidden_MD: Tensor) -> Tensor:
        self.spent_s += self.slower * DRAW_S * len(hidden_MD)
        return super().logits(hidden_MD)


class MeterClock(WallClock):
    def __init__(self, model: Metered) -> None:
        self._model = model

    def now_s(self) -> float:  # type: ignore[override]
        return self._model.spent_s


def test_what_is_measured_is_what_steps_rows_and_draws_take() -> None:
    model = Metered()
    pace = measured_pace(model, clock := MeterClock(model), clock.now_s)
    assert pace is not None
    assert pace.decode_s(1, 50) == pytest.approx(STEP_S + ROW_S + DRAW_S)
    assert pace.decode_s(4, 200) == pytest.approx(STEP_S + 4 * (ROW_S + DRAW_S))
    assert pace.prefill_s(100) == pytest.approx(STEP_S + 100 * ROW_S + DRAW_S)
    assert model.spent_s < BUDGET_S


def test_a_slow_model_is_not_measured_for_long_and_says_what_one_step_told() -> None:
    model = Metered(slower=100.0)
    pace = measured_pace(model, clock := MeterClock(model), clock.now_s)
    assert pace is not None
    step_s = 100 * (STEP_S + ROW_S + DRAW_S)
    assert pace.decode_s(1, 50) == pytest.approx(step_s)
    assert model.spent_s < 10 * step_s


def test_a_model_of_a_short_context_says_nothing() -> None:
    assert measured_pace(FusedDecoder(tiny_decoder(config=replace(WRITER, max_position=60))), WallClock()) is None


@pytest.mark.skipif(not (WEIGHTS / "config.json").exists(), reason="the checkout has no weights")
def test_the_shipped_model_is_about_as_fast_as_it_says_and_says_so_at_once() -> None:
    import asyncio

    async def main() -> None:
        compute = ThreadCompute()
        engine = TorchEngine.from_folder(WEIGHTS, compute=compute, threads=1)
        began_s = time.process_time()
        pace = engine.measure_pace()
        assert time.process_time() - began_s < 0.3
        assert pace is not None
        [timings] = [tokens.timings async for tokens in engine.generate(Generate(session="a", ids=(5, 6, 7), max_tokens=100)) if tokens.finish]
        assert timings is not None
        made_s = timings.decode_s / 99
        assert 0 < pace.decode_s(1, 50) < 1.5 * made_s, "an answer's tokens pass a thread and an event loop too"
        assert made_s < 20 * pace.decode_s(1, 50)
        await engine.close()
        compute.close()

    asyncio.run(main())


def test_what_else_runs_on_the_machine_is_no_part_of_the_pace() -> None:
    model = Metered()
    clock = MeterClock(model)
    alone = measured_pace(model, clock, clock.now_s)
    model.slower = 3.0  # the wall clock sees this process wait for others two thirds of the time
    beside = measured_pace(model, clock, lambda: clock.now_s() / 3)
    assert alone is not None
    assert beside is not None
    assert (beside.decode_s(3, 99), beside.prefill_s(99)) == pytest.approx((alone.decode_s(3, 99), alone.prefill_s(99)))
