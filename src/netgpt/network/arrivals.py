"""When users ask, and how much: by a Poisson process, or as in a trace of production requests.

Pure generators: what they give depends on their arguments alone. A trace is a CSV file in the format of the
Azure LLM inference traces, `TIMESTAMP,ContextTokens,GeneratedTokens` (github.com/Azure/AzurePublicDataset; Patel et al.,
Splitwise, ISCA'24). It is read where it lies.
"""

from __future__ import annotations

import csv
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from pathlib import Path

import numpy as np

from netgpt.core.errors import ScenarioInvalid
from netgpt.network.scenario import Scenario

COLUMNS = ("TIMESTAMP", "ContextTokens", "GeneratedTokens")


@dataclass(frozen=True, slots=True, kw_only=True)
class TracedRequest:
    """One request of a trace."""

    at_s: float  # after the first one
    prompt_tokens: int
    answer_tokens: int


def poisson_arrivals(requests_per_s: float, stream: np.random.Generator) -> Iterator[float]:
    """Times in seconds from now on, without end. Each is drawn from `stream` when it is asked for."""
    at_s = 0.0
    while True:
        at_s += float(stream.exponential(1 / requests_per_s))
        yield at_s


def traced_arrivals(
    requests: Sequence[TracedRequest], *, start_s: float = 0.0, speed: float = 1.0, deal: tuple[int, int] = (0, 1)
) -> Iterator[TracedRequest]:
    """The requests of one user, at times counted from the start of the run; ends with the trace.

    Args:
        requests: a whole trace, as `read_requests` gives it.
        start_s: where in the trace the run begins; what was before is left out.
        speed: how many times faster than they did they come.
        deal: (k, n): of what is left, every n-th request from the k-th, so that n users share a trace.
    """
    left = (request for request in requests if request.at_s >= start_s)
    for number, request in enumerate(left):
        if number % deal[1] == deal[0]:
            yield TracedRequest(at_s=(request.at_s - start_s) / speed, prompt_tokens=request.prompt_tokens, answer_tokens=request.answer_tokens)


def with_request_trace(scenario: Scenario, path: Path) -> Scenario:
    """The scenario with all its users asking as in this trace, whose requests are dealt to them in turn.

    Raises:
        ScenarioInvalid: it has no users.
    """
    if not scenario.users:
        raise ScenarioInvalid(f"{scenario.name!r} has no users who could ask as in a trace", hint="add a [[user]] table")
    count = len(scenario.users)
    users = (replace(user, requests_per_s=0.0, trace=str(path), deal=(number, count)) for number, user in enumerate(scenario.users))
    return replace(scenario, users=tuple(users))


def read_requests(path: Path) -> tuple[TracedRequest, ...]:
    """A request trace, in the order of time.

    Raises:
        ScenarioInvalid: it cannot be read, is empty, goes back in time, or has a line that is no request: named with file and line.
    """
    try:
        with path.open(encoding="utf-8", newline="") as file:
            return tuple(_requests(path, csv.reader(file)))
    except (OSError, UnicodeDecodeError, csv.Error) as error:
        raise ScenarioInvalid(f"the request trace {str(path)!r} cannot be read: {error}", hint="check the path and its permissions") from error


def _requests(path: Path, rows: Iterator[list[str]]) -> Iterator[TracedRequest]:
    header = next(rows, [])
    if tuple(header) != COLUMNS:
        raise ScenarioInvalid(f"{path}:1: the columns are {','.join(header) or 'missing'}", hint=f"a request trace begins with {','.join(COLUMNS)}")
    first: datetime | None = None
    before_s = 0.0
    for line, row in enumerate(rows, start=2):
        at, prompt_tokens, answer_tokens = _fields(path, line, row)
        first = first or at
        at_s = (at - first).total_seconds()
        if at_s < before_s:
            raise ScenarioInvalid(f"{path}:{line}: the time {row[0]!r} is before that of the line above", hint="sort the trace by TIMESTAMP")
        before_s = at_s
        yield TracedRequest(at_s=at_s, prompt_tokens=prompt_tokens, answer_tokens=answer_tokens)
    if first is None:
        raise ScenarioInvalid(f"{path}:2: the request trace is empty", hint="give one with at least one request")


def _fields(path: Path, line: int, row: list[str]) -> tuple[datetime, int, int]:
    """One line's values. Of seconds, six digits after the point count: `datetime` has no more, the trace has seven."""
    try:
        text, prompt_tokens, answer_tokens = row
        whole, _, fraction = text.partition(".")
        at = datetime.fromisoformat(f"{whole}.{fraction[:6]:0<6}")
        counts = int(prompt_tokens), int(answer_tokens)
    except ValueError:
        counts, at = (0, 0), datetime.min
    if min(counts) < 1:
        hint = "write 2023-11-16 18:17:03.9799600,4808,10: a time without zone, and two numbers of tokens above 0"
        raise ScenarioInvalid(f"{path}:{line}: {','.join(row)!r} is no request", hint=hint)
    return at, *counts
