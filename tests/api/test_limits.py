"""Limits of keys: the rate that is kept, the headers that tell of it, and the memory that it takes."""

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from netgpt.api.keys import ApiKey
from netgpt.api.limits import WINDOW_S, KeyLimits, duration_text
from netgpt.core.errors import RateLimited


def key(rate: int | None = None, concurrency: int | None = None, key_id: str = "key_1") -> ApiKey:
    return ApiKey(id=key_id, name="", digest="", last4="", scopes=("use",), created_s=0.0, rate_per_minute=rate, concurrency=concurrency)


def passes(limits: KeyLimits, one: ApiKey, now_s: float) -> bool:
    try:
        limits.enter(one, now_s)
    except RateLimited:
        return False
    limits.leave(one)
    return True


@settings(deadline=None, max_examples=50)
@given(st.integers(1, 30), st.lists(st.floats(0, 30), min_size=1, max_size=60))
def test_no_window_lets_through_more_than_the_bucket_and_its_refill(rate: int, gaps_s: list[float]) -> None:
    limits, one, now_s, passed = KeyLimits(), key(rate), 50.0, []
    for gap_s in gaps_s:
        now_s += gap_s
        if passes(limits, one, now_s):
            passed.append(now_s)
    for first, begin_s in enumerate(passed):
        for last in range(first, len(passed)):
            assert last - first + 1 <= rate + (passed[last] - begin_s) * rate / WINDOW_S + 1e-6


@settings(deadline=None, max_examples=50)
@given(st.integers(1, 100), st.integers(0, 50))
def test_who_waits_as_long_as_retry_after_says_gets_through(rate: int, times: int) -> None:
    limits, one, now_s = KeyLimits(), key(rate), 0.0
    for _ in range(rate):
        assert passes(limits, one, now_s)
    for _ in range(times):
        with pytest.raises(RateLimited) as refused:
            limits.enter(one, now_s)
        now_s += refused.value.retry_after_s
        assert passes(limits, one, now_s)


def test_at_once_is_bounded_and_what_ends_makes_room() -> None:
    limits, one = KeyLimits(), key(concurrency=2)
    limits.enter(one, 0.0)
    limits.enter(one, 0.0)
    with pytest.raises(RateLimited, match="key_1"):
        limits.enter(one, 0.0)
    limits.leave(one)
    limits.enter(one, 0.0)


def test_a_refused_request_is_not_counted_as_open() -> None:
    limits, one = KeyLimits(), key(rate=1, concurrency=1)
    assert passes(limits, one, 0.0)
    assert not passes(limits, one, 1.0)
    assert passes(limits, one, 61.0)


def test_keys_do_not_pay_for_each_other_and_a_clock_that_stands_still_does_no_harm() -> None:
    limits = KeyLimits()
    first, second = key(rate=1), key(rate=1, key_id="key_2")
    assert [passes(limits, one, 9.0) for one in (first, second, first, second)] == [True, True, False, False]
    assert not passes(limits, first, 3.0)


def test_headers_say_what_openais_clients_read() -> None:
    limits, one = KeyLimits(), key(rate=60)
    assert limits.headers(key(), 0.0) == {}
    for _ in range(3):
        passes(limits, one, 0.0)
    assert limits.headers(one, 0.0) == {
        "x-ratelimit-limit-requests": "60",
        "x-ratelimit-remaining-requests": "57",
        "x-ratelimit-reset-requests": "3s",
    }
    assert [duration_text(s) for s in (0, 0.0171, 0.99, 1, 1.2, 60, 3599.5)] == ["0s", "17ms", "990ms", "1s", "2s", "1m0s", "60m0s"]


def test_a_changed_limit_counts_from_now_and_keys_that_went_are_forgotten() -> None:
    limits = KeyLimits()
    assert passes(limits, key(rate=1), 0.0)
    assert passes(limits, key(rate=5), 0.0)
    limits.forget_others([])
    assert limits._buckets == {}
