"""What a door has learnt of each node: the way to it, its pace, its queue, what crosses. From its own calls and what nodes report.

A sample is one answer of a node (its times, as the node told them and as the door saw them) or one probe. Between samples there are the
reports that come with the members: some 0.2 to 0.6 s old. Nothing here asks anybody, and nothing knows what is true.
"""

from __future__ import annotations

import math
from collections import OrderedDict, deque
from collections.abc import Mapping
from dataclasses import field

from netgpt.core.value import value
from netgpt.inference.levels import Fading, Level, Line
from netgpt.models.generation import Load
from netgpt.models.quality import assumed_quality
from netgpt.network.member import Member
from netgpt.network.offer import Offer, Pace

NODES = 256  # that are remembered; who was not asked for longest is forgotten
ASSUMED_PACE = Pace(layers_s=0.0005, read_s=0.02)  # of a node that does not say: 2,000 tokens/s of prompt, 50 of answer
ASSUMED_SPREAD, TOLD_SPREAD = 0.9, 0.3
RTT_S, OWN_RTT_S, RTT_SPREAD = 0.03, 0.001, 1.0  # before anything is known
BYTE_S, BYTE_SPREAD = 8 / 20e6, 1.0
QUEUE_MEMORY_S, LOAD_MEMORY_S = 3.0, 1.5
OTHERS_PROMPT, OTHERS_ANSWER = 200, 32  # tokens of what others ask, of which a door knows only the number
MOST_UTILISATION = 0.9
LONGEST_STALL = 3.0
PATIENCE, GRACE_S = 1.5, 0.1  # beyond so many times what was expected, and this, a call is overdue
OUTLOOK_S = 1.0  # so long what a node said of its slots is believed
RATE_STALE_S = 2.0
UNUSUAL, UNUSUAL_S = 0.25, 0.002
CALLS = 64  # of this door's own that are remembered until a node has told of them
NO_OFFER = Offer()


@value
class Sample:
    """One answer of one node, as the door has seen it."""

    at_s: float
    prompt_tokens: int
    answer_tokens: int
    sent_bytes: int
    received_bytes: int
    first_s: float  # from asking the node to its first token
    queue_s: float  # as the node says
    prefill_s: float
    token_s: float | None  # mean between tokens; None of a single token
    cached: int = 0


@value
class Correction:
    """Of a variant of a node's model: what its work takes, as a share of what its pace says."""

    prefill: float
    step: float
    spread: float  # how far off they may be


@value
class NodeView:
    """What is known of a node at one instant: all that a prediction reads."""

    id: str
    tier: str
    is_entry: bool
    rtt_s: float
    byte_s: float  # seconds for each byte of a request
    pace: Pace
    prefill_ratio: float  # of what the pace says
    step_ratio: float
    running: float  # lately, on average
    full: float  # requests ahead of the next one that hold it up for want of slots
    free_s: tuple[float, ...]  # when each slot could begin with a prompt, from now, as the node says; empty: it did not, lately
    held_s: float  # how long the door itself will hold the next request back
    late_s: float  # how long something asked of it is overdue: it takes at least so much longer
    slots: int
    queue_s: float  # waits of late, of answers that had a slot
    queue_trust: float  # how recent they are, 0 to 1
    up: Line
    down: Line
    offer: Offer
    quality: float
    quality_from: str
    pace_from: str  # "told", "learnt" or "assumed"
    way_from: str
    network_spread: float  # shares: how far off the times may be
    pace_spread: float
    seen: int  # answers and probes
    corrections: Mapping[str, Correction] = field(default_factory=dict)  # of variants that have answered


