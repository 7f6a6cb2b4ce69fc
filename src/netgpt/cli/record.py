"""`netgpt record`: what any OpenAI-compatible models answer to a file of tasks, as a recording that can be played back."""

from __future__ import annotations

import argparse
import dataclasses
import json
import os
import sys
from collections.abc import Sequence
from itertools import combinations
from pathlib import Path
from typing import TYPE_CHECKING

from netgpt.core.errors import UsageError

if TYPE_CHECKING:
    from netgpt.bench.pairs import ModelScore, PairOutcomes
    from netgpt.bench.recorder import Progress
    from netgpt.bench.upstream import Upstream
    from netgpt.core.clock import Clock


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--upstream", action="append", metavar="URL[=MODEL]", help="base URL that ends in /v1, and its model; may be given again")
    parser.add_argument("--model", metavar="ID", help="the model of upstreams that name none (default: the first that each lists)")
    parser.add_argument("--tasks", type=Path, metavar="FILE", help="task file, one JSON object a line")
    parser.add_argument("--output", type=Path, metavar="FILE", help="the recording, a Parquet file")
    parser.add_argument("--top-logprobs", type=int, default=5, metavar="K", help="alternatives recorded a token, 0 to 20 (default: 5)")
    parser.add_argument("--max-tokens", type=int, metavar="N", help="the longest answer (default: the upstream's own limit)")
    parser.add_argument("--concurrency", type=int, default=4, metavar="N", help="requests in flight; 1 gives undisturbed timings (default: 4)")
    parser.add_argument("--api-key-env", metavar="NAME", help="environment variable with the key, sent to every upstream")
    parser.add_argument("--resume", action="store_true", help="add to the recording what is not in it yet")
    parser.add_argument("--summary", type=Path, metavar="FILE", help="record nothing: print accuracies and pairs of a recording")
    parser.add_argument("--json", action="store_true", help="print the summary as JSON")


def run(args: argparse.Namespace) -> int:
    path = args.summary
    if path is None:
        path = _record(args)
    elif args.upstream or args.tasks or args.output:
        raise UsageError("--summary records nothing", hint="leave out --upstream, --tasks and --output, or --summary")
    _print_summary(path, as_json=args.json)
    return 0


def _record(args: argparse.Namespace) -> Path:
    import asyncio

    from netgpt.bench.recorder import RecordSettings, record
    from netgpt.core.clock import WallClock
    from netgpt.corpus.files import read_tasks

    for name in ("upstream", "tasks", "output"):
        if not getattr(args, name):
            example = "netgpt record --upstream http://127.0.0.1:8080/v1 --tasks tasks.jsonl --output answers.parquet"
            raise UsageError(f"--{name} is missing", hint=f"for example: {example}", param=name)
    settings = RecordSettings(top_logprobs=args.top_logprobs, max_tokens=args.max_tokens, concurrency=args.concurrency)
    tasks = read_tasks(args.tasks)
    clock = WallClock()
    upstreams = _upstreams(args.upstream, args.model or "", _api_key(args.api_key_env), clock)

    def say(text: str) -> None:
        print(f"warning: {text}", file=sys.stderr, flush=True)

    work = record(tasks, upstreams, args.output, settings, clock=clock, resume=args.resume, say=say, report=_show)
    try:
        asyncio.run(work)
    except KeyboardInterrupt:
        print(f"what was answered is in {args.output}; go on with --resume", file=sys.stderr)
        raise
    return args.output


def _upstreams(given: Sequence[str], model: str, api_key: str, clock: Clock) -> list[Upstream]:
    from netgpt.bench.upstream import Upstream

    upstreams = []
    for text in given:
        url, _, named = text.partition("=")
        upstreams.append(Upstream(url, clock, model=named or model, api_key=api_key))
    return upstreams


def _api_key(variable: str | None) -> str:
    if not variable:
        return ""
    key = os.environ.get(variable, "")
    if not key:
        raise UsageError(f"the environment variable {variable!r} is not set", hint=f"export {variable}=... first", param="api_key_env")
    return key


def _show(progress: Progress) -> None:
    every = max(progress.wanted // 20, 1)
    if progress.done % every == 0 or progress.done == progress.wanted:
        print(f"{progress.done} of {progress.wanted} answers, {progress.correct} of {progress.asked} right", file=sys.stderr, flush=True)


def _print_summary(path: Path, *, as_json: bool) -> None:
    from netgpt.bench.pairs import model_scores, pair_outcomes
    from netgpt.models.recording import read_recording

    recording = read_recording(path)
    scores = model_scores(recording)
    pairs = [pair_outcomes(recording, small, large) for small, large in combinations(recording.models(), 2)]
    if as_json:
        report = {"recording": str(path), "models": list(map(dataclasses.asdict, scores)), "pairs": list(map(dataclasses.asdict, pairs))}
        json.dump(report, sys.stdout, indent=2)
        print()
    else:
        print(summary_text(scores, pairs))


def summary_text(scores: Sequence[ModelScore], pairs: Sequence[PairOutcomes]) -> str:
    """The summary for people."""
    from netgpt.cli.table import format_table

    heading = ["MODEL", "ANSWERS", "GRADED", "RIGHT", "SHARE", "95 %", "FIRST TOKEN", "WHOLE"]
    rows = [
        [
            one.model,
            one.answers,
            one.graded,
            one.correct,
            _rounded(one.accuracy),
            _interval(one.accuracy_low, one.accuracy_high),
            _seconds(one.time_to_first_token_p50_s),
            _seconds(one.total_p50_s),
        ]
        for one in scores
    ]
    return "\n".join([format_table(heading, rows), *map(_pair_text, pairs)])


def _pair_text(pair: PairOutcomes) -> str:
    return (
        f"\n{pair.small} and {pair.large} on {pair.tasks} tasks: both right {pair.both}, only the first {pair.only_small}, "
        f"only the second {pair.only_large}, neither {pair.neither}\n"
        f"  phi {_rounded(pair.phi) or '-'} ({_interval(pair.phi_low, pair.phi_high) or 'no interval'}); as a draft, "
        f"{pair.draft_agreed} of {pair.draft_tokens} tokens of the first agree ({_rounded(pair.draft_agreement) or '-'})"
    )


def _rounded(value: float | None) -> str | None:
    return None if value is None else f"{value:.3f}"


def _interval(low: float | None, high: float | None) -> str | None:
    return None if low is None or high is None else f"{low:.3f} to {high:.3f}"


def _seconds(value: float | None) -> str | None:
    return None if value is None else f"{value:.3f} s"
