"""This machine's own hardware profile: peaks by large matrices, efficiencies by models made for it.

The models have random weights and shapes that no shipped model has, and prompts of other lengths than those
that a prediction is held against, so that a prediction of a shipped model's speed is one. Each duration is
through the engine contract; the fastest of some repeats counts, which is what other work on the machine disturbs least.
"""

from __future__ import annotations

import os
import tempfile
from collections.abc import Awaitable, Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from functools import partial
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray

from netgpt.bench.engine import prompts, running_engine
from netgpt.core.clock import WallClock
from netgpt.core.statistics import non_negative_squares
from netgpt.core.storage import DiskStorage
from netgpt.engine.batch import STEP_ROWS
from netgpt.engine.torch_engine import TorchEngine
from netgpt.engine.useful_threads import torch_stack
from netgpt.models.checkpoint import save_model
from netgpt.models.decoder import Decoder
from netgpt.models.decoder_config import DecoderConfig
from netgpt.models.generation import Generate, Prefill, Rollback
from netgpt.network.profile import MEASURED_FILE, THIS_MACHINE, Efficiency, HardwareProfile
from netgpt.network.roofline import Declared, Work
from netgpt.world.declared import PRECISION_OF_DTYPE, own_shape

SEED = 20262
DTYPES = ("float32", "bfloat16")


@dataclass(frozen=True, kw_only=True)
class Lengths:
    """What a model is measured with, tokens."""

    prompts: tuple[int, ...]
    contexts: tuple[int, ...]  # at which decoding begins


FITTED = Lengths(prompts=(16, 48, 112, 320, 768), contexts=(32, 512))
HELD_OUT = Lengths(prompts=(64, 192, 512), contexts=(128,))
NEW_TOKENS = 32  # of a decoding measurement
CALM, FITS = 0.05, 8  # a relative error above this weighs less the larger it is; so often weights are set anew
SHAPES = tuple(
    partial(DecoderConfig, hidden_size=hidden, num_layers=layers, num_heads=heads, head_dim=head, intermediate_size=3 * hidden)
    for hidden, layers, heads, head in (
        (40, 4, 2, 20),
        (48, 2, 2, 24),
        (72, 5, 6, 12),
        (96, 3, 6, 16),
        (112, 4, 4, 28),
        (128, 2, 8, 16),
        (160, 4, 4, 40),
        (208, 6, 8, 26),
        (288, 5, 8, 36),
        (320, 7, 10, 32),
    )
)
ARITHMETIC, READING = 4, 5  # columns of the fit
SHARE_OF_MEMORY = 0.8
ASSUMED_IDLE_W, ASSUMED_W_PER_CPU = 10.0, 10.0


@dataclass(frozen=True, kw_only=True)
class Measured:
    """One duration, and the work that it took."""

    work: Work
    phase: str  # "prefill" or "decode"
    duration_s: float


@dataclass(frozen=True, kw_only=True)
class Peaks:
    """What large matrices and large copies get."""

    flops: dict[str, float]
    memory_bytes_per_s: float


Rows = dict[tuple[Path, str], list[Measured]]


def measure(
    *, repeats: int = 3, rounds: int = 3, targets: Sequence[Path] = (), now_s: Callable[[], float] | None = None
) -> tuple[HardwareProfile, Rows]:
    """This machine's profile, in some two minutes on an idle machine; and measurements of `targets` from the same rounds.

    Args:
        repeats: of each measurement in a round; the fastest of all counts.
        rounds: over all models, so that each meets the same weather.
        targets: folders of models that the profile is not to know.
        now_s: the clock; None: the wall's.
    """
    clock_s = now_s or WallClock().now_s
    profile = _profile(measure_peaks(repeats * rounds, clock_s))
    with tempfile.TemporaryDirectory() as scratch:
        made = [random_model(Path(scratch) / f"shape-{number}", shape) for number, shape in enumerate(SHAPES)]
        rows: Rows = {}
        for _ in range(rounds):
            for folder in (*made, *targets):
                for dtype in DTYPES:
                    found = measure_model(folder, dtype, profile, repeats, clock_s, HELD_OUT if folder in targets else FITTED)
                    rows[folder, dtype] = [_faster(*pair) for pair in zip(rows.get((folder, dtype), found), found, strict=True)]
        by_stack: dict[str, list[Measured]] = {}
        for folder in made:
            for dtype in DTYPES:
                by_stack.setdefault(stack_of(folder, dtype), []).extend(rows[folder, dtype])
    efficiencies = tuple(fit_machine(found, stack) for stack, found in by_stack.items())
    return replace(profile, efficiencies=efficiencies), {key: found for key, found in rows.items() if key[0] in targets}


