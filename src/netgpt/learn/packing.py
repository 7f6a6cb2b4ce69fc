"""Tasks to batches: conversations packed whole into rows, with a loss weight for every token.

A batch is a pure function of (seed, step): resuming needs no reader state. Rows are filled with whole
conversations, which a model sees as turns of a longer one; the rest of a row is padding of weight 0.
Answers weigh 1 and prompts less: the numbers of a prompt cannot be foretold, and a small model should
not spend itself on them, but their words teach it the language of the questions.

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

SYSTEM_ONE_IN = 10  # clients often send a system message: some conversations open with one
SYSTEM_MESSAGES = ("You are a helpful assistant.", "You are NetGPT, an assistant for telecom engineers.", "Answer briefly.", "You are a network engineer.")


@dataclass(frozen=True, kw_only=True)
class Batch:
    """Ids to read, ids to foretell (shifted by one), and the weight of each in the loss."""

    ids_BT: NDArray[np.int64]
    targets_BT: NDArray[np.int64]
    weights_BT: NDArray[np.float32]


def encode_task(tokenizer: Tokenizer, task: Task, prompt_weight: float) -> tuple[list[int], list[float]]:
    """Ids of the conversation with its answer, and the loss weight of each id."""
    prompt = render_chat(tokenizer, task.messages)
    answer = [*tokenizer.encode(task.answer), tokenizer.end_id]
    return prompt + answer, [prompt_weight] * len(prompt) + [1.0] * len(answer)


def with_system_messages(tasks: Iterable[Task], chance: np.random.Generator) -> Iterator[Task]:
    """The same tasks, one in `SYSTEM_ONE_IN` of them opened by a system message."""
    for task in tasks:
        if chance.integers(SYSTEM_ONE_IN):
            yield task
        else:
            messages = (("system", pick(chance, SYSTEM_MESSAGES)), *task.messages)
            yield Task(family=task.family, form=task.form, grade=task.grade, key=task.key, messages=messages, answer=task.answer, language=task.language)


def pack(tokenizer: Tokenizer, tasks: Iterator[Task], *, rows: int, row_tokens: int, prompt_weight: float) -> Batch:
    """Fill `rows` rows of `row_tokens` + 1 ids from an endless stream of tasks."""
    shape = (rows, row_tokens + 1)
    ids = np.full(shape, tokenizer.special_id(PAD), dtype=np.int64)
    weights = np.zeros(shape, dtype=np.float32)
    row, used = 0, 0
    while row < rows:
        task_ids, task_weights = encode_task(tokenizer, next(tasks), prompt_weight)
        if used + len(task_ids) > row_tokens + 1:
            row, used = row + 1, 0
        if row < rows and len(task_ids) <= row_tokens + 1:
            ids[row, used : used + len(task_ids)] = task_ids
            weights[row, used : used + len(task_ids)] = task_weights
            used += len(task_ids)
    return Batch(ids_BT=ids[:, :-1], targets_BT=ids[:, 1:], weights_BT=weights[:, 1:])


def training_batch(tokenizer: Tokenizer, seed: int, step: int, *, rows: int, row_tokens: int, prompt_weight: float) -> Batch:
    """The batch of a step."""
    chance = SeededChance(seed).stream(f"batch/{step}")
    tasks = with_system_messages(training_tasks(chance), chance)
    return pack(tokenizer, tasks, rows=rows, row_tokens=row_tokens, prompt_weight=prompt_weight)
