"""What doors are told of members: whoever follows the changes knows what a whole snapshot says."""

from __future__ import annotations

from dataclasses import replace

from hypothesis import given
from hypothesis import strategies as st

from netgpt.controller.roster import MOST_LEFT, Roster
from netgpt.network.member import Member, Snapshot, Tier

TIERS: dict[str, Tier] = {"cloud1": "cloud", "edge1": "edge", "edge2": "edge", "phone1": "device", "phone2": "device", "phone3": "device"}


def member(node: str, running: int = 0, tier: Tier = "device") -> Member:
    return Member(id=node, tier=TIERS.get(node, tier), engine_address=f"{node}:engine", door_url="", running=running)


def known_to(snapshot: Snapshot, reader: Member) -> tuple[dict[str, Member], int]:
    """What a door knows of the others, and how many members it counts."""
    return {each.id: each for each in snapshot.members if each.id != reader.id}, len(snapshot.members) + snapshot.untold


STEPS = st.lists(st.tuples(st.sampled_from(sorted(TIERS)), st.sampled_from(["join", "leave", "edge1 reads", "phone1 reads"]), st.integers(0, 2)))


@given(STEPS)
def test_who_follows_the_changes_knows_what_a_whole_snapshot_says(steps: list[tuple[str, str, int]]) -> None:
    roster = Roster(5)
    readers = {node: member(node) for node in ("edge1", "phone1")}
    for reader in readers.values():
        roster.put(reader)
    held = {node: roster.snapshot(reader.tier) for node, reader in readers.items()}
    for node, act, running in steps:
        if act == "join":
            roster.put(member(node, running))
        elif act == "leave" and node not in readers:
            roster.remove(node)
        elif act.endswith("reads"):
            read(roster, readers, held, act.split()[0])
    for node in readers:
        read(roster, readers, held, node)
        assert known_to(held[node], readers[node]) == known_to(roster.snapshot(readers[node].tier), readers[node])


def read(roster: Roster, readers: dict[str, Member], held: dict[str, Snapshot], node: str) -> None:
    changes = roster.changes(readers[node], held[node].version)
    assert changes is not None, "nothing is forgotten yet"
    held[node] = held[node].after(changes)


def test_a_device_is_told_of_no_other_device_but_counts_them() -> None:
    roster = Roster(1)
    for node in TIERS:
        roster.put(member(node))
    told = roster.snapshot("device")
    assert ([each.id for each in told.members], told.untold) == (["cloud1", "edge1", "edge2"], 3)
    before = roster.version
    roster.put(member("phone2", running=1))
    changes = roster.changes(member("phone1"), before)
    assert changes is not None
    assert (changes.version, changes.members) == (before, ()), "another device's load is no news to it"
    seen = roster.changes(member("edge1"), before)
    assert seen is not None
    assert [each.id for each in seen.members] == ["phone2"]
    roster.put(member("phone9"))
    counted = roster.changes(member("phone1"), before)
    assert counted is not None
    assert (counted.members, counted.untold) == ((), 4)


def test_a_member_is_not_told_of_itself() -> None:
    roster = Roster(1)
    roster.put(member("edge1"))
    before = roster.version
    roster.put(member("edge1", running=3))
    changes = roster.changes(member("edge1"), before)
    assert changes is not None
    assert changes.members == ()


def test_what_was_forgotten_is_told_as_a_whole_snapshot() -> None:
    roster = Roster(1)
    roster.put(member("edge1"))
    roster.put(member("gone", tier="edge"))
    early = roster.version
    for number in range(MOST_LEFT + 1):
        roster.put(member(f"x{number}", tier="edge"))
        roster.remove(f"x{number}")
    assert roster.changes(member("edge1"), early) is None
    roster.remove("gone")
    assert roster.changes(member("edge1"), roster.version - 1) is not None
    roster.tell_anew()
    assert roster.changes(member("edge1"), roster.version - 1) is None
    assert roster.changes(member("edge1"), roster.version + 1) is None, "a version that never was"


def test_a_member_that_comes_back_in_another_tier_is_there_once() -> None:
    roster = Roster(1)
    edge = replace(member("x"), tier="edge")
    roster.put(edge)
    told = roster.snapshot("device")
    roster.put(member("x"))
    changes = roster.changes(member("phone1"), told.version)
    assert changes is not None
    after = told.after(changes)
    assert (after.members, after.untold) == ((), 1)
    assert [each.tier for each in roster] == ["device"]
