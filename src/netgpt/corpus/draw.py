"""Streams of tasks: an endless one to train on, finite ones to be judged by. Pure in their seeds.

Which families, grades and languages, and how often, stands in `mix.toml`.
"""

from __future__ import annotations

import tomllib
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from importlib import resources

import numpy as np

from netgpt.core.chance import SeededChance, digest64
from netgpt.corpus.families import BY_NAME, FAMILIES
from netgpt.corpus.task import GRADES, Draw, Family, Task, is_held_out, pick

TRIES_PER_TASK = 400  # a family of facts has few held-out questions; past this many draws it has no more
LONG_SHARE = 2  # of the tasks of a long row, every second one is long


@dataclass(frozen=True, kw_only=True)
class Mix:
    """The content of `mix.toml`."""

    training_languages: tuple[str, ...]  # an urn: each language as often as its weight
    share: Mapping[str, int]
    seed: int
    tasks_a_grade: int
    long_a_grade: int
    long_grades: tuple[int, ...]
    judged_languages: tuple[str, ...]
    digest: str  # of the judged tasks; results with different ones cannot be compared


@cache
def read_mix() -> Mix:
    """The mix of the package."""
    table = tomllib.loads(resources.files("netgpt.corpus").joinpath("mix.toml").read_text(encoding="utf-8"))
    training, judged = table["training"], table["judged"]
    return Mix(
        training_languages=_urn(training["languages"]),
        share=training["share"],
        seed=judged["seed"],
        tasks_a_grade=judged["tasks_a_grade"],
        long_a_grade=judged["long_a_grade"],
        long_grades=tuple(judged["long_grades"]),
        judged_languages=_urn(judged["languages"]),
        digest=judged["digest"],
    )


def _urn(weights: Mapping[str, int]) -> tuple[str, ...]:
    return tuple(name for name, weight in weights.items() for _ in range(weight))


def training_tasks(chance: np.random.Generator, families: Sequence[Family] = FAMILIES, *, long: bool = False) -> Iterator[Task]:
    """Tasks of the families by their shares, none of them held out; endless.

    Args:
        long: every second task has a long context.
    """
    mix = read_mix()
    urn = [family for family in families for _ in range(mix.share.get(family.name, 1))]
    draws_long = [family.draw_long for family in families if family.draw_long]
    for i in range(2**62):
        draw = pick(chance, draws_long) if long and draws_long and i % LONG_SHARE == 0 else pick(chance, urn).draw
        task = draw(chance, pick(chance, GRADES), pick(chance, mix.training_languages))
        if not is_held_out(task):
            yield task


def held_out_tasks(family: Family, count: int, seed: int = 0, *, grades: Sequence[int] = GRADES, long: bool = False) -> list[Task]:
    """Up to `count` different held-out tasks of a family, grades and languages in turn; fewer if it has no more."""
    chance = SeededChance(seed).stream(f"held out/{family.name}/{long}/{grades}")
    draw: Draw = family.draw_long if long and family.draw_long else family.draw
    languages = read_mix().judged_languages
    found: dict[str, Task] = {}
    for attempt in range(TRIES_PER_TASK * count):
        wanted = len(found)
        task = draw(chance, grades[(wanted if attempt % 50 else attempt // 50) % len(grades)], languages[wanted // len(grades) % len(languages)])
        if is_held_out(task):
            found.setdefault(task.id, task)
        if len(found) == count:
            break
    return list(found.values())


@cache
def judged_tasks() -> tuple[Task, ...]:
    """The frozen held-out set by which models are judged: all families, grades and languages."""
    mix = read_mix()
    tasks: list[Task] = []
    for name in mix.share:
        family = BY_NAME[name]
        for grade in GRADES:
            tasks += held_out_tasks(family, mix.tasks_a_grade, mix.seed, grades=(grade,))
            if family.draw_long and grade in mix.long_grades:
                tasks += held_out_tasks(family, mix.long_a_grade, mix.seed, grades=(grade,), long=True)
    return tuple(tasks)


def judged_digest() -> str:
    """Names the judged tasks: their questions, grades and answers. `mix.toml` holds the one they were frozen with."""
    return f"{digest64('judged', *((task.id, task.grade, task.answer) for task in judged_tasks())):016x}"
