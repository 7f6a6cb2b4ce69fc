"""The field `compress` of a chat completion: leave to shorten its prompt. Pure.

`true` shortens it, `"auto"` leaves it to `auto`, `false` (also without the field) forbids it. An object says more: `when`, `"always"` or
`"auto"`, and `rate`, the share of the prompt's tokens that stays at least.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from netgpt.api.fields import number, text, wrong
from netgpt.core.errors import InvalidRequest
from netgpt.core.spelling import did_you_mean
from netgpt.inference.request import COMPRESS_ALWAYS, COMPRESS_AUTO, CompressWish

NAMES = ("when", "rate")
WANTED = 'true, false, "auto", or an object such as {"when": "auto", "rate": 0.5}'


def read_compress(fields: Mapping[str, Any]) -> CompressWish | None:
    """The wish that a body has; None if the prompt is to stay whole.

    Raises:
        InvalidRequest: a value of a wrong type or out of range, or a name that is not known.
    """
    wish = fields.get("compress")
    if wish is None or wish is False:
        return None
    if wish is True:
        return CompressWish(when=COMPRESS_ALWAYS)
    if isinstance(wish, str):
        return CompressWish(when=wish)
    if not isinstance(wish, dict):
        raise wrong("compress", wish, WANTED)
    for name in wish:
        if name not in NAMES:
            raise InvalidRequest(f"compress has the unknown field {name!r}", hint=did_you_mean(name, NAMES), param="compress")
    given: dict[str, Any] = {"when": COMPRESS_AUTO if wish.get("when") is None else text(wish["when"], "compress.when")}
    if (rate := number({"compress.rate": wish.get("rate")}, "compress.rate", None)) is not None:
        given["rate"] = rate
    return CompressWish(**given)
