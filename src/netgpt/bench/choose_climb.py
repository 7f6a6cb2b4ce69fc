"""What `auto` foretells of a cascade of two nodes (`climbing.expected`), beside what that does on judged tasks. Pure."""

from __future__ import annotations

from itertools import combinations

import numpy as np

from netgpt.bench.measures import Figures, rounded, share_figures
from netgpt.bench.outcomes import Outcomes, short_name
from netgpt.inference.climbing import expected
from netgpt.inference.confidence import Calibrations


def climb_figures(judged: Outcomes, calibrations: Calibrations, price: float) -> Figures:
    """Of each pair `climb_SMALLER_LARGER`: `_share` of answers that go up and `_accuracy` of what comes out, and both `_foretold`.

    As at a door that knows these two alone: a call of the larger one costs 1. The qualities that nodes state are their shares of these tasks.
    """
    figures: Figures = {}
    for small, large in combinations(judged.models, 2):
        calibration, right_N, too_N = calibrations.models[small], judged.right[small], judged.right[large]
        said = judged.expected(calibration)
        climbs_N = said[large] - said[small] > price
        pools = calibration.right.pools, calibration.others[large].pools
        share, accuracy = expected(*pools, price, 0.0, float(right_N.mean()), float(too_N.mean()))
        name = f"climb_{short_name(small)}_{short_name(large)}"
        figures |= share_figures(f"{name}_share", climbs_N) | {f"{name}_share_foretold": rounded(share)}
        figures |= share_figures(f"{name}_accuracy", np.where(climbs_N, too_N, right_N)) | {f"{name}_accuracy_foretold": rounded(accuracy)}
    return figures
