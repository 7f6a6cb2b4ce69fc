"""The optimiser loop on packed conversations, with checkpoints, a curve and a clean stop.

A run is a function of (recipe, tokenizer): the same weights come out whether it ran through or was
stopped and resumed, on one machine with one number of threads. Knows no network and no files but its
own run folder; what becomes of the model is the caller's business.

Axes: B row, T position, N position that weighs, D hidden, V vocabulary.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from netgpt.core.clock import Clock
from netgpt.core.errors import NetgptError, UsageError
from netgpt.corpus.draw import held_out_tasks
from netgpt.corpus.families import FAMILIES
from netgpt.learn.checkpoint import Progress, checkpoints, load_checkpoint, save_checkpoint
from netgpt.learn.curve import Point, append_point, cut_curve
from netgpt.learn.optimizer import Optimizer
from netgpt.learn.packing import Batch, encode_conversation, pack, training_batch
from netgpt.learn.recipe import Recipe, share_at
from netgpt.models.decoder import Decoder
from netgpt.models.tokenizer import PAD, Tokenizer

VALIDATION_TASKS_A_FAMILY, VALIDATION_ROWS = 40, 40


@dataclass(frozen=True, kw_only=True)
class Cadence:
    """How often a run reports and saves, in steps."""

    report_steps: int = 50
    checkpoint_steps: int = 200


@dataclass(frozen=True, kw_only=True)
class Outcome:
    """What a call of `train` left behind."""

    model: Decoder
    step: int
    tokens: int  # seen, without padding
    finished: bool  # False: stopped, a checkpoint at `step` is written
    elapsed_s: float  # of all calls that made this run


def mean_loss(model: Decoder, batch: Batch, device: torch.device) -> Tensor:
    """Weighted mean of the cross-entropy, nats; matrix products in bfloat16, the loss in float32.

    Logits are made only where the weight is positive (N of the B x T positions): a prompt costs none.
    """
    weights_BT = torch.from_numpy(batch.weights_BT).to(device)
    chosen_BT = weights_BT > 0
    weights_N = weights_BT[chosen_BT]
    targets_N = torch.from_numpy(batch.targets_BT).to(device)[chosen_BT]
    with torch.autocast(device.type, dtype=torch.bfloat16):
        hidden_BTD = model.model(torch.from_numpy(batch.ids_BT).to(device))
        logits_NV = F.linear(hidden_BTD[chosen_BT], model.output_VD)
    nats_N = F.cross_entropy(logits_NV.float(), targets_N, reduction="none")
    return (nats_N * weights_N).sum() / weights_N.sum()


def validation_batch(tokenizer: Tokenizer, recipe: Recipe) -> Batch:
    """A fixed batch of held-out tasks of all families, mixed; only answers weigh."""
    tasks = [task for family in FAMILIES for task in held_out_tasks(family, VALIDATION_TASKS_A_FAMILY, seed=1)]
    encoded = (encode_conversation(tokenizer, task) for task in sorted(tasks, key=lambda task: task.id[-16:]))  # ids end in a hash
    return pack(encoded, rows=VALIDATION_ROWS, row_tokens=recipe.row_tokens, pad_id=tokenizer.special_id(PAD))


def train(
    recipe: Recipe,
    tokenizer: Tokenizer,
    folder: Path,
    *,
    clock: Clock,
    device: str = "cpu",
    resume: bool = False,
    compiled: bool = False,
    cadence: Cadence | None = None,
    stop: Callable[[], bool] = lambda: False,
    report: Callable[[Point], None] = lambda point: None,
) -> Outcome:
    """Train to the end of the recipe, or until `stop()` is true after a step.

    Args:
        folder: of the run: `checkpoints/` and `curve.csv`.
        resume: go on from the newest checkpoint, if there is one.
        compiled: compile the layers first, which takes a minute and a C++ compiler and makes steps about a quarter shorter.

    Raises:
        UsageError: the checkpoint to resume from belongs to another recipe or tokenizer.
        ModelInvalid: it is damaged.
        StorageFailed: a checkpoint cannot be written.
        NetgptError: the loss is not finite.
    """
    cadence = cadence or Cadence()
    place = torch.device(device)
    model = Decoder(recipe.config(tokenizer.vocabulary), seed=recipe.seed).to(place).train()
    optimizer = Optimizer(model, recipe)
    start = _resumed(folder, recipe, tokenizer, model, optimizer) if resume else _fresh(folder, recipe, tokenizer)
    if compiled:
        for layer in model.model.layers:
            layer.compile(dynamic=False)  # in place: names and weights stay as they are
    held_out = validation_batch(tokenizer, recipe)
    began_s = clock.now_s() - start.elapsed_s
    step, tokens, stopped = start.step, start.tokens, False
    losses: list[float] = []
    mark_s, mark_tokens = clock.now_s(), tokens
    while step < recipe.steps and not stopped:
        batch = training_batch(tokenizer, recipe.seed, step, rows=recipe.rows, row_tokens=recipe.row_tokens, long_one_in=recipe.long_one_in)
        losses.append(_step(model, optimizer, recipe, batch, step, place))
        step += 1
        tokens += int((batch.ids_BT != tokenizer.special_id(PAD)).sum())
        stopped = stop()
        now_s = clock.now_s()
        if step % cadence.report_steps == 0 or step == recipe.steps:
            point = Point(
                step=step,
                tokens=tokens,
                loss=sum(losses) / len(losses),
                validation_loss=_validation_loss(model, held_out, place),
                learning_rate=recipe.peak_rate * share_at(recipe, step - 1),
                tokens_per_s=(tokens - mark_tokens) / max(1e-9, now_s - mark_s),
                elapsed_s=now_s - began_s,
            )
            append_point(folder / "curve.csv", point)
            report(point)
            mark_s, mark_tokens, losses = clock.now_s(), tokens, []
        if stopped or step % cadence.checkpoint_steps == 0 or step == recipe.steps:
            progress = Progress(step=step, tokens=tokens, fingerprint=recipe.fingerprint, tokenizer=tokenizer.hash, elapsed_s=now_s - began_s)
            save_checkpoint(folder / "checkpoints", progress, model, optimizer)
    return Outcome(model=model.eval(), step=step, tokens=tokens, finished=step >= recipe.steps, elapsed_s=clock.now_s() - began_s)


def _step(model: Decoder, optimizer: Optimizer, recipe: Recipe, batch: Batch, step: int, device: torch.device) -> float:
    """One update; returns the loss before it."""
    loss = mean_loss(model, batch, device)
    loss.backward()
    nn.utils.clip_grad_norm_(model.parameters(), recipe.clip_norm)
    optimizer.step(share_at(recipe, step))
    value = loss.item()
    if not math.isfinite(value):
        raise NetgptError(f"the loss of {recipe.name!r} is {value} at step {step}", hint="lower peak_rate in its recipe, and train again")
    return value


@torch.no_grad()
def _validation_loss(model: Decoder, batch: Batch, device: torch.device) -> float:
    return mean_loss(model, batch, device).item()


def _fresh(folder: Path, recipe: Recipe, tokenizer: Tokenizer) -> Progress:
    folder.mkdir(parents=True, exist_ok=True)
    cut_curve(folder / "curve.csv", 0)
    return Progress(step=0, tokens=0, fingerprint=recipe.fingerprint, tokenizer=tokenizer.hash, elapsed_s=0.0)


def _resumed(folder: Path, recipe: Recipe, tokenizer: Tokenizer, model: Decoder, optimizer: Optimizer) -> Progress:
    found = checkpoints(folder / "checkpoints")
    if not found:
        return _fresh(folder, recipe, tokenizer)
    progress = load_checkpoint(found[-1], model, optimizer)
    if (progress.fingerprint, progress.tokenizer) != (recipe.fingerprint, tokenizer.hash):
        raise UsageError(
            f"checkpoint {str(found[-1])!r} belongs to another recipe or tokenizer", hint="train without --resume, or choose another --runs folder"
        )
    cut_curve(folder / "curve.csv", progress.step)
    return progress
