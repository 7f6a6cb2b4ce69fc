"""Streams of tasks: an endless one to train on, finite ones to be judged by. Pure in their seeds."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import numpy as np

from netgpt.core.chance import SeededChance
from netgpt.corpus.families import FAMILIES
from netgpt.corpus.task import GRADES, Family, Task, is_held_out, pick

TRIES_PER_TASK = 400  # a family of facts has few held-out questions; past this many draws it has no more


def training_tasks(chance: np.random.Generator, families: Sequence[Family] = FAMILIES) -> Iterator[Task]:
    """Tasks of all families by their shares and of all grades equally, none of them held out; endless."""
    urn = [family for family in families for _ in range(family.share)]
    while True:
        task = pick(chance, urn).draw(chance, pick(chance, GRADES))
        if not is_held_out(task):
            yield task


def held_out_tasks(family: Family, count: int, seed: int = 0) -> list[Task]:
    """Up to `count` different held-out tasks of a family, grades in turn; fewer if it has no more."""
    chance = SeededChance(seed).stream(f"held out/{family.name}")
    found: dict[str, Task] = {}
    for attempt in range(TRIES_PER_TASK * count):
        task = family.draw(chance, GRADES[attempt % len(GRADES)])
        if is_held_out(task):
            found.setdefault(task.id, task)
        if len(found) == count:
            break
    return list(found.values())