class NodeEstimates:
    """One node."""

    def __init__(self, *, is_entry: bool, told: bool) -> None:
        self.rtt = Level(OWN_RTT_S if is_entry else RTT_S, RTT_SPREAD)
        self.byte = Level(0.0 if is_entry else BYTE_S, BYTE_SPREAD)
        spread = TOLD_SPREAD if told else ASSUMED_SPREAD
        self.prefill = Level(1.0, spread)
        self.step = Level(1.0, spread)
        self.queue = Level(0.0, 1.0)
        self.load = Fading(LOAD_MEMORY_S)
        self.newest_load_s = -1.0  # when the newest report came
        self.report: Member | None = None  # that the load was taken from
        self.others = 0  # requests of others that were there then
        self.own_then = 0  # and of this door
        self.free_s: tuple[float, ...] = ()  # as the node said,
        self.free_at_s = -math.inf  # and when
        self.step_s = self.prompt_token_s = self.prompt_tokens = 0.0  # as the node measured
        self.sent: deque[tuple[float, float]] = deque(maxlen=CALLS)  # calls that the node has not told of: when they were sent, and their work
        self.ends_s: dict[str, float] = {}  # of this door's requests there, on their way, or waiting here to go there: when each is expected to end
        self.asked: dict[str, tuple[float, float]] = {}  # what has not been heard of: since when, and how long it was to take
        self.heard_of_s = -1.0  # when the youngest call began of which something was heard
        self.heard_late_s = 0.0  # and how late that came
        self.up, self.down = _up_line(), _down_line()
        self.probes = 0


