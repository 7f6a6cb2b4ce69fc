"""What the surface of a question tells a router: how much of the oracle's lead template and length alone capture.

A router orders the tasks and sends the first share c of them to the larger model. Its *lead* is the area
between its accuracy over c in [0, 1] and that of sending tasks at random. The oracle orders by what the
larger model really gains; the surface router by what ridge regression on template and length foretells, each
task by a fit to the other folds.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence

import numpy as np
from numpy.typing import NDArray

from netgpt.bench.measures import area_share
from netgpt.corpus.controls import form_of
from netgpt.corpus.task import Task
from netgpt.learn.evaluate import Verdicts

FOLDS, RIDGE, LENGTH_BINS = 5, 4.0, 3


def lead_share(tasks: Sequence[Task], small: Verdicts, large: Verdicts, *, within: Callable[[Task], str] = lambda task: "") -> float | None:
    """Lead of the surface router over lead of the oracle; None where the oracle has no lead.

    Args:
        within: routers may order only tasks of one group against each other; leads are summed over the groups.
    """
    gain_N = large.astype(float) - small.astype(float)
    groups_N = np.unique([within(task) for task in tasks], return_inverse=True)[1]
    share = area_share(_foretold(tasks, gain_N), gain_N, groups_N)
    return None if math.isnan(share) else share


def _foretold(tasks: Sequence[Task], gain_N: NDArray[np.float64]) -> NDArray[np.float64]:
    """The gain that template and length foretell, cross-fitted."""
    features_NF = _features(tasks)
    fold_N = np.arange(len(tasks)) % FOLDS
    foretold_N = np.zeros(len(tasks))
    for fold in range(FOLDS):
        train, test = fold_N != fold, fold_N == fold
        a_NF, mean = features_NF[train], gain_N[train].mean()
        weights_F = np.linalg.solve(a_NF.T @ a_NF + RIDGE * np.eye(a_NF.shape[1]), a_NF.T @ (gain_N[train] - mean))
        foretold_N[test] = features_NF[test] @ weights_F + mean
    return foretold_N


def _features(tasks: Sequence[Task]) -> NDArray[np.float64]:
    """One-hot: the template, and the third of its form's lengths in which the prompt lies."""
    lengths: dict[str, list[int]] = {}
    for task in tasks:
        lengths.setdefault(form_of(task), []).append(_length(task))
    edges = {form: np.quantile(found, np.arange(1, LENGTH_BINS) / LENGTH_BINS) for form, found in lengths.items()}
    names = [(task.template, f"{form_of(task)}/{int(np.searchsorted(edges[form_of(task)], _length(task)))}") for task in tasks]
    columns = {name: i for i, name in enumerate(sorted({name for pair in names for name in pair}))}
    features_NF = np.zeros((len(tasks), len(columns)))
    for row, pair in enumerate(names):
        features_NF[row, [columns[name] for name in pair]] = 1.0
    return features_NF


def _length(task: Task) -> int:
    return sum(len(content) for _, content in task.messages)
