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
LEAST_ANSWERED = 0.4  # of valid, consistent bodies; what is left are tools and schemas, which the model without weights cannot be held to
VOCABULARY = 261  # of the door that is asked
EXAMPLES = {GenerationMode.POSITIVE: 30, GenerationMode.NEGATIVE: 10}  # of each route that takes a body


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


def consistent(body: Any) -> Any:
    """A valid body, mended where it breaks what a schema cannot say: how fields go together, and what is JSON within a string."""
    if not isinstance(body, dict):
        return body
    mended = dict(body)
    if isinstance(tools := body.get("tools"), list):
        by_name = {tool["function"]["name"]: tool for tool in tools}
        mended["tools"] = list(by_name.values())
        if isinstance(choice := body.get("tool_choice"), dict) and by_name:
            mended["tool_choice"] = {**choice, "function": {**choice["function"], "name": next(iter(by_name))}}
    if isinstance(messages := body.get("messages"), list):
        mended["messages"] = [with_object_arguments(message) for message in messages]
    if body.get("model") != "auto":
        mended.pop("strategy", None)
    if isinstance(biases := body.get("logit_bias"), dict):
        mended["logit_bias"] = {token: bias for token, bias in biases.items() if int(token) < VOCABULARY}
    return mended


def with_object_arguments(message: dict[str, Any]) -> dict[str, Any]:
    """The message, its calls' arguments being JSON objects."""
    if not isinstance(calls := message.get("tool_calls"), list):
        return message
    return {**message, "tool_calls": [{**call, "function": {**call["function"], "arguments": "{}"}} for call in calls]}


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
        if mode is GenerationMode.POSITIVE:
            case.body = consistent(case.body)
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
