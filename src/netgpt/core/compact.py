"""Values as compact JSON, by a writer that is made once: `json.dumps`, and an encoder's `encode` too, make one for each value."""

from __future__ import annotations

import json
from collections.abc import Callable
from json import encoder


def json_writer(*, sort_keys: bool = False) -> Callable[[object], str]:
    """Writes a value as JSON without blanks, characters as they are. What it raises is what `json.dumps` raises."""
    plain = json.JSONEncoder(separators=(",", ":"), ensure_ascii=False, sort_keys=sort_keys)
    make = getattr(encoder, "c_make_encoder", None)
    if make is None:  # a Python without the C part
        return plain.encode
    parts = make(None, plain.default, encoder.encode_basestring, None, ":", ",", sort_keys, False, True)
    return lambda value: "".join(parts(value, 0))
