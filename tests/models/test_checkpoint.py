"""Model folders: exchanged with transformers, and refused when damaged."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file, save_file

from netgpt.core.errors import ModelInvalid, NotSupported, StorageFailed
from netgpt.models.checkpoint import INDEX, SINGLE, load_model, save_model
from netgpt.models.decoder import Decoder

from .tiny import TINY

SIZES = {
    "vocab_size": 96,
    "hidden_size": 32,
    "intermediate_size": 48,
    "num_hidden_layers": 2,
    "num_attention_heads": 4,
    "num_key_value_heads": 2,
    "head_dim": 8,
    "max_position_embeddings": 64,
}
LLAMA3 = {"rope_type": "llama3", "factor": 4.0, "low_freq_factor": 1.0, "high_freq_factor": 4.0, "original_max_position_embeddings": 16}
FAMILIES = {
    "llama": {"tie_word_embeddings": False, "rope_theta": 10000.0},
    "llama-tied": {"tie_word_embeddings": True, "rope_theta": 3000.0},
    "llama-3": {"tie_word_embeddings": True, "rope_theta": 500.0, "rope_scaling": LLAMA3},
    "mistral": {"sliding_window": None, "rope_theta": 10000.0},
    "qwen2": {"rope_theta": 10000.0},
    "qwen3": {"rope_theta": 1000.0, "tie_word_embeddings": True},
}


def transformers_model(family: str) -> torch.nn.Module:
    from transformers import AutoConfig, AutoModelForCausalLM

    torch.manual_seed(0)
    config = AutoConfig.for_model(family.split("-")[0], **SIZES, **FAMILIES[family], initializer_range=0.2)
    model = AutoModelForCausalLM.from_config(config).eval()
    for name, parameter in model.named_parameters():
        if "norm" in name or name.endswith("bias"):
            torch.nn.init.normal_(parameter, 1.0, 0.2)
    return model


@pytest.mark.parametrize("family", FAMILIES)
def test_logits_equal_those_of_transformers(family: str, tmp_path: Path) -> None:
    theirs = transformers_model(family)
    theirs.save_pretrained(tmp_path)  # type: ignore[operator]
    ours = load_model(tmp_path, "float32")
    ids_BT = torch.randint(0, 96, (2, 50), generator=torch.Generator().manual_seed(1))
    with torch.no_grad():
        torch.testing.assert_close(ours(ids_BT), theirs(ids_BT).logits, atol=1e-4, rtol=1e-4)


@pytest.mark.parametrize("change", [{}, {"qk_norm": True}, {"attention_bias": True}, {"tie_embeddings": False}])
def test_transformers_reads_what_we_save(change: dict[str, bool], tmp_path: Path) -> None:
    from dataclasses import replace

    from transformers import AutoModelForCausalLM

    ours = Decoder(replace(TINY, **change), seed=3).eval()  # type: ignore[arg-type]
    save_model(tmp_path / "m", ours, "float32", max_shard_bytes=8000)
    theirs = AutoModelForCausalLM.from_pretrained(tmp_path / "m")
    ids_BT = torch.arange(40)[None]
    with torch.no_grad():
        torch.testing.assert_close(ours(ids_BT), theirs(ids_BT).logits, atol=1e-4, rtol=1e-4)


@pytest.mark.parametrize("max_shard_bytes", [10**9, 8000])
@pytest.mark.parametrize("dtype", ["float32", "bfloat16"])
def test_a_saved_model_comes_back(max_shard_bytes: int, dtype: str, tmp_path: Path) -> None:
    decoder = Decoder(TINY, seed=1)
    save_model(tmp_path / "m", decoder, dtype, max_shard_bytes)
    again = load_model(tmp_path / "m", dtype)
    assert again.config == TINY
    assert (tmp_path / "m" / INDEX).exists() == (max_shard_bytes == 8000)
    assert list(tmp_path.iterdir()) == [tmp_path / "m"]
    for name, tensor in decoder.state_dict().items():
        torch.testing.assert_close(again.state_dict()[name], tensor.to(again.output_VD.dtype), atol=0, rtol=0)


def test_saving_again_replaces_weights_and_keeps_other_files(tmp_path: Path) -> None:
    folder = tmp_path / "m"
    save_model(folder, Decoder(TINY, seed=1), "float32", max_shard_bytes=8000)
    (folder / "tokenizer.json").write_text("{}")
    save_model(folder, Decoder(TINY, seed=2), "float32")
    assert sorted(path.name for path in folder.iterdir()) == ["config.json", SINGLE, "tokenizer.json"]
    torch.testing.assert_close(load_model(folder).output_VD, Decoder(TINY, seed=2).output_VD)


def test_a_folder_that_cannot_be_written_is_named(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(StorageFailed, match="file"):
        save_model(tmp_path / "file" / "m", Decoder(TINY), "float32")


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    save_model(tmp_path / "m", Decoder(TINY), "float32")
    return tmp_path / "m"


def edit_config(folder: Path, **changes: object) -> None:
    config = json.loads((folder / "config.json").read_text())
    (folder / "config.json").write_text(json.dumps({**config, **changes}))


def edit_tensors(folder: Path, **changes: torch.Tensor | None) -> None:
    tensors = {**load_file(folder / SINGLE), **{name.replace("__", "."): tensor for name, tensor in changes.items()}}
    save_file({name: tensor for name, tensor in tensors.items() if tensor is not None}, folder / SINGLE)


NORM = "model__norm__weight"


@pytest.mark.parametrize(
    ("damage", "named"),
    [
        (lambda f: (f / "config.json").unlink(), "config.json"),
        (lambda f: (f / "config.json").write_text("{"), "config.json"),
        (lambda f: (f / "config.json").write_text("[]"), "config.json"),
        (lambda f: (f / SINGLE).unlink(), SINGLE),
        (lambda f: (f / SINGLE).rename(f / "pytorch_model.bin"), "pytorch_model.bin"),
        (lambda f: (f / SINGLE).write_bytes((f / SINGLE).read_bytes()[:-100]), SINGLE),
        (lambda f: (f / SINGLE).write_bytes(b"\xff" * 4000), SINGLE),
        (lambda f: (f / SINGLE).write_bytes(b""), SINGLE),
        (lambda f: edit_tensors(f, **{NORM: None}), "model.norm.weight"),
        (lambda f: edit_tensors(f, model__surplus=torch.ones(1)), "model.surplus"),
        (lambda f: edit_tensors(f, **{NORM: torch.ones(31)}), "model.norm.weight"),
        (lambda f: edit_tensors(f, **{NORM: torch.full((32,), float("nan"))}), "model.norm.weight"),
        (lambda f: edit_tensors(f, **{NORM: torch.ones(32, dtype=torch.int8)}), "model.norm.weight"),
        (lambda f: edit_tensors(f, lm_head__weight=torch.ones(96, 32)), "lm_head.weight"),
        (lambda f: edit_config(f, hidden_size=33), "config.json needs"),
        (lambda f: edit_config(f, hidden_size="big"), "hidden_size"),
        (lambda f: edit_config(f, num_hidden_layers=3), "model.layers.2"),
        (lambda f: edit_config(f, num_key_value_heads=3), "key-value heads"),
        (lambda f: (f / SINGLE).rename(f / "a.safetensors") and (f / INDEX).write_text('{"weight_map": {"x": "../a.safetensors"}}'), INDEX),
        (lambda f: (f / SINGLE).rename(f / "a.safetensors") and (f / INDEX).write_text('{"weight_map": {"x": "b.safetensors"}}'), "b.safetensors"),
    ],
)
def test_a_damaged_folder_is_refused_and_the_damage_named(folder: Path, damage: object, named: str) -> None:
    damage(folder)  # type: ignore[operator]
    with pytest.raises(ModelInvalid, match=named) as caught:
        load_model(folder)
    assert caught.value.hint


@pytest.mark.parametrize(
    "change",
    [
        {"model_type": "gpt2"},
        {"rope_scaling": {"rope_type": "yarn", "factor": 2.0}},
        {"model_type": "mistral", "sliding_window": 16},
        {"model_type": "qwen2", "sliding_window": 16, "use_sliding_window": True},
        {"attention_bias": True},
        {"mlp_bias": True},
        {"hidden_act": "gelu"},
        {"quantization_config": {"bits": 4}},
    ],
)
def test_what_is_not_implemented_is_refused_by_name(folder: Path, change: dict[str, object]) -> None:
    edit_config(folder, **{"use_sliding_window": None, **change} if "use_sliding_window" not in change and "sliding_window" not in change else change)
    with pytest.raises(NotSupported) as caught:
        load_model(folder)
    assert caught.value.param in change


def test_an_unknown_dtype_is_refused(folder: Path) -> None:
    with pytest.raises(NotSupported, match="int4"):
        load_model(folder, "int4")