def stack_of(folder: Path, dtype: str) -> str:
    """Which of the profile's efficiencies are those of the model in that folder."""
    shape = own_shape(str(folder))
    return torch_stack(dtype, shape.parameters if shape else 0)


def _faster(one: Measured, other: Measured) -> Measured:
    return one if one.duration_s <= other.duration_s else other


def random_model(folder: Path, shape: Callable[..., DecoderConfig]) -> Path:
    """A model of that shape in that folder, which it returns."""
    save_model(folder, Decoder(shape(vocab_size=2048, num_kv_heads=2, max_position=2048, qk_norm=True), seed=SEED), "float32")
    return folder


def measure_peaks(repeats: int, clock_s: Callable[[], float]) -> Peaks:
    """Arithmetic of a square matrix product, and bandwidth of a copy, which reads and writes."""
    flops: dict[str, float] = {}
    for dtype in DTYPES:
        matrix = torch.ones((512, 512), dtype=getattr(torch, dtype))
        flops[PRECISION_OF_DTYPE[dtype]] = 2 * 512**3 / _fastest_s(lambda matrix=matrix: matrix @ matrix, 2 * repeats, clock_s)
    memory = np.ones(1 << 23)
    target = np.empty_like(memory)
    return Peaks(flops=flops, memory_bytes_per_s=2 * memory.nbytes / _fastest_s(lambda: np.copyto(target, memory), 2 * repeats, clock_s))


