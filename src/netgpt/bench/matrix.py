"""The AI-phone matrix: what a phone gains from a network that computes for it, that tells it what it knows, or both.

Inference is the phone's own (the device's model on its neural processor) or the cloud's (the cloud's model, asked over the cell and the
Internet). *Compute*: the network's machines take part. They answer what the phone's model was not sure of (`cascade`), or the cloud's model
runs on one at the cell's site. *Data*: the phone asks a register at the site for the one fact about a site that its question needs, and puts
it into the prompt. `matrix_play` plays the requests, `matrix_data` is the register.

After figures 2 and 3 of the white paper on network-enabled large models; its table 1 wants the first token in 0.2 s and all in 1 s.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ProcessPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from netgpt.bench.conditions import conditions, tell
from netgpt.bench.drawing import figure_class
from netgpt.bench.matrix_data import begun_with, site_named, told_of
from netgpt.bench.matrix_play import PROFILE, WAYS, Seen, Way, column_of, network_of, play, shipped_tokenizer
from netgpt.bench.measures import resampled, share_figures
from netgpt.corpus.draw import judged_tasks, read_mix
from netgpt.corpus.task import Task
from netgpt.learn.evaluate import go_on, grade
from netgpt.models.checkpoint import load_model
from netgpt.models.store import find_model, search_path

SEEDS, QUICK_SEEDS = (1, 2, 3, 4, 5), (1,)
ONE_IN, QUICK_ONE_IN = 5, 240  # of the judged tasks
FIRST_S, TOTAL_S = 0.2, 1.0  # table 1
MEASURES = ("first_s", "total_s", "energy_j", "right")
RESAMPLES = 1000
Figures = dict[str, float]
Statistic = Callable[[NDArray[np.float64]], float]


def run(quick: bool) -> dict[str, Any]:
    """Play the matrix: some 20 minutes on two cores, under one if `quick`.

    Returns:
        {"suite": "matrix", "figures": {name: number}, "tables": {"matrix": [row]}, "conditions": {...}}. Flat names, by
        `{device, cloud}_{none, compute, data, both}`: `first_s` and `total_s` are medians over requests, `..._p95` their 95th percentiles,
        `energy_j` the phone's mean, `accuracy`, `in_time` the share within table 1; `..._gain` of a measure is what help changes, request by
        request. `{device, cloud}_begun_accuracy` is of the told tasks alone, if the network does not tell the model what it knows but begins its
        answer with it, beside `..._unbegun_accuracy`. Bounds are of 95 %: Wilson's for shares, else by resampling requests.

    Raises:
        ModelNotFound: a tier's model is not installed.
    """
    seeds = QUICK_SEEDS if quick else SEEDS
    tasks = judged_tasks()[:: QUICK_ONE_IN if quick else ONE_IN]
    about = conditions(packages=("torch", "numpy"), seeds=list(seeds), mix=read_mix().digest, quick=quick, declared=declared())
    seen = played(tasks, seeds, processes=os.cpu_count() or 1)
    figures: Figures = {"tasks": len(tasks), "told": sum(site_named(task) is not None for task in tasks), **begun_figures(tasks)}
    for way in WAYS:
        figures |= way_figures(way, seen[way], seen[Way(inference=way.inference)])
    return {"suite": "matrix", "figures": figures, "tables": {"matrix": [row(way, figures) for way in WAYS]}, "conditions": about}


def declared() -> dict[str, str]:
    """Whose times the tiers' are."""
    return {tier: f"{parameters / 1e9:g}B on {machine}" for tier, (machine, parameters, _) in PROFILE.items()}


def played(tasks: Sequence[Task], seeds: Sequence[int], *, processes: int) -> dict[Way, list[Seen]]:
    """All requests of every way, in the tasks' order; the tasks are dealt to the seeds, each of which is a network of its own."""
    dealt = {seed: tasks[place :: len(seeds)] for place, seed in enumerate(seeds)}
    for way in WAYS:
        network_of(way)  # refused here, not in a process
    with ProcessPoolExecutor(processes) as pool:
        found = {way: {seed: pool.submit(play, way, mine, seed) for seed, mine in dealt.items()} for way in WAYS}
        seen: dict[Way, list[Seen]] = {}
        for way, parts in found.items():
            by_task = {one.task: one for part in parts.values() for one in part.result()}
            seen[way] = [by_task[task.id] for task in tasks]
            tell(f"{way.name}: {column_of(seen[way], 'right').mean():.1%} of {len(tasks)} right")
    return seen


def begun_figures(tasks: Sequence[Task]) -> Figures:
    """How right the models are where their answers begin with the register's fact, and without, on the tasks that it is of help to."""
    told = [(task, begun_with(task, told_of(*asked))) for task in tasks if (asked := site_named(task))]
    helped, begun = [task for task, text in told if text], [shipped_tokenizer().encode(text) for _, text in told if text]
    figures: Figures = {"begun": len(helped)}
    for tier in ("device", "cloud"):
        model = load_model(find_model(f"netgpt-{tier}", search_path(None)), "float32")
        for name, beginnings in (("begun", begun), ("unbegun", [[] for _ in helped])):
            replies = go_on(model, shipped_tokenizer(), helped, beginnings)
            said = [(*ids, *reply.ids) for ids, reply in zip(beginnings, replies, strict=True)]
            right_N = grade(helped, [shipped_tokenizer().decode(ids).decode("utf-8", errors="replace") for ids in said])
            figures |= share_figures(f"{tier}_{name}_accuracy", right_N)
    return figures


