"""How well models answer tasks: greedy replies, graded by the tasks' own families, and what is told of them.

Decides nothing about a model. Shares have a 95 % Wilson interval (Wilson 1927).
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from netgpt.core.chance import SeededChance
from netgpt.core.statistics import wilson_interval
from netgpt.corpus.families import BY_NAME
from netgpt.corpus.task import Task
from netgpt.learn.decode import Reply, drawn_replies, greedy_replies
from netgpt.models.decoder import Decoder
from netgpt.models.tokenizer import Tokenizer, render_chat

REPLY_TOKENS = 80  # the longest answer of the corpus has some 70
Verdicts = NDArray[np.bool_]  # one a task: was the reply right


@dataclass(frozen=True, kw_only=True)
class Tally:
    """Right answers among tasks."""

    tasks: int
    right: int

    @property
    def accuracy(self) -> float:
        return self.right / self.tasks if self.tasks else 0.0

    @property
    def interval(self) -> tuple[float, float]:
        return wilson_interval(self.right, self.tasks)

    def summary(self) -> dict[str, float]:
        """For JSON: counts, the share and its interval."""
        low, high = self.interval
        return {"tasks": self.tasks, "right": self.right, "accuracy": round(self.accuracy, 4), "low_95": round(low, 4), "high_95": round(high, 4)}


def answer_tasks(model: Decoder, tokenizer: Tokenizer, tasks: Sequence[Task]) -> list[str]:
    """The texts of the model's greedy replies."""
    return [reply_text(tokenizer, reply) for reply in reply_to_tasks(model, tokenizer, tasks)]


def reply_to_tasks(model: Decoder, tokenizer: Tokenizer, tasks: Sequence[Task]) -> list[Reply]:
    """The model's greedy replies."""
    prompts = [render_chat(tokenizer, task.messages) for task in tasks]
    drafts = [[*tokenizer.encode(task.answer), tokenizer.end_id] for task in tasks]
    return greedy_replies(model, prompts, end_id=tokenizer.end_id, limit=REPLY_TOKENS, drafts=drafts)


def draw_replies(model: Decoder, tokenizer: Tokenizer, tasks: Sequence[Task], guesses: Sequence[Reply], temperature: float, seed: int) -> list[str]:
    """The texts of replies drawn at `temperature`; `guesses`, such as the greedy replies, save steps and change nothing."""
    prompts = [render_chat(tokenizer, task.messages) for task in tasks]
    chance = SeededChance(seed).stream("drawn replies")
    drafts = [guess.ids for guess in guesses]
    replies = drawn_replies(model, prompts, end_id=tokenizer.end_id, limit=REPLY_TOKENS, temperature=temperature, chance=chance, drafts=drafts)
    return [reply_text(tokenizer, reply) for reply in replies]


def go_on(
    model: Decoder, tokenizer: Tokenizer, tasks: Sequence[Task], begun: Sequence[Sequence[int]], guesses: Sequence[Sequence[int]] = ()
) -> list[Reply]:
    """What the model says after the beginnings of replies.

    Args:
        guesses: whole replies, which save steps and change nothing; else the wanted answers are the guess.
    """
    prompts = [[*render_chat(tokenizer, task.messages), *ids] for task, ids in zip(tasks, begun, strict=True)]
    whole = guesses or [[*tokenizer.encode(task.answer), tokenizer.end_id] for task in tasks]
    drafts = [guess[len(ids) :] for guess, ids in zip(whole, begun, strict=True)]
    return greedy_replies(model, prompts, end_id=tokenizer.end_id, limit=REPLY_TOKENS, drafts=drafts)


def reply_text(tokenizer: Tokenizer, reply: Reply) -> str:
    return tokenizer.decode(reply.ids).decode("utf-8", errors="replace")


def grade(tasks: Sequence[Task], replies: Sequence[str]) -> Verdicts:
    """Each reply's verdict by its task's family."""
    return np.array([BY_NAME[task.family].accepts(task, reply) for task, reply in zip(tasks, replies, strict=True)], dtype=np.bool_)


def tally(right: Iterable[bool]) -> Tally:
    verdicts = list(right)
    return Tally(tasks=len(verdicts), right=int(sum(verdicts)))


def tally_by(tasks: Sequence[Task], right: Verdicts, key: Callable[[Task], str]) -> dict[str, Tally]:
    """Tallies of the groups that `key` makes, in the order in which they first appear."""
    groups: dict[str, list[bool]] = {}
    for task, verdict in zip(tasks, right, strict=True):
        groups.setdefault(key(task), []).append(bool(verdict))
    return {name: tally(verdicts) for name, verdicts in groups.items()}


def score_table(tasks: Sequence[Task], columns: Mapping[str, Verdicts], key: Callable[[Task], str] = lambda task: task.family) -> str:
    """Percent right by group, a column for each answerer; the first one with its interval. For people."""
    first = next(iter(columns))
    groups = {name: tally_by(tasks, right, key) for name, right in columns.items()}
    lines = [f"{'':<14}{'tasks':>6}" + "".join(f"{name:>16}" + (f"{'95 %':>9}" if name == first else "") for name in columns)]
    for group, own in groups[first].items():
        cells = ((name, groups[name][group]) for name in columns)
        lines.append(f"{group:<14}{own.tasks:>6}" + "".join(_cell(found, name == first) for name, found in cells))
    totals = "".join(_cell(tally(right), name == first) for name, right in columns.items())
    return "\n".join([*lines, f"{'all':<14}{len(tasks):>6}{totals}"])


def _cell(found: Tally, with_interval: bool) -> str:
    low, high = found.interval
    return f"{100 * found.accuracy:>16.1f}" + (f"{f'{100 * low:.0f}-{100 * high:.0f}':>9}" if with_interval else "")