def measure_model(folder: Path, dtype: str, profile: HardwareProfile, repeats: int, clock_s: Callable[[], float], lengths: Lengths) -> list[Measured]:
    """Prompts of those lengths, and steps of one session, of the model in that folder."""
    shape = own_shape(str(folder))
    assert shape is not None
    declared = Declared(profile=profile, shape=shape, precision=PRECISION_OF_DTYPE[dtype])
    rows: list[Measured] = []
    with _engine(folder, dtype) as call:
        for tokens in lengths.prompts:
            duration_s = min([call(partial(_prefill_s, tokens=tokens, clock_s=clock_s)) for _ in range(repeats + 1)][1:])  # the first warms up
            rows.append(Measured(work=declared.prompt(tokens, step_tokens=STEP_ROWS), phase="prefill", duration_s=duration_s))
        for context in lengths.contexts:
            step_s = min(call(partial(_decode_step_s, context=context, clock_s=clock_s)) for _ in range(repeats + 1))
            rows.append(Measured(work=declared.step([context + NEW_TOKENS // 2]), phase="decode", duration_s=step_s))
    return rows


@contextmanager
def _engine(folder: Path, dtype: str) -> Iterator[Callable[[Callable[[TorchEngine], Awaitable[float]]], float]]:
    """A running engine: how to run a measurement beside it."""
    with running_engine(folder, dtype) as timed:

        def call(measurement: Callable[[TorchEngine], Awaitable[float]]) -> float:
            found: list[float] = []

            async def keep(engine: TorchEngine) -> None:
                found.append(await measurement(engine))

            timed(keep)
            return max(found[0], 1e-9)

        yield call


async def _prefill_s(engine: TorchEngine, *, tokens: int, clock_s: Callable[[], float]) -> float:
    await engine.rollback(Rollback(session="prompt"))
    begin_s = clock_s()
    await engine.prefill(Prefill(session="prompt", ids=prompts(1, tokens)[0]))
    return clock_s() - begin_s


async def _decode_step_s(engine: TorchEngine, *, context: int, clock_s: Callable[[], float]) -> float:
    """The mean step after the first token."""
    ids = prompts(1, context)[0]
    first_s, made = 0.0, 0
    async for tokens in engine.generate(Generate(session="steps", ids=ids, max_tokens=NEW_TOKENS + 1)):
        first_s = first_s or clock_s()
        made += len(tokens.ids)
    return (clock_s() - first_s) / (made - 1)


def fit_machine(rows: Sequence[Measured], stack: str) -> Efficiency:
    """The efficiencies that give those durations: least squares of relative errors, none below 0.

    What bounds a row, arithmetic or reading, follows from the fit before; at first prompts are arithmetic and decoding reads. Rows that are
    far off weigh less (Huber's weights), since what else a machine does only ever makes a duration longer.
    """
    durations = np.array([row.duration_s for row in rows])
    reads = np.array([row.phase == "decode" for row in rows])
    weights = np.ones(len(rows))
    found: list[float] = []
    for _ in range(FITS):
        features = _features(rows, reads) / durations[:, None]
        found = non_negative_squares(features * weights[:, None], weights)
        errors = np.abs(features @ np.array(found) - 1)
        weights = np.sqrt(CALM / np.maximum(errors, CALM))
        arithmetic, reading = found[ARITHMETIC], found[READING]
        if arithmetic and reading:  # else one of them bounds nothing, and what it would cost is not known
            reads = np.array([row.work.reading_s * reading > row.work.arithmetic_s * arithmetic for row in rows])
    return _efficiency(found, stack)


def _features(rows: Sequence[Measured], reads: NDArray[np.bool_]) -> NDArray[np.float64]:
    works = [row.work for row in rows]
    columns = [
        [work.calls for work in works],
        [work.steps for work in works],
        [work.steps * work.layers for work in works],
        [work.layers * work.tokens for work in works],
        np.where(reads, 0.0, [work.arithmetic_s for work in works]),
        np.where(reads, [work.reading_s for work in works], 0.0),
        [work.score_s for work in works],
    ]
    return np.array(columns, dtype=np.float64).T


def _efficiency(found: Sequence[float], stack: str) -> Efficiency:
    call, step, layer, token, arithmetic, reading, scores = found
    share = 1 / max(arithmetic, 1e-6)
    read = 1 / max(reading, 1e-6)
    return Efficiency(
        stack=stack,
        prefill_wide=share,
        prefill_packed=share,
        decode_wide=read,
        decode_packed=read,
        layer_overhead_s=layer,
        step_overhead_s=step,
        token_overhead_s=token,
        call_overhead_s=call,
        step_tokens=STEP_ROWS,
        score_bytes=scores * read,
        basis="measured",
    )


def _fastest_s(work: Callable[[], object], repeats: int, clock_s: Callable[[], float]) -> float:
    """The first run, which warms up, does not count."""
    work()
    durations: list[float] = []
    for _ in range(repeats):
        start_s = clock_s()
        work()
        durations.append(clock_s() - start_s)
    return max(min(durations), 1e-9)


def _profile(peaks: Peaks) -> HardwareProfile:
    cpus = len(os.sched_getaffinity(0))
    date = datetime.fromtimestamp(WallClock().date_s(), tz=UTC).date().isoformat()
    return HardwareProfile(
        id=THIS_MACHINE,
        kind=THIS_MACHINE,
        name=f"this machine, {cpus} CPUs",
        flops=peaks.flops,
        memory_bytes_per_s=peaks.memory_bytes_per_s,
        memory_bytes=float(os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")),
        usable=SHARE_OF_MEMORY,
        idle_w=ASSUMED_IDLE_W,
        busy_w=ASSUMED_IDLE_W + ASSUMED_W_PER_CPU * cpus,
        source="netgpt hardware measure; power assumed",
        date=date,
        efficiencies=(),
    )


def write_profile(home: Path, profile: HardwareProfile) -> Path:
    """Keep it in the home, for `profile = "this-machine"`; raises StorageFailed."""
    folder, _, name = MEASURED_FILE.rpartition("/")
    DiskStorage(home / folder).replace(name, profile_text(profile).encode())
    return home / MEASURED_FILE


def profile_text(profile: HardwareProfile) -> str:
    """A profile in the format of the package's own files."""
    words = {"id": profile.id, "name": profile.name, "source": profile.source, "date": profile.date}
    figures = {key: getattr(profile, key) for key in ("memory_bytes_per_s", "memory_bytes", "idle_w", "busy_w")}
    flops = ", ".join(f"{rate} = {value:.4g}" for rate, value in profile.flops.items())
    lines = [f'class = "{profile.kind}"', f"usable = {profile.usable}"]
    for one in profile.efficiencies:
        lines += ["", "[[efficiency]]", f'stack = "{one.stack}"', f'basis = "{one.basis}"']
        lines += [f"{key} = {value:.4g}" for key, value in vars(one).items() if key not in ("stack", "basis")]
    lines += ["", "[[profile]]", *(f'{key} = "{value}"' for key, value in words.items()), f"flops = {{ {flops} }}"]
    return "\n".join([*lines, *(f"{key} = {value:.6g}" for key, value in figures.items())]) + "\n"
