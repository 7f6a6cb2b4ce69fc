"""The torch engine's speed beside `transformers` on the same weights, and what batching gives.

Each repeat measures ours and theirs in turn, so that both meet the same weather; a ratio is the median
of the repeats' ratios. Both continue a prompt of 64 tokens by 128, greedily, and the time includes the
prompt. Ours goes through the engine contract, event loop and worker thread included. Both may use the
same number of threads; on a small model ours takes one of them (`useful_threads`).
"""

from __future__ import annotations

import asyncio
import tempfile
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import Any

import torch

from netgpt.bench.conditions import conditions, spread
from netgpt.core.chance import SeededChance
from netgpt.core.clock import WallClock
from netgpt.core.compute import ThreadCompute
from netgpt.core.errors import MissingExtra, ModelNotFound
from netgpt.core.scheduling import TaskGroup
from netgpt.engine.decode import FusedDecoder
from netgpt.engine.torch_engine import TorchEngine
from netgpt.engine.useful_threads import useful_threads
from netgpt.models.card import ModelCard
from netgpt.models.checkpoint import load_model, save_model
from netgpt.models.decoder import Decoder
from netgpt.models.decoder_config import DecoderConfig
from netgpt.models.generation import Generate, Prefill, Rollback
from netgpt.models.store import find_model, search_path

SEED, PROMPT_TOKENS, NEW_TOKENS, STREAMS, PREFILL_TOKENS = 20260, 64, 128, 16, 512
DTYPES = ("float32", "bfloat16")
SHAPES = {  # of the bundled models; random weights of these shapes stand in where the models are absent
    "device": partial(DecoderConfig, hidden_size=64, num_layers=3, num_heads=4, head_dim=16, intermediate_size=192),
    "edge": partial(DecoderConfig, hidden_size=128, num_layers=4, num_heads=4, head_dim=32, intermediate_size=384),
    "cloud": partial(DecoderConfig, hidden_size=256, num_layers=6, num_heads=8, head_dim=32, intermediate_size=768),
}
Figures = dict[str, float]


def run(quick: bool, *, threads: int = 2) -> dict[str, Any]:
    """Measure; under a minute if `quick` (two tiers, one repeat), otherwise some minutes (three, 9).

    Returns:
        {"suite": "engine", "figures": {name: number}, "conditions": {...}}; rates in tokens/s, each
        figure a median with `_min` and `_max` beside it.

    Raises:
        MissingExtra: transformers is not installed.
    """
    tiers, repeats = (("device", "cloud"), 1) if quick else (tuple(SHAPES), 9)
    about = conditions(
        packages=("torch", "transformers", "numpy"), threads=threads, seed=SEED, repeats=repeats, prompt_tokens=PROMPT_TOKENS, new_tokens=NEW_TOKENS
    )
    figures: Figures = {}
    weights: dict[str, str] = {}
    with _torch_threads(threads), tempfile.TemporaryDirectory() as scratch:
        for tier in tiers:
            folder, weights[tier] = model_folder(tier, Path(scratch))
            for dtype in DTYPES:
                figures.update(measure_decoding(tier, folder, dtype, repeats))
            figures[f"decode_ratio_{tier}"] = min(figures[f"decode_ratio_{tier}_{dtype}"] for dtype in DTYPES)
            if tier == "cloud":
                for dtype in DTYPES:
                    figures.update(measure_batching(folder, dtype, repeats))
                figures["batch16_ratio"] = min(figures[f"batch16_ratio_{dtype}"] for dtype in DTYPES)
                figures["batch16_tokens_per_s"] = max(figures[f"batch16_tokens_per_s_{dtype}"] for dtype in DTYPES)
    return {"suite": "engine", "figures": figures, "conditions": {**about, "weights": weights}}


def measure_decoding(tier: str, folder: Path, dtype: str, repeats: int) -> Figures:
    """One stream, ours and theirs in turn; and ours reading a long prompt."""
    theirs = transformers_stream(folder, dtype)
    prompt = prompts(1, PROMPT_TOKENS)[0]
    rates: list[float] = []
    peer_rates: list[float] = []
    prefill_rates: list[float] = []
    with running_engine(folder, dtype) as ours:
        for repeat in range(-1, repeats):  # the first is for warming up
            rate = NEW_TOKENS / ours(lambda engine: stream_all(engine, [prompt]))
            peer_rate = NEW_TOKENS / _duration_s(lambda: theirs(prompt))
            prefill_rate = PREFILL_TOKENS / ours(lambda engine: read_prompt(engine, prompts(1, PREFILL_TOKENS)[0]))
            if repeat >= 0:
                rates.append(rate)
                peer_rates.append(peer_rate)
                prefill_rates.append(prefill_rate)
    ratios = [rate / peer_rate for rate, peer_rate in zip(rates, peer_rates, strict=True)]
    return {
        **spread(f"decode_tokens_per_s_{tier}_{dtype}", rates),
        **spread(f"transformers_tokens_per_s_{tier}_{dtype}", peer_rates),
        **spread(f"decode_ratio_{tier}_{dtype}", ratios),
        **spread(f"prefill_tokens_per_s_{tier}_{dtype}", prefill_rates),
    }


