"""How sure a model was of its answer: probabilities that it, or a larger model, is right, from log-probabilities of tokens.

The evidence are quantiles of the margin between the two likeliest tokens and sums over the answer (language-model cascades,
arXiv 2404.10136); a logistic model weighs them, and isotonic regression makes its score a probability (arXiv 2605.18796).
All of it is what the model said before any grammar, penalty or temperature. `calibration` fits these figures, `calibration.json` holds
those of the models that come with the package. Pure, and far from torch: a door reads it for every answer.
"""

from __future__ import annotations

import json
import math
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from functools import cache
from importlib import resources
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from netgpt.core.errors import UsageError
from netgpt.node.session import Piece

FORMAT = 1
HOME_FILE = "calibration.json"  # in the home: what `netgpt calibrate` writes
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


@dataclass(frozen=True, kw_only=True)
class Curve:
    """From features to a probability: a standardised logistic score, then a rising curve through its knots."""

    mean: tuple[float, ...]
    scale: tuple[float, ...]
    weights: tuple[float, ...]
    bias: float
    knots: tuple[float, ...]  # scores, rising
    heights: tuple[float, ...]  # probabilities there, not falling; constant beyond the ends

    def scores(self, features: NDArray[np.float64]) -> NDArray[np.float64]:
        """Logits before the curve: shape (N,) of (N, F)."""
        return (features - np.array(self.mean)) / np.array(self.scale) @ np.array(self.weights) + self.bias

    def probabilities(self, features: NDArray[np.float64]) -> NDArray[np.float64]:
        """Shape (N,) of (N, F)."""
        return np.interp(self.scores(features), self.knots, self.heights)


@dataclass(frozen=True, kw_only=True)
class Calibration:
    """What one model's evidence says: whether it is right, and whether each larger model would be."""

    model: str
    tasks: int  # that it was fitted on
    right: Curve
    others: Mapping[str, Curve]  # larger model -> whether that one is right
    agrees: Mapping[str, Curve]  # larger model -> whether it says the same

    def judge(self, evidence: Evidence) -> Judgement:
        """What to expect of keeping the answer, and of asking each other model."""
        features = evidence.features()[None, :]
        return Judgement(
            right=float(self.right.probabilities(features)[0]),
            others={model: float(curve.probabilities(features)[0]) for model, curve in self.others.items()},
            agrees={model: float(curve.probabilities(features)[0]) for model, curve in self.agrees.items()},
        )


@dataclass(frozen=True, kw_only=True)
class Judgement:
    """Probabilities that an answer is right, and that larger models' would be, or would be the same."""

    right: float
    others: Mapping[str, float]
    agrees: Mapping[str, float]


@dataclass(frozen=True, kw_only=True)
class Calibrations:
    """The calibrations of some models, and the price at which an escalation is worth its gain."""

    price: float  # accuracy that a call of the next tier must gain: see `escalation`
    models: Mapping[str, Calibration]

    def write(self, path: Path) -> None:
        """As JSON, readable again by `read_calibrations`."""
        table = {"format": FORMAT, "features": FEATURES, "price": self.price, "models": {name: asdict(one) for name, one in self.models.items()}}
        path.write_text(json.dumps(table, indent=1) + "\n", encoding="utf-8")


def read_calibrations(text: str, where: str) -> Calibrations:
    """Calibrations as `write` wrote them.

    Raises:
        UsageError: not such a file, or one of another release's features.
    """
    how = "fit it anew: netgpt calibrate --recording FILE"
    try:
        table = json.loads(text)
        if table["format"] != FORMAT or tuple(table["features"]) != FEATURES:
            raise UsageError(f"calibration {where} is of another release", hint=how, param="calibration")
        models = {name: _calibration(row) for name, row in table["models"].items()}
        return Calibrations(price=float(table["price"]), models=models)
    except (ValueError, KeyError, TypeError) as error:
        raise UsageError(f"{where} is no calibration: {error!r}", hint=how, param="calibration") from error


def _calibration(row: Mapping[str, Any]) -> Calibration:
    others, agrees = ({name: _curve(curve) for name, curve in row[key].items()} for key in ("others", "agrees"))
    return Calibration(model=str(row["model"]), tasks=int(row["tasks"]), right=_curve(row["right"]), others=others, agrees=agrees)


def _curve(row: Mapping[str, Any]) -> Curve:
    lists = {name: tuple(map(float, row[name])) for name in ("mean", "scale", "weights", "knots", "heights")}
    if not len(lists["mean"]) == len(lists["scale"]) == len(lists["weights"]) == len(FEATURES) or len(lists["knots"]) != len(lists["heights"]):
        raise ValueError("its lists have other lengths than its features")
    return Curve(bias=float(row["bias"]), **lists)


@cache
def shipped_calibrations() -> Calibrations:
    """Of the models that come with the package."""
    return read_calibrations(resources.files("netgpt.inference").joinpath("calibration.json").read_text(encoding="utf-8"), "calibration.json")


def calibrations_at(home: Path | None) -> Calibrations:
    """Those that were fitted for this home, else the shipped ones; raises UsageError where its file is damaged."""
    path = home / HOME_FILE if home else None
    if path is None or not path.is_file():
        return shipped_calibrations()
    return read_calibrations(path.read_text(encoding="utf-8"), str(path))
