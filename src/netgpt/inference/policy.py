"""Policies of other packages: who answers a request, decided from what a door knows. Entry points `netgpt.policies`.

A policy weighs options: it gives each a number, and the highest is taken. It is asked before anything runs, when every option is a way to
answer, and, by `netgpt bench choose`, once an answer is there, when the first option keeps that. What is true (whether an answer is right, what
another model would say, what a way really takes) it never sees. It decides and acts on nothing: no clock, no node, no network.

A policy that fails costs no request its answer: NetGPT's own choice stands, and `why` says so.
"""

from __future__ import annotations

import importlib
import math
import sys
from collections.abc import Mapping, Sequence
from importlib.metadata import entry_points
from pathlib import Path
from typing import Any, Protocol, runtime_checkable

from netgpt.core.errors import UsageError
from netgpt.core.spelling import did_you_mean
from netgpt.core.value import value
from netgpt.inference.estimates import NodeView
from netgpt.inference.planning import Decision, Prediction, Scored
from netgpt.inference.request import ChatRequest

GROUP = "netgpt.policies"
FAILED = "so that NetGPT chose"  # in `why` where a policy failed


@value
class Option:
    """One way on. Figures are predictions from here on: of an answer that is there already they are 0."""

    nodes: tuple[str, ...]  # in the order in which they are asked
    model: str  # of the last of them
    tier: str
    strategy: str  # "direct", "cascade"; "keep": the answer that is there
    quality: float  # the chance that its answer is right, as far as is known: the model's own share, or calibrated on the answer that is there
    cost: float  # of the call, as a share of the largest model's
    ttft_s: float
    total_s: float
    energy_j: float  # of the entry node
    payload_bytes: float  # both ways
    rtt_s: float  # to the last node, as seen lately
    up_bps: float  # of the way there; 0: not known
    running: float  # requests at the last node lately, on average


@value
class Situation:
    """What a policy is asked about."""

    messages: tuple[tuple[str, str], ...]  # (role, content); empty for a raw prompt
    prompt_tokens: int
    answer_tokens: float  # expected
    service: str  # class of service: `objective.SERVICES`
    battery: float | None  # share that the entry node has left; None: it runs on mains
    answered: str  # the model whose answer is there; empty: none yet
    confidence: Mapping[str, float]  # of that answer, by `confidence.FEATURES`; empty: none yet
    options: tuple[Option, ...]  # at least one


@runtime_checkable
class Policy(Protocol):
    """What an outside package supplies."""

    def weigh(self, situation: Situation) -> Sequence[float]:
        """A number for each of `situation.options`, in their order; the highest is taken, of equal ones the first.

        It runs in the door's loop for every request: a pure function of some microseconds.
        """
        ...


class PolicyFailed(Exception):
    """A policy raised, or gave something else than a number for each option. The text names it."""


class NamedPolicy:
    """A policy under the name by which it was asked for; what it says is checked."""

    def __init__(self, name: str, policy: Policy) -> None:
        self.name = name
        self._policy = policy

    def source(self) -> str:
        """The text of the module that its class is from; empty where there is no file."""
        file = getattr(sys.modules.get(type(self._policy).__module__), "__file__", None)
        return Path(file).read_text(encoding="utf-8") if file else ""

    def weigh(self, situation: Situation) -> list[float]:
        """The policy's numbers, finite, one for each option. Raises PolicyFailed."""
        try:
            found = [float(worth) for worth in self._policy.weigh(situation)]
        except Exception as error:  # whatever foreign code raises
            raise PolicyFailed(f"policy {self.name!r} failed ({type(error).__name__}: {error})") from error
        if len(found) != len(situation.options) or not all(map(math.isfinite, found)):
            raise PolicyFailed(f"policy {self.name!r} gave {found} for {len(situation.options)} options")
        return found


def policy_named(name: str) -> NamedPolicy:
    """A policy by the name that an installed package offers it under, or as MODULE:NAME.

    It may be an object with `weigh`, or a class of such that is made without arguments.

    Raises:
        UsageError: there is none of that name, it cannot be loaded, or it is no policy.
    """
    try:
        made = _load(name)
        policy = made() if isinstance(made, type) else made
    except UsageError:
        raise
    except Exception as error:  # whatever a foreign module raises
        raise _refusal(f"policy {name!r} cannot be loaded ({type(error).__name__}: {error})") from error
    if not isinstance(policy, Policy):
        raise _refusal(f"policy {name!r} is no policy: it has no method 'weigh'")
    return NamedPolicy(name, policy)


