"""Names for requests, sessions and nodes."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np


def new_id(prefix: str, stream: np.random.Generator) -> str:
    """An id such as `chatcmpl-5f0c1d2e3a4b5c6d7e8f9a0b`: 96 bits drawn from `stream`."""
    return f"{prefix}-{stream.bytes(12).hex()}"


def ends_of_ids(stream: np.random.Generator) -> Iterator[str]:
    """What `new_id` would put behind its prefixes, one after the other; drawn some at a time, since a draw costs more than an id."""
    while True:
        drawn = stream.bytes(12 * 64).hex()
        yield from (drawn[start : start + 24] for start in range(0, len(drawn), 24))
