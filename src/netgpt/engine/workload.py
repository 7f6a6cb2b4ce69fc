"""What an engine still has to do: when its slots get free, as far as it can know. From how long its own steps took and its own answers were.

Nobody can know how long an answer will be; those that an engine has made say what to expect of one that has so many tokens
(`models.lengths`). Times are measured on the engine's clock, so that they hold whatever the machine is said to be.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from heapq import heapify, heapreplace

from netgpt.core.clock import Clock
from netgpt.models.lengths import Lengths

MEMORY_S = 2.0  # a step this old weighs 1/e of a new one


class Job:
    """One answer: a context, from its arrival to its end."""

    __slots__ = ("_workload", "ended", "last_s", "made", "most", "prompt", "started_s")

    def __init__(self, workload: Workload, prompt: int, most: int) -> None:
        self._workload = workload
        self.prompt = prompt  # tokens to be computed
        self.most = most  # tokens that it may have
        self.made = 0
        self.ended = False  # of itself; else whoever leaves it might have had more
        self.started_s = self.last_s = math.nan  # when it got its slot, and its last token so far

    def __enter__(self) -> Job:
        return self

    def __exit__(self, *_: object) -> None:
        self.leave()

    def start(self, prompt: int | None = None) -> None:
        """It has a slot; `prompt` tokens are left to be computed, where that is less than was thought."""
        self.started_s = self._workload.clock.now_s()
        if prompt is not None:
            self.prompt = max(prompt, 1)

    def add(self, tokens: int, *, ends: bool = False) -> None:
        """It has so many tokens more, just now; `ends`: the last ones."""
        self.ended = ends
        self._workload.add(self, tokens)

    def leave(self) -> None:
        """It is not under way any more."""
        self._workload.leave(self)


class _Mean:
    """Of the samples of late."""

    def __init__(self) -> None:
        self._weight = self._sum = self._at_s = 0.0

    def add(self, value: float, count: float, now_s: float) -> None:
        kept = math.exp((self._at_s - now_s) / MEMORY_S) if self._weight else 0.0
        self._weight = self._weight * kept + count
        self._sum = self._sum * kept + value
        self._at_s = now_s

    @property
    def value(self) -> float:
        return self._sum / self._weight if self._weight else 0.0


class Workload:
    """The answers that an engine makes and those that wait, in the order of their arrival."""

    def __init__(self, slots: int, clock: Clock, *, serial: bool = True) -> None:
        """Args:
        serial: prompts are computed one after the other, and decoding waits meanwhile; else each is computed as if it were alone.
        """
        self._serial = serial
        self._slots = slots
        self.clock = clock
        self._jobs: dict[Job, None] = {}
        self._step, self._prompt_token, self._prompt = _Mean(), _Mean(), _Mean()
        self._lengths = Lengths()
        self._rests: dict[tuple[int, int], float] = {}  # of answers with (made, most) tokens: what is left; a thousand under way have few such pairs
        self._prompt_end_s = -math.inf  # of the last prompt

    def enter(self, prompt_tokens: int, max_tokens: int) -> Job:
        """An answer is wanted; it waits."""
        job = Job(self, max(prompt_tokens, 1), max_tokens)
        self._jobs[job] = None
        return job

    def add(self, job: Job, tokens: int) -> None:
        """It has so many tokens more, just now."""
        now_s = self.clock.now_s()
        if not job.made:
            began_s = max(job.started_s, self._prompt_end_s) if self._serial else job.started_s
            self._prompt_token.add(max(now_s - began_s, 0.0), job.prompt, now_s)
            self._prompt.add(job.prompt, 1, now_s)
            self._prompt_end_s = now_s
        elif tokens:
            self._step.add(now_s - job.last_s, tokens, now_s)
        job.made += tokens
        job.last_s = now_s

    def leave(self, job: Job) -> None:
        """It has ended, or nobody waits for it any more."""
        self._jobs.pop(job, None)
        if job.made:
            self._rests.clear()
            self._lengths.add("", "", job.made, cut=job.made >= job.most or not job.ended)

    @property
    def step_s(self) -> float:
        """Between two tokens of an answer, lately; others' prompts are in it. 0: none was made."""
        return self._step.value

    @property
    def prompt_token_s(self) -> float:
        """For each token of a prompt, lately."""
        return self._prompt_token.value

    @property
    def prompt_tokens(self) -> float:
        """That were computed of a prompt, lately, on average: a short one takes longer for each token."""
        return self._prompt.value

    def free_s(self) -> tuple[float, ...]:
        """When each slot could begin with another prompt, in seconds from now, rising; empty before anything was made."""
        if not self._step.value or not self._prompt_token.value:
            return ()
        now_s = self.clock.now_s()
        held = [job for job in self._jobs if not math.isnan(job.started_s)]
        prompts_s = self._prompts_s([job for job in held if not job.made], now_s) if self._serial else 0.0
        ends_s = sorted([*[prompts_s + self._rest_s(job, now_s) for job in held], *[prompts_s] * (self._slots - len(held))])[: max(self._slots, 1)]
        for job in self._jobs:
            if math.isnan(job.started_s):
                self._place(job, ends_s)
        return tuple(sorted(ends_s))

    def _prompts_s(self, fresh: Sequence[Job], now_s: float) -> float:
        """Until all prompts that have a slot are computed; the first of them is under way."""
        if not fresh:
            return 0.0
        begun_s = now_s - max(min(job.started_s for job in fresh), self._prompt_end_s)
        first_s = fresh[0].prompt * self._prompt_token.value
        return sum(job.prompt for job in fresh) * self._prompt_token.value - min(begun_s, first_s)

    def _rest_s(self, job: Job, now_s: float) -> float:
        """What a job with a slot still takes, beside prompts that hold all up."""
        if job.made:
            return max(self._left_s(job) - (now_s - job.last_s), 0.0)
        own_s = 0.0 if self._serial else max(job.prompt * self._prompt_token.value - (now_s - job.started_s), 0.0)
        return own_s + self._left_s(job)

    def _left_s(self, job: Job) -> float:
        if (rest := self._rests.get((job.made, job.most))) is None:
            rest = self._rests[job.made, job.most] = self._lengths.left("", "", job.made, job.most)
        return rest * self._step.value

    def _place(self, job: Job, ends_s: list[float]) -> None:
        """Let a job that waits take the slot that gets free first; decoding of the others waits for its prompt, if prompts hold it up."""
        prompt_s = job.prompt * self._prompt_token.value
        start_s = min(ends_s)
        if self._serial:
            ends_s[:] = [end_s + prompt_s if end_s > start_s else end_s for end_s in ends_s]
        heapify(ends_s)
        heapreplace(ends_s, start_s + prompt_s + self._left_s(job))
