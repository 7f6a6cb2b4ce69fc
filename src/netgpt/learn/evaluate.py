"""How well a model answers held-out tasks, family by family, beside what needs no model.

Decides nothing about the model; reads it by greedy decoding. Two controls, graded by the same graders:
*majority*, the most frequent training answer to the same form of question, and *random*, the answer of
another training task of the same form. Accuracy has a 95 % Wilson interval (Wilson 1927).
"""

from __future__ import annotations

import math
from collections import Counter, defaultdict
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from itertools import islice

from netgpt.core.chance import SeededChance
from netgpt.corpus.draw import held_out_tasks, training_tasks
from netgpt.corpus.families import FAMILIES
from netgpt.corpus.task import Family, Task, pick
from netgpt.learn.decode import greedy_replies
from netgpt.models.decoder import Decoder
from netgpt.models.tokenizer import Tokenizer, render_chat

REPLY_TOKENS = 128
CONTROL_TASKS = 3_000  # training tasks of a family from which the controls take their answers
Z_95 = 1.959964


@dataclass(frozen=True, kw_only=True)
class Score:
    """Right answers of a model and of the two controls on the same held-out tasks."""

    family: str
    tasks: int
    right: int
    majority_right: int
    random_right: int

    @property
    def accuracy(self) -> float:
        return self.right / self.tasks

    def summary(self) -> dict[str, object]:
        """For JSON: counts, shares and the interval."""
        low, high = wilson_interval(self.right, self.tasks)
        shares = {
            "accuracy": self.accuracy,
            "low_95": low,
            "high_95": high,
            "majority": self.majority_right / self.tasks,
            "random": self.random_right / self.tasks,
        }
        return {**asdict(self), **{name: round(share, 4) for name, share in shares.items()}}


def wilson_interval(right: int, tasks: int) -> tuple[float, float]:
    """The 95 % interval of a share; (0, 1) without tasks."""
    if tasks == 0:
        return 0.0, 1.0
    share, z2 = right / tasks, Z_95**2 / tasks
    centre = share + z2 / 2
    spread = Z_95 * math.sqrt(share * (1 - share) / tasks + z2 / (4 * tasks))
    return max(0.0, (centre - spread) / (1 + z2)), min(1.0, (centre + spread) / (1 + z2))


def evaluate(model: Decoder, tokenizer: Tokenizer, *, tasks_a_family: int = 150, seed: int = 0, families: Sequence[Family] = FAMILIES) -> list[Score]:
    """Scores of all families, in their order."""
    return [_score(model, tokenizer, family, held_out_tasks(family, tasks_a_family, seed), seed) for family in families]


def answer_tasks(model: Decoder, tokenizer: Tokenizer, tasks: Sequence[Task]) -> list[str]:
    """The model's greedy replies."""
    prompts = [render_chat(tokenizer, task.messages) for task in tasks]
    drafts = [[*tokenizer.encode(task.answer), tokenizer.end_id] for task in tasks]
    replies = greedy_replies(model, prompts, end_id=tokenizer.end_id, limit=REPLY_TOKENS, drafts=drafts)
    return [tokenizer.decode(ids).decode("utf-8", errors="replace") for ids in replies]


def _score(model: Decoder, tokenizer: Tokenizer, family: Family, tasks: Sequence[Task], seed: int) -> Score:
    majority, random = control_replies(family, tasks, seed)
    replies = answer_tasks(model, tokenizer, tasks)
    right, majority_right, random_right = (sum(map(family.accepts, tasks, given)) for given in (replies, majority, random))
    return Score(family=family.name, tasks=len(tasks), right=right, majority_right=majority_right, random_right=random_right)


def control_replies(family: Family, tasks: Sequence[Task], seed: int = 0) -> tuple[list[str], list[str]]:
    """What the majority control and the random control say to each task."""
    chance = SeededChance(seed).stream(f"controls/{family.name}")
    answers: dict[str, list[str]] = defaultdict(list)
    for task in islice(training_tasks(chance, (family,)), CONTROL_TASKS):
        answers[task.form].append(task.answer)
    most = {form: Counter(given).most_common(1)[0][0] for form, given in answers.items()}
    return [most[task.form] for task in tasks], [pick(chance, answers[task.form]) for task in tasks]


def score_table(scores: Sequence[Score]) -> str:
    """The scores as text for people, all shares in percent."""
    lines = [f"{'family':<12}{'tasks':>6}{'right':>8}{'95 %':>14}{'majority':>10}{'random':>8}"]
    for score in scores:
        low, high = wilson_interval(score.right, score.tasks)
        interval = f"{100 * low:.0f}-{100 * high:.0f}"
        controls = f"{100 * score.majority_right / score.tasks:>10.1f}{100 * score.random_right / score.tasks:>8.1f}"
        lines.append(f"{score.family:<12}{score.tasks:>6}{100 * score.accuracy:>8.1f}{interval:>14}{controls}")
    mean = 100 * sum(score.accuracy for score in scores) / len(scores)
    mean_majority = 100 * sum(score.majority_right / score.tasks for score in scores) / len(scores)
    return "\n".join([*lines, f"{'mean':<12}{'':>6}{mean:>8.1f}{'':>14}{mean_majority:>10.1f}"])
