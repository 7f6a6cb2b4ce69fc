"""KPI tables: a few cells with a few counters in the prompt, and a question about them.

Decides: cells, counters, values. The key is the whole table with the question's form. Graders read what
the form asks for: the only cell named, or the last number.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from netgpt.corpus.reading import names, same_quantity
from netgpt.corpus.task import Family, Task, pick, sample, user

NAME = "kpi"
CELL = r"\b[A-Z]\d\d\b"
CELL_LETTERS = "ABCDEFGHKMNP"


@dataclass(frozen=True, kw_only=True)
class Counter:
    """A counter of a cell and the range of its values."""

    name: str
    unit: str
    low: int
    high: int


COUNTERS = (
    Counter(name="load", unit="%", low=5, high=99),
    Counter(name="users", unit="", low=3, high=250),
    Counter(name="throughput", unit="Mbit/s", low=10, high=900),
    Counter(name="delay", unit="ms", low=4, high=90),
    Counter(name="drops", unit="", low=0, high=60),
    Counter(name="handovers", unit="", low=10, high=400),
    Counter(name="power", unit="W", low=90, high=950),
)
ADDABLE = tuple(counter for counter in COUNTERS if counter.name in ("users", "drops", "handovers", "power"))


def _quantity(value: int, counter: Counter) -> str:
    return f"{value} {counter.unit}".strip()


def _value(chance: np.random.Generator, table: dict[str, int], counter: Counter) -> tuple[str, str]:
    cell = pick(chance, list(table))
    question = pick(
        chance, (f"What does {cell} report for {counter.name}?", f"{counter.name} at {cell}?", f"Read the {counter.name} of cell {cell}.")
    )
    return question, f"{cell}: {_quantity(table[cell], counter)}"


def _extreme(chance: np.random.Generator, table: dict[str, int], counter: Counter) -> tuple[str, str]:
    highest = bool(chance.integers(2))
    cell = (max if highest else min)(table, key=table.__getitem__)
    word = "highest" if highest else "lowest"
    question = pick(
        chance,
        (f"Which cell has the {word} {counter.name}?", f"Where is the {counter.name} {word}?", f"Name the cell with the {word} {counter.name}."),
    )
    return question, f"{_quantity(table[cell], counter)}: {cell}"


def _total(chance: np.random.Generator, table: dict[str, int], counter: Counter) -> tuple[str, str]:
    values = list(table.values())
    running, steps = values[0], []
    for value in values[1:]:
        steps.append(f"{running} + {value} = {running + value}")
        running += value
    question = pick(chance, (f"What is the total {counter.name}?", f"Add up the {counter.name} of all cells.", f"Total {counter.name}?"))
    return question, f"{'; '.join(steps)} {counter.unit}".strip()


FORMS = {1: ("value", _value), 2: ("extreme", _extreme), 3: ("total", _total)}


def draw(chance: np.random.Generator, grade: int) -> Task:
    form, ask = FORMS[grade]
    cells = [f"{pick(chance, CELL_LETTERS)}{i}{int(chance.integers(10))}" for i in sample(chance, range(1, 10), int(chance.integers(3, 5)))]
    asked = pick(chance, ADDABLE if form == "total" else COUNTERS)
    other = pick(chance, [counter for counter in COUNTERS if counter is not asked])
    columns = {c: [int(v) for v in c.low + chance.permutation(c.high - c.low + 1)[: len(cells)]] for c in (asked, other)}
    shown = sample(chance, (asked, other), 2 if form != "total" else 1 + int(chance.integers(2)))
    shown = shown if asked in shown else [asked]
    rows = [f"{cell}: " + ", ".join(f"{c.name} {_quantity(columns[c][i], c)}" for c in shown) for i, cell in enumerate(cells)]
    question, answer = ask(chance, dict(zip(cells, columns[asked], strict=True)), asked)
    table = "\n".join(rows)
    return Task(family=NAME, form=form, grade=grade, key=f"{form}/{table}", messages=user(f"{table}\n{question}"), answer=answer)


def accepts(task: Task, reply: str) -> bool:
    if task.form == "extreme":
        return names(reply, CELL) == names(task.answer, CELL)
    return same_quantity(reply, task.answer)


FAMILY = Family(name=NAME, summary="reads a small table of cells: a value, the highest or lowest cell, a total", draw=draw, accepts=accepts)
