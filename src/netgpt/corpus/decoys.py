"""Decoys: how often the things that are not asked for occur beside the one that is. Knows no family.

Where one of several subjects is asked for and the grade counts its entries, their numbers must not give it away: a model
that does not know which one is meant would else take the most frequent, or the last. So half of the subjects have as many
entries as the asked one, and half the complement to a fixed sum: whatever the numbers, each subject is equally likely asked.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np

from netgpt.corpus.task import sample


def mirrored(chance: np.random.Generator, asked: str, decoys: Sequence[str], count: int, both: int) -> dict[str, int]:
    """How many entries the asked subject and each decoy have: `count` or `both - count`, each in half of them.

    Args:
        decoys: an odd number of them.
        count: the entries of the asked subject, as often `count` as `both - count` over all tasks.
    """
    counts = [count] * (len(decoys) // 2) + [both - count] * (len(decoys) - len(decoys) // 2)
    return {asked: count, **dict(zip(decoys, sample(chance, counts, len(counts)), strict=True))}


def entries(chance: np.random.Generator, counts: Mapping[str, int]) -> list[str]:
    """Each subject as often as it is counted, in random order."""
    every = [subject for subject, count in counts.items() for _ in range(count)]
    return sample(chance, every, len(every))
