"""Names for requests, sessions and nodes."""

from __future__ import annotations

import numpy as np


def new_id(prefix: str, stream: np.random.Generator) -> str:
    """An id such as `chatcmpl-5f0c1d2e3a4b5c6d7e8f9a0b`: 96 bits drawn from `stream`."""
    return f"{prefix}-{stream.bytes(12).hex()}"
