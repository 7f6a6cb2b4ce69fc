"""`auto` at one door: keeps what `planning` decides from, asks it, and learns from how each answer went.

It holds estimates and the last choices, nothing of any request's content; everything in it is bounded.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Mapping, Sequence
from dataclasses import replace

from netgpt.core.value import value
from netgpt.inference.climbing import Climbing
from netgpt.inference.compress import most_left_out
from netgpt.inference.compressing import why_whole
from netgpt.inference.estimates import Estimates, NodeView, Sample
from netgpt.inference.lateness import Lateness
from netgpt.inference.levels import Line
from netgpt.inference.objective import OBJECTIVES, Objective, objective_of
from netgpt.inference.planning import (
    CASCADE,
    COMPRESSED,
    DIRECT,
    WAIT_SHARE,
    WHOLE,
    Candidate,
    Decision,
    Features,
    Limits,
    Prediction,
    Scored,
    Shortened,
    by_cost,
    choose,
    score,
)
from netgpt.inference.policy import NamedPolicy, allowed_by, guided, option_of, situation_before
from netgpt.inference.predicting import candidates, node_wait_s, predict, radio_energy_j
from netgpt.inference.prompt import prompt_length
from netgpt.inference.reading import Read, Reader, read_first, settled
from netgpt.inference.request import COMPRESS_ALWAYS, ChatRequest, CompressWish, Finish
from netgpt.inference.routing import Router
from netgpt.inference.variants import Corrections
from netgpt.models.generation import Timings
from netgpt.models.lengths import Lengths
from netgpt.network.member import Member
from netgpt.node.session import Session

SHORT = 0.1  # one answer in ten is shorter than what a refusal is judged by
PLANS_A_TRY = 8  # at most one request in so many is used to learn of a node
DEVICE = "device"
FAR_WITHIN = 4  # times as long as it was foretold last
KEPT_CHOICES = 64  # kinds of requests whose last choice is remembered
CHOICE_TOKENS = 64  # prompts that differ by less than such a factor-of-two step are of one kind


@value
class Battery:
    """Of the entry node."""

    capacity_j: float
    level: float = 1.0  # share that it began with


class Planner:
    """Chooses for one door."""

    def __init__(
        self,
        entry: str,
        *,
        tier: str = DEVICE,
        battery: Battery | None = None,
        climbing: Climbing | None = None,
        reader: Reader | None = None,
        policy: NamedPolicy | None = None,
    ) -> None:
        """Args:
        entry: the door's own node.
        tier: of it: a device pays for what it asks of others with its radio's energy, and energy is weighed for it and for whoever has a battery.
        battery: None: it runs on mains.
        climbing: what cascades do here; None: this door runs none.
        reader: knows what reading a prompt first tells of who should answer; None: nobody here does.
        policy: chooses in place of J among what keeps the limits; it tries nothing and sticks to nothing unless it wants to.
        """
        self.estimates = Estimates(entry)
        self._entry = entry
        self._mobile = tier == DEVICE
        self._battery = battery
        weighs_energy = self._mobile or battery is not None
        self._weights = {name: one if weighs_energy else replace(one, energy_s_per_j=0.0) for name, one in OBJECTIVES.items()}
        self._spent_j = 0.0
        self._climbing = climbing
        self._reader = reader if policy is None else None  # policies weigh what is known without reading
        self._policy = policy
        self._corrections = Corrections()
        self._lengths = Lengths()
        self._lateness = Lateness()
        self._tokens = Line(8.0, 0.5, 400.0)  # of a prompt, over its characters
        self._last: OrderedDict[tuple[str, str, int], Candidate] = OrderedDict()
        self._since_try = 0
        self._alone: Prediction | None = None  # the last one, where one node was all that could answer

    @property
    def battery(self) -> float | None:
        """The share that is left; None on mains."""
        if self._battery is None:
            return None
        return min(max(self._battery.level - self._spent_j / self._battery.capacity_j, 0.0), 1.0)

    def plan(
        self,
        request: ChatRequest,
        nodes: Sequence[Member],
        running: Mapping[str, int],
        now_s: float,
        *,
        deadline_s: float,
        ahead: Mapping[str, int] | None = None,
    ) -> Decision:
        """Who should answer.

        Args:
            nodes: that may; at least one.
            running: requests of this door, by node.
            deadline_s: seconds from now.
            ahead: how many of the door's own requests must end before it lets another go to a node; those not in it take one at once.

        Raises:
            DeadlineTooShort, NotSupported: nobody keeps the request's limits.
        """
        features, limits = self._features(request, nodes), self._limits(request, deadline_s)
        kind = (request.service, request.privacy, _step(features.prompt_tokens))
        decision = choose(
            self.predictions(request, features, nodes, running, now_s, ahead or {}, limits),
            self.weights(request.service),
            limits,
            previous=self._last.get(kind),
            entry=self._entry,
            may_explore=self._policy is None and self._since_try >= PLANS_A_TRY and kind in self._last,
        )
        decision = self._guided(decision, request, features, nodes, running, now_s)
        self._since_try = 0 if decision.explores else self._since_try + 1
        self._alone = decision.chosen.prediction if len(nodes) == 1 else None
        if not decision.explores:
            self._last[kind] = decision.chosen.prediction.candidate
            self._last.move_to_end(kind)
            if len(self._last) > KEPT_CHOICES:
                self._last.popitem(last=False)
        return decision

    def is_foregone(self, request: ChatRequest, nodes: Sequence[Member], deadline_s: float) -> bool:
        """Whether there is nothing to choose for a request, nor to refuse: one node, as it runs, that answers far within the deadline.

        Then what `plan` says may as well be found out while the node works.
        """
        last, node = self._alone, nodes[0]
        if last is None or last.candidate.nodes != (node.id,) or len(nodes) > 1 or self._policy is not None or (node.offer and node.offer.variants):
            return False
        if request.compress is not None or request.max_cost is not None or request.max_energy_j is not None:
            return False
        longer = max(self._tokens.at(prompt_length(request)) / max(last.prompt_tokens, 1.0), 1.0)
        return FAR_WITHIN * (longer * last.ttft_s + last.token_s * (request.max_tokens or node.context_tokens)) < deadline_s

    def preview(
        self,
        request: ChatRequest,
        nodes: Sequence[Member],
        running: Mapping[str, int],
        now_s: float,
        *,
        deadline_s: float,
        ahead: Mapping[str, int] | None = None,
    ) -> Decision:
        """What `plan` would say now, without a trace of it. Raises what `plan` raises."""
        features, limits = self._features(request, nodes), self._limits(request, deadline_s)
        kind = (request.service, request.privacy, _step(features.prompt_tokens))
        found = self.predictions(request, features, nodes, running, now_s, ahead or {}, limits)
        decision = choose(found, self.weights(request.service), limits, previous=self._last.get(kind), entry=self._entry)
        return self._guided(decision, request, features, nodes, running, now_s)

    def scored(
        self,
        request: ChatRequest,
        nodes: Sequence[Member],
        running: Mapping[str, int],
        now_s: float,
        *,
        deadline_s: float,
        ahead: Mapping[str, int] | None = None,
    ) -> tuple[list[Scored], Limits]:
        """All ways over these nodes, best first, those that break a limit last, and the limits. Nothing is remembered."""
        features, limits = self._features(request, nodes), self._limits(request, deadline_s)
        found = self.predictions(request, features, nodes, running, now_s, ahead or {}, limits)
        return by_cost(score(one, self.weights(request.service), limits) for one in found), limits

    def _guided(
        self, decision: Decision, request: ChatRequest, features: Features, nodes: Sequence[Member], running: Mapping[str, int], now_s: float
    ) -> Decision:
        """The policy's choice, where there is a policy."""
        if self._policy is None:
            return decision
        members = {node.id: node for node in nodes}
        most = max(node.parameters for node in nodes) or 1
        options = []
        for prediction in (scored.prediction for scored in allowed_by(decision)):
            last = members[prediction.candidate.nodes[-1]]
            view = self.estimates.view(last, now_s, own=running.get(last.id, 0))
            options.append(option_of(prediction, view, model=last.model, cost=last.parameters / most))
        situation = situation_before(
            request, prompt_tokens=features.prompt_tokens, answer_tokens=features.answer_tokens, battery=self.battery, options=options
        )
        return guided(decision, self._policy, situation)

    def weights(self, service: str) -> Objective:
        """Of a class of service at this door. What a machine on mains takes shortens nobody's day: it is told, and held to limits."""
        return self._weights[objective_of(service).name]

    def _limits(self, request: ChatRequest, deadline_s: float) -> Limits:
        return Limits(deadline_s=deadline_s, max_cost=request.max_cost, max_energy_j=request.max_energy_j, battery=self.battery)

    def router_for(self, request: ChatRequest, nodes: Sequence[Member]) -> Router | None:
        """What could tell the models of `nodes` apart, by reading the prompt here; None: nothing."""
        if self._reader is None:
            return None
        return self._reader.router_for(request, next((node for node in nodes if node.id == self._entry), None), nodes)

    def settle(self, request: ChatRequest, decision: Decision, read: Read, nodes: Sequence[Member], *, deadline_s: float) -> Decision:
        """Who answers after the prompt was read, or was to be.

        Args:
            decision: to read first.
            deadline_s: from the request's arrival on.
        """
        if self._reader is not None and read.right and (router := self.router_for(request, nodes)) is not None:
            self._reader.learn(router, read.right)
        return settled(decision, read, {node.id: node for node in nodes}, self.weights(request.service), self._limits(request, deadline_s))

    def give_up(self, router: Router) -> None:
        """Read no more prompts for it: it knows other weights."""
        if self._reader is not None:
            self._reader.give_up(router)

    def predictions(
        self,
        request: ChatRequest,
        features: Features,
        nodes: Sequence[Member],
        running: Mapping[str, int],
        now_s: float,
        ahead: Mapping[str, int],
        limits: Limits,
    ) -> list[Prediction]:
        """What each way would take that privacy and the nodes' abilities allow."""
        views = {node.id: self.estimates.view(node, now_s, own=running.get(node.id, 0), ahead=ahead.get(node.id, 0)) for node in nodes}
        views = {name: self._corrections.seen(view, now_s) for name, view in views.items()}
        fidelities = (WHOLE,)
        if request.compress is not None and (shortened := self._shortened(request, request.compress, features, nodes, views)) is not None:
            features = replace(features, shortened=shortened)
            fidelities = (COMPRESSED,) if request.compress.when == COMPRESS_ALWAYS else (WHOLE, COMPRESSED)
        found = self._predicted(features, nodes, views, fidelities)
        found = [one for one in found if _fits(one, nodes)] or found if features.shortened else found
        return found + self._read_first(request, features, nodes, views, found, limits)

    def _read_first(
        self,
        request: ChatRequest,
        features: Features,
        nodes: Sequence[Member],
        views: Mapping[str, NodeView],
        found: Sequence[Prediction],
        limits: Limits,
    ) -> list[Prediction]:
        """The way that has the prompt read before it is decided who answers, where somebody here can read it, and it could make a difference."""
        reader, router = self._reader, self.router_for(request, nodes)
        if reader is None or router is None:
            return []
        members, own = {node.id: node for node in nodes}, views[self._entry]
        work_s = own.pace.prefill_s(features.prompt_tokens) * own.prefill_ratio
        took_s = own.rtt_s + node_wait_s(own, 0.0) + work_s if router.needs_state else 0.0
        energy_j = own.offer.power_w * work_s if router.needs_state else 0.0
        objective, left = self.weights(request.service), _left(limits, took_s, energy_j)
        scored = [score(one, objective, left) for one in found if one.candidate.strategy == DIRECT]
        ways = [one for one in scored if not one.excluded]
        if len({members[way.prediction.candidate.nodes[0]].model for way in ways}) < 2:
            return []
        unknown, outlook = reader.unknown(router), reader.outlook(router)
        return [read_first(ways, members, outlook, objective, entry=own.id, took_s=took_s, energy_j=energy_j, spread=unknown)]

    def _shortened(
        self, request: ChatRequest, wish: CompressWish, features: Features, nodes: Sequence[Member], views: Mapping[str, NodeView]
    ) -> Shortened | None:
        """What leaving out of the prompt would mean; None where it stays whole."""
        if why_whole(request, features.prompt_tokens, wish):
            return None
        left_out = most_left_out(request.messages, wish.rate)
        own = next((node for node in nodes if node.id == self._entry and node.reads), None)
        reading_s = waiting_s = power_w = 0.0
        if own is not None:
            view = views[own.id]
            reading_s, power_w = view.pace.prefill_s(features.prompt_tokens) * view.prefill_ratio, view.offer.power_w
            waiting_s = node_wait_s(view, 0.0)
        return Shortened(
            tokens=features.prompt_tokens * (1 - left_out), left_out=left_out, took_s=waiting_s + reading_s, energy_j=power_w * reading_s
        )

    def _predicted(
        self,
        features: Features,
        nodes: Sequence[Member],
        views: Mapping[str, NodeView],
        fidelities: Sequence[str],
    ) -> list[Prediction]:
        climbing = self._climbing
        if climbing is None:
            return [predict(way, features, views) for way in candidates(list(views.values()), fidelities=fidelities)]
        members = {node.id: node for node in nodes}

        def escalation(lower: str, upper: str, lower_quality: float, upper_quality: float) -> tuple[float, float]:
            return climbing.expect(members[lower], members[upper], lower_quality, upper_quality)

        ways = candidates(list(views.values()), (DIRECT, CASCADE), [node.id for node in nodes if climbing.can_judge_member(node)], fidelities)
        return [predict(way, features, views, escalation=escalation) for way in ways]

    def _features(self, request: ChatRequest, nodes: Sequence[Member]) -> Features:
        prompt_tokens = max(int(self._tokens.at(prompt_length(request))), 1)
        room = max(max(node.context_tokens for node in nodes) - prompt_tokens, 1)
        most = min(request.max_tokens or room, room)
        return Features(
            prompt_tokens=prompt_tokens,
            answer_tokens=self._lengths.mean(request.key, request.model, most),
            short_tokens=self._lengths.quantile(request.key, request.model, most, SHORT),
            mobile=self._mobile,
            rare=self._lateness.rare(),
        )

    def learn(self, request: ChatRequest, session: Session, finish: Finish, nodes: Sequence[Member], now_s: float, shown: bool = True) -> None:
        """Take in how an answer went. One that several nodes made says nothing of any of them but its length.

        Args:
            shown: its tokens were told as they came; else their times say nothing of a node.
        """
        self._lengths.add(request.key, request.model, finish.completion_tokens, cut=finish.reason == "length")
        self._lengths.prepare(request.key, request.model)
        self._tokens.add(prompt_length(request), len(session.prompt_ids))
        if shown and (said := finish.plan.get("chosen")):
            self._lateness.add(said["ttft_s"], finish.time_to_first_token_s, waits=said["held_s"] + said["wait_s"] > WAIT_SHARE * said["ttft_s"])
        member = next((node for node in nodes if len(finish.origin) == 1 and node.id == finish.origin[0].node), None)
        timings = next((piece.timings for piece in reversed(session.accepted) if piece.timings), None)
        if member is None or finish.switches or timings is None or not shown:
            return
        sample = _sample(session, finish, member, timings, now_s)
        variant = session.variants.get(member.id, "")
        running = self.estimates.of(member).load.mean
        self.estimates.answered(member, self._corrections.learn(member, variant, sample, running=running) if variant else sample)
        if self._battery is not None:
            power_w = member.offer.power_w if member.offer else 0.0
            here = member.id == self._entry
            working_s = timings.prefill_s + timings.decode_s
            spent_j = power_w * working_s if here else radio_energy_j(finish.duration_s, sample.sent_bytes, sample.received_bytes)
            self._spent_j += spent_j


