"""How many requests of one door may be at one engine at once. Pure.

Enough that the engine never waits for a door: its slots, and a few more to take a slot the moment it gets free. No more,
because a request that waits at an engine waits behind all others there, and there keys take no turns.

Doors share an engine without talking to each other. Each knows from the newest snapshot how many requests were there, and
how many of those were its own; it leaves the others what they have, and may always have its even share.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from netgpt.inference.admission import Admission
from netgpt.network.member import Member

BUSY_FACTOR = 1.125  # requests for each slot: see tests/world/test_overload.py for what it costs and brings


def room_at(member: Member, *, own: int, doors: int) -> int:
    """How many requests a door may have at `member`'s engine.

    Args:
        own: how many it had there when the member's load was taken.
        doors: how many doors could send it requests.
    """
    bearable = math.ceil(max(member.slots, 1) * BUSY_FACTOR)
    others = max(member.running + member.waiting - own, 0)
    return max(bearable - others, math.ceil(bearable / max(doors, 1)))


@dataclass
class _Sample:
    member: Member
    own: int


class Rooms:
    """Remembers how many requests were the door's own around the time when each load was taken.

    A load is a heartbeat or two old. So of what the door had there lately the most counts as its own: it would rather send
    too many than take its own requests, which have ended meanwhile, for others'.
    """

    def __init__(self, admission: Admission) -> None:
        self._admission = admission
        self._samples: dict[str, _Sample] = {}

    def room(self, member: Member, doors: int) -> int:
        sample = self._samples.get(member.id)
        if sample is None or sample.member is not member:
            sample = self._samples[member.id] = _Sample(member, self._admission.forget_peak(member.id))
        return room_at(member, own=max(sample.own, self._admission.peak.get(member.id, 0)), doors=doors)

    def pick(self, equals: Sequence[Member], running: Mapping[str, int], doors: int) -> str | None:
        """The first of some members that has room left; None if none has."""
        for member in equals:
            if running.get(member.id, 0) < self.room(member, doors):
                return member.id
        return None
