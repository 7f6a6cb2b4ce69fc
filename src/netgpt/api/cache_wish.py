"""The field `cache` of a request for text: leave to answer from what is kept, and to keep the answer. Pure.

`{}` is the least: the very same request of the same key. What it may say more is NetGPT's own, so that a name that is not known is refused.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from netgpt.api.fields import flag, number, text, wrong
from netgpt.core.errors import InvalidRequest
from netgpt.core.spelling import did_you_mean
from netgpt.inference.request import CACHE_MATCHES, CacheWish

NAMES = ("match", "shared", "max_age_s", "keep", "place")


def read_cache(fields: Mapping[str, Any], *, tools: bool = False) -> CacheWish | None:
    """The wish that a body has; None if it has none.

    Args:
        tools: whether the answer may be a call.

    Raises:
        InvalidRequest: a value of a wrong type or out of range, or a name that is not known.
    """
    wish = fields.get("cache")
    if wish is None:
        return None
    if not isinstance(wish, dict):
        raise wrong("cache", wish, 'an object such as {"match": "semantic", "max_age_s": 600}')
    for name in wish:
        if name not in NAMES:
            raise InvalidRequest(f"cache has the unknown field {name!r}", hint=did_you_mean(name, NAMES), param="cache")
    return CacheWish(
        match=CACHE_MATCHES[0] if wish.get("match") is None else text(wish["match"], "cache.match"),
        shared=flag(wish, "shared", within="cache."),
        max_age_s=number({"cache.max_age_s": wish.get("max_age_s")}, "cache.max_age_s", None),
        keep=True if wish.get("keep") is None else flag(wish, "keep", within="cache."),
        place="" if wish.get("place") is None else text(wish["place"], "cache.place"),
        tools=tools,
    )
