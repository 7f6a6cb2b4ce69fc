"""Model folders: writing a decoder as `config.json` and safetensors, and reading it back checked.

Weights are data: no pickle is ever opened. Names, shapes, dtypes and finiteness are checked before a
model is handed out, so that a damaged folder is an error with a next step and never a model that
answers nonsense. Folders are exchanged with `transformers` in both directions.
"""

from __future__ import annotations

import json
import os
import shutil
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file
from torch import Tensor

from netgpt.core.errors import ModelInvalid, NotSupported, StorageFailed
from netgpt.models.decoder import Decoder
from netgpt.models.decoder_config import DecoderConfig

DTYPES: dict[str, torch.dtype] = {"float32": torch.float32, "bfloat16": torch.bfloat16, "float16": torch.float16}
SINGLE, INDEX = "model.safetensors", "model.safetensors.index.json"
_RESTORE = "restore the model folder from its source, or make it again: netgpt pretrain"


def dtype_named(name: str) -> torch.dtype:
    """The torch dtype called `name`.

    Raises:
        NotSupported: no float32, bfloat16 or float16.
    """
    if name not in DTYPES:
        raise NotSupported(f"dtype {name!r} is not supported", hint=f"choose one of {', '.join(DTYPES)}", param="dtype")
    return DTYPES[name]


def save_model(folder: Path, decoder: Decoder, dtype: str, max_shard_bytes: int = 15 * 2**20) -> None:
    """Write `decoder` so that `load_model` and `transformers` can read it.

    A new folder appears whole or not at all. In a folder that exists, other files (tokenizer, card) stay,
    and `config.json` is written last: a crash leaves the old model, the new one, or a folder that
    `load_model` refuses; never a mixture.

    Args:
        dtype: of the stored weights: "float32", "bfloat16" or "float16".
        max_shard_bytes: weights that need more are split; a larger single tensor has a file of its own.

    Raises:
        StorageFailed: the disk is full, or may not be written.
        NotSupported: a dtype that is not supported.
    """
    tensors = {name: t.detach().to("cpu", dtype_named(dtype)).contiguous() for name, t in decoder.state_dict().items()}
    staging = folder.with_name(f".{folder.name}.saving")
    try:
        shutil.rmtree(staging, ignore_errors=True)
        staging.mkdir(parents=True)
        _write_weights(staging, _shards(tensors, max_shard_bytes))
        _write_json(staging / "config.json", {**decoder.config.to_hf(), "dtype": dtype})
        _publish(staging, folder)
    except OSError as error:
        raise StorageFailed(f"model folder {str(folder)!r} cannot be written: {error}", hint="free some space, or choose another folder") from error
    finally:
        shutil.rmtree(staging, ignore_errors=True)


def _shards(tensors: Mapping[str, Tensor], max_shard_bytes: int) -> list[dict[str, Tensor]]:
    """Tensors in order, cut where a shard would grow past `max_shard_bytes`."""
    shards: list[dict[str, Tensor]] = [{}]
    size = 0
    for name, tensor in tensors.items():
        if shards[-1] and size + tensor.nbytes > max_shard_bytes:
            shards.append({})
            size = 0
        shards[-1][name] = tensor
        size += tensor.nbytes
    return shards


def _write_weights(folder: Path, shards: Sequence[Mapping[str, Tensor]]) -> None:
    if len(shards) == 1:
        _write_tensors(folder / SINGLE, shards[0])
        return
    weight_map: dict[str, str] = {}
    for number, shard in enumerate(shards, start=1):
        file_name = f"model-{number:05d}-of-{len(shards):05d}.safetensors"
        _write_tensors(folder / file_name, shard)
        weight_map.update(dict.fromkeys(shard, file_name))
    total_bytes = sum(tensor.nbytes for shard in shards for tensor in shard.values())
    _write_json(folder / INDEX, {"metadata": {"total_size": total_bytes}, "weight_map": weight_map})


def _write_tensors(path: Path, tensors: Mapping[str, Tensor]) -> None:
    try:
        save_file(dict(tensors), path, metadata={"format": "pt"})  # the metadata that transformers asks for
    except SafetensorError as error:  # the library's name for a full disk
        raise OSError(str(error)) from error
    _sync(path)


def _write_json(path: Path, value: Mapping[str, Any]) -> None:
    path.write_text(json.dumps(value, indent=2) + "\n", encoding="utf-8")
    _sync(path)


def _sync(path: Path) -> None:
    with path.open("rb") as file:
        os.fsync(file.fileno())


def _publish(staging: Path, folder: Path) -> None:
    """Move what `staging` holds to `folder`, `config.json` first away and last back."""
    if not folder.exists():
        staging.rename(folder)
        return
    for old in (folder / "config.json", folder / INDEX, *folder.glob("model*.safetensors")):
        old.unlink(missing_ok=True)
    for new in sorted(staging.iterdir(), key=lambda path: (path.name == "config.json", path.name)):
        new.replace(folder / new.name)


