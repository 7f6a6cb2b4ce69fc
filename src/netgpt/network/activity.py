"""When one UE's radio was at work. Transmissions are noted as they happen; what lies between them is worked out when asked."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Mapping

from netgpt.network.medium import Direction

SPANS_KEPT = 1024


class Activity:
    """The log of one UE."""

    def __init__(self, since_s: float = 0.0) -> None:
        self.since_s = since_s
        self.last_s = since_s  # end of the last transmission, either way
        self.busy_s: dict[Direction, float] = {"up": 0.0, "down": 0.0}
        self.flow_busy_s: defaultdict[tuple[Direction, str], float] = defaultdict(float)
        self._gaps_us: Counter[int] = Counter()  # silences that are over, by length
        self._spans: list[tuple[float, float]] = []
        self._joined_s = since_s  # all before is in `_gaps_us`

    def note(self, direction: Direction, start_s: float, end_s: float, busy_s: float, flow_bytes: Mapping[str, int]) -> None:
        """The radio sent or received for `busy_s` between two times; `flow_bytes` says for whom."""
        self.busy_s[direction] += busy_s
        total = sum(flow_bytes.values())
        for flow, count in flow_bytes.items():
            self.flow_busy_s[direction, flow] += busy_s * count / total
        self._spans.append((start_s, end_s))
        self.last_s = max(self.last_s, end_s)
        if len(self._spans) > SPANS_KEPT:
            self._join(len(self._spans) // 2)

    def silences(self, now_s: float) -> Counter[float]:
        """How often a silence of each length in seconds occurred, the present one included."""
        self._join(len(self._spans))
        found = Counter({gap_us / 1e6: count for gap_us, count in self._gaps_us.items()})
        if now_s > self._joined_s:
            found[now_s - self._joined_s] += 1
        return found

    def _join(self, count: int) -> None:
        """Turn the earliest spans into silences between them; the two directions are noted out of step, so they are put in order first."""
        self._spans.sort()
        for start_s, end_s in self._spans[:count]:
            gap_us = round(1e6 * (start_s - self._joined_s))
            if gap_us > 0:
                self._gaps_us[gap_us] += 1
            self._joined_s = max(self._joined_s, end_s)
        del self._spans[:count]
