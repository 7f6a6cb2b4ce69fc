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

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file, save_file
from torch import Tensor, nn

from netgpt.core.errors import ModelInvalid, StorageFailed

PREFIX, KEPT = "step-", 2
MOMENTS = ("exp_avg", "exp_avg_sq")


@dataclass(frozen=True, kw_only=True)
class Progress:
    """Where a run stands: how many steps are done, of which recipe, with which tokenizer."""

    step: int
    tokens: int  # seen so far, without padding
    fingerprint: str
    tokenizer: str
    elapsed_s: float


def save_checkpoint(folder: Path, progress: Progress, model: nn.Module, optimizer: torch.optim.Optimizer) -> None:
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
        save_file(_moments(model, optimizer), staging / "optimizer.safetensors")
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


def load_checkpoint(path: Path, model: nn.Module, optimizer: torch.optim.Optimizer) -> Progress:
    """Restore model and optimiser in place.

    Raises:
        ModelInvalid: a file is missing or damaged, or belongs to another shape.
    """
    try:
        progress = Progress(**json.loads((path / "progress.json").read_text(encoding="utf-8")))
        model.load_state_dict(load_file(path / "model.safetensors"))
        moments = load_file(path / "optimizer.safetensors")
        for name, parameter in model.named_parameters():
            state = optimizer.state[parameter]
            state["step"] = torch.tensor(float(progress.step))
            for moment in MOMENTS:
                state[moment] = moments[f"{moment}.{name}"].to(parameter.device)
    except (OSError, ValueError, KeyError, TypeError, RuntimeError, SafetensorError) as error:
        raise ModelInvalid(
            f"checkpoint {str(path)!r} cannot be read: {error}", hint="delete it to resume from the one before, or train without --resume"
        ) from error
    return progress


def _moments(model: nn.Module, optimizer: torch.optim.Optimizer) -> dict[str, Tensor]:
    """AdamW's running means by parameter name; every parameter has been stepped as often as the run."""
    return {
        f"{moment}.{name}": optimizer.state[parameter][moment].detach().cpu().contiguous()
        for name, parameter in model.named_parameters()
        if parameter in optimizer.state
        for moment in MOMENTS
    }
