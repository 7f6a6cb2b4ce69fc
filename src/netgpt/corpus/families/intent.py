"""An operator's wish to a slice configuration in JSON.

Decides: the fields, their ranges, and the words for them. The key is the configuration itself, so that
no held-out configuration was ever trained on. The grader parses the reply, checks it against `FIELDS`,
and asks for equality.
"""

from __future__ import annotations

import json
from typing import Any

import numpy as np

from netgpt.corpus.families.recall import read_facts
from netgpt.corpus.task import Family, Task, pick, sample, user

NAME = "intent"
RELIABILITY_PERCENT = (99, 99.9, 99.99, 99.999)
FIELDS: dict[str, type | tuple[type, ...]] = {  # of a configuration, in the order in which it is written
    "sst": int,
    "area": str,
    "latency_ms": int,
    "downlink_mbps": int,
    "devices": int,
    "reliability_percent": (int, float),
}
REQUIRED = ("sst", "area")
REQUIREMENTS = {1: 1, 2: 3, 3: 4}  # by grade

_FACTS = read_facts("intents.toml")


def violations(configuration: Any) -> list[str]:
    """What is wrong with a slice configuration; empty if it is valid."""
    if not isinstance(configuration, dict):
        return ["not an object"]
    missing = [f"{field} is missing" for field in REQUIRED if field not in configuration]
    unknown = [f"{field} is unknown" for field in configuration if field not in FIELDS]
    wrong = [
        f"{field} has the wrong type"
        for field, value in configuration.items()
        if field in FIELDS and (isinstance(value, bool) or not isinstance(value, FIELDS[field]))
    ]
    return missing + unknown + wrong


def _clause(chance: np.random.Generator, field: str, value: float) -> str:
    if field == "reliability_percent":
        return pick(chance, _FACTS["clause"]["reliability"]).format(value=f"{value} %")
    if field == "downlink_mbps" and value >= 1000:
        return f"{int(value) // 1000} Gbit/s downlink"
    return pick(chance, _FACTS["clause"][field]).format(value=value)


def draw(chance: np.random.Generator, grade: int) -> Task:
    """Grades 1, 2 and 3 state one, three and four requirements besides service and area."""
    service = pick(chance, _FACTS["service"])
    configuration: dict[str, Any] = {"sst": service["sst"], "area": pick(chance, _FACTS["area"])}
    wishes = sample(chance, list(FIELDS)[2:], REQUIREMENTS[grade])
    for field in wishes:
        configuration[field] = pick(chance, RELIABILITY_PERCENT if field == "reliability_percent" else _FACTS[field])
    opening = pick(chance, _FACTS["opening"]).format(service=pick(chance, service["names"]), area=configuration["area"])
    clauses = [_clause(chance, field, configuration[field]) for field in wishes]
    answer = json.dumps({field: configuration[field] for field in FIELDS if field in configuration})
    return Task(
        family=NAME,
        form=f"requirements-{len(wishes)}",
        grade=grade,
        key=answer,
        messages=user(f"{opening}: {', '.join(clauses)}."),
        answer=answer,
    )


def accepts(task: Task, reply: str) -> bool:
    try:
        configuration = json.loads(reply)
    except (ValueError, RecursionError):
        return False
    return not violations(configuration) and configuration == json.loads(task.answer)


FAMILY = Family(name=NAME, summary="a wish for a network slice to its configuration in JSON", draw=draw, accepts=accepts)
