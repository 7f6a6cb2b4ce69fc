"""How sure a model was of its answer: probabilities that it, or a larger model, is right, from log-probabilities of tokens.

The evidence are quantiles of the margin between the two likeliest tokens and sums over the answer (language-model cascades,
arXiv 2404.10136); a logistic model weighs them, and isotonic regression makes its score a probability (arXiv 2605.18796).
All of it is what the model said before any grammar, penalty or temperature. Boosted trees read these, the prompt's surface, how usual
its words and the answer's are and, on the door's own node, the model's states of prompt and answer: they order answers to prompts like
known ones better, the plain figures hold for others too. `calibration` fits all of it; `calibration_file` keeps it. Pure, and far from
torch: a door reads it for every answer.
"""

from __future__ import annotations

import math
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from netgpt.inference.boosting import Forest
from netgpt.inference.curve import Curve
from netgpt.inference.routing import Router
from netgpt.inference.surface import SURFACE, surface_of
from netgpt.inference.words import KNOWN, SAID, Words, words_of, words_said
from netgpt.node.session import Piece

TREES_SHARE, STATELESS_SHARE = 0.7, 0.4  # of a probability, with the model's states and without; more knows known families better, unknown ones worse
TOP_TOKENS = 2  # alternatives that a node must report for each token
LOG_MARGIN_CAP = 8.0  # beyond, a token is as good as certain
QUANTILES = (0.0, 0.1, 0.25, 0.5)
UNSURE, DOUBTFUL = 0.5, 0.8  # margins below these are counted
FEATURES = (
    "surprise",
    "mean_logprob",
    "slips",
    *(f"margin_q{round(100 * share)}" for share in QUANTILES),
    *(f"log_margin_q{round(100 * share)}" for share in QUANTILES),
    "margin_mean",
    "margin_first",
    "margin_second",
    "unsure",
    "doubtful",
    "log_tokens",
)
STATELESS = len(FEATURES) + len(SURFACE) + len(KNOWN) + len(SAID)  # features of evidence and scene, without states


@dataclass(frozen=True, kw_only=True, slots=True)
class Evidence:
    """What an answer's tokens tell, in their order: natural logarithms of probabilities."""

    logprobs: tuple[float, ...]  # of each token
    runners_up: tuple[float, ...]  # of the likeliest other token at each position

    @property
    def margins(self) -> NDArray[np.float64]:
        """Probability of each token less that of its runner-up; below 0 where another was likelier."""
        return np.exp(self.logprobs) - np.exp(self.runners_up)

    def features(self) -> NDArray[np.float64]:
        """Shape (len(FEATURES),). Raises ValueError where there is no token."""
        if not self.logprobs:
            raise ValueError("an answer without tokens gives no evidence")
        logprobs = np.asarray(self.logprobs)
        margins = self.margins
        log_margins = np.clip(logprobs - np.asarray(self.runners_up), -LOG_MARGIN_CAP, LOG_MARGIN_CAP)
        ascending = np.sort(margins)
        return np.array([
            math.sqrt(-min(logprobs.sum(), 0.0)),
            logprobs.mean(),
            (1 - np.exp(logprobs)).sum(),
            *np.quantile(margins, QUANTILES),
            *np.quantile(log_margins, QUANTILES),
            margins.mean(),
            margins[0],
            ascending[min(1, len(ascending) - 1)],
            (margins < UNSURE).sum(),
            (margins < DOUBTFUL).sum(),
            math.log(len(margins)),
        ])  # fmt: skip


def evidence_of(pieces: Sequence[Piece]) -> Evidence | None:
    """The evidence of an answer's pieces; None where a token came without two alternatives."""
    logprobs: list[float] = []
    runners_up: list[float] = []
    for piece in pieces:
        if len(piece.top) != len(piece.logprobs) or len(piece.logprobs) < piece.size:
            return None
        for place, (logprob, top) in enumerate(zip(piece.logprobs, piece.top, strict=True)):
            said = piece.tokens[place] if piece.recoded else piece.ids[place]
            other = next((value for token, value in zip(top.tokens if piece.recoded else top.ids, top.logprobs, strict=True) if token != said), None)
            if other is None:
                return None
            logprobs.append(logprob)
            runners_up.append(other)
    return Evidence(logprobs=tuple(logprobs), runners_up=tuple(runners_up)) if logprobs else None


