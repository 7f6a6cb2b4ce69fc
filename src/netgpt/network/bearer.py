"""What waits at one transmitter, for one UE in one direction: a queue per priority level, the most urgent level first."""

from __future__ import annotations

from bisect import insort
from collections import deque
from collections.abc import Iterator

from netgpt.network.flow import Flow
from netgpt.network.medium import Packet


class Queued:
    """A packet on its way over the air, in pieces as grants allow."""

    __slots__ = ("done_s", "flow", "left_bytes", "lossy", "lost", "number", "offered_s", "packet")

    def __init__(self, packet: Packet, flow: Flow, *, offered_s: float, number: int, size_bytes: int) -> None:
        self.packet = packet
        self.flow = flow
        self.offered_s = offered_s
        self.number = number  # of the offer: breaks ties of time
        self.left_bytes = size_bytes  # not yet in a transport block; the headers of layer 2 included
        self.lossy = not packet.reliable and flow.rlc == "um"
        self.lost = False
        self.done_s = offered_s  # when the last of the pieces sent so far is received

    def received(self, at_s: float, lost: bool) -> None:
        """A piece is received, or given up, at that time."""
        self.done_s = max(self.done_s, at_s)
        self.lost = self.lost or lost


class Bearers:
    """The queues of one UE in one direction."""

    def __init__(self) -> None:
        self._levels: dict[int, deque[Queued]] = {}
        self._order: list[int] = []
        self._bytes: dict[int, int] = {}
        self.packets = 0

    def push(self, item: Queued) -> None:
        level = item.flow.priority
        if level not in self._levels:
            self._levels[level] = deque()
            self._bytes[level] = 0
            insort(self._order, level)
        self._levels[level].append(item)
        self._bytes[level] += item.left_bytes
        self.packets += 1

    def head(self) -> Queued | None:
        """The packet that is sent next."""
        return next((self._levels[level][0] for level in self._order if self._levels[level]), None)

    def level_bytes(self, level: int) -> int:
        """What waits at one priority level."""
        return self._bytes.get(level, 0)

    def take(self, amount_bytes: int) -> Iterator[tuple[Queued, int]]:
        """Move so many bytes into a transport block: (packet, bytes of it), each as soon as it is taken."""
        for level in self._order:
            queue = self._levels[level]
            while queue and amount_bytes > 0:
                item = queue[0]
                taken = min(item.left_bytes, amount_bytes)
                item.left_bytes -= taken
                amount_bytes -= taken
                self._bytes[level] -= taken
                if not item.left_bytes:
                    queue.popleft()
                    self.packets -= 1
                yield item, taken

    def drain(self) -> list[Queued]:
        """Take out all that waits, the most urgent first."""
        items = [item for level in self._order for item in self._levels[level]]
        self.__init__()
        return items