def load_model(folder: Path, dtype: str = "float32") -> Decoder:
    """Read a model folder: Hugging Face's layout, Llama, Mistral, Qwen2 or Qwen3.

    Args:
        dtype: of the weights in memory, whatever the stored one.

    Returns:
        The decoder, in evaluation mode.

    Raises:
        ModelInvalid: a file is missing, truncated, corrupt or pickled; a tensor is missing, unexpected, of
            a wrong shape or dtype, or not finite. The message names it.
        NotSupported: another family, or a feature that is not implemented.
    """
    target = dtype_named(dtype)
    config = DecoderConfig.from_hf(read_json(folder / "config.json"))
    with torch.device("meta"):
        decoder = Decoder(config)
    expected = {name: tuple(tensor.shape) for name, tensor in decoder.state_dict().items()}
    tensors: dict[str, Tensor] = {}
    for path in _weight_files(folder):
        for name, tensor in _read_tensors(path, expected).items():
            if name in tensors:
                raise ModelInvalid(f"model file {str(path)!r}: tensor {name!r} is in another file too", hint=_RESTORE)
            tensors[name] = tensor
    _settle_tied_output(folder, config, tensors)
    for name in expected:
        if name not in tensors:
            raise ModelInvalid(f"model folder {str(folder)!r}: tensor {name!r} is missing", hint=_RESTORE)
    decoder.load_state_dict({name: tensor.to(target) for name, tensor in tensors.items()}, assign=True)
    return decoder.eval()


def read_json(path: Path) -> dict[str, Any]:
    """The object in a JSON file of a model folder.

    Raises:
        ModelInvalid: no such file, not JSON, or no object.
    """
    try:
        value = json.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError as error:
        raise ModelInvalid(f"model file {str(path)!r} is missing", hint=_RESTORE) from error
    except (OSError, ValueError) as error:
        raise ModelInvalid(f"model file {str(path)!r} cannot be read: {error}", hint=_RESTORE) from error
    if not isinstance(value, dict):
        raise ModelInvalid(f"model file {str(path)!r} holds no JSON object", hint=_RESTORE)
    return value


def _weight_files(folder: Path) -> list[Path]:
    if (folder / SINGLE).exists():
        return [folder / SINGLE]
    if (folder / INDEX).exists():
        weight_map = read_json(folder / INDEX).get("weight_map")
        if not isinstance(weight_map, dict) or not all(isinstance(name, str) and Path(name).name == name for name in weight_map.values()):
            raise ModelInvalid(f"model file {str(folder / INDEX)!r}: weight_map must map tensors to files of the folder", hint=_RESTORE)
        return [folder / name for name in sorted(set(weight_map.values()))]
    pickled = sorted(path.name for pattern in ("*.bin", "*.pt", "*.pth", "*.ckpt") for path in folder.glob(pattern))
    if pickled:
        raise ModelInvalid(
            f"model folder {str(folder)!r} has only pickled weights ({pickled[0]}), which can run code and are never opened",
            hint="convert them where you trust them: AutoModelForCausalLM.from_pretrained(folder).save_pretrained(folder, safe_serialization=True)",
        )
    raise ModelInvalid(f"model file {str(folder / SINGLE)!r} is missing", hint=_RESTORE)


def _read_tensors(path: Path, expected: Mapping[str, tuple[int, ...]]) -> dict[str, Tensor]:
    """The tensors of one file, each checked against `expected`; the headers before any data."""
    try:
        with safe_open(path, framework="pt") as file:
            names = [name for name in file.keys() if not name.endswith("rotary_emb.inv_freq")]  # noqa: SIM118 - no mapping
            for name in names:
                _check_header(path, name, tuple(file.get_slice(name).get_shape()), file.get_slice(name).get_dtype(), expected)
            tensors = {name: file.get_tensor(name) for name in names}
    except FileNotFoundError as error:
        raise ModelInvalid(f"model file {str(path)!r} is missing", hint=_RESTORE) from error
    except (SafetensorError, OSError) as error:
        raise ModelInvalid(f"model file {str(path)!r} is truncated or corrupt: {error}", hint=_RESTORE) from error
    for name, tensor in tensors.items():
        if not torch.isfinite(tensor).all():
            raise ModelInvalid(f"model file {str(path)!r}: tensor {name!r} has values that are not finite", hint=_RESTORE)
    return tensors


def _check_header(path: Path, name: str, shape: tuple[int, ...], dtype: str, expected: Mapping[str, tuple[int, ...]]) -> None:
    wanted = expected.get("model.embed_tokens.weight" if name == "lm_head.weight" else name)
    if wanted is None:
        raise ModelInvalid(f"model file {str(path)!r}: tensor {name!r} does not belong to the model that config.json describes", hint=_RESTORE)
    if shape != wanted:
        raise ModelInvalid(f"model file {str(path)!r}: tensor {name!r} has shape {shape}, config.json needs {wanted}", hint=_RESTORE)
    if dtype not in ("F32", "BF16", "F16"):
        raise ModelInvalid(
            f"model file {str(path)!r}: tensor {name!r} has dtype {dtype}, must be F32, BF16 or F16", hint="use unquantised safetensors weights"
        )


def _settle_tied_output(folder: Path, config: DecoderConfig, tensors: dict[str, Tensor]) -> None:
    """Drop the output matrix that some tools store beside the embedding it is tied to."""
    if config.tie_embeddings and "lm_head.weight" in tensors:
        output_VD = tensors.pop("lm_head.weight")
        if not torch.equal(output_VD, tensors.get("model.embed_tokens.weight", output_VD)):
            raise ModelInvalid(
                f"model folder {str(folder)!r}: config.json ties 'lm_head.weight' to the embedding, but they differ",
                hint="set tie_word_embeddings to false in config.json, if the model was trained so",
            )
