"""Names for requests, sessions and nodes."""

from __future__ import annotations

import numpy as np


def new_id(prefix: str, stream: np.random.Generator) -> str:
    """An id such as `chatcmpl-5f0c1d2e3a4b5c6d7e8f9a0b`: 96 bits drawn from `stream`."""
    return f"{prefix}-{stream.bytes(12).hex()}"


class IdStream:
    """The ids that `new_id` would give one after the other, drawn some at a time: a draw costs more than an id."""

    _AT_ONCE = 64

    def __init__(self, stream: np.random.Generator) -> None:
        self._stream = stream
        self._drawn: list[str] = []

    def new(self, prefix: str) -> str:
        if not self._drawn:
            drawn = self._stream.bytes(12 * self._AT_ONCE).hex()
            self._drawn = [drawn[start : start + 24] for start in range(0, len(drawn), 24)][::-1]
        return f"{prefix}-{self._drawn.pop()}"
