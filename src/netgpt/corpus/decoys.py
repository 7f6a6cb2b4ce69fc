"""Decoys: how often the things that are not asked for occur beside the one that is. Knows no family.

In lists where one of four subjects is asked for, and the grade counts its entries, its share must not give it away:
a model that does not know which one is meant would else take the most frequent, or the last.
"""

from __future__ import annotations

import numpy as np

from netgpt.corpus.task import pick, sample

DECOYS = 3


def decoy_counts(chance: np.random.Generator, asked: int, total: int, most: int) -> list[int]:
    """How many of `total` entries each of three decoys has: one as many as the asked one, the others share the rest.

    Args:
        asked: the entries of the asked subject, at least 1.
        most: no decoy has more; every decoy has at least one. Needs `2 * asked + 2 <= total <= 2 * asked + 2 * most`.
    """
    rest = total - 2 * asked
    third = pick(chance, range(max(1, rest - most), min(most, rest - 1) + 1))
    return sample(chance, [asked, third, rest - third], DECOYS)


def entries(chance: np.random.Generator, counts: dict[str, int]) -> list[str]:
    """Each subject as often as it is counted, in random order."""
    every = [subject for subject, count in counts.items() for _ in range(count)]
    return sample(chance, every, len(every))