def _left(limits: Limits, took_s: float, energy_j: float) -> Limits:
    """What limits leave to an answer after so much."""
    return replace(
        limits,
        deadline_s=None if limits.deadline_s is None else limits.deadline_s - took_s,
        max_energy_j=None if limits.max_energy_j is None else limits.max_energy_j - energy_j,
    )


def _fits(prediction: Prediction, nodes: Sequence[Member]) -> bool:
    """Whether the contexts of all its nodes hold the prompt as it would be asked."""
    return all(node.context_tokens > prediction.prompt_tokens for node in nodes if node.id in prediction.candidate.nodes)


def _step(tokens: int) -> int:
    return (max(tokens, 1) // CHOICE_TOKENS + 1).bit_length()


def _sample(session: Session, finish: Finish, member: Member, timings: Timings, now_s: float) -> Sample:
    sent, received = session.link_bytes.get(member.id, (0, 0))
    asked_s = finish.queue_s - timings.queue_s  # in the door's own queue
    asked_s += finish.compression.took_s if finish.compression else 0.0
    asked_s += finish.plan.get("read", {}).get("took_s", 0.0)
    gaps = finish.completion_tokens - 1
    return Sample(
        at_s=now_s,
        prompt_tokens=finish.prompt_tokens,
        answer_tokens=finish.completion_tokens,
        sent_bytes=sent,
        received_bytes=received,
        first_s=finish.time_to_first_token_s - asked_s,
        queue_s=timings.queue_s,
        prefill_s=timings.prefill_s,
        token_s=(finish.duration_s - finish.time_to_first_token_s) / gaps if gaps > 0 else None,
        cached=finish.cached_tokens,
    )
