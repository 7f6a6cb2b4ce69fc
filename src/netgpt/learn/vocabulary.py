"""Trains the one tokenizer of the three models, and writes it as NetGPT and `transformers` read it.

Byte-level BPE: every text can be written, Chinese too. Digits are single tokens: a small
model learns to copy ten of them far sooner than a hundred pairs. The chat tokens have the lowest ids. Knows no model.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from itertools import islice
from pathlib import Path

from tokenizers import AddedToken, Tokenizer, decoders, models, pre_tokenizers, trainers

from netgpt.core.chance import SeededChance
from netgpt.corpus.draw import training_tasks
from netgpt.models.tokenizer import CHAT_TEMPLATE, END, PAD, SPECIAL_TOKENS

VOCABULARY = 2048
SAMPLE_TASKS = 40_000
MAX_NEW_TOKENS = 128  # a default for generation; the longest answer of the corpus is shorter


def train_vocabulary(seed: int = 0, *, size: int = VOCABULARY, sample_tasks: int = SAMPLE_TASKS) -> str:
    """The definition (the text of `tokenizer.json`) of a tokenizer of at most `size` tokens."""
    tokenizer = Tokenizer(models.BPE())
    tokenizer.pre_tokenizer = pre_tokenizers.Sequence(
        [pre_tokenizers.Digits(individual_digits=True), pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=True)]
    )
    tokenizer.decoder = decoders.ByteLevel()
    trainer = trainers.BpeTrainer(
        vocab_size=size,
        min_frequency=2,
        show_progress=False,
        special_tokens=[AddedToken(token, special=True, normalized=False) for token in SPECIAL_TOKENS],
        initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
    )
    tokenizer.train_from_iterator(_texts(seed, sample_tasks), trainer)
    return tokenizer.to_str(pretty=True)


def _texts(seed: int, sample_tasks: int) -> Iterator[str]:
    for task in islice(training_tasks(SeededChance(seed).stream("vocabulary")), sample_tasks):
        yield from (content for _, content in task.messages)
        yield task.answer


def write_tokenizer(folder: Path, definition: str, context_tokens: int) -> None:
    """Write `tokenizer.json`, `tokenizer_config.json` and `generation_config.json` into a model folder."""
    tokenizer_config = {
        "tokenizer_class": "PreTrainedTokenizerFast",
        "model_max_length": context_tokens,
        "eos_token": END,
        "pad_token": PAD,
        "clean_up_tokenization_spaces": False,
        "chat_template": CHAT_TEMPLATE,
    }
    generation_config = {
        "do_sample": False,
        "eos_token_id": SPECIAL_TOKENS.index(END),
        "pad_token_id": SPECIAL_TOKENS.index(PAD),
        "max_new_tokens": MAX_NEW_TOKENS,
    }
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "tokenizer.json").write_text(definition, encoding="utf-8")
    for name, value in (("tokenizer_config.json", tokenizer_config), ("generation_config.json", generation_config)):
        (folder / name).write_text(json.dumps(value, indent=2) + "\n", encoding="utf-8")
