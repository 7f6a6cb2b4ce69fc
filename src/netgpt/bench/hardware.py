"""How far the roofline is off: on published speeds that it was not fitted to, on this machine, and under a declared one.

The published half needs no hardware and is the same everywhere. This machine is measured with models made
for it, and its profile then has to predict the shipped models. Last, a real model runs as a declared
phone: more than 1 % of results that come late would make every declared figure doubtful, and fails.
"""

from __future__ import annotations

import math
import statistics
import tempfile
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from netgpt.bench.conditions import MOST_OVERRUNS, conditions
from netgpt.bench.engine import PROMPT_TOKENS, model_folder, prompts, running_engine
from netgpt.bench.published import Point, fitted, read_points, split
from netgpt.bench.this_machine import DTYPES, SEED, Rows, measure, stack_of
from netgpt.core.clock import WallClock
from netgpt.core.errors import BenchInvalid
from netgpt.engine.timed import TimedEngine
from netgpt.engine.torch_engine import TorchEngine
from netgpt.models.generation import Generate
from netgpt.network.profile import HardwareProfile, find_profile, profiles
from netgpt.network.roofline import Declared, declare
from netgpt.network.shape import sized_shape
from netgpt.world.declared import PRECISION_OF_DTYPE, own_shape

TIERS = ("device", "edge", "cloud")
DECLARED_PARAMETERS, DECLARED_TOKENS = 1e9, 48
Figures = dict[str, float]


def run(quick: bool) -> dict[str, Any]:
    """Measure; `quick` takes fewer repeats and tiers.

    Returns:
        {"suite": "hardware", "figures": {name: number}, "conditions": {...}}; errors are shares of the measured duration.

    Raises:
        BenchInvalid: the stored efficiencies are not those that fit the points, or too many results of a declared machine came late.
    """
    repeats, tiers = (2, TIERS[::2]) if quick else (3, TIERS)
    about = conditions(packages=("torch", "numpy"), seed=SEED, repeats=repeats)
    figures = published_figures(split(read_points()))
    with tempfile.TemporaryDirectory() as scratch:
        found = {tier: model_folder(tier, Path(scratch)) for tier in tiers}
        weights = {tier: name for tier, (_, name) in found.items()}
        machine, rows = measure(repeats=repeats, targets=[folder for folder, _ in found.values()])
        for tier, (folder, _) in found.items():
            figures |= machine_figures(tier, folder, machine, rows)
        for phase in ("prefill", "decode"):
            errors = [value for name, value in figures.items() if name.startswith(f"this_machine_{phase}_error_")]
            figures[f"this_machine_{phase}_error_max"] = max(errors)
        figures |= declared_figures(found[tiers[0]][0])
    return {"suite": "hardware", "figures": figures, "conditions": {**about, "weights": weights}}


def published_figures(halves: tuple[list[Point], list[Point]]) -> Figures:
    """Errors on the published speeds, the half for the fit and the one held out, prefill and decoding apart.

    Raises:
        BenchInvalid: the stored efficiencies are not those that fit.
    """
    stored = {(one.kind, efficiency.stack): efficiency for one in profiles().values() for efficiency in one.efficiencies}
    for kind, efficiency in fitted().items():
        if stored[kind] != efficiency:
            raise BenchInvalid(f"the efficiencies of {kind} are not those that fit its points: {efficiency}", hint="store these in network/hardware")
    figures: Figures = {"published_points": float(sum(map(len, halves)))}
    for name, half in zip(("fit", "held_out"), halves, strict=True):
        for phase in ("prefill", "decode"):
            errors = [point.error() for point in half if point.phase == phase]
            figures[f"{name}_{phase}_points"] = float(len(errors))
            figures[f"{name}_{phase}_error_median"] = _rounded(statistics.median(errors))
            figures[f"{name}_{phase}_error_p90"] = _rounded(_nearest_rank(errors, 0.9))
            figures[f"{name}_{phase}_error_worst"] = _rounded(max(errors))
    return figures


def machine_figures(tier: str, folder: Path, machine: HardwareProfile, rows: Rows) -> Figures:
    """How far this machine's profile is off a model's measured durations; of all prompt lengths the worst."""
    shape = own_shape(str(folder))
    assert shape is not None
    figures: Figures = {}
    for dtype in DTYPES:
        efficiency = machine.efficiency(stack_of(folder, dtype))
        declared = Declared(profile=machine, shape=shape, precision=PRECISION_OF_DTYPE[dtype])
        for phase in ("prefill", "decode"):
            found = [row for row in rows[folder, dtype] if row.phase == phase]
            errors = [abs(declared.duration_s(row.work, efficiency) / row.duration_s - 1) for row in found]
            figures[f"this_machine_{phase}_error_{tier}_{dtype}"] = _rounded(max(errors))
    return figures


def declared_figures(folder: Path) -> Figures:
    """A real model as a declared phone that runs one of 1 B parameters: how exact the modelled times are kept.

    Raises:
        BenchInvalid: more than 1 % of its results came late.
    """
    declared = declare(find_profile("phone"), sized_shape(DECLARED_PARAMETERS), slots=4)
    clock = WallClock()
    found: Figures = {}

    async def play(engine: TorchEngine) -> None:
        timed = TimedEngine(engine, declared, clock)
        start_s = clock.now_s()
        async for _ in timed.generate(Generate(session="declared", ids=prompts(1, PROMPT_TOKENS)[0], max_tokens=DECLARED_TOKENS)):
            pass
        duration_s = clock.now_s() - start_s
        modelled_s = declared.prefill_s(PROMPT_TOKENS) + sum(declared.decode_s([PROMPT_TOKENS + made]) for made in range(DECLARED_TOKENS - 1))
        found.update(declared_duration_error=_rounded(abs(duration_s / modelled_s - 1)), **overrun_figures(timed.releases, timed.overruns))

    with running_engine(folder, "float32") as timed_run:
        timed_run(play)
    return found


def overrun_figures(releases: int, overruns: int) -> Figures:
    """The share of a declared machine's results that came late; raises BenchInvalid if it is more than 1 %."""
    share = overruns / releases if releases else 0.0
    if share > MOST_OVERRUNS:
        raise BenchInvalid(
            f"{overruns} of {releases} results came later than the declared machine would have given them",
            hint="run on an idle or faster machine, or declare slower ones",
        )
    return {"declared_results": float(releases), "declared_overruns_share": _rounded(share)}


def _nearest_rank(values: Iterable[float], share: float) -> float:
    ordered = sorted(values)
    return ordered[math.ceil(share * len(ordered)) - 1]


def _rounded(value: float) -> float:
    return float(f"{value:.3g}")
