"""An operator's wish to a slice configuration in JSON.

The wish names a service and a site and has six clauses in random order; the slice is for the site's region, which
must be known by heart, and the site is the rarer the higher the grade. A grade counts the clauses that require
something; the others ask for nothing. The key is the configuration itself, so that no held-out configuration was ever
trained on. The grader parses the reply, checks it against `FIELDS`, and asks for equality.

Decides: the fields, their types and their order; their values and the words for them are in facts/intents.toml.
"""

from __future__ import annotations

import json
import re
from typing import Any

import numpy as np

from netgpt.corpus.book import read_book
from netgpt.corpus.reading import read_facts
from netgpt.corpus.task import Family, Task, pick, sample, user
from netgpt.corpus.wording import word

NAME = "intent"
CLAUSES = 6
FIELDS: dict[str, type | tuple[type, ...]] = {  # of a configuration, in the order in which it is written
    "sst": int,
    "area": str,
    "latency_ms": int,
    "downlink_mbps": int,
    "uplink_mbps": int,
    "devices": int,
    "reliability_percent": (int, float),
    "priority": int,
}
REQUIRED = ("sst", "area")
REQUIREMENTS = tuple(field for field in FIELDS if field not in REQUIRED)
SEPARATORS = {"en": ", ", "zh": "，"}  # between clauses

_FACTS = read_facts("intents.toml")
_BOOK = read_book()
_NUMBER = r"(\d+(?:\.\d+)?)"


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


def _write(configuration: dict[str, Any]) -> str:
    ordered = {field: configuration[field] for field in FIELDS if field in configuration}
    return json.dumps(ordered, separators=(",", ":"))


def draw(chance: np.random.Generator, grade: int, language: str) -> Task:
    """A wish with `grade` requirements."""
    service, site = pick(chance, _FACTS["service"]), _BOOK.some_site(chance, rarity=grade)
    configuration: dict[str, Any] = {"sst": service["sst"], "area": site.region}
    clauses = sample(chance, _FACTS["filler"][language], CLAUSES - grade)
    for field in sample(chance, REQUIREMENTS, grade):
        configuration[field] = pick(chance, _FACTS["value"][field])
        clauses.append(pick(chance, _FACTS["clause"][language][field]).format(value=configuration[field]))
    wording = word(chance, NAME, language)
    text = SEPARATORS[language].join(sample(chance, clauses, CLAUSES))
    answer = _write(configuration)
    return Task(
        family=NAME,
        template=wording.id,
        grade=grade,
        key=answer,
        messages=user(wording.fill(service=pick(chance, service[language]), site=site.name, clauses=text)),
        answer=answer,
        language=language,
    )


def accepts(task: Task, reply: str) -> bool:
    """True if the reply is the wanted configuration, valid and nothing else."""
    try:
        configuration = json.loads(reply, object_pairs_hook=_without_duplicates)
    except (ValueError, RecursionError):
        return False
    return not violations(configuration) and configuration == json.loads(task.answer)


def _without_duplicates(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    if len({name for name, _ in pairs}) < len(pairs):
        raise ValueError("a field occurs twice")
    return dict(pairs)


def _requirement(clause: str, language: str) -> dict[str, Any]:
    """The field that a clause sets; empty for a filler."""
    for field, patterns in _FACTS["clause"][language].items():
        for pattern in patterns:
            if found := re.fullmatch(re.escape(pattern).replace(re.escape("{value}"), _NUMBER), clause):
                return {field: json.loads(found[1])}
    return {}


def solve(task: Task) -> str:
    """The service and the site's region by their names, each clause by its patterns."""
    language = task.language
    opening, _, rest = task.question.replace("：", ":").partition(":")
    services = {name: service["sst"] for service in _FACTS["service"] for name in service[language]}
    service = next(name for name in sorted(services, key=len, reverse=True) if name in opening)
    configuration: dict[str, Any] = {"sst": services[service], "area": _BOOK.site_in(opening).region}
    for clause in rest.strip().rstrip(".。").split(SEPARATORS[language]):
        configuration |= _requirement(clause, language)
    return _write(configuration)


FAMILY = Family(
    name=NAME,
    summary="a wish for a network slice to its configuration in JSON",
    depth="requirements among six clauses",
    draw=draw,
    accepts=accepts,
    solve=solve,
)