class Estimates:
    """All nodes that a door may ask."""

    def __init__(self, entry: str) -> None:
        self._entry = entry
        self._nodes: OrderedDict[str, NodeEstimates] = OrderedDict()
        self._up, self._down = _up_line(), _down_line()  # of all nodes, for those that have not answered yet

    def of(self, member: Member) -> NodeEstimates:
        found = self._nodes.get(member.id)
        if found is None:
            told = member.offer is not None and member.offer.pace is not None
            found = self._nodes[member.id] = NodeEstimates(is_entry=member.id == self._entry, told=told)
            if len(self._nodes) > NODES:
                self._nodes.popitem(last=False)
        self._nodes.move_to_end(member.id)
        return found

    def report(self, member: Member, load: Load, now_s: float, *, own: int, asked_s: float | None = None) -> None:
        """A load of the node.

        Args:
            own: requests that this door had there when it was asked; some of the load's may have ended since.
            asked_s: when the node was asked; None: a heartbeat, of which only the numbers of requests are known.
        """
        known = self.of(member)
        known.others = max(load.running + load.waiting - max(own, known.own_then), 0)
        known.own_then, known.newest_load_s = own, now_s
        known.load.add(min(known.others, max(member.slots, 1)), now_s)
        if asked_s is None:
            return
        known.free_s, known.free_at_s = load.free_s, (asked_s + now_s) / 2
        known.step_s, known.prompt_token_s, known.prompt_tokens = load.step_s, load.prompt_token_s, load.prompt_tokens
        while known.sent and known.sent[0][0] <= asked_s:
            known.sent.popleft()

    def is_busy(self, member: Member) -> bool:
        """Whether the next request there may have to wait for others."""
        known = self.of(member)
        return known.others > 0 or max(known.free_s, default=0.0) > 0

    def load_age_s(self, member: Member, now_s: float) -> float:
        """Since the node itself said how busy it is."""
        return now_s - self.of(member).free_at_s

    def ask(self, node: str, call: str, now_s: float, expected_s: float) -> None:
        """Something is asked of a node, and `expected_s` later something should be heard."""
        if (known := self._nodes.get(node)) is not None:
            known.asked[call] = (now_s, expected_s)

    def send(self, node: str, call: str, now_s: float, first_s: float, total_s: float) -> None:
        """A request goes to a node; its first token and its end are expected so much later."""
        if (known := self._nodes.get(node)) is not None:
            known.sent.append((now_s, total_s - first_s))
            known.ends_s[call] = now_s + total_s

    def end(self, node: str, call: str) -> None:
        """It has ended."""
        if (known := self._nodes.get(node)) is not None:
            known.ends_s.pop(call, None)

    def hear(self, node: str, call: str, now_s: float) -> None:
        """It was heard of."""
        if (known := self._nodes.get(node)) is not None and (asked := known.asked.pop(call, None)) is not None and asked[0] >= known.heard_of_s:
            known.heard_of_s, known.heard_late_s = asked[0], _lateness_s(now_s - asked[0], asked[1])

    def forget(self, node: str, call: str) -> None:
        """It is not waited for any more."""
        if (known := self._nodes.get(node)) is not None:
            known.asked.pop(call, None)

    def probed(self, member: Member, took_s: float, now_s: float) -> None:
        """A round trip that cost the node no work."""
        known = self.of(member)
        known.probes += 1
        known.rtt.add(took_s, now_s)

    def probed_rate(self, member: Member, longer_s: float, extra_bytes: int, now_s: float) -> None:
        """A round trip that had so many bytes more than one just before, and took so much longer."""
        self.of(member).byte.add(max(longer_s / extra_bytes, 0.0), now_s)

    def wants_rate(self, member: Member, took_s: float, now_s: float) -> bool:
        """Whether the rate should be looked at again: it was not for long, or a round trip took longer than it used to."""
        known = self.of(member)
        usual_s = known.rtt.value
        return now_s - known.byte.newest_s >= RATE_STALE_S or took_s > usual_s * (1 + UNUSUAL) + UNUSUAL_S

    def answered(self, member: Member, sample: Sample) -> None:
        """One answer: what it says of the way, the pace, the queue, and the bytes."""
        known, pace, now_s = self.of(member), _pace(member), sample.at_s
        way_s = max(sample.first_s - sample.queue_s - sample.prefill_s, 0.0)
        known.rtt.add(max(way_s - known.byte.value * sample.sent_bytes, 0.0), now_s)
        if sample.sent_bytes and way_s < known.byte.value * sample.sent_bytes:  # no way has less than no delay: the rate must be higher
            known.byte.add(way_s / sample.sent_bytes, now_s)
        known.queue.add(sample.queue_s, now_s)
        if sample.prefill_s > 0 and not sample.cached and sample.prompt_tokens:
            known.prefill.add(sample.prefill_s / pace.prefill_s(sample.prompt_tokens), now_s)
        if sample.token_s is not None:
            context = sample.prompt_tokens + sample.answer_tokens / 2
            told_s = token_time_s(pace, known.load.mean, context)
            known.step.add(max(sample.token_s / told_s, 1e-3), now_s)
        if sample.sent_bytes:
            for up, down in ((known.up, known.down), (self._up, self._down)):
                up.add(sample.prompt_tokens, sample.sent_bytes)
                down.add(sample.answer_tokens, sample.received_bytes)

    def stale(self, member: Member, now_s: float) -> float:
        """Seconds since the way to the node was last seen."""
        return now_s - self.of(member).rtt.newest_s

    def view(self, member: Member, now_s: float, *, own: int, ahead: int = 0) -> NodeView:
        """What is known of a node now.

        Args:
            own: how many requests of this door are there now.
            ahead: how many of them must end before the door lets another go there.
        """
        known = self.of(member)
        if known.report is not member:  # the snapshot is newer than the last look
            known.report = member
            if known.newest_load_s < now_s - 0.05:
                self.report(member, Load(running=member.running, waiting=member.waiting), now_s, own=own)
        offer = member.offer or NO_OFFER
        learnt = known.step.count > 0
        quality = member.quality or assumed_quality(member.tier)
        told = offer.pace is not None
        return NodeView(
            id=member.id,
            tier=member.tier,
            is_entry=member.id == self._entry,
            rtt_s=known.rtt.value,
            byte_s=known.byte.value,
            pace=offer.pace or ASSUMED_PACE,
            prefill_ratio=_prefill_ratio(known, offer.pace or ASSUMED_PACE),
            step_ratio=_step_ratio(known, offer.pace or ASSUMED_PACE),
            running=min(known.load.mean + own, max(member.slots, 1)),
            full=max((known.others + known.load.mean) / 2 + own - max(member.slots, 1) + 1, 0.0),  # the report is old: half of it has passed
            free_s=_free_s(known, now_s),
            held_s=_held_s(known, ahead, now_s),
            late_s=_late_s(known, now_s),
            slots=max(member.slots, 1),
            queue_s=known.queue.value,
            queue_trust=_trust(known.queue, now_s),
            up=known.up if known.queue.count else self._up,
            down=known.down if known.queue.count else self._down,
            offer=offer,
            quality=quality,
            quality_from="card" if member.quality else "assumed",
            pace_from="learnt" if learnt else "told" if told or known.step_s else "assumed",
            way_from="measured" if known.rtt.count else "assumed",
            network_spread=known.rtt.spread(now_s),
            pace_spread=max(known.prefill.spread(now_s), known.step.spread(now_s)),
            seen=known.rtt.count,
        )


