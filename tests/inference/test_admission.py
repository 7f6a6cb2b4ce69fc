"""The door's queue: nothing is lost in it, it is bounded, and keys take turns."""

from collections import Counter

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.stateful import Bundle, RuleBasedStateMachine, consumes, initialize, invariant, precondition, rule

from netgpt.core.errors import Overloaded, RateLimited
from netgpt.inference.admission import Admission, Lane, Ticket
from netgpt.inference.room import Rooms, room_at
from netgpt.network.member import Member

CLOUD, EDGE = Lane(model="cloud", privacy="cloud-allowed"), Lane(model="edge", privacy="cloud-allowed")
QUEUE, PER_KEY = 6, 4


class Slots:
    """Nodes that are named as their lanes, with so much room."""

    def __init__(self, admission: Admission, **room: int) -> None:
        self.admission = admission
        self.room = room

    def place(self, lane: Lane) -> str | None:
        return lane.model if self.admission.running.get(lane.model, 0) < self.room[lane.model] else None


class Queue(RuleBasedStateMachine):
    """Requests come, go and leave in any order."""

    tickets = Bundle("tickets")

    @initialize(cloud=st.integers(0, 3), edge=st.integers(0, 3))
    def open(self, cloud: int, edge: int) -> None:
        self.admission = Admission(queue=QUEUE, queue_per_key=PER_KEY)
        self.slots = Slots(self.admission, cloud=cloud, edge=edge)
        self.waiting: list[Ticket] = []
        self.at_nodes: list[Ticket] = []

    def count(self, key: str) -> int:
        return sum(ticket.key == key for ticket in self.waiting)

    @rule(target=tickets, key=st.sampled_from(["", "a", "b", "c"]), lane=st.sampled_from([CLOUD, EDGE]))
    def enter(self, key: str, lane: Lane) -> Ticket:
        longest = max((self.count(ticket.key) for ticket in self.waiting), default=0)
        try:
            ticket, evicted = self.admission.enter(key, lane)
        except RateLimited as refusal:
            assert key and self.count(key) == PER_KEY  # noqa: PT018
            assert refusal.retry_after_s > 0  # noqa: PT017
            return Ticket(key=key, lane=lane, number=-1)
        except Overloaded:
            assert len(self.waiting) == QUEUE
            assert longest <= self.count(key) + 1, "only a key with no less than others is kept out"
            return Ticket(key=key, lane=lane, number=-1)
        if evicted is not None:
            assert len(self.waiting) == QUEUE
            assert self.count(evicted.key) == longest > self.count(key) + 1
            assert evicted == max((one for one in self.waiting if one.key == evicted.key), key=lambda one: one.number)
            self.waiting.remove(evicted)
        self.waiting.append(ticket)
        return ticket

    @rule()
    def grant(self) -> None:
        before = list(self.waiting)
        granted = self.admission.grant(self.slots.place, now_s=1.0)
        for ticket in granted:
            first = next(one for one in before if (one.key, one.lane) == (ticket.key, ticket.lane))
            assert ticket is first, "first come, first served within a key and lane"
            before.remove(ticket)
        self.waiting = before
        self.at_nodes.extend(granted)
        assert not any(self.slots.place(ticket.lane) is not None for ticket in self.waiting), "nobody waits for a free slot"

    @rule(ticket=consumes(tickets))
    def leave(self, ticket: Ticket) -> None:
        if ticket.number < 0:
            return  # it never had a place
        self.admission.leave(ticket, now_s=2.0)
        for group in (self.waiting, self.at_nodes):
            if ticket in group:
                group.remove(ticket)

    @precondition(lambda self: hasattr(self, "admission"))
    @invariant()
    def everything_is_counted(self) -> None:
        assert self.admission.waiting == len(self.waiting) <= QUEUE
        assert {node: count for node, count in self.admission.running.items() if count} == dict(Counter(ticket.node for ticket in self.at_nodes))
        assert all(self.count(key) <= PER_KEY for key in "abc")
        assert set(self.admission._keys) == {ticket.key for ticket in self.waiting}, "a key that has gone takes no memory"


TestQueue = Queue.TestCase
TestQueue.settings = settings(deadline=None, max_examples=40, stateful_step_count=40)


