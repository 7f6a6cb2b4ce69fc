"""Every metric that NetGPT exposes, as one table, and the registry of one process.

Names are `netgpt_...` in base units; counters end in `_total`. No label has the name of a request, a
session or a user: a label's values must stay few. What a metric counts is decided by whoever sets it.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import partial
from typing import Literal

from prometheus_client.exposition import generate_latest
from prometheus_client.metrics_core import Metric
from prometheus_client.registry import Collector

from netgpt.telemetry.instruments import Counter, Gauge, Histogram, Labelled, counters, gauges, histograms

CONTENT_TYPE = "text/plain; version=0.0.4; charset=utf-8"

# Bucket bounds as OpenTelemetry's GenAI conventions and vLLM have them, with finer ones below 10 ms
# a token for small models.
DURATION_S = tuple(0.01 * 2**step for step in range(14))  # 0.01 ... 81.92
FIRST_TOKEN_S = (0.001, 0.002, 0.005, 0.01, 0.02, 0.04, 0.06, 0.08, 0.1, 0.25, 0.5, 0.75, 1.0, 2.5, 5.0, 7.5, 10.0)
TOKEN_S = (0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.075, 0.1, 0.15, 0.2, 0.3, 0.4, 0.5, 0.75, 1.0, 2.5)

Kind = Literal["counter", "gauge", "histogram"]


@dataclass(frozen=True, kw_only=True)
class MetricRow:
    """One metric of the table."""

    name: str
    kind: Kind
    help: str
    unit: str  # "seconds", "bytes", "tokens", ... : what one is
    labels: tuple[str, ...] = ()
    buckets: tuple[float, ...] = ()  # upper bounds of a histogram, in `unit`


TABLE: tuple[MetricRow, ...] = (
    MetricRow(name="netgpt_requests_running", kind="gauge", unit="requests", help="Requests of this door that engines work on."),
    MetricRow(name="netgpt_requests_waiting", kind="gauge", unit="requests", help="Requests that wait in this door's queue."),
    MetricRow(
        name="netgpt_requests_total",
        kind="counter",
        unit="requests",
        labels=("model", "finish_reason"),
        help="Requests that ended, by how: stop, length, cancelled, or an error's code.",
    ),
    MetricRow(
        name="netgpt_request_duration_seconds",
        kind="histogram",
        unit="seconds",
        labels=("model",),
        buckets=DURATION_S,
        help="From a request's arrival at the door to its end, however it ended.",
    ),
    MetricRow(
        name="netgpt_queue_time_seconds",
        kind="histogram",
        unit="seconds",
        labels=("model",),
        buckets=DURATION_S,
        help="From a request's arrival at the door until engines were asked; requests that left the queue unanswered too.",
    ),
    MetricRow(
        name="netgpt_refusals_total",
        kind="counter",
        unit="requests",
        labels=("code",),
        help="Requests that were refused by their head alone, before any work: wrong keys, foreign pages, limits of a key.",
    ),
    MetricRow(
        name="netgpt_time_to_first_token_seconds",
        kind="histogram",
        unit="seconds",
        labels=("model",),
        buckets=FIRST_TOKEN_S,
        help="From a request's arrival at the door to its first accepted token; answered requests only.",
    ),
    MetricRow(
        name="netgpt_inter_token_latency_seconds",
        kind="histogram",
        unit="seconds",
        labels=("model",),
        buckets=TOKEN_S,
        help="Mean time between the tokens of one answer, one observation a request.",
    ),
    MetricRow(
        name="netgpt_tokens_total",
        kind="counter",
        unit="tokens",
        labels=("model", "direction"),
        help="Tokens of answered requests: direction input is the prompt, output the answer.",
    ),
    MetricRow(
        name="netgpt_link_bytes_total",
        kind="counter",
        unit="bytes",
        labels=("peer", "direction"),
        help="Payload bytes of answered requests between this door and a node's engine, by direction sent or received.",
    ),
    MetricRow(
        name="netgpt_cache_requests_total",
        kind="counter",
        unit="requests",
        labels=("result",),
        help="Requests that would take a kept answer, by what came of it: exact or semantic (it was kept), merged (followed the same request in "
        "flight), miss, gate (what was alike meant something else), refused (not to be kept), nowhere (no node keeps answers), unreachable, "
        "not_kept (made, and then not taken).",
    ),
    MetricRow(
        name="netgpt_probes_total",
        kind="counter",
        unit="probes",
        labels=("peer",),
        help="Probes of the way to a node's engine, two small calls each, for choosing where to answer.",
    ),
    MetricRow(
        name="netgpt_calibration_shift",
        kind="gauge",
        unit="logits",
        labels=("model", "larger"),
        help="What escalated answers moved a model's probabilities by: below 0, the larger model agrees less often than was foretold.",
    ),
    MetricRow(
        name="netgpt_calibration_alarm",
        kind="gauge",
        unit="flag",
        labels=("model", "larger"),
        help="1 while these answers differ from what the calibration foretold by more than three standard deviations: netgpt calibrate.",
    ),
    MetricRow(name="netgpt_engine_running", kind="gauge", unit="requests", help="Requests that hold a slot of this node's engine."),
    MetricRow(name="netgpt_engine_waiting", kind="gauge", unit="requests", help="Requests in the queue of this node's engine."),
    MetricRow(name="netgpt_engine_held_tokens", kind="gauge", unit="tokens", help="Tokens in the KV of this node's engine, held ones too."),
    MetricRow(name="netgpt_cache_answers", kind="gauge", unit="answers", help="Answers that this node's engine keeps for doors."),
    MetricRow(name="netgpt_cache_bytes", kind="gauge", unit="bytes", help="Memory that these answers take, with their questions and vectors."),
    MetricRow(
        name="netgpt_engine_releases_total", kind="counter", unit="results", help="Results that this node's engine gave out at declared times."
    ),
    MetricRow(
        name="netgpt_engine_overruns_total",
        kind="counter",
        unit="results",
        help="Results of declared times that came later, because the real engine took longer than the declared machine.",
    ),
    MetricRow(
        name="netgpt_members_ready",
        kind="gauge",
        unit="nodes",
        labels=("tier",),
        help="Members of the network that are ready, as this process last heard: a device's door hears of itself, edge and cloud.",
    ),
)


def table() -> list[MetricRow]:
    """All rows in the order of the reference page."""
    return list(TABLE)


class Metrics(Collector):
    """The metrics of one process or one simulated node; two instances share nothing."""

    def __init__(self) -> None:
        self._rows = {row.name: row for row in TABLE}
        self._families: dict[str, Callable[[], Metric]] = {}
        self.requests_running = self._gauges("netgpt_requests_running").labels()
        self.requests_waiting = self._gauges("netgpt_requests_waiting").labels()
        self.requests = self._counters("netgpt_requests_total")
        self.request_duration = self._histograms("netgpt_request_duration_seconds")
        self.queue_time = self._histograms("netgpt_queue_time_seconds")
        self.refusals = self._counters("netgpt_refusals_total")
        self.time_to_first_token = self._histograms("netgpt_time_to_first_token_seconds")
        self.inter_token_latency = self._histograms("netgpt_inter_token_latency_seconds")
        self.tokens = self._counters("netgpt_tokens_total")
        self.link_bytes = self._counters("netgpt_link_bytes_total")
        self.cache_requests = self._counters("netgpt_cache_requests_total")
        self.probes = self._counters("netgpt_probes_total")
        self.calibration_shift = self._gauges("netgpt_calibration_shift")
        self.calibration_alarm = self._gauges("netgpt_calibration_alarm")
        self.engine_running = self._gauges("netgpt_engine_running").labels()
        self.engine_waiting = self._gauges("netgpt_engine_waiting").labels()
        self.engine_held_tokens = self._gauges("netgpt_engine_held_tokens").labels()
        self.cache_answers = self._gauges("netgpt_cache_answers").labels()
        self.cache_bytes = self._gauges("netgpt_cache_bytes").labels()
        self.engine_releases = self._counters("netgpt_engine_releases_total").labels()
        self.engine_overruns = self._counters("netgpt_engine_overruns_total").labels()
        self.members_ready = self._gauges("netgpt_members_ready")

    def _gauges(self, name: str) -> Labelled[Gauge]:
        row, made = self._rows[name], Labelled(self._rows[name].labels, Gauge)
        self._families[name] = partial(gauges, name, row.help, made)
        return made

    def _counters(self, name: str) -> Labelled[Counter]:
        row, made = self._rows[name], Labelled(self._rows[name].labels, Counter)
        self._families[name] = partial(counters, name, row.help, made)
        return made

    def _histograms(self, name: str) -> Labelled[Histogram]:
        row = self._rows[name]
        made = Labelled(row.labels, partial(Histogram, row.buckets))
        self._families[name] = partial(histograms, name, row.help, made)
        return made

    def collect(self) -> Iterator[Metric]:
        """Every family of the table, in its order, with what it has counted."""
        return (self._families[row.name]() for row in TABLE)

    def render(self) -> bytes:
        """All values as Prometheus exposition text, of type `CONTENT_TYPE`."""
        return generate_latest(self)
