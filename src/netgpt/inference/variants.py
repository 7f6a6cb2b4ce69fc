"""What a door has learnt of the pace of models in other precisions than their own: factors on what nodes say, as of the nodes themselves."""

from __future__ import annotations

from collections import OrderedDict
from dataclasses import replace

from netgpt.inference.estimates import ASSUMED_PACE, NO_OFFER, TOLD_SPREAD, Correction, NodeView, Sample, token_time_s
from netgpt.inference.levels import Level
from netgpt.network.member import Member
from netgpt.network.offer import Pace

KEPT = 256  # variants of nodes that are remembered


class Corrections:
    """Of all variants that a door has asked for."""

    def __init__(self) -> None:
        self._known: OrderedDict[tuple[str, str], tuple[Level, Level]] = OrderedDict()  # of (node, variant): prefill, step

    def learn(self, member: Member, variant: str, sample: Sample, *, running: float) -> Sample:
        """Take in an answer of that variant.

        Args:
            running: requests that were there lately, on average.

        Returns:
            What the answer says of the node beside its pace.
        """
        prefill, step = self._known.setdefault((member.id, variant), (Level(1.0, TOLD_SPREAD), Level(1.0, TOLD_SPREAD)))
        self._known.move_to_end((member.id, variant))
        if len(self._known) > KEPT:
            self._known.popitem(last=False)
        pace = pace_of_variant(member, variant)
        if sample.prefill_s > 0 and not sample.cached and sample.prompt_tokens:
            prefill.add(sample.prefill_s / pace.prefill_s(sample.prompt_tokens), sample.at_s)
        if sample.token_s is not None:
            told_s = token_time_s(pace, running, sample.prompt_tokens + sample.answer_tokens / 2)
            step.add(max(sample.token_s / told_s, 1e-3), sample.at_s)
        return replace(sample, first_s=sample.first_s - sample.prefill_s, prefill_s=0.0, token_s=None)

    def seen(self, view: NodeView, now_s: float) -> NodeView:
        """The view of a node with what is known of its variants.

        What such a node has measured of its own steps may be of any of them: until one has answered here, its pace is taken as told.
        """
        if view.offer.variants and view.pace_from != "learnt":
            view = replace(view, prefill_ratio=1.0, step_ratio=1.0)
        found: dict[str, Correction] = {}
        for variant in view.offer.variants:
            prefill, step = self._known.get((view.id, variant.name), (None, None))
            if prefill is not None and step is not None and prefill.count and step.count:
                spread = max(prefill.spread(now_s), step.spread(now_s))
                found[variant.name] = Correction(prefill=prefill.value, step=step.value, spread=spread)
        return replace(view, corrections=found) if found else view


def pace_of_variant(member: Member, name: str) -> Pace:
    """What the node says of its model in that precision; else of the model as it runs; else what is assumed."""
    offer = member.offer or NO_OFFER
    told = next((variant.pace for variant in offer.variants if variant.name == name), None)
    return told or offer.pace or ASSUMED_PACE
