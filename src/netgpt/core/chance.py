"""Chance as an argument: named, counter-based random streams (Philox).

A draw is a pure function of (root seed, stream name, counter), never of what was drawn before it
elsewhere. So a sampled token at position 17 is the same token on whatever node draws it, and a
simulation replays from its seed.

Source: Salmon et al., Parallel random numbers: as easy as 1, 2, 3, SC'11 (Philox-4x64-10 in NumPy).
"""

from __future__ import annotations

import hashlib
from typing import Protocol

import numpy as np
from numpy.typing import NDArray


def digest64(*parts: object) -> int:
    """A 64-bit key for `parts`; equal on every machine and in every process."""
    text = "\x1f".join(str(part) for part in parts)
    return int.from_bytes(hashlib.blake2b(text.encode(), digest_size=8).digest(), "little")


class Chance(Protocol):
    """A source of named streams."""

    def stream(self, name: str) -> np.random.Generator:
        """A fresh generator that depends on the seed and `name` alone; two calls give equal streams."""
        ...


class SeededChance:
    """Streams that replay: `SeededChance(7).stream("faults")` is the same everywhere, always."""

    def __init__(self, seed: int) -> None:
        self._seed = seed

    def stream(self, name: str) -> np.random.Generator:
        return np.random.Generator(np.random.Philox(key=digest64(self._seed, name)))


class SystemChance:
    """Streams from the operating system's entropy: for the real worlds, where nothing replays."""

    def stream(self, name: str) -> np.random.Generator:
        return np.random.default_rng()


def uniforms(seed: int, position: int, count: int) -> NDArray[np.float64]:
    """`count` uniform draws in [0, 1) that depend on (seed, position) alone.

    Args:
        seed: the session's seed, any int.
        position: index of the token that is drawn, >= 0.

    Returns:
        float64 array of shape (count,).
    """
    philox = np.random.Philox(key=seed & 0xFFFF_FFFF_FFFF_FFFF, counter=[0, position, 0, 0])
    return np.random.Generator(philox).random(count)


def gammas(seed: int, position: int, count: int, shape: float) -> NDArray[np.float64]:
    """`count` draws of a gamma distribution of scale 1 that depend on (seed, position, shape) alone; independent of `uniforms`.

    Args:
        shape: > 0; mean and variance of the draws.

    Returns:
        float64 array of shape (count,).
    """
    philox = np.random.Philox(key=seed & 0xFFFF_FFFF_FFFF_FFFF, counter=[0, position, 1, 0])
    return np.random.Generator(philox).standard_gamma(shape, count)
