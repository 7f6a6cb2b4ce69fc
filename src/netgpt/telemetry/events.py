"""The event log: facts and decisions, immutable, numbered, one JSON object a line.

State is a fold over events (`controller.state`). Content never enters an event: ids, sizes and times
only. Samples (rates, loads) are metrics, not events.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from typing import Any

from netgpt.core.clock import Clock
from netgpt.core.compact import to_json
from netgpt.core.storage import Storage
from netgpt.core.value import value

SCHEMA_VERSION = 1


@value
class Event:
    """One fact. `at_s` is the log's clock, for people; order is `index`."""

    index: int
    at_s: float
    kind: str  # e.g. "node.joined", "request.finished"
    node: str
    data: Mapping[str, Any]

    def line(self) -> bytes:
        """The event as canonical JSON with a newline: equal events give equal bytes."""
        record = {"v": SCHEMA_VERSION, "index": self.index, "at_s": round(self.at_s, 9), "kind": self.kind, "node": self.node, "data": self.data}
        return to_json(record, sort_keys=True) + b"\n"


def parse_event(line: bytes) -> Event:
    """The inverse of `Event.line`.

    Raises:
        ValueError: not one whole event.
    """
    record = json.loads(line)
    return Event(index=record["index"], at_s=record["at_s"], kind=record["kind"], node=record["node"], data=record["data"])


class EventLog:
    """Numbers events, appends them to storage, and tells whoever listens."""

    def __init__(self, clock: Clock, storage: Storage, name: str = "events.jsonl", *, sync: bool = True) -> None:
        """Args:
        sync: whether an event must be durable before `record` returns; a door does without on its hot path.
        """
        self._sync = sync
        self._clock = clock
        self._storage = storage
        self._name = name
        self._listeners: list[Callable[[Event], None]] = []
        self.next_index = 0

    def recover(self) -> list[Event]:
        """Events of an earlier life; a line torn by a crash ends them and is cut off."""
        data = self._storage.read(self._name)
        events: list[Event] = []
        sound_bytes = 0
        for line in data.splitlines(keepends=True):
            try:
                events.append(parse_event(line))
            except (ValueError, KeyError):
                break
            sound_bytes += len(line)
        if sound_bytes < len(data):
            self._storage.replace(self._name, data[:sound_bytes])
        self.next_index = events[-1].index + 1 if events else 0
        return events

    def listen(self, listener: Callable[[Event], None]) -> None:
        self._listeners.append(listener)

    def record(self, kind: str, node: str, **data: Any) -> Event:
        event = Event(index=self.next_index, at_s=self._clock.date_s(), kind=kind, node=node, data=data)
        self.next_index += 1
        self._storage.append(self._name, event.line(), sync=self._sync)
        for listener in self._listeners:
            listener(event)
        return event
