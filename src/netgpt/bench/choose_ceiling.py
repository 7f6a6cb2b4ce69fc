"""How well such a fit chooses when it is told what the corpus knows of a task, all but who was right: what is left to better features.

That is the family, the grade (how rare the fact is, how many steps the answer has), the language, and the sizes of the wanted answer
(`outcomes.truth_of`). A recording has none of it. What stays between this and the oracle is luck to whoever knows tasks by their kind:
which of two equally rare facts a model happens to have learnt.
"""

from __future__ import annotations

import numpy as np

from netgpt.bench.measures import Figures, Floats, area_share, resampled, rounded
from netgpt.bench.outcomes import Outcomes
from netgpt.inference.boosting import fit_forest
from netgpt.inference.words import Words, fit_words

CEILING_TREES = 300


def ceiling_figures(fitted_on: Outcomes, judged: Outcomes) -> Figures:
    """`route_ceiling_lead` and `cascade_ceiling_area`, smallest to largest model, with bounds; nothing where the truth about tasks is not known."""
    if not fitted_on.truth.shape[1]:
        return {}
    small, large = judged.models[0], judged.models[-1]
    words, said = fit_words(fitted_on.words), fit_words(fitted_on.said[small])
    gain_N = judged.right[large].astype(np.float64) - judged.right[small]
    figures: Figures = {}
    after = (_with_evidence(fitted_on, words, said, 1), _with_evidence(judged, words, said, 0))
    for name, (fit_NF, asked_NF) in (("route_ceiling_lead", (fitted_on.truth, judged.truth)), ("cascade_ceiling_area", after)):
        right_N, too_N = (fit_forest(fit_NF, fitted_on.right[model], trees=CEILING_TREES).probabilities(asked_NF) for model in (small, large))
        score_N = too_N - right_N
        low, high = resampled(len(judged), lambda places, score_N=score_N: area_share(score_N[places], gain_N[places]), name=name)
        figures |= {name: rounded(area_share(score_N, gain_N)), f"{name}_low": rounded(low), f"{name}_high": rounded(high)}
    return figures


def _with_evidence(outcomes: Outcomes, words: Words, said: Words, own: int) -> Floats:
    """The truth, the smallest model's evidence, and of the prompt all but its state, beside whose many numbers the few that tell are seldom drawn."""
    small = outcomes.models[0]
    evidence_NF = np.array([one.features() for one in outcomes.evidence[small]])
    asked_NK, told_NK = words.features(outcomes.words, own=own), said.features(outcomes.said[small], own=own)
    return np.concatenate((outcomes.truth, evidence_NF, outcomes.surface, asked_NK, told_NK), axis=1)
