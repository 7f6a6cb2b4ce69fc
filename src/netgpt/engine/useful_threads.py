"""How many threads a model's step is worth. No torch: whoever models the engine's speed asks too."""

from __future__ import annotations

SMALL_PARAMETERS = 2_000_000


def useful_threads(parameters: int, most: int) -> int:
    """How many of `most` threads make a model's step faster.

    The matrices of a small model take microseconds, and two threads wait for each other for as long:
    measured on 2 cores with other work, one thread decodes 1.1 M parameters 1.7 times as fast as two.
    """
    return 1 if parameters < SMALL_PARAMETERS else most


def torch_stack(dtype: str, parameters: float) -> str:
    """The name of what this machine's profile tells of the torch engine with such a model."""
    return f"torch {dtype}, one thread" if parameters < SMALL_PARAMETERS else f"torch {dtype}"
