"""Self-consistency as a baseline: how far answers that were drawn agree with the one that is given (arXiv 2203.11171). Pure.

It needs nothing fitted, and pays for every answer that is drawn.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np

from netgpt.bench.measures import Figures, Floats, area_share, resampled, rounded
from netgpt.bench.outcomes import Outcomes

CONSISTENCY = "self_consistency"


def consistency(texts: Sequence[str], samples: Sequence[Sequence[str]]) -> Floats:
    """Of each answer, the share of drawn ones that come to the same result. Shape (N,)."""
    shares = [float(np.mean([result_of(other) == result_of(text) for other in drawn])) for text, drawn in zip(texts, samples, strict=True)]
    return np.array(shares, dtype=np.float64)


def result_of(text: str) -> str:
    """What an answer comes to: what stands behind its last colon and blank, however it got there; all of it if there is none."""
    return text.replace("：", ": ").rpartition(": ")[2].strip().rstrip(".。").strip()


def consistency_figures(judged: Outcomes, scores: Mapping[str, Floats], costs: Mapping[str, float], target: float) -> Figures:
    """Bounds of self-consistency's areas, and what deferral by it costs at `target` of the largest model's accuracy, beside the likelihood's.

    Costs are of two models, in calls of the largest one a request: one attempt of the smallest, its drawn answers, and what is deferred.
    """
    small, large = judged.models[0], judged.models[-1]
    gain_N = judged.right[large].astype(np.float64) - judged.right[small]
    groups_N = np.unique(judged.families, return_inverse=True)[1]
    score_N = scores[CONSISTENCY]
    low, high = resampled(len(judged), lambda places: area_share(score_N[places], gain_N[places]), name="consistency")
    figures: Figures = {f"{CONSISTENCY}_area_low": rounded(low), f"{CONSISTENCY}_area_high": rounded(high)}
    low, high = resampled(len(judged), lambda places: area_share(score_N[places], gain_N[places], groups_N[places]), name="consistency within")
    figures |= {f"{CONSISTENCY}_area_within_low": rounded(low), f"{CONSISTENCY}_area_within_high": rounded(high)}
    drawn = len(judged.samples[0])
    figures[f"{CONSISTENCY}_samples"] = drawn
    for name, attempts in ((CONSISTENCY, 1 + drawn), ("likelihood", 1)):
        share = share_reaching(target * float(judged.right[large].mean()), scores[name], gain_N, float(judged.right[small].mean()))
        figures[f"{name}_large_share_at_97"] = rounded(share)
        figures[f"{name}_cost_at_97"] = rounded(attempts * costs[small] + share)
    return figures


def share_reaching(accuracy: float, score_N: Floats, gain_N: Floats, base: float) -> float:
    """The least share to defer, in the order of the score, for so much accuracy; 1 if none is enough. Of equal scores all go at once."""
    levels, level_N = np.unique(-score_N, return_inverse=True)
    counts, gains = np.bincount(level_N, minlength=len(levels)), np.bincount(level_N, weights=gain_N, minlength=len(levels))
    reached = base + np.concatenate(([0.0], np.cumsum(gains))) / len(gain_N)
    enough = np.flatnonzero(reached >= accuracy)
    return float(np.concatenate(([0], np.cumsum(counts)))[enough[0]] / len(gain_N)) if len(enough) else 1.0