def _load(name: str) -> Any:
    if ":" in name:
        module, _, attribute = name.partition(":")
        return getattr(importlib.import_module(module), attribute)
    offered = {entry.name: entry for entry in entry_points(group=GROUP)}
    if name not in offered:
        hint = f"{did_you_mean(name, offered)}; or give MODULE:NAME" if offered else "no installed package offers one: give MODULE:NAME"
        raise UsageError(f"unknown policy {name!r}", hint=hint, param="policy")
    return offered[name].load()


def _refusal(message: str) -> UsageError:
    return UsageError(message, hint="name one that an installed package offers, or MODULE:NAME of something with weigh(situation)", param="policy")


def check_policy(name: str) -> None:
    """Refuse a policy that cannot be loaded, before anything starts: doors would go on without it. Raises UsageError; "" is none."""
    if name:
        policy_named(name)


class _Absent:
    """Stands for a policy that is not there: a door that was started with one goes on without it, and says so."""

    def __init__(self, reason: str) -> None:
        self._reason = reason

    def weigh(self, situation: Situation) -> Sequence[float]:
        raise LookupError(self._reason)


def policy_or_none(name: str) -> NamedPolicy | None:
    """As `policy_named`, for a process that must come up: one that cannot be loaded fails at every request. None for an empty name."""
    if not name:
        return None
    try:
        return policy_named(name)
    except UsageError as error:
        return NamedPolicy(name, _Absent(error.message))


# ---- before an answer: the planner's candidates


def option_of(prediction: Prediction, view: NodeView, *, model: str, cost: float) -> Option:
    """A candidate as a policy sees it.

    Args:
        view: of its last node.
        cost: as a share of the largest model's.
    """
    return Option(
        nodes=prediction.candidate.nodes,
        model=model,
        tier=view.tier,
        strategy=prediction.candidate.strategy,
        quality=prediction.quality,
        cost=cost,
        ttft_s=prediction.ttft_s,
        total_s=prediction.total_s,
        energy_j=prediction.energy_j,
        payload_bytes=prediction.up_bytes + prediction.down_bytes,
        rtt_s=view.rtt_s,
        up_bps=8 / view.byte_s if view.byte_s > 0 else 0.0,
        running=view.running,
    )


def situation_before(
    request: ChatRequest, *, prompt_tokens: int, answer_tokens: float, battery: float | None, options: Sequence[Option]
) -> Situation:
    """Of a request of which nothing has been answered."""
    return Situation(
        messages=request.messages,
        prompt_tokens=prompt_tokens,
        answer_tokens=answer_tokens,
        service=request.service,
        battery=battery,
        answered="",
        confidence={},
        options=tuple(options),
    )


def guided(decision: Decision, policy: NamedPolicy, situation: Situation) -> Decision:
    """The policy's choice among candidates that keep the limits; NetGPT's own, with the reason, if the policy fails.

    Args:
        decision: NetGPT's own choice.
        situation: its options are those of `allowed_by(decision)`, in their order.
    """
    allowed = allowed_by(decision)
    try:
        worths = policy.weigh(situation)
    except PolicyFailed as error:
        return Decision(chosen=decision.chosen, ranked=decision.ranked, why=f"{error}, {FAILED}: {decision.why}")
    ranked = sorted(zip(worths, allowed, strict=True), key=lambda pair: -pair[0])
    return Decision(chosen=ranked[0][1], ranked=decision.ranked, why=_told(policy.name, ranked))


def allowed_by(decision: Decision) -> list[Scored]:
    """What a policy may choose among: every candidate that breaks no limit; if there is none, NetGPT's own choice alone."""
    return [one for one in decision.ranked if not one.excluded] or [decision.chosen]


def _told(name: str, ranked: Sequence[tuple[float, Scored]]) -> str:
    worth, scored = ranked[0]
    of = scored.prediction
    text = f"{of.candidate} is policy {name!r}'s choice, worth {worth:.3g}"
    text += f" against {ranked[1][0]:.3g} of {ranked[1][1].prediction.candidate}" if len(ranked) > 1 else ", the only one that keeps the limits"
    return f"{text}: first token in {of.ttft_s:.2g} s, {of.total_s:.2g} s in all"
