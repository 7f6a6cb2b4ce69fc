"""Tables that stand for many: `count` writes a node out as often as it says, and with it every link, attachment and user that names it."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import replace

from netgpt.network.scenario import AttachSpec, FaultSpec, LinkSpec, NodeSpec, Scenario, UserSpec

Members = Mapping[str, tuple[str, ...]]  # ids of all nodes that a name in the file stands for


def members_of(node: NodeSpec) -> tuple[str, ...]:
    """The ids of the nodes that one table makes."""
    return (node.id,) if node.count == 1 else tuple(f"{node.id}{number}" for number in range(1, node.count + 1))


def write_out(scenario: Scenario) -> Scenario:
    """The scenario with every table as often as it counts. It must have been checked."""
    members = {node.id: members_of(node) for node in scenario.nodes}
    return replace(
        scenario,
        default_node=_ids(members, scenario.default_node)[0],
        nodes=tuple(replace(node, id=each, count=1, group=node.id) for node in scenario.nodes for each in members[node.id]),
        links=tuple(one for link in scenario.links for one in _links(link, members)),
        attachments=tuple(one for each in scenario.attachments for one in _attachments(each, members)),
        users=tuple(one for user in scenario.users for one in _users(user, members)),
        faults=tuple(one for fault in scenario.faults for one in _faults(fault, members)),
    )


def _ids(members: Members, name: str) -> tuple[str, ...]:
    """What a name stands for: a table's nodes, or one of them by its own id."""
    return members.get(name) or (name,)


def _links(link: LinkSpec, members: Members) -> Iterator[LinkSpec]:
    first, second = link.between
    for here in _ids(members, first):
        for there in _ids(members, second):
            yield replace(link, between=(here, there), group=link.between)


def _attachments(attach: AttachSpec, members: Members) -> Iterator[AttachSpec]:
    for number, node in enumerate(_ids(members, attach.node)):
        yield replace(attach, node=node, member=number)


def _users(user: UserSpec, members: Members) -> Iterator[UserSpec]:
    places = [node for node in _ids(members, user.at) for _ in range(user.count)]
    for number, node in enumerate(places):
        yield replace(user, at=node, count=1, deal=(number, len(places)))


def _faults(fault: FaultSpec, members: Members) -> Iterator[FaultSpec]:
    for node in _ids(members, fault.node):
        yield replace(fault, node=node)
