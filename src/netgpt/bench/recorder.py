"""Records what models say to tasks: asks upstreams, grades, and keeps every answer in a journal until the file is whole.

Decides what a row holds; `bench.upstream` knows the protocol, `bench.journal` the disk. A run that ends
early, by an error or by Ctrl-C, still writes the recording of what was answered.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from pathlib import Path

from netgpt import __version__
from netgpt.bench.journal import Journal, Key
from netgpt.bench.upstream import Heard, Upstream
from netgpt.core.clock import Clock
from netgpt.core.errors import UsageError
from netgpt.core.scheduling import TaskGroup
from netgpt.corpus.families import BY_NAME
from netgpt.corpus.task import Task
from netgpt.models.recording import Recorded, load_pyarrow

MAX_TOP_LOGPROBS = 20

Job = tuple[Task, Upstream]
Say = Callable[[str], None]


@dataclass(frozen=True, kw_only=True)
class RecordSettings:
    """How to ask; written into the recording."""

    top_logprobs: int = 5
    max_tokens: int | None = None  # None: as many as the upstream gives
    concurrency: int = 4  # requests in flight, over all upstreams
    temperature: float = 0.0

    def __post_init__(self) -> None:
        for name, low, high in (("top_logprobs", 0, MAX_TOP_LOGPROBS), ("max_tokens", 1, 1 << 20), ("concurrency", 1, 256)):
            value = getattr(self, name)
            if value is not None and not low <= value <= high:
                raise UsageError(f"{name} is {value}", hint=f"give a number from {low} to {high}", param=name)


@dataclass(frozen=True, kw_only=True)
class Progress:
    """How far a run is."""

    done: int  # answers in the recording, those of earlier runs among them
    wanted: int
    correct: int  # of this run
    asked: int  # of this run


async def record(
    tasks: Sequence[Task],
    upstreams: Sequence[Upstream],
    output: Path,
    settings: RecordSettings,
    *,
    clock: Clock,
    resume: bool = False,
    say: Say = lambda text: None,
    report: Callable[[Progress], None] = lambda progress: None,
) -> int:
    """Ask every upstream every task that is not yet in `output`, and return how many rows that then has.

    Args:
        upstreams: closed when this returns or raises.
        say: takes warnings.
        report: called after each answer.

    Raises:
        UsageError: `output` exists and is not to be resumed, or two upstreams are the same.
        MissingExtra: pyarrow is not installed.
        NetgptError: an upstream refuses, or is not there; what was answered by then is written.
    """
    load_pyarrow()  # before anything is asked
    journal: Journal | None = None
    begun = datetime.fromtimestamp(clock.date_s(), tz=UTC).isoformat(timespec="seconds")
    jobs: list[Job] = []
    rows = 0
    try:
        for upstream in upstreams:
            await upstream.find_model()
        _check_different(upstreams)
        journal = Journal(output, resume=resume)
        jobs = [(task, upstream) for task in tasks for upstream in upstreams]
        await _ask_all(jobs, journal, settings, clock, say, report)
    finally:
        for upstream in upstreams:
            await upstream.close()
        if journal is not None:
            run = {"begun": begun, "release": __version__, "upstreams": [list(each.source) for each in upstreams], **asdict(settings)}
            rows = journal.finish(run, [_key(job) for job in jobs])
    return rows


def _check_different(upstreams: Sequence[Upstream]) -> None:
    sources = [upstream.source for upstream in upstreams]
    if not sources:
        raise UsageError("no upstream to record", hint="name one: --upstream URL", param="upstream")
    for url, model in sources:
        if sources.count((url, model)) > 1:
            raise UsageError(f"{model!r} at {url} is named twice", hint="name two models: --upstream URL=MODEL", param="upstream")


async def _ask_all(
    jobs: Sequence[Job], journal: Journal, settings: RecordSettings, clock: Clock, say: Say, report: Callable[[Progress], None]
) -> None:
    left = iter([job for job in jobs if _key(job) not in journal.keys])
    before = len(jobs) - sum(_key(job) not in journal.keys for job in jobs)
    asked = correct = 0

    async def work(queue: Iterator[Job]) -> None:
        nonlocal asked, correct
        for task, upstream in queue:
            heard = await upstream.ask(task.messages, max_tokens=settings.max_tokens, top_logprobs=settings.top_logprobs)
            row = recorded(task, upstream, heard)
            journal.add(row)
            asked, correct = asked + 1, correct + (row.correct is True)
            while upstream.warnings:
                say(upstream.warnings.pop(0))
            report(Progress(done=before + asked, wanted=len(jobs), correct=correct, asked=asked))

    try:
        async with TaskGroup() as group:
            for number in range(settings.concurrency):
                group.create_task(work(left), name=f"record-{number}")
    except BaseExceptionGroup as failures:
        raise _first(failures) from None


def _first(group: BaseExceptionGroup[BaseException]) -> BaseException:
    """The first of the failures, as if nothing had run beside it."""
    error = group.exceptions[0]
    return _first(error) if isinstance(error, BaseExceptionGroup) else error


def _key(job: Job) -> Key:
    return (job[0].id, *job[1].source)


def recorded(task: Task, upstream: Upstream, heard: Heard) -> Recorded:
    """The row of one answer."""
    family = BY_NAME.get(task.family)
    known = heard.logprobs is not None
    return Recorded(
        task_id=task.id,
        family=task.family,
        grade=task.grade,
        language=task.language,
        template=task.template,
        messages=task.messages,
        reference=task.answer,
        upstream=upstream.url,
        model=upstream.model,
        answer=heard.answer,
        finish_reason=heard.finish_reason,
        correct=None if family is None else family.accepts(task, heard.answer),
        tokens=tuple(heard.tokens),
        logprobs=None if heard.logprobs is None else tuple(heard.logprobs),
        top_tokens=tuple(map(tuple, heard.top_tokens)) if known else None,
        top_logprobs=tuple(map(tuple, heard.top_logprobs)) if known else None,
        arrivals_s=tuple(round(at_s, 6) for at_s in heard.arrivals_s),
        time_to_first_token_s=None if heard.first_s is None else round(heard.first_s, 6),
        total_s=round(heard.total_s, 6),
        prompt_tokens=heard.prompt_tokens,
        completion_tokens=heard.completion_tokens,
    )
