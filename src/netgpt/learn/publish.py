"""A trained model to a model folder: weights, tokenizer, card, curve, and a README that says what it can do.

The folder is what NetGPT's engines and `transformers` load. Decides nothing; knows no training loop.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

from netgpt.corpus.families import FAMILIES
from netgpt.corpus.task import Task
from netgpt.learn.curve import Point, append_point, draw_curve
from netgpt.learn.evaluate import Verdicts, score_table
from netgpt.learn.recipe import Recipe
from netgpt.learn.vocabulary import write_tokenizer
from netgpt.models.card import ModelCard
from netgpt.models.checkpoint import save_model
from netgpt.models.decoder import Decoder
from netgpt.models.tokenizer import BpeTokenizer

STORED_DTYPE = "bfloat16"
MAX_SHARD_BYTES = 15 * 2**20


def publish(folder: Path, model: Decoder, recipe: Recipe, tokenizer: str, *, trained_tokens: int, curve: Sequence[Point] = ()) -> ModelCard:
    """Write the model folder; its README follows from `write_readme`, once there are scores.

    Args:
        tokenizer: the tokenizer's definition.
        curve: of the run; written beside the weights, as figures and as a picture.
    """
    save_model(folder, model, STORED_DTYPE, MAX_SHARD_BYTES)
    write_tokenizer(folder, tokenizer, recipe.context_tokens)
    vocabulary = BpeTokenizer(tokenizer)
    card = ModelCard(
        id=recipe.name,
        tier=recipe.tier,
        parameters=model.config.parameters,
        layers=model.config.num_layers,
        bytes=sum(path.stat().st_size for path in folder.glob("*.safetensors")),
        context_tokens=recipe.context_tokens,
        vocabulary=vocabulary.vocabulary,
        tokenizer=vocabulary.hash,
        description=f"Answers telecom tasks in English and Chinese; trained from scratch on {trained_tokens:,} tokens.",
    )
    (folder / "card.json").write_text(json.dumps(asdict(card), indent=2) + "\n", encoding="utf-8")
    training = {
        **asdict(recipe),
        "tokens": trained_tokens,
        "non_embedding_parameters": model.config.parameters - model.config.vocab_size * model.config.hidden_size,
        "validation_loss": curve[-1].validation_loss if curve else None,
        "loss_moved_in_last_tenth": last_tenth(curve),
    }
    (folder / "training.json").write_text(json.dumps(training, indent=2) + "\n", encoding="utf-8")
    (folder / "curve.csv").unlink(missing_ok=True)
    for point in curve:
        append_point(folder / "curve.csv", point)
    if curve:
        draw_curve(folder / "curve.csv", folder / "curve.png", recipe.name)
    return card


def last_tenth(curve: Sequence[Point]) -> float | None:
    """By what share the validation loss fell over the last tenth of the steps; None without a curve."""
    if not curve:
        return None
    before = max((point for point in curve if point.step <= 0.9 * curve[-1].step), key=lambda point: point.step, default=curve[0])
    return 1 - curve[-1].validation_loss / before.validation_loss


def write_readme(folder: Path, recipe: Recipe, tasks: Sequence[Task], right: Verdicts, controls: Mapping[str, Verdicts]) -> None:
    """Write the model's README from its card, from how it was trained (`training.json`), and from its verdicts on `tasks`."""
    training = json.loads((folder / "training.json").read_text(encoding="utf-8"))
    card = ModelCard(**json.loads((folder / "card.json").read_text(encoding="utf-8")))
    families = "\n".join(f"- **{family.name}** (depth: {family.depth}): {family.summary}" for family in FAMILIES)
    columns = {card.tier: right, **controls}
    text = f"""# {card.id}

A decoder-only transformer of {card.parameters:,} parameters ({training["non_embedding_parameters"]:,} without the embedding) in {card.layers} layers,
made for NetGPT's {card.tier} tier and trained from scratch on {training["tokens"]:,} tokens of generated telecom tasks. Qwen3 architecture,
{STORED_DTYPE} safetensors, {card.vocabulary:,} byte-level tokens; `transformers` loads the folder as it is. Licence: {card.licence}.

## What it can do

It answers tasks of the families below, in the wording of a few templates a family, in English and Chinese. Where there are steps it writes
them down before the answer. Some families ask what must be known by heart, of the standards and of a made-up network; the others ask what
stands in the prompt.

{families}

## How well

{len(tasks):,} held-out tasks (the frozen set of `mix.toml`), greedy decoding, percent right. For facts, "held out" means a wording that
training did not use for that fact; for all other families it means content that training never showed. Beside the model stand the most
frequent training answer to the same kind of question (majority), the answer to the most similar training question (nearest), and a
symbolic solver.

```text
{score_table(tasks, columns)}
```

By latent depth (hops, steps, edits, or the rarity of a fact), and by language:

```text
{score_table(tasks, columns, lambda task: f"depth {task.grade}")}

{score_table(tasks, columns, lambda task: task.language)}
```

## What it cannot do

It knows nothing beyond these families: no general language, no small talk, no code. Asked anything else, or asked in words far from its
templates, it answers fluently and wrongly, and it does not know when it does not know; the table shows the families in which it is little
better than the controls. Contexts beyond {recipe.row_tokens} tokens were in one training step of {recipe.long_one_in} only. The sites, units and
alarm codes that it knows are invented. Check every figure against the specification before using it in a network.

## Made again

`netgpt pretrain --tier {card.tier} --steps {training["steps"]}` trains one like it from seed {training["seed"]}: {training["steps"]:,} steps of
{training["rows"]} x {training["row_tokens"]} tokens, Muon on the matrices (peak rate {training["peak_rate"]:g}), AdamW on the rest
({training["embedding_rate"]:g}). {_ending(training)}
All settings are in `training.json`.
"""
    (folder / "README.md").write_text(text, encoding="utf-8")


def _ending(training: Mapping[str, Any]) -> str:
    loss, moved = training["validation_loss"], training["loss_moved_in_last_tenth"]
    if loss is None or moved is None:
        return "Its curve was not kept."
    return (
        f"The held-out loss ended at {loss:.3f} nats a token, {100 * moved:.1f} % lower than a tenth of the steps before: `curve.csv`, `curve.png`."
    )
