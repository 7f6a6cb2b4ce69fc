"""Tasks to batches: conversations packed whole into rows, with a loss weight for every token.

A batch is a pure function of (seed, step): resuming needs no reader state. Rows of one length keep the
CPU's matrix kernels busy (three times the speed of padded single conversations), and a model sees the
conversations of a row as turns of a longer one. Answers weigh 1 and prompts nothing: the numbers of a
prompt cannot be foretold, and a small model should not spend itself on them.

Axes: B row, T position.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from netgpt.core.chance import SeededChance
from netgpt.corpus.draw import training_tasks
from netgpt.corpus.task import Task, pick
from netgpt.models.tokenizer import PAD, Tokenizer, render_chat

LONG_ROW_TOKENS = 2048
MISSES = 8  # so many conversations may find no room before a batch counts as full
SYSTEM_ONE_IN = 10  # clients often send a system message: some conversations open with one
SYSTEM_MESSAGES = (
    "You are a helpful assistant.",
    "You are NetGPT, an assistant for telecom engineers.",
    "Answer briefly.",
    "You are a network engineer.",
)


@dataclass(frozen=True, kw_only=True)
class Batch:
    """Ids to read, ids to foretell (shifted by one), and the weight of each in the loss."""

    ids_BT: NDArray[np.int64]
    targets_BT: NDArray[np.int64]
    weights_BT: NDArray[np.float32]


@dataclass(frozen=True, kw_only=True)
class Encoded:
    """Ids of a conversation and the loss weight of each."""

    ids: list[int]
    weights: list[float]


def encode_conversation(tokenizer: Tokenizer, task: Task, system: str = "") -> Encoded:
    """A question, its answer, and perhaps a system message before them."""
    opening = (("system", system),) if system else ()
    prompt = render_chat(tokenizer, (*opening, *task.messages))
    answer = [*tokenizer.encode(task.answer), tokenizer.end_id]
    return Encoded(ids=prompt + answer, weights=[0.0] * len(prompt) + [1.0] * len(answer))


def conversations(tokenizer: Tokenizer, tasks: Iterable[Task], chance: np.random.Generator) -> Iterator[Encoded]:
    """The tasks as conversations, some opened by a system message."""
    for task in tasks:
        system = "" if chance.integers(SYSTEM_ONE_IN) else pick(chance, SYSTEM_MESSAGES)
        yield encode_conversation(tokenizer, task, system)


def pack(encoded: Iterable[Encoded], *, rows: int, row_tokens: int, pad_id: int) -> Batch:
    """Fill `rows` rows with whole conversations, each into the first row with room; what remains is padding of weight 0.

    Stops when `MISSES` conversations found no room, or when they end. One that is longer than a row is left out.
    """
    ids = np.full((rows, row_tokens + 1), pad_id, dtype=np.int64)
    weights = np.zeros((rows, row_tokens + 1), dtype=np.float32)
    used, misses = [0] * rows, 0
    for conversation in encoded:
        length = len(conversation.ids)
        row = next((row for row in range(rows) if used[row] + length <= row_tokens + 1), None)
        if row is None:
            misses += length <= row_tokens + 1
            if misses == MISSES:
                break
            continue
        ids[row, used[row] : used[row] + length] = conversation.ids
        weights[row, used[row] : used[row] + length] = conversation.weights
        used[row] += length
    return Batch(ids_BT=ids[:, :-1], targets_BT=ids[:, 1:], weights_BT=weights[:, 1:])


def training_batch(tokenizer: Tokenizer, seed: int, step: int, *, rows: int, row_tokens: int, long_one_in: int = 0) -> Batch:
    """The batch of a step; one in `long_one_in` has rows of up to `LONG_ROW_TOKENS` with long contexts, and as many tokens in all."""
    chance = SeededChance(seed).stream(f"batch/{step}")
    long = bool(long_one_in) and step % long_one_in == long_one_in - 1
    if long:
        rows, row_tokens = max(1, rows * row_tokens // LONG_ROW_TOKENS), min(LONG_ROW_TOKENS, rows * row_tokens)
    tasks = training_tasks(chance, long=long)
    return pack(conversations(tokenizer, tasks, chance), rows=rows, row_tokens=row_tokens, pad_id=tokenizer.special_id(PAD))
