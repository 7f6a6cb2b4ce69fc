"""Kinds of traffic: what each is allowed to cost others, and what it may expect.

No 5QI describes tokens, drafts or split activations (TS 22.261 clause 7.10 names AI traffic and gives it no
class), so the mapping below is a default of this project, made of standardised 5QIs. Where two kinds share a
5QI and one should go first, the priority level is set explicitly, as TS 23.501 clause 5.7.3.3 allows.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Literal

from netgpt.core.errors import UsageError
from netgpt.core.spelling import did_you_mean

RlcMode = Literal["am", "um"]


@dataclass(frozen=True, slots=True, kw_only=True)
class FiveQi:
    """One row of TS 23.501 table 5.7.4-1, without what nothing here models: a guaranteed rate, a largest burst."""

    id: int
    priority: int  # a lower level goes first
    delay_budget_s: float  # UE to the core network's user plane, one way
    error_rate: float


FIVE_QI: dict[int, FiveQi] = {
    row.id: row
    for row in (
        FiveQi(id=1, priority=20, delay_budget_s=0.1, error_rate=1e-2),
        FiveQi(id=2, priority=40, delay_budget_s=0.15, error_rate=1e-3),
        FiveQi(id=3, priority=30, delay_budget_s=0.05, error_rate=1e-3),
        FiveQi(id=4, priority=50, delay_budget_s=0.3, error_rate=1e-6),
        FiveQi(id=5, priority=10, delay_budget_s=0.1, error_rate=1e-6),
        FiveQi(id=6, priority=60, delay_budget_s=0.3, error_rate=1e-6),
        FiveQi(id=7, priority=70, delay_budget_s=0.1, error_rate=1e-3),
        FiveQi(id=8, priority=80, delay_budget_s=0.3, error_rate=1e-6),
        FiveQi(id=9, priority=90, delay_budget_s=0.3, error_rate=1e-6),
        FiveQi(id=65, priority=7, delay_budget_s=0.075, error_rate=1e-2),
        FiveQi(id=66, priority=20, delay_budget_s=0.1, error_rate=1e-2),
        FiveQi(id=67, priority=15, delay_budget_s=0.1, error_rate=1e-3),
        FiveQi(id=69, priority=5, delay_budget_s=0.06, error_rate=1e-6),
        FiveQi(id=70, priority=55, delay_budget_s=0.2, error_rate=1e-6),
        FiveQi(id=79, priority=65, delay_budget_s=0.05, error_rate=1e-2),
        FiveQi(id=80, priority=68, delay_budget_s=0.01, error_rate=1e-6),
        FiveQi(id=82, priority=19, delay_budget_s=0.01, error_rate=1e-4),
        FiveQi(id=83, priority=22, delay_budget_s=0.01, error_rate=1e-4),
        FiveQi(id=84, priority=24, delay_budget_s=0.03, error_rate=1e-5),
        FiveQi(id=85, priority=21, delay_budget_s=0.005, error_rate=1e-5),
        FiveQi(id=86, priority=18, delay_budget_s=0.005, error_rate=1e-4),
        FiveQi(id=87, priority=25, delay_budget_s=0.005, error_rate=1e-3),
        FiveQi(id=88, priority=25, delay_budget_s=0.01, error_rate=1e-3),
        FiveQi(id=89, priority=25, delay_budget_s=0.015, error_rate=1e-4),
        FiveQi(id=90, priority=25, delay_budget_s=0.02, error_rate=1e-4),
    )
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Flow:
    """A kind of traffic, as the cell treats it."""

    name: str
    five_qi: int
    priority: int
    delay_budget_s: float
    error_rate: float
    rlc: RlcMode  # of its datagrams: "um" may lose them. What is sent reliably is always acknowledged ("am")
    summary: str


def _flow(name: str, five_qi: int, rlc: RlcMode, summary: str, *, priority: int = 0) -> Flow:
    row = FIVE_QI[five_qi]
    return Flow(
        name=name,
        five_qi=five_qi,
        priority=priority or row.priority,
        delay_budget_s=row.delay_budget_s,
        error_rate=row.error_rate,
        rlc=rlc,
        summary=summary,
    )


FLOWS: dict[str, Flow] = {
    flow.name: flow
    for flow in (
        _flow("heartbeat", 5, "um", "a node is alive; signalling, as IMS's"),
        _flow("verdict", 82, "um", "which draft tokens hold: some ids, a burst far under 5QI 82's 255 bytes"),
        _flow("draft", 83, "um", "draft tokens of one round: ids and probabilities, 5QI 83's 1,354 bytes hold them"),
        _flow("interactive-token", 80, "am", "tokens for a user of the class `interactive`; before those of others", priority=66),
        _flow("interactive-prompt", 80, "am", "what such a user asks", priority=67),
        _flow("token", 80, "am", "tokens on their way to a reader"),
        _flow("activation", 80, "um", "hidden states between spans of layers; after tokens", priority=69),
        _flow("prompt", 7, "am", "what a user asks"),
        _flow("kv", 8, "am", "a session's keys and values that move to another node"),
        _flow("update", 9, "am", "an update of a federated round"),
        _flow("model", 9, "am", "a model or an adapter that is downloaded"),
        _flow("background", 9, "am", "everything else"),
    )
}


INTERACTIVE = {"token": "interactive-token", "prompt": "interactive-prompt"}


def flows_with(five_qi: Mapping[str, int]) -> dict[str, Flow]:
    """Flows that take another 5QI than their own, by name. What an interactive user says stays one level before the same of others.

    Raises:
        UsageError: unknown name.
        KeyError: unknown 5QI.
    """
    found = {name: _with_five_qi(flow_named(name), FIVE_QI[row]) for name, row in five_qi.items()}
    for kind, interactive in INTERACTIVE.items():
        if kind in found and interactive not in found:
            found[interactive] = replace(found[kind], name=interactive, priority=found[kind].priority - 1)
    return found


def _with_five_qi(flow: Flow, row: FiveQi) -> Flow:
    return replace(flow, five_qi=row.id, priority=row.priority, delay_budget_s=row.delay_budget_s, error_rate=row.error_rate)


def flow_named(name: str) -> Flow:
    """The kind of traffic of that name.

    Raises:
        UsageError: unknown name.
    """
    if name not in FLOWS:
        raise UsageError(f"unknown flow {name!r}", hint=did_you_mean(name, FLOWS))
    return FLOWS[name]


def flow_without_qos(name: str) -> Flow:
    """The same traffic on the default bearer: 5QI 9, first come first served, whatever it is.

    Raises:
        UsageError: unknown name.
    """
    flow, row = flow_named(name), FIVE_QI[9]
    return _flow(flow.name, row.id, flow.rlc, flow.summary)