def measure_batching(folder: Path, dtype: str, repeats: int) -> Figures:
    """Sixteen streams at once beside one, in turn."""
    many = prompts(STREAMS, PROMPT_TOKENS)
    rates: list[float] = []
    ratios: list[float] = []
    with running_engine(folder, dtype) as ours:
        for repeat in range(-1, repeats):
            single_rate = NEW_TOKENS / ours(lambda engine: stream_all(engine, many[:1]))
            rate = STREAMS * NEW_TOKENS / ours(lambda engine: stream_all(engine, many))
            if repeat >= 0:
                rates.append(rate)
                ratios.append(rate / single_rate)
    return {**spread(f"batch16_tokens_per_s_{dtype}", rates), **spread(f"batch16_ratio_{dtype}", ratios)}


def prompts(count: int, tokens: int) -> list[tuple[int, ...]]:
    """Random ids, past the special ones; equal in every run."""
    chance = SeededChance(SEED).stream("bench prompts")
    return [tuple(chance.integers(8, 2048, tokens).tolist()) for _ in range(count)]


async def stream_all(engine: TorchEngine, texts: Sequence[tuple[int, ...]]) -> None:
    """Continue every text by NEW_TOKENS tokens, all at once."""
    async with TaskGroup() as group:
        for number, ids in enumerate(texts):
            group.create_task(_drain(engine, Generate(session=f"stream {number}", ids=ids, max_tokens=NEW_TOKENS)))


async def _drain(engine: TorchEngine, request: Generate) -> None:
    async for _ in engine.generate(request):
        pass


async def read_prompt(engine: TorchEngine, ids: tuple[int, ...]) -> None:
    await engine.rollback(Rollback(session="prompt"))  # else its KV would be used again
    await engine.prefill(Prefill(session="prompt", ids=ids))


@contextmanager
def running_engine(folder: Path, dtype: str) -> Iterator[Callable[[Callable[[TorchEngine], Any]], float]]:
    """An engine on an event loop of its own; gives a function that runs a coroutine on it and returns its duration, seconds."""
    model = FusedDecoder(load_model(folder, dtype))
    threads = useful_threads(model.config.parameters, torch.get_num_threads())
    compute = ThreadCompute("bench")
    with asyncio.Runner() as runner:

        async def start() -> TorchEngine:
            return TorchEngine(model, _card(folder, model.config), compute=compute)

        engine = runner.run(start())
        try:
            with _torch_threads(threads):
                runner.run(stream_all(engine, prompts(1, PROMPT_TOKENS)))  # the worker thread keeps the count it starts with

            def timed(work: Callable[[TorchEngine], Any]) -> float:
                with _torch_threads(threads):
                    return _duration_s(lambda: runner.run(work(engine)))

            yield timed
        finally:
            runner.run(engine.close())
            compute.close()


def transformers_stream(folder: Path, dtype: str) -> Callable[[tuple[int, ...]], None]:
    """`transformers` on the same folder, as its documentation says: `generate`, greedy, with its default cache."""
    try:
        from transformers import AutoModelForCausalLM
        from transformers.utils import logging
    except ImportError as error:
        raise MissingExtra("the engine bench compares with transformers, which is not installed", hint="pip install transformers") from error
    logging.disable_progress_bar()
    model: Any = AutoModelForCausalLM.from_pretrained(folder, dtype=getattr(torch, dtype), local_files_only=True)
    model.eval()
    model.generation_config.eos_token_id = None  # both write all the tokens asked for
    model.generation_config.pad_token_id = 0

    def stream(ids: tuple[int, ...]) -> None:
        ids_BT = torch.tensor([ids])
        found_BT = model.generate(ids_BT, attention_mask=torch.ones_like(ids_BT), do_sample=False, max_new_tokens=NEW_TOKENS)
        assert found_BT.shape[1] == len(ids) + NEW_TOKENS

    return stream


def model_folder(tier: str, scratch: Path) -> tuple[Path, str]:
    """The bundled model of a tier, or random weights of its shape; and which of the two it is."""
    try:
        return find_model(f"netgpt-{tier}", search_path(None)), f"netgpt-{tier}"
    except ModelNotFound:
        config = SHAPES[tier](vocab_size=2048, num_kv_heads=2, max_position=2048, qk_norm=True)
        save_model(scratch / tier, Decoder(config, seed=SEED), "float32")
        return scratch / tier, "random"


def _card(folder: Path, config: DecoderConfig) -> ModelCard:
    return ModelCard(
        id=folder.name,
        tier="cloud",
        parameters=config.parameters,
        layers=config.num_layers,
        bytes=0,
        context_tokens=config.max_position,
        vocabulary=config.vocab_size,
        tokenizer="",
    )


def _duration_s(work: Callable[[], object]) -> float:
    clock = WallClock()
    start_s = clock.now_s()
    work()
    return clock.now_s() - start_s


@contextmanager
def _torch_threads(threads: int) -> Iterator[None]:
    before = torch.get_num_threads()
    torch.set_num_threads(threads)
    try:
        yield
    finally:
        torch.set_num_threads(before)
