"""A neutral tool makes requests from the OpenAPI document: none may break the door, and most of the valid ones are answered."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from typing import Any

import pytest
import requests
import schemathesis
from hypothesis import HealthCheck, Phase, given, settings
from schemathesis import GenerationMode
from schemathesis.checks import not_a_server_error
from schemathesis.specs.openapi.checks import content_type_conformance, response_schema_conformance, status_code_conformance

from .hash_door import hash_app, served_in_a_thread

CHECKS: list[Any] = [not_a_server_error, status_code_conformance, content_type_conformance, response_schema_conformance]
LEAST_ANSWERED = 0.1  # of valid bodies: many ask for what nobody can keep, a deadline or a budget near 0, and are rightly refused
EXAMPLES = {GenerationMode.POSITIVE: 20, GenerationMode.NEGATIVE: 10}  # of each route that takes a body


class Unhurried:
    """A clock that stands still: however slow the machine, no deadline that a body sets passes."""

    def now_s(self) -> float:
        return 0.0

    def date_s(self) -> float:
        return 0.0

    async def sleep(self, duration_s: float) -> None:
        raise AssertionError("nothing here waits for the clock")


@pytest.fixture(scope="module")
def url() -> Iterator[str]:
    with served_in_a_thread(hash_app(Unhurried())) as url:
        yield url


def statuses(operation: Any, mode: GenerationMode, session: requests.Session) -> Counter[int]:
    """How generated requests were answered; each answer is held against the document."""
    seen: Counter[int] = Counter()

    @given(operation.as_strategy(generation_mode=mode))
    @settings(
        max_examples=EXAMPLES[mode] if operation.body else 2,
        phases=[Phase.generate],
        derandomize=True,
        database=None,
        deadline=None,
        suppress_health_check=list(HealthCheck),
    )
    def ask(case: schemathesis.Case) -> None:
        response = case.call(session=session)
        case.validate_response(response, checks=CHECKS)
        seen[response.status_code] += 1

    ask()
    return seen


def test_no_generated_request_breaks_the_door_and_most_valid_ones_are_answered(url: str) -> None:
    schema = schemathesis.openapi.from_url(f"{url}/openapi.json")
    answered: dict[str, float] = {}
    with requests.Session() as session:
        for found in schema.get_all_operations():
            operation = found.ok()
            seen = statuses(operation, GenerationMode.POSITIVE, session)
            answered[operation.label] = sum(count for status, count in seen.items() if status < 300) / seen.total()
            if operation.body:
                statuses(operation, GenerationMode.NEGATIVE, session)
    assert len(answered) == 10  # every route but the document's own, which the tool leaves out
    assert all(share >= LEAST_ANSWERED for share in answered.values()), answered
