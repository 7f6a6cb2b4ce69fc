"""Gradient-boosted trees that give a probability: fitted with numpy, asked without a loop over trees.

Every tree asks the same number of questions on all ways down, so that all trees are walked at once, some microseconds each. Logistic
loss, second-order splits on quantile bins, a random share of rows and columns for each tree: Friedman, Ann. Stat. 29 (2001); Chen and
Guestrin, arXiv 1603.02754. Pure.

Axes: N example, F feature, T tree, S inner node of a tree (2^DEPTH - 1, level by level), L leaf.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from netgpt.core.chance import SeededChance

TREES, DEPTH, RATE = 200, 5, 0.08
BINS = 32  # of each feature
ROW_SHARE, COLUMN_SHARE = 0.7, 0.3
PENALTY = 5.0  # on leaves
BEYOND = 1e30  # no feature is larger
NODES, LEAVES = 2**DEPTH - 1, 2**DEPTH

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]


@dataclass(frozen=True, kw_only=True, eq=False)
class Forest:
    """From features to a probability."""

    width: int  # features that it takes
    bias: float  # logit of the share
    columns_TS: Ints  # the feature that a node asks about
    bounds_TS: Floats  # above it goes to the right
    leaves_TL: Floats  # logits to add

    def logits(self, features_NF: Floats) -> Floats:
        """Shape (N,)."""
        trees_T = np.arange(len(self.columns_TS))
        at_NT = np.zeros((len(features_NF), len(trees_T)), dtype=np.int64)
        rows_N1 = np.arange(len(features_NF))[:, None]
        for _ in range(DEPTH):
            asked_NT = features_NF[rows_N1, self.columns_TS[trees_T, at_NT]]
            at_NT = 2 * at_NT + 1 + (asked_NT > self.bounds_TS[trees_T, at_NT])
        return self.bias + self.leaves_TL[trees_T, at_NT - NODES].sum(1)

    def probabilities(self, features_NF: Floats) -> Floats:
        """Shape (N,)."""
        return 1 / (1 + np.exp(-self.logits(features_NF)))


def fit_forest(features_NF: Floats, right_N: NDArray[np.bool_], *, trees: int = TREES) -> Forest:
    """Trees that foretell `right_N`; the same for the same input."""
    stream = SeededChance(0).stream("forest")
    edges = [np.unique(as_kept(np.quantile(column_N, np.arange(1, BINS) / BINS))) for column_N in features_NF.T]
    bin_NF = np.stack([np.searchsorted(edge, column_N) for edge, column_N in zip(edges, features_NF.T, strict=True)], axis=1)
    count, width = bin_NF.shape
    share = (right_N.sum() + 0.5) / (count + 1)
    logit_N = np.full(count, np.log(share / (1 - share)))
    bias = float(logit_N[0])
    columns_TS, bounds_TS = np.zeros((trees, NODES), dtype=np.int64), np.zeros((trees, NODES))
    leaves_TL = np.zeros((trees, LEAVES))
    for tree in range(trees):
        probability_N = 1 / (1 + np.exp(-logit_N))
        slope_N, curvature_N = right_N - probability_N, probability_N * (1 - probability_N)
        chosen = np.sort(stream.choice(width, max(1, round(width * COLUMN_SHARE)), replace=False))
        rows = np.flatnonzero(stream.random(count) < ROW_SHARE)
        column_S, cut_S, leaf_L = _grow(bin_NF[np.ix_(rows, chosen)], slope_N[rows], curvature_N[rows])
        columns_TS[tree] = chosen[column_S]
        bounds_TS[tree] = [_bound(edges[column], cut) for column, cut in zip(columns_TS[tree], cut_S, strict=True)]
        leaves_TL[tree] = as_kept(leaf_L)
        logit_N += leaf_L[_leaf(bin_NF, columns_TS[tree], cut_S)]
    return Forest(width=width, bias=bias, columns_TS=columns_TS, bounds_TS=bounds_TS, leaves_TL=leaves_TL)


def as_kept(values: Floats) -> Floats:
    """The nearest numbers of 32 bits: what `calibration_file` keeps of bounds and leaves."""
    return values.astype(np.float32).astype(np.float64)


def _grow(bin_NF: Ints, slope_N: Floats, curvature_N: Floats) -> tuple[Ints, Ints, Floats]:
    """One tree: the column and the last bin that goes left at each node, and the leaves."""
    count, width = bin_NF.shape
    at_N = np.zeros(count, dtype=np.int64)
    column_S, cut_S = np.zeros(NODES, dtype=np.int64), np.zeros(NODES, dtype=np.int64)
    for depth in range(DEPTH):
        nodes = 2**depth
        cell_M = ((at_N[:, None] * width + np.arange(width)) * BINS + bin_NF).ravel()
        left, left_weight = (
            np.bincount(cell_M, np.repeat(values_N, width), nodes * width * BINS).reshape(nodes, width, BINS).cumsum(-1)
            for values_N in (slope_N, curvature_N)
        )
        right, right_weight = left[:, :, -1:] - left, left_weight[:, :, -1:] - left_weight
        gain = left**2 / (left_weight + PENALTY) + right**2 / (right_weight + PENALTY)
        best = gain.reshape(nodes, -1).argmax(1)
        own = slice(nodes - 1, 2 * nodes - 1)
        column_S[own], cut_S[own] = best // BINS, best % BINS
        asked_N = bin_NF[np.arange(count), column_S[own][at_N]]
        at_N = 2 * at_N + (asked_N > cut_S[own][at_N])
    slope_L, curvature_L = np.bincount(at_N, slope_N, LEAVES), np.bincount(at_N, curvature_N, LEAVES)
    return column_S, cut_S, RATE * slope_L / (curvature_L + PENALTY)


def _leaf(bin_NF: Ints, column_S: Ints, cut_S: Ints) -> Ints:
    at_N = np.zeros(len(bin_NF), dtype=np.int64)
    for _ in range(DEPTH):
        asked_N = bin_NF[np.arange(len(bin_NF)), column_S[at_N]]
        at_N = 2 * at_N + 1 + (asked_N > cut_S[at_N])
    return at_N - NODES


def _bound(edges: Floats, cut: int) -> float:
    """The value up to which a feature lies in bin `cut` or below; the last bin has no end."""
    return float(edges[cut]) if cut < len(edges) else BEYOND