@settings(deadline=None, max_examples=50)
@given(st.lists(st.sampled_from("aaaaaaab"), min_size=1, max_size=60), st.integers(1, 4))
def test_a_flood_delays_another_key_by_one_request_a_turn(arrivals: list[str], slots: int) -> None:
    admission = Admission(queue=100, queue_per_key=100)
    for key in arrivals:
        admission.enter(key, CLOUD)
    served: list[str] = []
    running: list[Ticket] = []
    while len(served) < len(arrivals):
        fresh = admission.grant(Slots(admission, cloud=slots).place, now_s=0.0)
        served += [ticket.key for ticket in fresh]
        running += fresh
        admission.leave(running.pop(0), now_s=1.0)
    polite = [position for position, key in enumerate(served) if key == "b"]
    assert all(position <= 2 * turn + 1 for turn, position in enumerate(polite)), "however long the flood's queue is"


def test_a_full_lane_does_not_hold_up_its_keys_other_requests() -> None:
    admission = Admission(queue=10, queue_per_key=10)
    for lane in (CLOUD, CLOUD, EDGE):
        admission.enter("a", lane)
    assert [ticket.lane for ticket in admission.grant(Slots(admission, cloud=0, edge=1).place, 0.0)] == [EDGE]


def test_a_request_that_nobody_can_serve_does_not_wait() -> None:
    admission = Admission(queue=10, queue_per_key=10)
    ticket, _ = admission.enter("a", CLOUD)
    assert admission.grant(lambda _: "", 0.0) == [ticket]
    assert (ticket.node, admission.waiting) == ("", 0)


def test_retry_after_follows_the_queue_and_how_long_requests_take() -> None:
    admission = Admission(queue=4, queue_per_key=4)
    slots = Slots(admission, cloud=1)
    for number in range(60):
        ticket, _ = admission.enter("", CLOUD)
        admission.grant(slots.place, now_s=10.0 * number)
        admission.leave(ticket, now_s=10.0 * number + 8.0)
    for _ in range(5):
        admission.enter("", CLOUD)
        admission.grant(slots.place, now_s=1000.0)
    with pytest.raises(Overloaded) as caught:
        admission.enter("", CLOUD)
    assert caught.value.retry_after_s == pytest.approx(5 * 8.0, rel=0.05), "four wait before it, one slot, 8 s each"


def member(**load: int) -> Member:
    return Member(id="edge1", tier="edge", engine_address="-", door_url="-", slots=8, **load)  # type: ignore[arg-type]


def test_a_door_alone_may_fill_an_engine_and_a_little_more() -> None:
    assert room_at(member(), own=0, doors=4) == 9
    assert room_at(member(running=8, waiting=1), own=9, doors=4) == 9


def test_a_door_leaves_others_what_they_have_and_keeps_its_even_share() -> None:
    assert room_at(member(running=5), own=0, doors=4) == 4
    assert room_at(member(running=8, waiting=100), own=0, doors=4) == 3
    assert room_at(member(running=8, waiting=100), own=0, doors=1000) == 1


@given(st.integers(0, 64), st.integers(0, 300), st.integers(0, 300), st.integers(0, 300), st.integers(0, 1000))
def test_there_is_always_some_room_and_never_more_than_an_engine_bears(slots: int, running: int, waiting: int, own: int, doors: int) -> None:
    one = Member(id="edge1", tier="edge", engine_address="-", door_url="-", slots=slots, running=running, waiting=waiting)
    assert 1 <= room_at(one, own=own, doors=doors) <= max(1.125 * slots + 1, 2)


def test_requests_that_have_ended_since_the_load_was_taken_are_not_taken_for_others() -> None:
    admission = Admission(queue=10, queue_per_key=10)
    rooms, tickets = Rooms(admission), []
    idle = member()
    for _ in range(8):
        tickets.append(admission.enter("", CLOUD)[0])
        admission.grant(lambda _: "edge1", 0.0)
    assert rooms.room(idle, doors=2) == 9
    busy = member(running=8)
    for ticket in tickets:
        admission.leave(ticket, 1.0)
    assert rooms.room(busy, doors=2) == 9, "the eight were its own"
    assert rooms.room(member(running=8), doors=2) == 5, "in the next sample they are somebody else's"
