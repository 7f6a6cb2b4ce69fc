"""Who should answer this request, and how: the choice among the ways to answer it. Pure.

A `Candidate` is a strategy with its nodes, of which `predicting.predict` says what it would take; `choose` takes the one that costs least
(`objective.cost_s`) among those that keep the limits, stays with the last choice unless another is clearly better, and now and then tries
one of which too little is known. No clock, no node and no text here.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence

from netgpt.core.errors import DeadlineTooShort, NotSupported
from netgpt.core.value import value
from netgpt.inference.objective import Objective, cost_s

DIRECT, CASCADE, ROUTE = "direct", "cascade", "route"
WHOLE, COMPRESSED = "whole", "compressed"  # the prompt as it is, or without what tells least
WAIT_SHARE = 0.1  # of a first token's time
AS_TOLD = (1.0, 1.0)
HYSTERESIS = 0.03  # what another choice must save to be taken


@value
class Candidate:
    """One way to answer."""

    strategy: str
    nodes: tuple[str, ...]  # in the order in which they are asked; of a route first who reads the prompt, then who else may answer
    variants: tuple[str, ...] = ()  # of the model at each of them, empty: as it runs there; none: all as they run there
    fidelity: str = WHOLE

    def __str__(self) -> str:
        way = (" | " if self.strategy == ROUTE else " > ").join(self.places)
        return (way if self.strategy == DIRECT else f"{self.strategy} {way}") + (f", {self.fidelity}" if self.fidelity != WHOLE else "")

    @property
    def places(self) -> tuple[str, ...]:
        """Nodes with their variants, for people."""
        return tuple(f"{node}@{variant}" if variant else node for node, variant in self.variant_of.items())

    @property
    def variant_of(self) -> dict[str, str]:
        """By node, in the order in which they are asked."""
        return dict(zip(self.nodes, self.variants or ("",) * len(self.nodes), strict=True))


@value
class Shortened:
    """What leaving out of the prompt would mean."""

    tokens: float  # that stay
    left_out: float  # share
    took_s: float  # of the entry node, before anybody is asked
    energy_j: float  # of it


@value
class Features:
    """What is known of a request before it is answered: sizes, no content."""

    prompt_tokens: int
    answer_tokens: float  # expected
    short_tokens: float  # so short one answer in ten is
    shortened: Shortened | None = None  # None: the prompt stays whole
    rare: tuple[float, float] = AS_TOLD  # of this door: `lateness.Lateness.rare`
    mobile: bool = True  # the entry node is a device: what it asks of others goes over its radio


@value
class Prediction:
    """What a candidate would take."""

    candidate: Candidate
    ttft_s: float
    token_s: float
    total_s: float
    answer_tokens: float
    up_bytes: float
    down_bytes: float
    token_bytes: float  # that one token more would bring
    energy_j: float  # of the entry node
    cost: float  # in the unit of the nodes' prices
    quality: float
    spread: float  # share: how far off the times may be
    held_s: float  # how much of it the door itself holds the request back,
    wait_s: float  # and how much it waits for others there
    fastest_s: float  # the whole answer, if all goes well
    sources: Mapping[str, str]  # where each figure comes from
    guessed: bool = False  # some node's pace is neither told nor learnt
    prompt_tokens: float = 0.0  # as it is asked
    read_s: float = 0.0  # how much of it the entry node reads the prompt, to tell who is to answer
    rare: tuple[float, float] = AS_TOLD

    @property
    def waits(self) -> bool:
        """Whether the first token is told to wait for others: chance has more of a say then."""
        return self.held_s + self.wait_s > WAIT_SHARE * self.ttft_s

    @property
    def ttft_p95_s(self) -> float:
        """So late the first token comes one time in twenty, from what this door told lately."""
        return self.ttft_s * self.rare[self.waits]


@value
class Scored:
    """A prediction and what it costs."""

    prediction: Prediction
    cost_s: float  # J
    excluded: str = ""  # which limit it breaks; empty: none


@value
class Limits:
    """What a request may take."""

    deadline_s: float | None = None
    max_cost: float | None = None
    max_energy_j: float | None = None
    battery: float | None = None  # share that the entry node has left; None: it has no battery
    reserve: float = 0.05  # share of the battery that is kept: below it the entry node computes only if nobody else can


@value
class Decision:
    """A choice, and why."""

    chosen: Scored
    ranked: tuple[Scored, ...]  # all candidates, best first; those that break a limit last
    why: str
    explores: bool = False

    @property
    def runner_up(self) -> Scored | None:
        return next((one for one in self.ranked if one.prediction.candidate != self.chosen.prediction.candidate and not one.excluded), None)


def score(prediction: Prediction, objective: Objective, limits: Limits) -> Scored:
    """J of a prediction, and which limit it breaks."""
    j_s = cost_s(
        objective,
        ttft_s=prediction.ttft_s,
        total_s=prediction.total_s,
        payload_bytes=prediction.up_bytes + prediction.down_bytes,
        energy_j=prediction.energy_j,
        quality=prediction.quality,
        battery=limits.battery,
    )
    return Scored(prediction=prediction, cost_s=j_s, excluded=_broken(prediction, limits))


def by_cost(scored: Iterable[Scored]) -> list[Scored]:
    """Best first, those that break a limit last."""
    return sorted(scored, key=lambda one: (bool(one.excluded), one.cost_s))


def _broken(prediction: Prediction, limits: Limits) -> str:
    if limits.max_cost is not None and prediction.cost > limits.max_cost:
        return f"costs {prediction.cost:.3g}, above max_cost {limits.max_cost:g}"
    if limits.max_energy_j is not None and prediction.energy_j > limits.max_energy_j:
        return f"takes {prediction.energy_j:.3g} J, above max_energy_j {limits.max_energy_j:g}"
    if limits.deadline_s is not None and prediction.total_s > limits.deadline_s:
        return f"takes {prediction.total_s:.3g} s, beyond the deadline of {limits.deadline_s:g} s"
    return ""


def choose(
    predictions: Sequence[Prediction],
    objective: Objective,
    limits: Limits,
    *,
    previous: Candidate | None = None,
    entry: str = "",
    may_explore: bool = False,
) -> Decision:
    """The candidate that costs least within the limits.

    Args:
        previous: the last choice for such requests; it is kept unless another saves more than `HYSTERESIS`.
        entry: the door's own node: with its battery at the reserve it computes only if nobody else can.
        may_explore: whether a candidate may be taken because it might be better than what is known of it.

    Raises:
        DeadlineTooShort, NotSupported: none keeps the limits; the hint has the nearest one.
    """
    scored = by_cost(score(one, objective, limits) for one in predictions)
    kept = [one for one in _spare_battery(scored, limits, entry) if not one.excluded] or [_last_resort(scored, limits)]
    best = kept[0]
    if may_explore and (bold := _worth_a_try(kept)) is not None:
        return Decision(chosen=bold, ranked=tuple(scored), why=why_chosen(bold, best, "might be better and little is known of it"), explores=True)
    held = next((one for one in kept if one.prediction.candidate == previous), None)
    if held is not None and held is not best and best.cost_s > held.cost_s * (1 - HYSTERESIS):
        return Decision(chosen=held, ranked=tuple(scored), why=why_chosen(held, best, "was chosen last and nothing is clearly better"))
    second = next((one for one in kept if one is not best), None)
    return Decision(chosen=best, ranked=tuple(scored), why=why_chosen(best, second, _only(scored) if second is None else "costs least"))


def _spare_battery(scored: Sequence[Scored], limits: Limits, entry: str) -> Sequence[Scored]:
    if limits.battery is None or limits.battery > limits.reserve:
        return scored
    others = [one for one in scored if entry not in one.prediction.candidate.nodes and not one.excluded]
    return others or scored


def _worth_a_try(kept: Sequence[Scored]) -> Scored | None:
    """The candidate that would be the best if its times were as far off as they may be, unless that is the best anyway."""

    def hopeful_s(one: Scored) -> float:
        return one.cost_s - one.prediction.spread * one.prediction.total_s / 2

    best = kept[0]
    bold = min(kept, key=hopeful_s)
    worse = bold.cost_s / best.cost_s if best.cost_s > 0 else 2.0
    return bold if bold is not best and bold.prediction.spread > best.prediction.spread and worse < 1.3 else None


def _last_resort(scored: Sequence[Scored], limits: Limits) -> Scored:
    """What might keep the limits if all goes well, or whose times nobody knows; else the refusal."""
    hopeful = [one for one in scored if one.excluded and might_keep(one, limits)]
    if hopeful:
        return min(hopeful, key=lambda one: one.prediction.total_s)
    raise refusal(scored)


def might_keep(one: Scored, limits: Limits) -> bool:
    """Whether a way keeps the limits as far as anybody knows: it does, or it misses the deadline alone and might keep it if all goes well."""
    late = limits.deadline_s is not None and "deadline" in one.excluded
    return not one.excluded or (late and (one.prediction.guessed or one.prediction.fastest_s <= (limits.deadline_s or 0.0)))


def refusal(scored: Sequence[Scored]) -> DeadlineTooShort | NotSupported:
    """Of a request of which none of these ways keeps the limits: it names the nearest."""
    late = [one for one in scored if "deadline" in one.excluded]
    if late:
        nearest = min(late, key=lambda one: one.prediction.total_s)
        total_s = nearest.prediction.total_s
        message = f"nothing answers in time: {nearest.prediction.candidate} would take {total_s:.3g} s, the least of all"
        return DeadlineTooShort(message, hint=f"raise deadline_s to {1.2 * total_s:.2g}, or lower max_tokens", param="deadline_s")
    dear = [one for one in scored if "max_cost" in one.excluded]
    param = "max_cost" if dear else "max_energy_j"
    nearest = min(dear or scored, key=lambda one: one.prediction.cost if dear else one.prediction.energy_j)
    least = nearest.prediction.cost if dear else nearest.prediction.energy_j
    message = f"nothing keeps {param}: {nearest.prediction.candidate} {nearest.excluded}, the least of all"
    return NotSupported(message, hint=f"raise {param} to {least * 1.1:.3g}", param=param)


def _only(scored: Sequence[Scored]) -> str:
    return "is the only one that can answer" if len(scored) == 1 else "is the only one that keeps the limits"


def why_chosen(chosen: Scored, other: Scored | None, why: str) -> str:
    """A choice for people, with what it costs beside another."""
    of = chosen.prediction
    text = f"{of.candidate} {why}: first token in {of.ttft_s:.2g} s, {of.total_s:.2g} s in all, J {chosen.cost_s:.3g} s"
    return text if other is None else f"{text}, against {other.cost_s:.3g} s of {other.prediction.candidate}"
