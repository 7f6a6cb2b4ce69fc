"""A trained model to a model folder: weights, tokenizer, card, and a README that says what it can do.

The folder is what NetGPT's engines and `transformers` load. Decides nothing; knows no training loop.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path

from netgpt.corpus.families import FAMILIES
from netgpt.learn.evaluate import Score, score_table
from netgpt.learn.recipe import Recipe
from netgpt.learn.vocabulary import write_tokenizer
from netgpt.models.card import ModelCard
from netgpt.models.checkpoint import save_model
from netgpt.models.decoder import Decoder
from netgpt.models.tokenizer import BpeTokenizer

STORED_DTYPE = "bfloat16"
MAX_SHARD_BYTES = 15 * 2**20


def publish(folder: Path, model: Decoder, recipe: Recipe, tokenizer: str, *, trained_tokens: int) -> ModelCard:
    """Write the model folder; its README follows from `write_readme`, once there are scores.

    Args:
        tokenizer: the tokenizer's definition.
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
        description=f"Answers short telecom questions in English; trained from scratch on {trained_tokens:,} tokens.",
    )
    (folder / "card.json").write_text(json.dumps(asdict(card), indent=2) + "\n", encoding="utf-8")
    training = {**asdict(recipe), "tokens": trained_tokens}
    (folder / "training.json").write_text(json.dumps(training, indent=2) + "\n", encoding="utf-8")
    return card


def write_readme(folder: Path, recipe: Recipe, scores: Sequence[Score]) -> None:
    """Write the model's README from its card, from how it was trained (`training.json`), and from its scores."""
    training = json.loads((folder / "training.json").read_text(encoding="utf-8"))
    card = ModelCard(**json.loads((folder / "card.json").read_text(encoding="utf-8")))
    families = "\n".join(f"- **{family.name}**: {family.summary}" for family in FAMILIES)
    text = f"""# {card.id}

A decoder-only transformer of {card.parameters:,} parameters in {card.layers} layers, made for NetGPT's {card.tier} tier and trained from scratch on
{training["tokens"]:,} tokens of generated telecom conversations. Qwen3 architecture, {STORED_DTYPE} safetensors,
{card.vocabulary:,} byte-level tokens; `transformers` loads the folder as it is. Licence: {card.licence}.

## What it can do

It answers one short question of the families below, in the wording of a few templates a family.

{families}

## How well

Held-out tasks, greedy decoding. For facts, "held out" means a wording that training did not use for that fact; for all
other families it means content (numbers, tables, alarm sets, configurations) that training never showed. Percent right, beside the most
frequent training answer to the same kind of question (majority) and the answer of another task of that kind (random):

```text
{score_table(scores)}
```

## What it cannot do

It knows nothing beyond these families: no general language, no conversation, no code, no language but English. Asked anything else, or
asked in words far from its templates, it answers fluently and wrongly. It does not know when it does not know. It was trained on rows of
{recipe.row_tokens} tokens; a longer conversation is beyond it, although its context holds {card.context_tokens:,} positions. Check every figure
against the specification before using it in a network.

## Made again

`netgpt pretrain --tier {card.tier} --steps {training["steps"]}` trains one like it from seed {training["seed"]}: {training["steps"]:,} steps of
{training["rows"]} x {training["row_tokens"]} tokens, AdamW, peak learning rate {training["peak_rate"]:g}; all settings are in `training.json`.
Facts and their clauses are in `src/netgpt/corpus/facts`.
"""
    (folder / "README.md").write_text(text, encoding="utf-8")
