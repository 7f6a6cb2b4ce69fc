"""What a door adds to a request between a client and an upstream, beside other gateways; and how it bears many streams.

A mock upstream costs next to nothing, so that the difference to asking it directly is the gateway's own. Direct,
ours and the peers take turns in every round and meet the same weather; an overhead is a quantile of a gateway's
latencies minus the same quantile of the direct ones of that round, and a figure the median over the rounds. Ours
does its whole path: key, limits, session, strategy, metrics. All processes share this machine's cores.
"""

from __future__ import annotations

import asyncio
import gc
import json
import resource
import tempfile
from collections.abc import Coroutine, Iterator, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from itertools import accumulate
from pathlib import Path
from typing import Any, TypeVar

import numpy as np
import uvloop

from netgpt.bench.conditions import conditions, spread
from netgpt.bench.gateways import PEERS, mock_upstream, netgpt_gateway, peer_gateway, peer_versions
from netgpt.bench.http_load import Answer, Target, ask_all, ask_at, is_whole, jitters_s, stream_tokens
from netgpt.bench.mock_upstream import MODEL
from netgpt.core.errors import MissingExtra, NetgptError, NodeUnreachable
from netgpt.world.pids import Pid, cpu_s, rss_bytes

QUESTION = "What is the packet delay budget of 5QI 1?"
CONCURRENT = 64
GAP_S = 0.25  # 4 tokens/s
DIRECT, OURS = "direct", "netgpt"
Figures = dict[str, float]
T = TypeVar("T")


@dataclass(frozen=True, kw_only=True)
class Amounts:
    """How much is measured."""

    rounds: int
    sequential: int  # requests a round
    concurrent: int
    streams: int
    stream_tokens: int
    stream_ramp_s: float  # in which they begin, one after the other: strangers do not begin at once
    memory_requests: int
    memory_warm_up: int


FULL = Amounts(
    rounds=5, sequential=300, concurrent=640, streams=1000, stream_tokens=80, stream_ramp_s=5.0, memory_requests=20_000, memory_warm_up=2000
)
QUICK = Amounts(rounds=3, sequential=60, concurrent=256, streams=100, stream_tokens=12, stream_ramp_s=0.5, memory_requests=1000, memory_warm_up=200)

# (suffix of the figures, fields of the request, connections)
MODES: tuple[tuple[str, dict[str, Any], int], ...] = (
    ("", {}, 1),
    ("_stream", {"stream": True}, 1),
    ("_concurrent", {}, CONCURRENT),
    ("_stream_concurrent", {"stream": True}, CONCURRENT),
)


def run(quick: bool) -> dict[str, Any]:
    """Measure; some 12 minutes, or two if `quick`; half of them are LiteLLM's.

    Returns:
        {"suite": "gateway", "figures": {name: number}, "conditions": {...}}; `conditions["absent"]` says which peers
        were not measured, and why.
    """
    amounts = QUICK if quick else FULL
    about = conditions(packages=("uvicorn", "httpx", "httptools", "uvloop"), **vars(amounts), connections=CONCURRENT, peers=peer_versions())
    _raise_file_limit(amounts.streams)
    with ExitStack() as stack:
        scratch = Path(stack.enter_context(tempfile.TemporaryDirectory()))
        upstream = stack.enter_context(mock_upstream())
        ours, pids = stack.enter_context(netgpt_gateway(upstream, scratch))
        targets = {DIRECT: Target(url=upstream, model=MODEL), OURS: ours}
        figures: Figures = {}
        figures.update(stream_figures(targets, amounts))
        figures.update(memory_figures(ours, pids, amounts))
        absent = _start_peers(stack, upstream, scratch, targets)
        figures.update(overhead_figures(targets, amounts))
    return {"suite": "gateway", "figures": figures, "conditions": {**about, "gateways": sorted(targets.keys() - {DIRECT}), "absent": absent}}


def _start_peers(stack: ExitStack, upstream: str, scratch: Path, targets: dict[str, Target]) -> dict[str, str]:
    """Add the peers that start to `targets`.

    Returns:
        Why the others did not.
    """
    absent: dict[str, str] = {}
    for name in PEERS:
        try:
            targets[name] = stack.enter_context(peer_gateway(name, upstream, scratch))
        except (MissingExtra, NodeUnreachable, OSError) as error:
            absent[name] = str(error)
    return absent


def overhead_figures(targets: Mapping[str, Target], amounts: Amounts) -> Figures:
    """Overheads over direct, of every gateway in every mode."""
    figures: Figures = {}
    for suffix, fields, connections in MODES:
        count = amounts.sequential if connections == 1 else amounts.concurrent
        latencies_ms: dict[str, list[np.ndarray]] = {name: [] for name in targets}
        for number in range(-1, amounts.rounds):  # the first is for warming up
            for name in _turn(list(targets), number):
                found_ms = _latencies_ms(targets[name], fields, connections, count)
                if number >= 0:
                    latencies_ms[name].append(found_ms)
        figures.update(_overheads(latencies_ms, suffix))
    if "litellm_overhead_p50_ms" in figures:
        figures["litellm_times_ours"] = float(f"{figures['litellm_overhead_p50_ms'] / max(1e-3, figures['overhead_p50_ms']):.4g}")
    return figures


def _turn(names: list[str], number: int) -> list[str]:
    """Who is asked first changes with every round."""
    start = number % len(names)
    return names[start:] + names[:start]


def _latencies_ms(target: Target, fields: Mapping[str, Any], connections: int, count: int) -> np.ndarray:
    request = target.request(QUESTION, max_tokens=8, **fields)
    answers = _on_loop(ask_all(target, [request] * count, connections=connections))
    _check(target, answers)
    return np.array([answer.total_s * 1e3 for answer in answers])


