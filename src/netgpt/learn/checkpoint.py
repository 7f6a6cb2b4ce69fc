"""Checkpoints of a training run: everything a resumed run needs to go on as if never stopped.

A checkpoint is a folder of safetensors and one JSON file, never a pickle; it is written beside and then
renamed, so that it exists whole or not at all. Batches and learning rates are functions of the step and
need no saving. Knows nothing of tasks.
"""

from __future__ import annotations

import json
import shutil
from dataclasses import dataclass
from pathlib import Path

from safetensors import SafetensorError
from safetensors.torch import load_file, save_file
from torch import nn

from netgpt.core.errors import ModelInvalid, StorageFailed
from netgpt.learn.optimizer import Optimizer

PREFIX, KEPT = "step-", 2


@dataclass(frozen=True, kw_only=True)
class Progress:
    """Where a run stands: how many steps are done, of which recipe, with which tokenizer."""

    step: int
    tokens: int  # seen so far, without padding
    fingerprint: str
    tokenizer: str
    elapsed_s: float


def save_checkpoint(folder: Path, progress: Progress, model: nn.Module, optimizer: Optimizer) -> None:
    """Write `folder/step-<n>` and keep the newest `KEPT`.

    Raises:
        StorageFailed: the disk is full, or may not be written.
    """
    target = folder / f"{PREFIX}{progress.step:07d}"
    staging = folder / f".{target.name}"
    try:
        shutil.rmtree(staging, ignore_errors=True)
        staging.mkdir(parents=True)
        save_file({name: tensor.detach().cpu().contiguous() for name, tensor in model.state_dict().items()}, staging / "model.safetensors")
        save_file(optimizer.state(), staging / "optimizer.safetensors")
        (staging / "progress.json").write_text(json.dumps(vars(progress)) + "\n", encoding="utf-8")
        shutil.rmtree(target, ignore_errors=True)
        staging.rename(target)
    except (OSError, SafetensorError) as error:
        raise StorageFailed(
            f"checkpoint {str(target)!r} cannot be written: {error}", hint="free some space, or choose another --runs folder"
        ) from error
    for old in checkpoints(folder)[:-KEPT]:
        shutil.rmtree(old)


def checkpoints(folder: Path) -> list[Path]:
    """The checkpoints in `folder`, oldest first."""
    return sorted(folder.glob(f"{PREFIX}*"))


def load_checkpoint(path: Path, model: nn.Module, optimizer: Optimizer) -> Progress:
    """Restore model and optimiser in place.

    Raises:
        ModelInvalid: a file is missing or damaged, or belongs to another shape.
    """
    try:
        progress = Progress(**json.loads((path / "progress.json").read_text(encoding="utf-8")))
        model.load_state_dict(load_file(path / "model.safetensors"))
        optimizer.restore(load_file(path / "optimizer.safetensors"), progress.step)
    except (OSError, ValueError, KeyError, TypeError, RuntimeError, SafetensorError) as error:
        raise ModelInvalid(
            f"checkpoint {str(path)!r} cannot be read: {error}", hint="delete it to resume from the one before, or train without --resume"
        ) from error
    return progress
