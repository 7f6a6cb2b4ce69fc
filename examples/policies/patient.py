"""`patient`: an answer is worth how probably it is right, less what waiting, energy and calls for it cost.

It decides from what is on the option alone, so that one rule serves before an answer (which node?) and after one (keep it?). An answer
that is there has cost already; how sure its words were counts as much as what their calibration says, since within one kind of task plain
likelihood tells right from wrong about as well, and models of strangers have no calibration at all.
"""

import math

from netgpt.inference.policy import Option, Situation

PATIENCE_S = {"interactive": 10.0, "batch": 300.0, "critical": 30.0}  # for so long one waits for a certainly right answer, and no longer
DRAIN_J = 100.0  # so much energy one spends for a certainly right answer, on a full battery
CALL = 0.05  # what a call of the largest model must gain
LEAST_BATTERY = 0.1


class Patient:
    """Trades rightness for time, battery and calls; on mains energy is free."""

    def weigh(self, situation: Situation) -> list[float]:
        return [self._worth(option, situation) for option in situation.options]

    def _worth(self, option: Option, situation: Situation) -> float:
        right = self._right(option, situation)
        waiting = option.total_s / PATIENCE_S.get(situation.service, PATIENCE_S["interactive"])
        drain = 0.0 if situation.battery is None else option.energy_j / DRAIN_J / max(situation.battery, LEAST_BATTERY)
        return right - waiting - drain - CALL * option.cost

    def _right(self, option: Option, situation: Situation) -> float:
        if option.strategy != "keep" or "mean_logprob" not in situation.confidence:
            return option.quality
        return (option.quality + math.exp(situation.confidence["mean_logprob"])) / 2