def _check(target: Target, answers: Sequence[Answer]) -> None:
    """A gateway that refuses or breaks off is fast, and measures nothing."""
    wrong = next((answer for answer in answers if answer.status != 200), None)
    if wrong is not None:
        said = b"".join(piece for _, piece in wrong.pieces)[:300].decode("utf-8", "replace")
        raise NetgptError(f"{target.url} answered {wrong.status}: {said}", hint="measure when nothing else runs on this machine")


def _overheads(latencies_ms: Mapping[str, Sequence[np.ndarray]], suffix: str) -> Figures:
    figures: Figures = {}
    for percent in (50, 99):
        quantiles = {name: [float(np.percentile(found, percent)) for found in rounds] for name, rounds in latencies_ms.items()}
        figures.update(spread(f"direct_p{percent}_ms{suffix}", quantiles[DIRECT]))
        for name in quantiles.keys() - {DIRECT}:
            prefix = "" if name == OURS else f"{name}_"
            overheads = [found - direct for found, direct in zip(quantiles[name], quantiles[DIRECT], strict=True)]
            figures.update(spread(f"{prefix}overhead_p{percent}_ms{suffix}", overheads))
    return dict(sorted(figures.items()))


def stream_figures(targets: Mapping[str, Target], amounts: Amounts) -> Figures:
    """Many slow streams at once, directly and through our door: what was lost, mixed up or late."""
    figures: Figures = {"streams": amounts.streams, "stream_tokens_per_s": 1 / GAP_S}
    for name in (DIRECT, OURS):
        answers = _on_loop(ask_at(targets[name], list(_stream_requests(targets[name], amounts))))
        found = {"streams_at_once": _most_at_once(answers), **judge_streams(answers, amounts.stream_tokens)}
        figures.update({f"{'direct_' if name == DIRECT else ''}{key}": value for key, value in found.items()})
    figures["added_jitter_p99_ms"] = round(figures["jitter_p99_ms"] - figures["direct_jitter_p99_ms"], 3)
    return figures


def _stream_requests(target: Target, amounts: Amounts) -> Iterator[tuple[float, bytes]]:
    """When each stream begins, and its request."""
    for number in range(amounts.streams):
        pace = {"tag": f"s{number}", "tokens": amounts.stream_tokens, "first_s": GAP_S, "gap_s": GAP_S}
        yield amounts.stream_ramp_s * number / amounts.streams, target.request(json.dumps(pace), stream=True, max_tokens=amounts.stream_tokens)


def _most_at_once(answers: Sequence[Answer]) -> int:
    """How many streams were open at the same time."""
    ends_s = sorted([(answer.asked_s, 1) for answer in answers] + [(answer.ended_s, -1) for answer in answers])
    return max(accumulate(change for _, change in ends_s))


def judge_streams(answers: Sequence[Answer], tokens_each: int) -> Figures:
    """Streams lost (not whole), garbled (text that was not sent, or another stream's), out of order; and their jitter."""
    lost = garbled = disordered = 0
    jitters: list[float] = []
    tags: set[str] = set()
    for answer in answers:
        tokens = stream_tokens(answer) if answer.status == 200 else []
        if tokens is None or len({token.tag for token in tokens}) > 1 or (tokens and tokens[0].tag in tags):
            garbled += 1
            continue
        numbers = [token.number for token in tokens]
        tags.update(token.tag for token in tokens)
        lost += not is_whole(answer) or sorted(numbers) != list(range(tokens_each))
        disordered += numbers != sorted(numbers)
        jitters += jitters_s(tokens)
    p50, p99 = np.percentile(jitters, [50, 99]) * 1e3 if jitters else (float("nan"), float("nan"))
    return {
        "streams_lost": lost,
        "streams_garbled": garbled,
        "streams_out_of_order": disordered,
        "jitter_p50_ms": round(float(p50), 3),
        "jitter_p99_ms": round(float(p99), 3),
    }


def memory_figures(ours: Target, pids: Mapping[str, Pid], amounts: Amounts) -> Figures:
    """What door and controller grow by while they answer many requests, half of them streamed; and the processor time that it takes."""
    requests = [ours.request(QUESTION, max_tokens=8), ours.request(QUESTION, max_tokens=8, stream=True)]

    def ask(count: int) -> None:
        _check(ours, _on_loop(ask_all(ours, (requests[number % 2] for number in range(count)), connections=16)))

    ask(amounts.memory_warm_up)
    before = {role: rss_bytes(pid) for role, pid in pids.items()}
    used_s = {role: cpu_s(pid) for role, pid in pids.items()}
    ask(amounts.memory_requests)
    cpu_ms = {f"cpu_ms_per_request_{role}": round((cpu_s(pid) - used_s[role]) * 1e3 / amounts.memory_requests, 3) for role, pid in pids.items()}
    growth = {role: (rss_bytes(pid) - before[role]) / 1e6 for role, pid in pids.items()}
    figures = {f"rss_growth_{role}_mb": round(grown, 3) for role, grown in sorted(growth.items())}
    return {**figures, **cpu_ms, "rss_growth_mb": round(sum(growth.values()), 3), "rss_growth_requests": amounts.memory_requests}


def _on_loop(work: Coroutine[Any, Any, T]) -> T:
    """Run `work` without looks of this process's own garbage collector, which would be found in the times of whatever is measured."""
    gc.collect()
    gc.disable()
    try:
        with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
            return runner.run(work)
    finally:
        gc.enable()


def _raise_file_limit(streams: int) -> None:
    """A door holds two connections a stream; what this process may open, those that it starts may too."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (min(max(soft, 3 * streams + 256), hard), hard))
