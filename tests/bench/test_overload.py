"""The overload bench's parts: an open loop on real sockets, and what is made of its answers."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator

import pytest

from netgpt.bench import overload
from netgpt.bench.gateways import mock_upstream
from netgpt.bench.http_load import Answer, Target, ask_at
from netgpt.bench.mock_upstream import MODEL
from netgpt.bench.overload import FLOOD_KEY, POLITE_KEY, TOKENS, arrivals, goodput, judge


@pytest.fixture(scope="module")
def upstream() -> Iterator[str]:
    with mock_upstream() as url:
        yield url


def answer(asked_s: float, took_s: float, status: int = 200) -> Answer:
    return Answer(asked_s=asked_s, ended_s=asked_s + took_s, status=status)


def test_an_open_loop_waits_for_no_answer(upstream: str) -> None:
    target = Target(url=upstream, model=MODEL)
    slow = target.request('{"tokens": 1, "first_s": 0.4}', max_tokens=1)
    answers = asyncio.run(ask_at(target, [(0.05 * number, slow) for number in range(5)]))
    assert [found.status for found in answers] == [200] * 5
    asked = sorted(found.asked_s for found in answers)
    assert asked[-1] - asked[0] < 0.4, "all were asked before the first was answered"
    assert asked[-1] - asked[0] >= 0.19


def test_arrivals_are_poisson_within_the_run_and_the_same_for_a_key_in_every_run() -> None:
    target = Target(url="http://127.0.0.1:1", model="auto")
    times = [at_s for at_s, _ in arrivals(target, POLITE_KEY, 20.0, 60.0)]
    assert times == sorted(times)
    assert times[0] > 0
    assert times[-1] < 60
    assert len(times) == pytest.approx(1200, rel=0.1)
    assert times == [at_s for at_s, _ in arrivals(target, POLITE_KEY, 20.0, 60.0)]


def test_goodput_counts_whole_answers_that_came_within_the_run() -> None:
    answers = {"a": [answer(0.0, 1.0), answer(5.0, 20.0), answer(6.0, 1.0, 429)], "b": [answer(2.0, 1.0)]}
    assert goodput(answers, 10.0) == 2 * TOKENS / 10


def test_figures_name_refusals_and_what_a_polite_key_noticed() -> None:
    alone = {POLITE_KEY: [answer(float(n), 0.5) for n in range(10)]}
    peak = {FLOOD_KEY: [answer(n / 2, 0.5) for n in range(20)]}
    both = {POLITE_KEY: [answer(float(n), 0.8) for n in range(9)], FLOOD_KEY: [answer(n / 2, 0.5, 200 if n % 2 else 429) for n in range(20)]}
    figures = judge(alone, peak, both, 10.0)
    assert figures["polite_p95_times"] == 1.6
    assert figures["goodput_share"] == 0.95
    assert (figures["flood_answered"], figures["flood_refused"], figures["flood_otherwise"], figures["polite_refused"]) == (10, 10, 0, 0)
    assert figures["offered_times_capacity"] == round(2 / overload.CAPACITY_PER_S, 3)
