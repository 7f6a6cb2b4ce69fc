"""The torch engine on a model of the hub: from the cache's folder to the bytes of an answer, in the model's own chat format."""

from __future__ import annotations

import asyncio
from contextlib import aclosing
from pathlib import Path

import torch

from netgpt.core.compute import ThreadCompute
from netgpt.engine.decode import FusedDecoder
from netgpt.engine.torch_engine import TorchEngine
from netgpt.models.checkpoint import load_model, save_model
from netgpt.models.decoder import Decoder
from netgpt.models.decoder_config import DecoderConfig
from netgpt.models.generation import GREEDY, Generate, Text, Turn
from netgpt.models.hf_tokenizer import load_tokenizer
from netgpt.node.recode import generate_text

from ..models.test_hf_models import REVISION, write_folder  # noqa: TID252 - the folder that its tokenizer is tested with
from .torch_models import decode_alone

CONFIG = DecoderConfig(
    vocab_size=336, hidden_size=16, intermediate_size=24, num_layers=2, num_heads=4, num_kv_heads=2, head_dim=4, max_position=128, attention_bias=True
)


def test_a_hub_model_answers_in_its_own_chat_format_and_goes_on_from_bytes(tmp_path: Path) -> None:
    folder = write_folder(tmp_path / "models--tiny--chat" / "snapshots" / REVISION)
    (folder / "model.safetensors").unlink()
    decoder = Decoder(CONFIG, seed=3).eval()
    with torch.no_grad():
        for parameter in decoder.parameters():
            if parameter.dim() > 1:
                parameter.mul_(25)
    save_model(folder, decoder, "float32")
    tokenizer = load_tokenizer(folder)
    ids = decode_alone(FusedDecoder(load_model(folder)), tokenizer.render([("user", "Hi")]), 8, GREEDY)

    async def main() -> None:
        engine = TorchEngine.from_folder(folder, compute=ThreadCompute("test"), threads=1)
        assert engine.card.id == "tiny/chat"
        text = Text(messages=(Turn(role="user", content="Hi"),))
        request = Generate(session="s", ids=(), max_tokens=8, text=text)
        async with aclosing(generate_text(engine, tokenizer, request, text)) as replies:
            heard = [tokens async for tokens in replies]
        end = next((place + 1 for place, token in enumerate(ids) if token in tokenizer.stop_ids), len(ids))
        assert b"".join(tokens.data for tokens in heard) == tokenizer.decode(ids[:end])
        assert sum(tokens.made for tokens in heard) == end
        assert heard[-1].prompt_tokens == len(tokenizer.render([("user", "Hi")]))
        await engine.close()

    asyncio.run(main())
