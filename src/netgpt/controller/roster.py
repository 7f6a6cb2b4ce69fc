"""Who is in the network, and what is new since a version that a door knows. Pure.

Members stand on two shelves: those whom any door may ask, and devices, whom no device asks (`network.member.may_ask`). A door is
told of a shelf or only how many stand on it, so that what a device is told depends on neither how many devices there are nor
what they do. Each shelf has its members in the order of their last change: what is new since a version is at its end.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field

from netgpt.network.member import Changes, Member, Snapshot, Tier, may_ask

MOST_LEFT = 1000  # departures that a shelf remembers; who has not heard of an earlier one gets a whole snapshot


@dataclass
class _Shelf:
    members: dict[str, Member] = field(default_factory=dict)
    changed: dict[str, int] = field(default_factory=dict)  # the version of each member's last change, the oldest first
    left: dict[str, int] = field(default_factory=dict)  # the version at which a member left, the oldest first
    counted: int = 0  # the version since which there are as many
    forgotten: int = 0  # departures up to this version are not in `left`

    def put(self, member: Member, version: int) -> None:
        if member.id not in self.members:
            self.counted = version
        self.members[member.id] = member
        self.changed.pop(member.id, None)
        self.changed[member.id] = version
        self.left.pop(member.id, None)

    def remove(self, node: str, version: int) -> None:
        del self.members[node], self.changed[node]
        self.counted = self.left[node] = version
        if len(self.left) > MOST_LEFT:
            self.forgotten = self.left.pop(next(iter(self.left)))


class Roster:
    """All members as they last were, and its version, which counts changes.

    Args:
        version: higher than any of an earlier roster of this network.
    """

    def __init__(self, version: int) -> None:
        self.version = self._whole_since = version
        self._served, self._devices = _Shelf(), _Shelf()
        self._shelf_of: dict[str, _Shelf] = {}

    def __iter__(self) -> Iterator[Member]:
        """By id."""
        return (self._shelf_of[node].members[node] for node in sorted(self._shelf_of))

    def find(self, node: str) -> Member | None:
        shelf = self._shelf_of.get(node)
        return None if shelf is None else shelf.members[node]

    def put(self, member: Member) -> None:
        """The member is there, and is so."""
        earlier = self.find(member.id)
        if earlier == member:
            return
        if earlier is not None and earlier.tier != member.tier:
            self.remove(member.id)
        self.version += 1
        shelf = self._shelf_of[member.id] = self._devices if member.tier == "device" else self._served
        shelf.put(member, self.version)

    def remove(self, node: str) -> None:
        """The member, if it is one, is there no more."""
        shelf = self._shelf_of.pop(node, None)
        if shelf is not None:
            self.version += 1
            shelf.remove(node, self.version)

    def tell_anew(self) -> None:
        """Everybody gets a whole snapshot next: something beside the members has changed."""
        self.version += 1
        self._whole_since = self.version

    def _shelves(self, tier: Tier) -> tuple[Sequence[_Shelf], int]:
        """The shelves that a door of this tier is told of, and how many members stand on the others."""
        if may_ask(tier, "device"):
            return (self._served, self._devices), 0
        return (self._served,), len(self._devices.members)

    def snapshot(self, tier: Tier) -> Snapshot:
        """What a door of this tier is told at first."""
        shelves, untold = self._shelves(tier)
        members = [member for shelf in shelves for member in shelf.members.values()]
        return Snapshot(version=self.version, members=tuple(sorted(members, key=lambda member: member.id)), untold=untold)

    def changes(self, member: Member, known: int) -> Changes | None:
        """What leads from version `known` to the newest, for the door of `member`; None if this is not known any more.

        Without anything new for it the version of the changes is `known` itself. The member is not told of itself.
        """
        shelves, untold = self._shelves(member.tier)
        if not max(self._whole_since, *(shelf.forgotten for shelf in shelves)) <= known <= self.version:
            return None
        members = [each for shelf in shelves for each in _since(shelf, known) if each.id != member.id]
        left = [node for shelf in shelves for node in _after(shelf.left, known)]
        counted = untold > 0 and self._devices.counted > known
        return Changes(version=self.version if members or left or counted else known, members=tuple(members), left=tuple(left), untold=untold)


def _since(shelf: _Shelf, known: int) -> Iterator[Member]:
    return (shelf.members[node] for node in _after(shelf.changed, known))


def _after(versions: dict[str, int], known: int) -> Iterator[str]:
    """Those with a later version than `known`, the newest first."""
    for node in reversed(versions):
        if versions[node] <= known:
            return
        yield node
