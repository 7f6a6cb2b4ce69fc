"""Published speeds of real machines, and the efficiencies that fit one half of them.

Points of one device, model and precision stay together. Of each class of device, kind of software and
phase, such groups in the order of their hash are taken by turns: for the fit, and for the test of it.
"""

from __future__ import annotations

import hashlib
import math
import statistics
import tomllib
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from importlib import resources

from netgpt.core.errors import UsageError
from netgpt.core.spelling import check_keys
from netgpt.network.profile import Efficiency, find_profile
from netgpt.network.roofline import PRECISIONS, Declared, Work
from netgpt.network.shape import find_shape

POINTS = "hardware_points.toml"
OVERHEADS_S = (0.0, *(round(1e-6 * 1.25**step, 7) for step in range(8, 30)))  # per layer: 6 to 650 us
SHARES = tuple(round(1.02**-step, 4) for step in range(130))  # 1 to 0.08
SCORE_BYTES = {"llama.cpp": 16.0}  # unfused: scores of 4 bytes are written, read and written by softmax, and read again
MARGIN = 0.01  # of the error, below which fits count as equal


@dataclass(frozen=True, kw_only=True)
class Point:
    """One measurement by others."""

    source: str
    stack: str
    device: str
    model: str
    precision: str
    phase: str  # "prefill" or "decode"
    batch: int = 1
    tokens: int  # of the prompt, or of the context
    measured_s: float  # of the prompt, or of a step

    @property
    def group(self) -> str:
        return f"{self.device}|{self.model}|{self.precision}"

    @property
    def kind(self) -> tuple[str, str]:
        """The class of device, and the kind of software."""
        return find_profile(self.device).kind, self.stack

    @property
    def packed(self) -> bool:
        return PRECISIONS[self.precision].packed

    @cached_property
    def declared(self) -> Declared:
        return Declared(profile=find_profile(self.device), shape=find_shape(self.model), precision=self.precision, stack=self.stack)

    @cached_property
    def work(self) -> Work:
        return self.declared.prompt(self.tokens) if self.phase == "prefill" else self.declared.step([self.tokens] * self.batch)

    def predicted_s(self, efficiency: Efficiency | None = None) -> float:
        """By the roofline, with the shipped efficiencies or with those."""
        return self.declared.duration_s(self.work, efficiency or self.declared.profile.efficiency(self.stack))

    def error(self, efficiency: Efficiency | None = None) -> float:
        """Share by which the prediction is off the measured duration."""
        return abs(self.predicted_s(efficiency) / self.measured_s - 1)


def read_points() -> list[Point]:
    """The points that come with the package.

    Raises:
        UsageError, ScenarioInvalid: the file is damaged.
    """
    table = tomllib.loads(resources.files("netgpt.bench").joinpath(POINTS).read_text(encoding="utf-8"))
    check_keys(table, {"source", "point", "excluded"}, POINTS, UsageError)
    return [_point(row, table["source"]) for row in table["point"]]


def _point(row: dict[str, object], sources: dict[str, dict[str, str]]) -> Point:
    known = {"source", "device", "model", "precision", "phase", "batch", "tokens", "tokens_per_s", "seconds"}
    check_keys(row, known, POINTS, UsageError)
    facts: dict[str, object] = {key: value for key, value in row.items() if key not in ("tokens_per_s", "seconds")}
    point = Point(**facts, stack=sources[str(row["source"])]["stack"], measured_s=1.0)  # type: ignore[arg-type]
    if "seconds" in row:
        return replace(point, measured_s=float(row["seconds"]))  # type: ignore[arg-type]
    tokens = point.tokens if point.phase == "prefill" else point.batch
    return replace(point, measured_s=tokens / float(row["tokens_per_s"]))  # type: ignore[arg-type]


def split(points: Iterable[Point]) -> tuple[list[Point], list[Point]]:
    """(for the fit, held out): by hash, not by hand."""
    every = list(points)
    groups: dict[tuple[str, str, str], set[str]] = {}
    for point in every:
        groups.setdefault((*point.kind, point.phase), set()).add(point.group)
    for_fit = {(kind, group) for kind, found in groups.items() for group in sorted(found, key=_hash)[::2]}
    taken = [((*point.kind, point.phase), point.group) in for_fit for point in every]
    return [point for point, fits in zip(every, taken, strict=True) if fits], [point for point, fits in zip(every, taken, strict=True) if not fits]


def _hash(group: str) -> bytes:
    return hashlib.sha256(group.encode()).digest()


def fit(points: Sequence[Point]) -> Efficiency:
    """What fits points of one class and one kind of software best: the least mean error in logarithms.

    A share that no point tells is the one of the other kind of weights.
    """
    decoding = [point for point in points if point.phase == "decode"]
    prompts = [point for point in points if point.phase == "prefill"]
    stack = points[0].stack
    guess = Efficiency(
        stack=stack, prefill_wide=1, prefill_packed=1, decode_wide=1, decode_packed=1, score_bytes=SCORE_BYTES.get(stack, 0.0), basis="fitted"
    )
    best, least = guess, math.inf
    for overhead_s in OVERHEADS_S if decoding else OVERHEADS_S[:1]:
        tried = _fit_shares(decoding, replace(guess, layer_overhead_s=overhead_s), "decode")
        loss = _loss(decoding, tried)
        if loss < least - MARGIN:  # the least overhead of those that fit about as well
            best, least = tried, loss
    return _fit_shares(prompts, best, "prefill")


def _fit_shares(points: Sequence[Point], start: Efficiency, phase: str) -> Efficiency:
    """The shares of wide and packed weights, each from its own points."""
    wide, packed = ([point for point in points if point.packed == packed] for packed in (False, True))
    found: dict[str, float] = {}
    for name, own in (("wide", wide or packed), ("packed", packed or wide)):
        if own:
            fields = {point.packed: f"{phase}_{'packed' if point.packed else 'wide'}" for point in own}
            found[f"{phase}_{name}"] = _least(own, lambda share, own=own, fields=fields: replace(start, **dict.fromkeys(fields.values(), share)))
    return replace(start, **found)


def _least(points: Sequence[Point], at: Callable[[float], Efficiency]) -> float:
    return min(SHARES, key=lambda share: _loss(points, at(share)))


def _loss(points: Sequence[Point], efficiency: Efficiency) -> float:
    return statistics.fmean(abs(math.log(point.predicted_s(efficiency) / point.measured_s)) for point in points) if points else 0.0


def fitted() -> dict[tuple[str, str], Efficiency]:
    """The efficiencies of every class and kind of software that has points, from the points for the fit.

    Software without a prompt's point gets the prefill shares of the class's other software.
    """
    for_fit, _ = split(read_points())
    found = {kind: fit([point for point in for_fit if point.kind == kind]) for kind in sorted({point.kind for point in for_fit})}
    with_prompts = {point.kind for point in for_fit if point.phase == "prefill"}
    for kind in found.keys() - with_prompts:
        other = next(found[one] for one in sorted(with_prompts) if one[0] == kind[0])
        found[kind] = replace(found[kind], prefill_wide=other.prefill_wide, prefill_packed=other.prefill_packed)
    return found
