"""What a recording says of its models: how often each is right, and how two of them go together.

Pure. The joint outcomes are what any routing between two models can gain; the agreement is what one can
draft for the other.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from netgpt.core.statistics import phi_coefficient, phi_interval, wilson_interval
from netgpt.models.recording import Recorded, Recording


@dataclass(frozen=True, kw_only=True)
class ModelScore:
    """How one model did."""

    model: str
    answers: int
    graded: int
    correct: int
    accuracy: float | None  # None: nothing was graded
    accuracy_low: float | None  # 95 % interval (Wilson)
    accuracy_high: float | None
    time_to_first_token_p50_s: float | None
    total_p50_s: float | None


@dataclass(frozen=True, kw_only=True)
class PairOutcomes:
    """How two models did on the tasks that both answered."""

    small: str
    large: str
    tasks: int  # that both answered and that were graded
    both: int  # right
    only_small: int
    only_large: int
    neither: int
    phi: float | None  # None: one of them is always or never right
    phi_low: float | None  # 95 % interval (bootstrap over tasks)
    phi_high: float | None
    draft_tokens: int  # of the small model, while its text is still the large one's; ends of answers count
    draft_agreed: int  # of these, equal to what the large one said there
    draft_agreement: float | None

    @property
    def counts(self) -> tuple[int, int, int, int]:
        return (self.both, self.only_small, self.only_large, self.neither)


def model_scores(recording: Recording) -> list[ModelScore]:
    """One score a model, in the recording's order."""
    return [_score(name, recording.of_model(name)) for name in recording.models()]


def _score(name: str, rows: Sequence[Recorded]) -> ModelScore:
    graded = [row.correct for row in rows if row.correct is not None]
    low, high = wilson_interval(sum(graded), len(graded)) if graded else (None, None)
    return ModelScore(
        model=name,
        answers=len(rows),
        graded=len(graded),
        correct=sum(graded),
        accuracy=sum(graded) / len(graded) if graded else None,
        accuracy_low=low,
        accuracy_high=high,
        time_to_first_token_p50_s=_median([row.time_to_first_token_s for row in rows if row.time_to_first_token_s is not None]),
        total_p50_s=_median([row.total_s for row in rows]),
    )


def pair_outcomes(recording: Recording, small: str, large: str) -> PairOutcomes:
    """How `small` and `large`, names of `recording.models()`, go together.

    Raises:
        UsageError: one of them is not in the recording.
    """
    of_large = {row.task_id: row for row in recording.of_model(large)}
    pairs = [(row, of_large[row.task_id]) for row in recording.of_model(small) if row.task_id in of_large]
    graded = [(bool(a.correct), bool(b.correct)) for a, b in pairs if a.correct is not None and b.correct is not None]
    counts = tuple(graded.count(outcome) for outcome in ((True, True), (True, False), (False, True), (False, False)))
    low, high = phi_interval(counts)
    runs = [draft_run(a, b) for a, b in pairs]
    compared, agreed = sum(n for n, _ in runs), sum(n for _, n in runs)
    return PairOutcomes(
        small=small,
        large=large,
        tasks=len(graded),
        both=counts[0],
        only_small=counts[1],
        only_large=counts[2],
        neither=counts[3],
        phi=_number(float(phi_coefficient(np.array(counts)))),
        phi_low=low,
        phi_high=high,
        draft_tokens=compared,
        draft_agreed=agreed,
        draft_agreement=agreed / compared if compared else None,
    )


def draft_run(small: Recorded, large: Recorded) -> tuple[int, int]:
    """(compared, agreed): tokens of `small` up to the first that `large` did not say at that place of its text.

    The end of an answer counts as a token where the answer was not cut. Where the large one's was cut, nothing
    beyond is known or compared.
    """
    said, place, agreed = b"".join(large.tokens), 0, 0
    for token in small.tokens:
        if large.finish_reason != "stop" and place + len(token) > len(said):
            return agreed, agreed
        if said[place : place + len(token)] != token:
            return agreed + 1, agreed
        place, agreed = place + len(token), agreed + 1
    if small.finish_reason != "stop" or (large.finish_reason != "stop" and place == len(said)):
        return agreed, agreed
    return agreed + 1, agreed + (place == len(said))


def _median(values: Sequence[float]) -> float | None:
    return float(np.median(values)) if values else None


def _number(value: float) -> float | None:
    return None if math.isnan(value) else value