def spoken(ids: Sequence[int], stop_ids: Collection[int]) -> tuple[int, ...]:
    """An answer's tokens without the one that ends it, after which a model's state says little; an answer of that alone is left as it is."""
    return tuple(ids[:-1]) if len(ids) > 1 and ids[-1] in stop_ids else tuple(ids)


@dataclass(frozen=True, kw_only=True, slots=True)
class Scene:
    """What is known beside an answer where it was made."""

    messages: Sequence[tuple[str, str]]
    answer: str
    state: Sequence[float] = ()  # the model's, of prompt and answer: `Embed` with these two parts; empty: not known

    def features(self, words: Words, said: Words) -> NDArray[np.float64]:
        """Shape (len(SURFACE) + len(KNOWN) + len(SAID) + len(state),). Args: words met in prompts, and in answers."""
        asked, told = words.features([words_of(self.messages)])[0], said.features([words_said(self.answer)])[0]
        return np.concatenate((surface_of(self.messages), asked, told, self.state))


def mixed(forest: Forest, curve: Curve, features_NF: NDArray[np.float64]) -> NDArray[np.float64]:
    """One probability of two: trees know prompts like known ones, the plain evidence holds for all.

    Args:
        features_NF: what the trees read; evidence comes first, the model's states last, if it has them.
    """
    share = TREES_SHARE if forest.width > STATELESS else STATELESS_SHARE
    return share * forest.probabilities(features_NF) + (1 - share) * curve.probabilities(features_NF[:, : len(FEATURES)])


@dataclass(frozen=True, kw_only=True)
class Calibration:
    """What one model's evidence says: whether it is right, and whether each larger model would be."""

    model: str
    tasks: int  # that it was fitted on
    right: Curve
    others: Mapping[str, Curve]  # larger model -> whether that one is right
    agrees: Mapping[str, Curve]  # larger model -> whether it says the same
    forests: Mapping[str, Forest] = field(default_factory=dict)  # model -> whether it is right, of evidence and scene; its own too
    words: Words = field(default_factory=Words)  # of the prompts that it was fitted on,
    said: Words = field(default_factory=Words)  # and of the model's answers to them

    @property
    def needs_state(self) -> bool:
        """Whether its trees read the model's states."""
        return any(forest.width > STATELESS for forest in self.forests.values())

    def judge(self, evidence: Evidence, scene: Scene | None = None) -> Judgement:
        """What to expect of keeping the answer, and of asking each other model."""
        features = evidence.features()[None, :]
        beside = None if scene is None else scene.features(self.words, self.said)[None, :]
        expected = self.expected(features, beside)
        return Judgement(
            right=float(expected.pop(self.model)[0]),
            others={model: float(probabilities[0]) for model, probabilities in expected.items()},
            agrees={model: float(curve.probabilities(features)[0]) for model, curve in self.agrees.items()},
        )

    def expected(self, features: NDArray[np.float64], beside: NDArray[np.float64] | None) -> dict[str, NDArray[np.float64]]:
        """How probably each model is right, its own first: shapes (N,).

        Args:
            features: of evidence, shape (N, len(FEATURES)).
            beside: of scenes, shape (N, G); None, or of another width than the trees were fitted on: the evidence alone decides.
        """
        whole = None if beside is None else np.concatenate((features, beside), axis=1)
        found: dict[str, NDArray[np.float64]] = {}
        for model, curve in ((self.model, self.right), *self.others.items()):
            forest = self.forests.get(model)
            if whole is None or forest is None or forest.width != whole.shape[1]:
                found[model] = curve.probabilities(features)
            else:
                found[model] = mixed(forest, curve, whole)
        return found


@dataclass(frozen=True, kw_only=True)
class Judgement:
    """Probabilities that an answer is right, and that larger models' would be, or would be the same."""

    right: float
    others: Mapping[str, float]
    agrees: Mapping[str, float]


@dataclass(frozen=True, kw_only=True)
class Calibrations:
    """The calibrations of some models, and the price at which an escalation is worth its gain; and how to route between them."""

    price: float  # accuracy that a call of the next tier must gain: see `escalation`
    models: Mapping[str, Calibration]
    routers: Mapping[str, Router] = field(default_factory=dict)  # by the model whose state they read