def _pace(member: Member) -> Pace:
    return (member.offer or NO_OFFER).pace or ASSUMED_PACE


def _up_line() -> Line:
    """Payload bytes of a request over its prompt tokens, at first as the wire's messages have it: ids take one to three bytes."""
    return Line(57.0, 1.5, 300.0)


def _down_line() -> Line:
    """Payload bytes of an answer over its tokens."""
    return Line(60.0, 12.0, 50.0)


def _free_s(known: NodeEstimates, now_s: float) -> tuple[float, ...]:
    """The node's word of its slots, as of now, with what this door has sent since."""
    age_s = now_s - known.free_at_s
    if age_s > OUTLOOK_S or not known.free_s:
        return ()
    free_s = list(known.free_s)
    for sent_s, work_s in known.sent:
        first = min(range(len(free_s)), key=free_s.__getitem__)
        free_s[first] = max(free_s[first], sent_s + known.rtt.value / 2 - known.free_at_s) + work_s
    return tuple(sorted(one - age_s for one in free_s))


def _held_s(known: NodeEstimates, ahead: int, now_s: float) -> float:
    """Until so many of the door's own requests there have ended."""
    if not ahead or not known.ends_s:  # nearly always; a door may have a thousand there
        return 0.0
    return max(sorted(known.ends_s.values())[:ahead][-1] - now_s, 0.0)


def _prefill_ratio(known: NodeEstimates, pace: Pace) -> float:
    """Of what the pace says: as answers here took; before the first, as the node has measured of prompts of that length."""
    if known.prefill.count or not known.prompt_token_s:
        return known.prefill.value
    tokens = known.prompt_tokens or OTHERS_PROMPT
    return known.prompt_token_s * tokens / pace.prefill_s(tokens)


def _step_ratio(known: NodeEstimates, pace: Pace) -> float:
    if known.step.count or not known.step_s:
        return known.step.value
    beside = max(min(known.others, len(known.free_s)) - 1, 0)  # of those whose steps were measured
    return known.step_s / token_time_s(pace, beside, OTHERS_PROMPT)


def _trust(queue: Level, now_s: float) -> float:
    """How much the waits seen lately say beside the one that the load lets expect, which counts as one of them."""
    seen = min(queue.count, 3)
    return seen / (seen + 1) * math.exp((queue.newest_s - now_s) / QUEUE_MEMORY_S) if seen else 0.0


def _late_s(known: NodeEstimates, now_s: float) -> float:
    """How late what is asked next will be, while calls are under way: as the oldest of these is, or as what was heard last."""
    for since_s, expected_s in known.asked.values():
        if since_s > known.heard_of_s:
            return max(_lateness_s(now_s - since_s, expected_s), known.heard_late_s)
    return 0.0


def _lateness_s(taken_s: float, expected_s: float) -> float:
    """How much longer than expected something takes, once that is more than chance."""
    return taken_s - expected_s if taken_s > PATIENCE * expected_s + GRACE_S else 0.0


def utilisation(pace: Pace, running: float) -> float:
    """Share of its time that a node computes prompts while it has so many requests of others, all usual ones (Little's law)."""
    if not running:
        return 0.0
    prompt_s = pace.prefill_s(OTHERS_PROMPT)
    service_s = prompt_s + OTHERS_ANSWER * pace.decode_s(running + 1, (running + 1) * OTHERS_PROMPT)
    return min(running * prompt_s / service_s, MOST_UTILISATION) if service_s > 0 else 0.0


def token_time_s(pace: Pace, running: float, context_tokens: float) -> float:
    """Time between tokens of one more session beside `running`, before any correction: decoding waits while others' prompts are computed."""
    step_s = pace.decode_s(running + 1, context_tokens + running * OTHERS_PROMPT)
    return step_s * min(1 / (1 - utilisation(pace, running)), LONGEST_STALL)
