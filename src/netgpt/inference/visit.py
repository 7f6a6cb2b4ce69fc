"""One request at a door, from its arrival to its end, and what is written down of it: metrics, and an event without content.

It is written some milliseconds after something of the answer has left, for all requests of that time together: who asked waits for the answer
alone, and who asks next for neither. How a request ends, by an error or by a client that leaves, makes no difference.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from types import TracebackType
from typing import Any

from netgpt.core.clock import Clock
from netgpt.core.errors import NetgptError, Overloaded
from netgpt.core.scheduling import Afterwards
from netgpt.inference.choice import CASCADE, MODEL_NAMES, ROUTE
from netgpt.inference.request import ChatRequest, EmbedRequest, Finish, Vectors
from netgpt.network.member import Member
from netgpt.telemetry.metrics import Metrics

WRITTEN_AFTER_S = 0.005
STRATEGIES = (CASCADE, ROUTE)  # that say themselves why who answered did


Plan = Callable[[], Mapping[str, Any]]  # `prospect.Prospect.told`; empty: there is none


class Visits:
    """The requests that a door has and had."""

    def __init__(self, entry: Callable[[], Member], clock: Clock, metrics: Metrics, record: Callable[..., object]) -> None:
        """Args:
        record: takes an event's kind, node and data (`EventLog.record`).
        """
        self.open = 0
        self.clock = clock
        self.afterwards = Afterwards(WRITTEN_AFTER_S)
        self._entry = entry
        self._metrics = metrics
        self._record = record

    def ended(self, request: ChatRequest | EmbedRequest, outcome: str, duration_s: float) -> None:
        """Count a request that came to an end, whatever that is."""
        model = request.model if request.model in MODEL_NAMES else "unknown"  # a client cannot grow the label set
        self._metrics.requests.labels(model, outcome).inc()
        self._metrics.request_duration.labels(model).observe(duration_s)

    def failed(self, request: ChatRequest | EmbedRequest, code: str) -> None:
        self._record("request.failed", self._entry().id, request=request.request_id, key=request.key, code=code)

    def planned(self, request: ChatRequest | EmbedRequest, plan: Plan) -> None:
        if told := plan():
            self._record("request.planned", self._entry().id, request=request.request_id, key=request.key, **told)

    def answered(self, request: ChatRequest, finish: Finish) -> None:
        metrics = self._metrics
        metrics.time_to_first_token.labels(request.model).observe(finish.time_to_first_token_s)
        if finish.completion_tokens > 1:
            decode_s = finish.duration_s - finish.time_to_first_token_s
            metrics.inter_token_latency.labels(request.model).observe(decode_s / (finish.completion_tokens - 1))
        metrics.tokens.labels(request.model, "input").inc(finish.prompt_tokens)
        metrics.tokens.labels(request.model, "output").inc(finish.completion_tokens)
        self._count_link_bytes(finish.link_bytes)
        self._record(
            "request.finished",
            self._entry().id,
            request=request.request_id,
            key=request.key,
            model=request.model,
            reason=finish.reason,
            prompt_tokens=finish.prompt_tokens,
            completion_tokens=finish.completion_tokens,
            origin=[[span.node, span.tokens] for span in finish.origin],
            switches=len(finish.switches),
            link_bytes=finish.link_bytes,
            queue_s=round(finish.queue_s, 6),
            time_to_first_token_s=round(finish.time_to_first_token_s, 6),
            duration_s=round(finish.duration_s, 6),
            **({"why": finish.why} if request.model in STRATEGIES and not finish.plan else {}),
            **({"cache": finish.cache.result} if finish.cache else {}),
            **({"left_out_tokens": finish.compression.left_out_tokens} if finish.compression else {}),
        )

    def embedded(self, request: EmbedRequest, vectors: Vectors) -> None:
        self._metrics.tokens.labels(request.model, "input").inc(vectors.prompt_tokens)
        self._count_link_bytes(vectors.link_bytes)
        self._record(
            "request.embedded",
            self._entry().id,
            request=request.request_id,
            key=request.key,
            model=request.model,
            texts=len(request.texts),
            prompt_tokens=vectors.prompt_tokens,
            origin=[[span.node, span.tokens] for span in vectors.origin],
            link_bytes=vectors.link_bytes,
            duration_s=round(vectors.duration_s, 6),
        )

    def _count_link_bytes(self, link_bytes: Mapping[str, Mapping[str, int]]) -> None:
        for node, count in link_bytes.items():
            for direction, payload_bytes in count.items():
                self._metrics.link_bytes.labels(node, direction).inc(payload_bytes)


class Visit:
    """A request while it is at the door: a context manager. An answer is told to `answered` or `embedded`; what else happens it sees itself."""

    def __init__(self, visits: Visits, request: ChatRequest | EmbedRequest, arrival_s: float | None = None) -> None:
        self.arrival_s = visits.clock.now_s() if arrival_s is None else arrival_s
        self._visits = visits
        self._request = request
        self._outcome = "cancelled"  # unless it comes to an end
        self._plan: Plan | None = None  # to be written down
        self.soon = visits.afterwards.call  # for what nobody waits for

    def __enter__(self) -> Visit:
        self._visits.open += 1
        return self

    def planned(self, plan: Plan) -> None:
        """Let it be written down what was chosen for the request (`showing.told`): once the answer has begun, or it is known that none will."""
        self._plan = plan

    def begun(self) -> None:
        """The first token is there."""
        if self._plan is not None:
            self.soon(self._visits.planned, self._request, self._plan)
            self._plan = None

    def answered(self, request: ChatRequest, finish: Finish) -> None:
        self._outcome = finish.reason
        self.begun()
        self.soon(self._visits.answered, request, finish)

    def hand_on(self) -> None:
        """Another visit goes on with the request, and writes it down."""
        self._outcome = ""

    def embedded(self, request: EmbedRequest, vectors: Vectors) -> None:
        self._outcome = "stop"
        self.soon(self._visits.embedded, request, vectors)

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        self._visits.open -= 1
        if not isinstance(error, Overloaded):  # a flood must not fill the disk; the metrics count it
            self.begun()
            if isinstance(error, NetgptError):
                self.soon(self._visits.failed, self._request, error.code)
        if isinstance(error, NetgptError):
            self._outcome = error.code
        if self._outcome:
            self.soon(self._visits.ended, self._request, self._outcome, self._visits.clock.now_s() - self.arrival_s)
