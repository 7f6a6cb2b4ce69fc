"""Tiny random models, and the plainest way to decode with them: what the torch engine is compared with."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import replace
from typing import Any

import torch

from netgpt.core.compute import ThreadCompute
from netgpt.engine.decode import FusedDecoder, Segment
from netgpt.engine.sampling import choose
from netgpt.engine.torch_engine import TorchEngine
from netgpt.models.card import ModelCard
from netgpt.models.decoder import Decoder
from netgpt.models.decoder_config import DecoderConfig
from netgpt.models.generation import Sampling
from netgpt.models.tokenizer import ByteTokenizer

TINY = DecoderConfig(
    vocab_size=50, hidden_size=16, intermediate_size=24, num_layers=2, num_heads=4, num_kv_heads=2, head_dim=4, max_position=96, rope_theta=100.0
)

# One that writes bytes; a few of its ids are no tokens, as where a vocabulary is padded.
MODEL_SEEDS = (1, 2, 5)
WRITER = replace(TINY, vocab_size=ByteTokenizer.vocabulary + 3, max_position=4096)


def tiny_decoder(seed: int = 1, config: DecoderConfig = TINY) -> Decoder:
    """Weights large enough that the next token depends on all tokens before it."""
    decoder = Decoder(config, seed=seed).eval()
    with torch.no_grad():
        for parameter in decoder.parameters():
            if parameter.dim() > 1:
                parameter.mul_(25)
    return decoder


def tiny_card(context_tokens: int = 96) -> ModelCard:
    return ModelCard(
        id="tiny", tier="device", parameters=TINY.parameters, layers=2, bytes=0, context_tokens=context_tokens, vocabulary=50, tokenizer="none"
    )


def writer_card() -> ModelCard:
    return replace(tiny_card(WRITER.max_position), vocabulary=WRITER.vocab_size, tokenizer=ByteTokenizer.hash)


def with_engine_of(
    model: FusedDecoder, card: ModelCard, scenario: Callable[[TorchEngine], Awaitable[None]], *, timeout_s: float = 60.0, **settings: Any
) -> None:
    """Run a scenario on a torch engine of its own; `settings` go to the engine."""

    async def main() -> None:
        compute = ThreadCompute()
        engine = TorchEngine(model, card, compute=compute, **settings)
        try:
            await asyncio.wait_for(scenario(engine), timeout=timeout_s)
        finally:
            await engine.close()
            compute.close()

    asyncio.run(main())


def decode_alone(model: FusedDecoder, prompt: Sequence[int], count: int, sampling: Sampling) -> list[int]:
    """`count` tokens after `prompt`: one session, its prompt in one step and then a token a step; no engine."""
    kv = model.new_kv()
    kv.reserve(len(prompt) + count)
    ids = list(prompt)
    with torch.inference_mode():
        while len(ids) < len(prompt) + count:
            hidden_ND = model.step([Segment(kv, ids[kv.length :])])
            logits_V = model.logits(hidden_ND[-1:])[0]
            ids.append(choose(logits_V.numpy(), sampling, len(ids)))
    return ids[len(prompt) :]