def way_figures(way: Way, seen: Sequence[Seen], alone: Sequence[Seen]) -> Figures:
    """One cell's figures; `alone` are the same requests without help."""
    column = {name: column_of(seen, name) for name in MEASURES}
    figures: Figures = {}
    for name in ("first_s", "total_s"):
        figures |= _bounded(f"{way.name}_{name}", column[name], median)
        figures |= _bounded(f"{way.name}_{name}_p95", column[name], p95)
    figures |= _bounded(f"{way.name}_energy_j", column["energy_j"], mean)
    figures |= share_figures(f"{way.name}_accuracy", column["right"])
    figures |= share_figures(f"{way.name}_in_time", (column["first_s"] <= FIRST_S) & (column["total_s"] <= TOTAL_S))
    if way.help != "none":
        for name, label in zip(MEASURES, ("first_s", "total_s", "energy_j", "accuracy"), strict=True):
            figures |= _bounded(f"{way.name}_{label}_gain", column[name] - column_of(alone, name), mean)
    if way.model == "cascade":
        nodes = [one.node for one in seen]
        figures |= {f"{way.name}_answered_by_{node}": round(nodes.count(node) / len(nodes), 4) for node in sorted(set(nodes))}
    return figures


def median(values_N: NDArray[np.float64]) -> float:
    return float(np.median(values_N))


def p95(values_N: NDArray[np.float64]) -> float:
    return float(np.percentile(values_N, 95))


def mean(values_N: NDArray[np.float64]) -> float:
    return float(values_N.mean())


def _bounded(name: str, values_N: NDArray[np.float64], statistic: Statistic) -> Figures:
    low, high = resampled(len(values_N), lambda places: statistic(values_N[places]), name=name, resamples=RESAMPLES)
    return {key: round(value, 4) for key, value in ((name, statistic(values_N)), (f"{name}_low", low), (f"{name}_high", high))}


HEADINGS = ("INFERENCE", "NETWORK'S HELP", "FIRST TOKEN, s", "p95", "ALL, s", "p95", "IN 0.2 AND 1 s", "PHONE, J", "RIGHT")


def row(way: Way, figures: Mapping[str, float]) -> list[str]:
    """One line of the table, under `HEADINGS`; bounds of 95 % in brackets."""

    def told(name: str, form: str) -> str:
        value, low, high = (figures[f"{way.name}_{name}{bound}"] for bound in ("", "_low", "_high"))
        return f"{value:{form}} ({low:{form}} to {high:{form}})"

    times = [text for name in ("first_s", "total_s") for text in (told(name, ".3f"), f"{figures[f'{way.name}_{name}_p95']:.2f}")]
    return [way.inference, way.help, *times, f"{figures[f'{way.name}_in_time']:.0%}", told("energy_j", ".3f"), told("accuracy", ".1%")]


def table_of(report: Mapping[str, Any]) -> tuple[Sequence[str], Sequence[Sequence[str]]]:
    """The matrix for a terminal: headings, and a row for each cell."""
    return HEADINGS, report["tables"]["matrix"]


COLOURS = {"none": "tab:gray", "compute": "tab:blue", "data": "tab:green", "both": "tab:red"}
PANELS = (
    ("first_s", "first token, s (dot: p95)", FIRST_S),
    ("total_s", "whole answer, s (dot: p95)", TOTAL_S),
    ("energy_j", "J of the phone, a request", None),
    ("accuracy", "share right", None),
)


def draw_pictures(report: Mapping[str, Any], folder: Path) -> list[Path]:
    """`matrix.png`: a panel for each measure, table 1's targets as lines.

    Raises:
        MissingExtra: matplotlib is not installed.
    """
    Figure = figure_class(folder)
    figures = report["figures"]
    figure = Figure(figsize=(13, 4.2), layout="constrained")
    for (name, label, target), axis in zip(PANELS, figure.subplots(1, len(PANELS)), strict=True):
        for place, way in enumerate(WAYS):
            value, low, high = (figures[f"{way.name}_{name}{bound}"] for bound in ("", "_low", "_high"))
            x = place + (way.inference == "cloud") / 2
            axis.bar(x, value, color=COLOURS[way.help], alpha=0.7, label=way.help if way.inference == "device" else None)
            axis.errorbar(x, value, yerr=[[max(value - low, 0)], [max(high - value, 0)]], color="black", capsize=3)
            if target is not None:
                axis.plot([x], [figures[f"{way.name}_{name}_p95"]], "o", color=COLOURS[way.help])
        if target is not None:
            axis.axhline(target, color="black", linestyle="--", linewidth=1)
        axis.set(title=label)
        axis.set_xticks([1.5, 6], ["device inference", "cloud inference"])
        axis.grid(alpha=0.3, axis="y")
    figure.legend(
        *figure.axes[0].get_legend_handles_labels(), loc="outside lower center", ncols=4, title="help of the network; lines: table 1's targets"
    )
    path = folder / "matrix.png"
    figure.savefig(path, dpi=80)
    return [path]
