"""What the network can tell a phone: the register of sites, at the cell's site, and how what it says comes into a prompt.

Nearly all questions of the corpus are about one site, and need one fact of it that is not in the question (docs/corpus.md). Models must know that
fact by heart; an operator has it in a register. The application says which column its kind of question needs. What asks for the register's facts
themselves (`book`, `explain`, `reverse`), and for those of the standards, is not helped: that would be the answer.
"""

from __future__ import annotations

from typing import NamedTuple

from netgpt.corpus.book import read_book
from netgpt.corpus.task import Task

COLUMN = {
    **dict.fromkeys(("logs", "views", "tools", "unanswerable", "alarms"), "unit"),
    **dict.fromkeys(("arithmetic", "tickets", "kpi"), "vendor"),
    **dict.fromkeys(("intent", "state"), "region"),
    **dict.fromkeys(("config", "enrich"), "band"),
    "route": "uplink",
}


class Asked(NamedTuple):
    """What a phone asks the register."""

    site: str
    column: str


def site_named(task: Task) -> Asked | None:
    """The site that the question names, and what must be known of it; None where the register is of no help."""
    column = COLUMN.get(task.family)
    if column is None:
        return None
    try:
        return Asked(read_book().site_in(task.question).name, column)
    except KeyError:  # half of `alarms` ask about a code
        return None


def told_of(site: str, column: str) -> str:
    """A cell of the register, in the form in which models' answers state facts: `Bekal = Orbex`.

    Raises:
        KeyError: no such site.
    """
    return f"{site} = {getattr(read_book().by_name[site], column)}"


def with_data(task: Task, told: str) -> tuple[tuple[str, str], ...]:
    """The task's conversation with what the register told, on a line of its own above the question.

    No model was trained to read such a line. Of seven places for it, tried on tasks that are not judged, both the device's and the cloud's model
    gained by two, of which this is the shorter; docs/bench.md has the figures.
    """
    *before, (role, question) = task.messages
    return (*before, (role, f"{told}\n{question}"))


def begun_with(task: Task, told: str) -> str:
    """The beginning of an answer that states what the register told, where answers of the task's family begin so; else nothing."""
    site, _, value = told.partition(" = ")
    return {"tools": f"{site}: use({value})", "route": f"{site} > {value}", "intent": ""}.get(task.family, told)
