"""The network's state as a fold over events. Pure: the same events give the same state."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from types import MappingProxyType

from netgpt.telemetry.events import Event

STARTED = "controller.started"
CERTIFIED, REVOKED, ROOTS_CHANGED = "certificate.issued", "certificate.revoked", "certificate.roots_changed"
JOINED, LOST, FOUND, LEFT, CHANGED = "node.joined", "node.lost", "node.found", "node.left", "node.changed"


@dataclass(frozen=True, kw_only=True)
class NodeState:
    """What the events say of one node. Loads are samples and stand elsewhere."""

    id: str
    tier: str
    engine_address: str
    door_url: str
    model: str
    state: str  # "starting", "ready", "degraded", "lost"
    epoch: int = 0  # counts its joins


@dataclass(frozen=True, kw_only=True)
class NetworkState:
    """All nodes after the event `index`."""

    index: int = -1
    nodes: Mapping[str, NodeState] = field(default_factory=lambda: MappingProxyType({}))
    used_tokens: frozenset[str] = frozenset()
    starts: int = 0  # of the controller


def apply(state: NetworkState, event: Event) -> NetworkState:
    """The state after `event`. Kinds that say nothing of membership change only `index`."""
    nodes, used, starts = state.nodes, state.used_tokens, state.starts
    data = event.data
    match event.kind:
        case "node.joined":
            node = NodeState(
                id=event.node,
                tier=data["tier"],
                engine_address=data["engine_address"],
                door_url=data["door_url"],
                model=data["model"],
                state=data["state"],
                epoch=data["epoch"],
            )
            nodes = MappingProxyType({**nodes, event.node: node})
            used = used | {data["token"]} if data["token"] else used
        case "node.lost" | "node.found" | "node.changed":
            nodes = MappingProxyType({**nodes, event.node: _with_state(nodes[event.node], data["state"], data.get("model"))})
        case "node.left":
            nodes = MappingProxyType({id: node for id, node in nodes.items() if id != event.node})
        case "certificate.issued":
            used = used | {data["token"]} if data["token"] else used
        case "controller.started":
            starts += 1
    return NetworkState(index=event.index, nodes=nodes, used_tokens=used, starts=starts)


def fold(events: Iterable[Event], start: NetworkState | None = None) -> NetworkState:
    """The state after all `events`."""
    state = start or NetworkState()
    for event in events:
        state = apply(state, event)
    return state


def _with_state(node: NodeState, state: str, model: str | None) -> NodeState:
    return NodeState(
        id=node.id,
        tier=node.tier,
        engine_address=node.engine_address,
        door_url=node.door_url,
        model=model or node.model,
        state=state,
        epoch=node.epoch,
    )
