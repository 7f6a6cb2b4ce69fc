"""The fused decoder equals the training forward pass, however a text is cut into steps."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch

from netgpt.engine.decode import FusedDecoder, Segment
from netgpt.models.decoder import Decoder
from netgpt.models.decoder_config import DecoderConfig, RopeScaling

TINY = DecoderConfig(
    vocab_size=64, hidden_size=32, intermediate_size=48, num_layers=3, num_heads=6, num_kv_heads=2, head_dim=8, max_position=64, rope_theta=100.0
)
VARIANTS = [
    TINY,
    replace(TINY, qk_norm=True, tie_embeddings=False),
    replace(TINY, attention_bias=True),
    replace(TINY, num_kv_heads=6, norm_eps=1e-2),
    replace(TINY, num_kv_heads=1, rope_scaling=RopeScaling(factor=4.0, low_freq_factor=1.0, high_freq_factor=4.0, original_max_position=16)),
]


def lively_decoder(config: DecoderConfig) -> Decoder:
    """Random weights large enough, and norms and biases uneven enough, that a fault shows."""
    decoder = Decoder(config, seed=1).eval()
    chance = torch.Generator().manual_seed(2)
    with torch.no_grad():
        for name, parameter in decoder.named_parameters():
            if "norm" in name or name.endswith("bias"):
                parameter.copy_(1 + 0.3 * torch.randn(parameter.shape, generator=chance))
            else:
                parameter.mul_(10)
    return decoder


@pytest.mark.parametrize("config", VARIANTS)
@pytest.mark.parametrize("cuts", [[40], [1] * 40, [7, 1, 1, 12, 19], [39, 1]])
def test_steps_of_any_size_give_the_logits_of_one_pass(config: DecoderConfig, cuts: list[int]) -> None:
    decoder = lively_decoder(config)
    fused = FusedDecoder(decoder)
    ids = torch.randint(0, 64, (40,), generator=torch.Generator().manual_seed(3)).tolist()
    kv = fused.new_kv()
    parts = []
    with torch.inference_mode():
        for size in cuts:
            kv.reserve(kv.length + size)
            parts.append(fused.logits(fused.step([Segment(kv, ids[kv.length : kv.length + size])])))
        expected = decoder(torch.tensor([ids]))[0]
    torch.testing.assert_close(torch.cat(parts), expected, atol=2e-4, rtol=2e-4)


def test_sessions_in_one_step_do_not_see_each_other() -> None:
    decoder = lively_decoder(TINY)
    fused = FusedDecoder(decoder)
    chance = torch.Generator().manual_seed(4)
    texts = [torch.randint(0, 64, (30,), generator=chance).tolist() for _ in range(5)]
    buffers = [fused.new_kv() for _ in texts]
    last: dict[int, torch.Tensor] = {}
    with torch.inference_mode():
        while any(kv.length < 30 for kv in buffers):
            segments, owners = [], []
            for number, (kv, text) in enumerate(zip(buffers, texts, strict=True)):
                size = min(int(torch.randint(0, 6, (), generator=chance)), 30 - kv.length)
                if size:
                    kv.reserve(kv.length + size)
                    segments.append(Segment(kv, text[kv.length : kv.length + size]))
                    owners.append(number)
            if segments:
                rows = fused.logits(fused.step(segments)).split([len(segment.ids) for segment in segments])
                last.update({owner: part[-1] for owner, part in zip(owners, rows, strict=True)})
        for number, text in enumerate(texts):
            torch.testing.assert_close(last[number], decoder(torch.tensor([text]))[0, -1], atol=2e-4, rtol=2e-4)


def test_a_truncated_buffer_continues_as_if_never_longer() -> None:
    decoder = lively_decoder(TINY)
    fused = FusedDecoder(decoder)
    kv = fused.new_kv()
    kv.reserve(20)
    with torch.inference_mode():
        fused.step([Segment(kv, range(20))])
        kv.truncate(7)
        kv.reserve(64)
        logits_V = fused.logits(fused.step([Segment(kv, [50, 51])]))[-1]
        expected_V = decoder(torch.tensor([[*range(7), 50, 51]]))[0, -1]
    torch.testing.assert_close(logits_V, expected_V, atol=2e-4, rtol=2e-4)


def test_bfloat16_stays_near_float32() -> None:
    decoder = Decoder(TINY, seed=1).eval()
    ids = list(range(40))
    with torch.inference_mode():
        expected = decoder(torch.tensor([ids]))[0]
        fused = FusedDecoder(decoder.to(torch.bfloat16))
        kv = fused.new_kv()
        kv.reserve(40)
        found = fused.logits(fused.step([Segment(kv, ids)]))
    assert float((found - expected).abs().max()) < 0.02 * float(expected.abs().max()) + 0.005
