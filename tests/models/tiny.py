"""The smallest model folder that loads: random weights and no tokenizer to speak of."""

from __future__ import annotations

from pathlib import Path

from netgpt.models.checkpoint import save_model
from netgpt.models.decoder import Decoder
from netgpt.models.decoder_config import DecoderConfig

TINY = DecoderConfig(
    vocab_size=96, hidden_size=32, intermediate_size=48, num_layers=2, num_heads=4, num_kv_heads=2, head_dim=8, max_position=64, rope_theta=5000.0
)


def save_tiny_model(folder: Path) -> None:
    save_model(folder, Decoder(TINY, seed=1), "float32")
    (folder / "tokenizer.json").write_text("{}")
