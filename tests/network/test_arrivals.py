"""Arrivals: pure in their arguments, and traces refused line by line."""

import os
from itertools import islice
from pathlib import Path

import numpy as np
import pytest

from netgpt.core.chance import SeededChance
from netgpt.core.errors import ScenarioInvalid
from netgpt.network.arrivals import TracedRequest, poisson_arrivals, read_requests, traced_arrivals, with_request_trace
from netgpt.network.scenario_file import load_scenario, parse_scenario

HEADER = "TIMESTAMP,ContextTokens,GeneratedTokens\n"
TRACE = HEADER + "2023-11-16 18:17:03.9799600,4808,10\n2023-11-16 18:17:04.0319600,3180,8\n2023-11-16 18:18:03.9799600,110,27\n"
REAL = os.environ.get("REQUEST_TRACE", "")  # a file in the Azure format: read where it lies


def written(tmp_path: Path, text: str) -> Path:
    path = tmp_path / "requests.csv"
    path.write_text(text, encoding="utf-8")
    return path


def test_poisson_arrivals_replay_and_have_exponential_gaps() -> None:
    first, again = (list(islice(poisson_arrivals(2.0, SeededChance(5).stream("user")), 20_000)) for _ in range(2))
    assert first == again
    gaps = np.diff(first)
    assert (gaps > 0).all()
    assert gaps.mean() == pytest.approx(0.5, rel=0.03)
    assert gaps.std() == pytest.approx(0.5, rel=0.03)
    assert np.mean(gaps > 1.0) == pytest.approx(np.exp(-2), rel=0.05)


def test_a_trace_is_read_with_times_from_its_first_request(tmp_path: Path) -> None:
    requests = read_requests(written(tmp_path, TRACE))
    assert [request.at_s for request in requests] == pytest.approx([0, 0.052, 60])
    assert [(request.prompt_tokens, request.answer_tokens) for request in requests] == [(4808, 10), (3180, 8), (110, 27)]


def test_a_trace_begins_where_it_is_told_and_as_fast_as_it_is_told() -> None:
    trace = [TracedRequest(at_s=float(at_s), prompt_tokens=at_s + 1, answer_tokens=1) for at_s in range(10)]
    assert [request.at_s for request in traced_arrivals(trace, start_s=6, speed=2)] == [0, 0.5, 1, 1.5]


@pytest.mark.parametrize("users", [1, 3, 20])
def test_users_who_share_a_trace_ask_all_of_it_once(users: int) -> None:
    trace = [TracedRequest(at_s=float(at_s), prompt_tokens=at_s + 1, answer_tokens=1) for at_s in range(10)]
    dealt = [request for number in range(users) for request in traced_arrivals(trace, deal=(number, users))]
    assert sorted(dealt, key=lambda request: request.at_s) == trace


@pytest.mark.parametrize(
    ("text", "line", "message"),
    [
        ("", 1, "the columns are missing"),
        ("TIMESTAMP,ContextTokens\n", 1, "the columns are TIMESTAMP,ContextTokens"),
        (HEADER, 2, "the request trace is empty"),
        (TRACE + "2023-11-16 18:18:03.9799600,110\n", 5, "is no request"),
        (TRACE + "yesterday,110,27\n", 5, "is no request"),
        (TRACE + "2023-11-16 18:18:04.0,0,27\n", 5, "is no request"),
        (TRACE + "2023-11-16 18:18:04.0,10,many\n", 5, "is no request"),
        (TRACE + "2023-11-16 18:17:59.0,110,27\n", 5, "is before that of the line above"),
    ],
)
def test_what_is_wrong_with_a_trace_is_named_with_its_line(tmp_path: Path, text: str, line: int, message: str) -> None:
    path = written(tmp_path, text)
    with pytest.raises(ScenarioInvalid) as caught:
        read_requests(path)
    assert caught.value.message.startswith(f"{path}:{line}: ")
    assert message in caught.value.message
    assert caught.value.hint


def test_a_trace_that_is_not_there_is_named(tmp_path: Path) -> None:
    with pytest.raises(ScenarioInvalid, match=r"requests\.csv' cannot be read"):
        read_requests(tmp_path / "requests.csv")


def test_a_trace_takes_the_place_of_all_users_rates(tmp_path: Path) -> None:
    path = tmp_path / "requests.csv"
    users = with_request_trace(load_scenario("campus"), path).users
    assert [(user.trace, user.requests_per_s, user.deal) for user in users] == [(str(path), 0, (0, 2)), (str(path), 0, (1, 2))]
    silent = parse_scenario('[[node]]\nid = "a"\ntier = "edge"\nmodel = "m"\nprofile = "phone"\n', where="silent")
    with pytest.raises(ScenarioInvalid, match="has no users"):
        with_request_trace(silent, path)


@pytest.mark.skipif(not REAL, reason="REQUEST_TRACE names no file in the Azure format")
def test_a_real_trace_is_read_where_it_lies() -> None:
    requests = read_requests(Path(REAL))
    assert len(requests) > 1000
    assert requests[-1].at_s > 60
    half_time = list(traced_arrivals(requests, speed=2))
    assert half_time[-1].at_s == pytest.approx(requests[-1].at_s / 2)
