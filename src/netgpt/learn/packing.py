"""Tasks to batches: conversations of like length side by side, with a loss weight for every token.

A batch is a pure function of (seed, step): resuming needs no reader state. Conversations are not joined
into long rows: a small model learns to copy from its prompt much sooner when nothing else stands before
it, and short rows make attention cheap. Instead a step's conversations are sorted by length and cut into
groups of which each is padded to its longest. Answers weigh 1 and prompts nothing: the numbers of a
prompt cannot be foretold, and a small model should not spend itself on them.

Axes: B conversation of a group, T position.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import islice

import numpy as np
from numpy.typing import NDArray

from netgpt.core.chance import SeededChance
from netgpt.corpus.draw import training_tasks
from netgpt.corpus.task import Task, pick
from netgpt.models.tokenizer import PAD, Tokenizer, render_chat

SYSTEM_ONE_IN = 10  # clients often send a system message: some conversations open with one
SYSTEM_MESSAGES = (
    "You are a helpful assistant.",
    "You are NetGPT, an assistant for telecom engineers.",
    "Answer briefly.",
    "You are a network engineer.",
)
WIDTH_STEP = 16  # few different shapes: the CPU's matrix kernels are made once for each
FOLLOW_UP_ONE_IN = 10  # people ask on: some conversations have a second, unrelated question


@dataclass(frozen=True, kw_only=True)
class Group:
    """Ids to read, ids to foretell (shifted by one), and the weight of each in the loss."""

    ids_BT: NDArray[np.int64]
    targets_BT: NDArray[np.int64]
    weights_BT: NDArray[np.float32]


@dataclass(frozen=True, kw_only=True)
class Encoded:
    """Ids of a conversation and the loss weight of each."""

    ids: list[int]
    weights: list[float]


def encode_conversation(tokenizer: Tokenizer, tasks: Sequence[Task], system: str = "") -> Encoded:
    """The tasks as turns of one conversation, each with its answer."""
    ids: list[int] = render_chat(tokenizer, [("system", system)])[:-1] if system else []
    weights = [0.0] * len(ids)
    for task in tasks:
        prompt = render_chat(tokenizer, task.messages)
        answer = [*tokenizer.encode(task.answer), tokenizer.end_id]
        ids += prompt + answer
        weights += [0.0] * len(prompt) + [1.0] * len(answer)
    return Encoded(ids=ids, weights=weights)


def conversations(tokenizer: Tokenizer, tasks: Iterator[Task], chance: np.random.Generator) -> Iterator[Encoded]:
    """Endless conversations: mostly one question, some with a second, some opened by a system message."""
    while True:
        turns = [next(tasks), *([] if chance.integers(FOLLOW_UP_ONE_IN) else [next(tasks)])]
        system = "" if chance.integers(SYSTEM_ONE_IN) else pick(chance, SYSTEM_MESSAGES)
        yield encode_conversation(tokenizer, turns, system)


def group_by_length(encoded: Sequence[Encoded], groups: int, pad_id: int) -> list[Group]:
    """Cut the conversations, sorted by length, into `groups` of nearly equal count; pad each to its longest."""
    by_length = sorted(encoded, key=lambda conversation: len(conversation.ids))
    cuts = np.array_split(np.arange(len(by_length)), groups)
    return [_group([by_length[i] for i in cut], pad_id) for cut in cuts if len(cut)]


def _group(encoded: Sequence[Encoded], pad_id: int) -> Group:
    longest = max(len(conversation.ids) for conversation in encoded)
    width = -(-(longest - 1) // WIDTH_STEP) * WIDTH_STEP + 1
    ids = np.full((len(encoded), width), pad_id, dtype=np.int64)
    weights = np.zeros((len(encoded), width), dtype=np.float32)
    for row, conversation in enumerate(encoded):
        ids[row, : len(conversation.ids)] = conversation.ids
        weights[row, : len(conversation.ids)] = conversation.weights
    return Group(ids_BT=ids[:, :-1], targets_BT=ids[:, 1:], weights_BT=weights[:, 1:])


def training_batch(tokenizer: Tokenizer, seed: int, step: int, *, size: int, groups: int) -> list[Group]:
    """The `size` conversations of a step, in groups of like length."""
    chance = SeededChance(seed).stream(f"batch/{step}")
    drawn = islice(conversations(tokenizer, training_tasks(chance), chance), size)
    return group_by_length(list(drawn), groups, tokenizer.special_id(PAD))
