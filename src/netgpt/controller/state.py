"""The network's state as a fold over events: the same events give the same state."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field, replace

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


@dataclass(kw_only=True)
class NetworkState:
    """All nodes after the event `index`. It grows event by event: a copy for each would make a network of n nodes cost n²."""

    index: int = -1
    nodes: dict[str, NodeState] = field(default_factory=dict)
    used_tokens: set[str] = field(default_factory=set)
    starts: int = 0  # of the controller

    def apply(self, event: Event) -> None:
        """Become the state after `event`. Kinds that say nothing of membership change only `index`."""
        data = event.data
        match event.kind:
            case "node.joined":
                self.nodes[event.node] = NodeState(
                    id=event.node,
                    tier=data["tier"],
                    engine_address=data["engine_address"],
                    door_url=data["door_url"],
                    model=data["model"],
                    state=data["state"],
                    epoch=data["epoch"],
                )
                self._use(data["token"])
            case "node.lost" | "node.found" | "node.changed":
                self.nodes[event.node] = _with_state(self.nodes[event.node], data["state"], data.get("model"))
            case "node.left":
                self.nodes.pop(event.node, None)
            case "certificate.issued":
                self._use(data["token"])
            case "controller.started":
                self.starts += 1
        self.index = event.index

    def _use(self, token: str) -> None:
        if token:
            self.used_tokens.add(token)


def fold(events: Iterable[Event], start: NetworkState | None = None) -> NetworkState:
    """The state after all `events`; `start` stays as it is."""
    state = replace(start, nodes=dict(start.nodes), used_tokens=set(start.used_tokens)) if start else NetworkState()
    for event in events:
        state.apply(event)
    return state


def _with_state(node: NodeState, state: str, model: str | None) -> NodeState:
    return replace(node, state=state, model=model or node.model)
