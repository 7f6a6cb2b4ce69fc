"""The decoder's own facts; equality with transformers is in test_checkpoint."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch

from netgpt.core.errors import ModelInvalid, NotSupported
from netgpt.models.decoder import Decoder
from netgpt.models.decoder_config import DecoderConfig, RopeScaling

TINY = DecoderConfig(
    vocab_size=64, hidden_size=32, intermediate_size=48, num_layers=2, num_heads=4, num_kv_heads=2, head_dim=8, max_position=64, tie_embeddings=True
)
VARIANTS = [
    TINY,
    replace(TINY, qk_norm=True),
    replace(TINY, attention_bias=True, tie_embeddings=False),
    replace(TINY, rope_scaling=RopeScaling(factor=4.0, low_freq_factor=1.0, high_freq_factor=4.0, original_max_position=16)),
]


@pytest.mark.parametrize("config", VARIANTS)
def test_a_token_sees_only_the_past(config: DecoderConfig) -> None:
    decoder = Decoder(config)
    ids_BT = torch.arange(20)[None] * 3
    changed_BT = ids_BT.clone()
    changed_BT[0, 12] = 1
    with torch.no_grad():
        before, after = decoder(ids_BT), decoder(changed_BT)
    torch.testing.assert_close(before[:, :12], after[:, :12])
    assert not torch.allclose(before[:, 12:], after[:, 12:])


@pytest.mark.parametrize("config", VARIANTS)
def test_config_survives_hugging_faces_form(config: DecoderConfig) -> None:
    assert DecoderConfig.from_hf(config.to_hf()) == config


@pytest.mark.parametrize("config", VARIANTS)
def test_parameters_are_counted_right(config: DecoderConfig) -> None:
    assert sum(parameter.numel() for parameter in Decoder(config).parameters()) == config.parameters


@pytest.mark.parametrize("config", VARIANTS)
def test_training_under_autocast_reaches_every_parameter(config: DecoderConfig) -> None:
    decoder = Decoder(config)
    ids_BT = torch.arange(24).reshape(2, 12)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        logits_BTV = decoder(ids_BT)
    torch.nn.functional.cross_entropy(logits_BTV.float().flatten(0, 1), ids_BT.flatten()).backward()
    assert all(parameter.grad is not None and torch.isfinite(parameter.grad).all() for parameter in decoder.parameters())


def test_autocast_changes_logits_little() -> None:
    decoder = Decoder(TINY)
    ids_BT = torch.arange(24).reshape(2, 12)
    with torch.no_grad(), torch.autocast("cpu", dtype=torch.bfloat16):
        low = decoder(ids_BT).float()
    with torch.no_grad():
        torch.testing.assert_close(low, decoder(ids_BT), atol=0.01, rtol=0.1)


def test_a_seed_gives_its_weights_and_leaves_torchs_generator_alone() -> None:
    torch.manual_seed(5)
    first = Decoder(TINY, seed=1).output_VD
    torch.manual_seed(6)
    assert torch.equal(first, Decoder(TINY, seed=1).output_VD)
    assert not torch.equal(first, Decoder(TINY, seed=2).output_VD)


def test_fresh_weights_start_near_the_uniform_loss() -> None:
    ids_BT = torch.arange(60)[None]
    with torch.no_grad():
        logits_BTV = Decoder(TINY)(ids_BT)
    loss = torch.nn.functional.cross_entropy(logits_BTV[0, :-1], ids_BT[0, 1:])
    assert abs(float(loss) - 4.159) < 0.1  # ln 64


@pytest.mark.parametrize(
    ("change", "named"), [({"num_kv_heads": 3}, "key-value heads"), ({"head_dim": 7}, "head_dim"), ({"num_layers": 0}, "num_layers")]
)
def test_impossible_shapes_are_refused(change: dict[str, int], named: str) -> None:
    with pytest.raises(ModelInvalid, match=named):
        replace(TINY, **change)  # type: ignore[arg-type]


def test_a_shape_of_no_family_is_not_written() -> None:
    with pytest.raises(NotSupported, match="qk_norm"):
        replace(TINY, qk_norm=True, attention_bias=True).to_hf()
