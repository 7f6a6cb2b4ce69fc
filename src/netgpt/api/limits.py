"""What each key may do at one server: requests a minute, and requests at once. Pure; time is an argument.

The rate is a token bucket that holds one minute's worth: a key that was quiet may send its whole minute at once, and over
any longer time comes to its rate. Limits are counted by each server for itself. There is state for keys of the ring
alone, so that wrong keys, however many, take no memory.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from netgpt.api.keys import ApiKey
from netgpt.core.errors import RateLimited

WINDOW_S = 60.0
_ROUNDING = 1e-9  # of sums of floats: who waits as long as it was told must get through
BUSY_RETRY_S = 1.0  # when a request of the key may have ended


@dataclass
class TokenBucket:
    """`capacity` tokens, refilled evenly within `WINDOW_S`."""

    capacity: int
    tokens: float
    at_s: float

    def refill(self, now_s: float) -> None:
        self.tokens = min(self.capacity, self.tokens + max(now_s - self.at_s, 0.0) * self.capacity / WINDOW_S)
        self.at_s = max(now_s, self.at_s)

    def take(self) -> bool:
        if self.tokens < 1 - _ROUNDING:
            return False
        self.tokens -= 1
        return True

    @property
    def next_s(self) -> float:
        """Until there is a token."""
        return max(1 - self.tokens, 0.0) * WINDOW_S / self.capacity

    @property
    def full_s(self) -> float:
        """Until the bucket is full."""
        return (self.capacity - self.tokens) * WINDOW_S / self.capacity


class KeyLimits:
    """The buckets and open requests of all keys that have limits."""

    def __init__(self) -> None:
        self._buckets: dict[str, TokenBucket] = {}
        self._open: dict[str, int] = {}

    def enter(self, key: ApiKey, now_s: float) -> None:
        """Count a request that begins; `leave` must follow unless this raises.

        Raises:
            RateLimited: the key is at its rate or has its number of requests open.
        """
        if key.concurrency is not None and self._open.get(key.id, 0) >= key.concurrency:
            raise RateLimited(
                f"key {key.id!r} has {key.concurrency} requests open, as many as it may",
                hint="wait until one has ended, or ask the operator for a higher limit",
                retry_after_s=BUSY_RETRY_S,
            )
        if key.rate_per_minute is not None and not (bucket := self._bucket(key, now_s)).take():
            raise RateLimited(
                f"key {key.id!r} may send {key.rate_per_minute} requests a minute",
                hint=f"retry after {bucket.next_s:.1f} s, or ask the operator for a higher limit",
                retry_after_s=bucket.next_s,
            )
        self._open[key.id] = self._open.get(key.id, 0) + 1

    def leave(self, key: ApiKey) -> None:
        """Count a request that has ended."""
        left = self._open[key.id] - 1
        if left:
            self._open[key.id] = left
        else:
            del self._open[key.id]

    def headers(self, key: ApiKey, now_s: float) -> Mapping[str, str]:
        """What OpenAI's clients read of a key's rate; nothing for a key without one."""
        if key.rate_per_minute is None:
            return {}
        bucket = self._bucket(key, now_s)
        return {
            "x-ratelimit-limit-requests": str(bucket.capacity),
            "x-ratelimit-remaining-requests": str(int(bucket.tokens)),
            "x-ratelimit-reset-requests": duration_text(bucket.full_s),
        }

    def forget_others(self, keys: Iterable[ApiKey]) -> None:
        """Drop the buckets of keys that are no more."""
        ids = {key.id for key in keys}
        self._buckets = {key_id: bucket for key_id, bucket in self._buckets.items() if key_id in ids}

    def _bucket(self, key: ApiKey, now_s: float) -> TokenBucket:
        capacity = key.rate_per_minute or 1
        bucket = self._buckets.get(key.id)
        if bucket is None or bucket.capacity != capacity:
            bucket = self._buckets[key.id] = TokenBucket(capacity=capacity, tokens=capacity, at_s=now_s)
        bucket.refill(now_s)
        return bucket


def duration_text(duration_s: float) -> str:
    """A duration as OpenAI writes it in these headers: `17ms`, `1s`, `6m0s`."""
    if 0 < duration_s < 1:
        return f"{max(round(duration_s * 1e3), 1)}ms"
    minutes, seconds = divmod(-int(-duration_s // 1), 60)
    return f"{minutes}m{seconds}s" if minutes else f"{seconds}s"
