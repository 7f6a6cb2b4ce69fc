"""Judges answers at a door: calibrated evidence, a price, and what has drifted since. It remembers outcomes, never content."""

from __future__ import annotations

from collections.abc import Sequence

from netgpt.inference.climbing import expected
from netgpt.inference.confidence import Calibrations, Evidence, Judgement, Scene
from netgpt.inference.escalation import Choice, Drift, choose_next, sure_tokens
from netgpt.network.member import Member
from netgpt.node.handle import NodeHandle
from netgpt.telemetry.metrics import Metrics

LOGPROBS = "logprobs"


class Judge:
    """A `cascade.Policy` over calibrations.

    Where the same pair of models disagrees more or less often than its calibration foretold, the smaller one's probabilities are moved by
    what was seen (`escalation.Drift`). Only escalated answers give labels, so that what is learnt is about those.
    """

    def __init__(self, calibrations: Calibrations, *, price: float | None = None, metrics: Metrics | None = None) -> None:
        """Args:
        price: accuracy that a call of the largest model must gain; None: the calibrations' own.
        metrics: where drift is shown.
        """
        self._metrics = metrics
        self._calibrations = calibrations
        self._price = calibrations.price if price is None else price
        self.drifts: dict[tuple[str, str], Drift] = {}  # (smaller model, larger model)

    def can_judge(self, node: NodeHandle) -> bool:
        return self.can_judge_member(node.member)

    def can_judge_member(self, member: Member) -> bool:
        return member.model in self._calibrations.models and LOGPROBS not in member.lacks

    def expect(self, lower: Member, upper: Member, lower_quality: float, upper_quality: float) -> tuple[float, float]:
        """A `climbing.Climbing`. Of a larger model that no calibration knows the best is expected, as when it is asked."""
        known = self._calibrations.models[lower.model]
        other = known.others[upper.model].pools if upper.model in known.others else ((1.0, 1),)
        return expected(known.right.pools, other, self._price, self._shift(lower.model), lower_quality, upper_quality)

    def _shift(self, model: str) -> float:
        return max((self.drifts[pair].shift for pair in self.drifts if pair[0] == model), key=abs, default=0.0)

    def needs_state(self, model: str) -> bool:
        return self._calibrations.models[model].needs_state

    def judgement(self, model: str, evidence: Evidence, scene: Scene | None = None) -> Judgement:
        """What the calibration says, without drift."""
        return self._calibrations.models[model].judge(evidence, scene)

    def next_after(self, model: str, evidence: Evidence | None, larger: Sequence[NodeHandle], scene: Scene | None = None) -> Choice:
        """Keep an answer, or ask one of `larger`. Without evidence the next larger one is asked."""
        if not larger:
            return Choice(model="", gain=0.0)
        if evidence is None:
            return Choice(model=larger[0].member.model, gain=0.0)
        most = max(node.member.parameters for node in larger)
        costs = {node.member.model: node.member.parameters / most if most else 1.0 for node in larger}
        return choose_next(self.judgement(model, evidence, scene), costs, self._price, shift=self._shift(model))

    def sure_tokens(self, evidence: Evidence) -> int:
        return sure_tokens(evidence)

    def learn(self, evidence: Evidence | None, smaller: NodeHandle, larger: NodeHandle, *, agreed: bool) -> None:
        pair = (smaller.member.model, larger.member.model)
        if evidence is None or (expected := self.judgement(pair[0], evidence).agrees.get(pair[1])) is None:
            return
        drift = self.drifts.setdefault(pair, Drift())
        drift.see(expected, agreed)
        if self._metrics is not None:
            self._metrics.calibration_shift.labels(*pair).set(drift.shift)
            self._metrics.calibration_alarm.labels(*pair).set(float(drift.alarm))
