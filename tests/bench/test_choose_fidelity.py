"""The fidelity part on a few tasks: what it asks is what a door would ask, and its controls keep the same budget."""

from __future__ import annotations

import asyncio

import numpy as np
import pytest
import torch

from netgpt.bench.choose_fidelity import METHODS, factor_of, figures_of, judged_sample, padded, prompt_logprobs, rounded_weights, shortened
from netgpt.core.compute import ThreadCompute
from netgpt.engine.decode import FusedDecoder
from netgpt.engine.torch_engine import TorchEngine
from netgpt.models.checkpoint import load_model
from netgpt.models.generation import Score
from netgpt.models.store import find_model, search_path
from netgpt.models.tokenizer import BpeTokenizer, render_chat

FOLDER = find_model("netgpt-device", search_path(None))
TOKENIZER = BpeTokenizer.load(FOLDER)
BARE = judged_sample()[::40]
PADDED = padded(BARE, TOKENIZER)


def test_a_padded_task_holds_its_own_data_among_others_and_ends_with_its_question() -> None:
    assert padded(BARE, TOKENIZER) == PADDED
    for bare, among in zip(BARE, PADDED, strict=True):
        own, _, question = bare.question.rpartition("\n")
        assert own in among.question
        assert among.question.endswith(question)
        assert len(TOKENIZER.encode(among.question)) >= 320
        assert (among.family, among.answer, among.messages[:-1]) == (bare.family, bare.answer, bare.messages[:-1])


def test_every_way_of_shortening_keeps_its_budget_and_the_question() -> None:
    reader = load_model(FOLDER, "float32")
    for method in METHODS:
        made = shortened(PADDED, method, 0.5, reader, TOKENIZER)
        assert 0.5 <= made.stayed <= 0.6
        for whole, short in zip(PADDED, made.tasks, strict=True):
            assert short.question.endswith(whole.question.rpartition("\n")[2])
            left = iter(whole.question)
            assert all(letter in left for letter in short.question), "nothing is added, and what stays keeps its order"


def test_prompts_are_read_here_as_the_engine_reads_them() -> None:
    ids = tuple(render_chat(TOKENIZER, PADDED[0].messages))

    async def main() -> list[float]:
        engine = TorchEngine.from_folder(FOLDER, compute=ThreadCompute("engine"), threads=1)
        read = await engine.score(Score(session="r", ids=ids))
        await engine.close()
        return list(read.logprobs)

    assert prompt_logprobs(FusedDecoder(load_model(FOLDER, "float32")), ids)[1:] == pytest.approx(asyncio.run(main()), abs=1e-3)


def test_rounded_weights_are_off_by_half_a_level_at_most() -> None:
    weight_OI = torch.randn(7, 96, generator=torch.Generator().manual_seed(1))
    for size, bits in ((128, 8), (32, 4)):
        off_OI = (rounded_weights(weight_OI, size, bits) - weight_OI).abs()
        for first in range(0, 96, size):
            group_OG = weight_OI[:, first : first + size]
            level_O = group_OG.abs().amax(dim=1) / (2 ** (bits - 1) - 1)
            assert (off_OI[:, first : first + size].amax(dim=1) <= level_O / 2 + 1e-6).all()
    assert rounded_weights(weight_OI, 32, 4).unique(dim=0).shape == weight_OI.shape


def test_the_factor_is_the_lower_one_of_the_two_sets() -> None:
    whole, half = np.array([True] * 40 + [False] * 40), np.array([True] * 20 + [False] * 60)
    assert factor_of(half, whole, "half") == {
        "factor": 0.5,
        "factor_low": pytest.approx(0.35, abs=0.06),
        "factor_high": pytest.approx(0.65, abs=0.06),
    }
    row = {"tier": "device", "rate": 0.5, "method": "information", "right": 0.25, "right_low": 0.2, "right_high": 0.3}
    row |= {"factor": 0.5, "factor_low": 0.4, "factor_high": 0.6}
    better = {**row, "set": "padded", "factor": 0.9}
    figures = figures_of([{**row, "set": "long"}, better], [])
    assert figures["factor_device_0.5"] == 0.5
    assert (figures["long_information_0.5_device"], figures["long_information_0.5_device_low"]) == (0.25, 0.2)
