"""How the models of the three tiers differ: by family, depth, language, and in which tasks they err together.

All tiers answer the frozen held-out tasks (`corpus.draw.judged_tasks`) greedily; know-nothing controls and
the symbolic solver are graded on the same tasks by the same graders. What later results rest on is printed as
flat figures: the accuracies, the joint outcomes of neighbouring tiers, what the surface of a question gives
away to a router, how often the device's drafts would stand, and how the loss falls with size.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch.nn import functional as F

from netgpt.bench.conditions import conditions
from netgpt.bench.drawing import figure_class
from netgpt.bench.surface import lead_share
from netgpt.core.chance import SeededChance
from netgpt.core.statistics import Z_95, phi_coefficient, phi_interval
from netgpt.corpus.book import CLASS_SIZES
from netgpt.corpus.controls import control_replies
from netgpt.corpus.draw import judged_tasks, read_mix
from netgpt.corpus.families import BY_NAME
from netgpt.corpus.task import GRADES, Task
from netgpt.learn.evaluate import Tally, Verdicts, answer_tasks, grade, tally, tally_by
from netgpt.learn.scaling import fit_power_law
from netgpt.models.checkpoint import load_model
from netgpt.models.decoder import Decoder
from netgpt.models.store import find_model, search_path
from netgpt.models.tokenizer import BpeTokenizer, render_chat

TIERS = ("device", "edge", "cloud")
NEIGHBOURS = (("device", "edge"), ("edge", "cloud"), ("device", "cloud"))
DTYPE, THREADS, SEED = "float32", 2, 2026
QUICK_ONE_IN, UNTRAINED_TASKS, ACCEPTANCE_TASKS = 12, 180, 180
LONG_CHARACTERS = 1_000  # a question of more is one of the long contexts
Figures = dict[str, float | str | None]


def run(quick: bool) -> dict[str, Any]:
    """Measure the bundled models; some 10 minutes, or under a minute of every twelfth task if `quick`.

    Returns:
        {"suite": "models", "figures": {name: number}, "tables": {...}, "conditions": {...}}.

    Raises:
        ModelNotFound: a tier's model is not installed.
    """
    about = conditions(packages=("torch", "numpy", "tokenizers"), threads=THREADS, dtype=DTYPE, seed=SEED, mix=read_mix().digest)
    torch.set_num_threads(THREADS)
    tasks = list(judged_tasks()[:: QUICK_ONE_IN if quick else 1])
    folders = {tier: find_model(f"netgpt-{tier}", search_path(None)) for tier in TIERS}
    models = {tier: load_model(folder, DTYPE) for tier, folder in folders.items()}
    tokenizer = BpeTokenizer.load(folders["device"])
    replies = {tier: answer_tasks(model, tokenizer, tasks) for tier, model in models.items()}
    right = {tier: grade(tasks, said) for tier, said in replies.items()}
    controls = controls_right(tasks, replies["cloud"])
    ceiling = grade(tasks, [BY_NAME[task.family].solve(task) for task in tasks])
    figures: Figures = {"tasks": len(tasks), **accuracy_figures(right, controls, ceiling)}
    figures.update(_with_interval("control_untrained", untrained_tally(tasks, models["device"], tokenizer)))
    for small, large in NEIGHBOURS:
        figures.update(joint_figures(small, large, tasks, right))
    figures.update(knowledge_figures(tasks, right))
    figures.update(acceptance_figures(models["device"], models["cloud"], tokenizer, tasks, replies["cloud"]))
    figures.update(scaling_figures(folders))
    columns = {**right, **controls, "solver": ceiling}
    return {"suite": "models", "figures": figures, "tables": tables(tasks, columns), "conditions": {**about, "weights": _weights(folders)}}


def _weights(folders: Mapping[str, Path]) -> dict[str, object]:
    return {tier: json.loads((folder / "training.json").read_text(encoding="utf-8")) for tier, folder in folders.items()}


def controls_right(tasks: Sequence[Task], best_replies: Sequence[str]) -> dict[str, Verdicts]:
    """Verdicts of the know-nothing controls; *shuffled* grades the best model's replies against other tasks of the same family."""
    verdicts = {name: grade(tasks, said) for name, said in control_replies(tasks).items()}
    chance = SeededChance(SEED).stream("shuffled")
    order = list(range(len(tasks)))
    for family in dict.fromkeys(task.family for task in tasks):
        places = [i for i, task in enumerate(tasks) if task.family == family]
        for place, other in zip(places, chance.permutation(places), strict=True):
            order[place] = int(other)
    verdicts["shuffled"] = grade(tasks, [best_replies[i] for i in order])
    return verdicts


def untrained_tally(tasks: Sequence[Task], smallest: Decoder, tokenizer: BpeTokenizer) -> Tally:
    """How a model of the smallest one's shape does before it has learnt anything, on a sample spread over all tasks."""
    step = max(1, len(tasks) // UNTRAINED_TASKS)
    sampled = [task for task in tasks[::step] if len(task.question) < LONG_CHARACTERS]
    return tally(grade(sampled, answer_tasks(Decoder(smallest.config, seed=SEED).eval(), tokenizer, sampled)))


def accuracy_figures(right: Mapping[str, Verdicts], controls: Mapping[str, Verdicts], ceiling: Verdicts) -> Figures:
    """Accuracies with intervals, the best control, and the solver's ceiling."""
    figures: Figures = {}
    for name, verdicts in {**right, **{f"control_{name}": found for name, found in controls.items()}, "solver": ceiling}.items():
        figures.update(_with_interval(name if name.startswith("control_") else f"accuracy_{name}", tally(verdicts)))
    best = max(controls, key=lambda name: controls[name].mean())
    gains = {
        "best_control": float(controls[best].mean()),
        "device_above_best_control": float(right["device"].mean() / max(1e-9, controls[best].mean()) - 1),
    }
    gains |= {f"points_{small}_{large}": 100 * float(right[large].mean() - right[small].mean()) for small, large in NEIGHBOURS}
    return {**figures, **{name: round(value, 4) for name, value in gains.items()}, "best_control_name": best}


def _with_interval(name: str, found: Tally) -> Figures:
    low, high = found.interval
    return {name: round(found.accuracy, 4), f"{name}_min": round(low, 4), f"{name}_max": round(high, 4)}


def joint_figures(small: str, large: str, tasks: Sequence[Task], right: Mapping[str, Verdicts]) -> Figures:
    """Joint outcomes of two tiers, the correlation of their errors, and what a question's surface tells a router."""
    a, b = right[small], right[large]
    counts = [int(np.sum(a & b)), int(np.sum(a & ~b)), int(np.sum(~a & b)), int(np.sum(~a & ~b))]
    low, high = phi_interval(counts)
    pair, names = f"{small}_{large}", (f"both_right_{small}_{large}", f"only_{small}_right_{small}_{large}", f"only_{large}_right_{small}_{large}")
    shares = {name: round(count / len(tasks), 4) for name, count in zip((*names, f"neither_right_{pair}"), counts, strict=True)}
    phi = float(phi_coefficient(np.array(counts)))
    figures: Figures = {f"phi_{pair}": round(phi, 4) if np.isfinite(phi) else None, f"phi_{pair}_min": low, f"phi_{pair}_max": high, **shares}
    figures[f"surface_lead_{pair}"] = _rounded(lead_share(tasks, a, b))
    figures[f"surface_lead_within_families_{pair}"] = _rounded(lead_share(tasks, a, b, within=lambda task: task.family))
    return figures


def _rounded(value: float | None) -> float | None:
    return None if value is None else round(value, 4)


def knowledge_figures(tasks: Sequence[Task], right: Mapping[str, Verdicts]) -> Figures:
    """Share of the fact book's facts that a tier knows: each rarity class weighs as many subjects as it has."""
    about_book = [i for i, task in enumerate(tasks) if task.family == "book"]
    figures: Figures = {}
    for tier, verdicts in right.items():
        by_class = tally_by([tasks[i] for i in about_book], verdicts[about_book], lambda task: str(task.grade))
        known = sum(size * by_class[str(grade)].accuracy for grade, size in zip(GRADES, CLASS_SIZES, strict=True) if str(grade) in by_class)
        figures[f"facts_known_{tier}"] = round(known / sum(CLASS_SIZES), 4)
    return figures


@torch.inference_mode()
def acceptance_figures(draft: Decoder, target: Decoder, tokenizer: BpeTokenizer, tasks: Sequence[Task], said: Sequence[str]) -> Figures:
    """How often the draft model's next token would stand, along what the target says, on the free-text families.

    *sampled* is the mean over positions of sum_v min(p_v, q_v), the acceptance rate of speculative sampling at
    temperature 1 (Leviathan et al. 2023, corollary 3.6); *greedy* the share of positions with equal choices.
    """
    sums: list[tuple[float, float]] = []
    chosen = [(task, reply) for task, reply in zip(tasks, said, strict=True) if BY_NAME[task.family].free_text][:ACCEPTANCE_TASKS]
    for task, reply in chosen:
        prompt = render_chat(tokenizer, task.messages)
        answer = [*tokenizer.encode(reply), tokenizer.end_id]
        ids_1T = torch.tensor([[*prompt, *answer]])
        p_TV, q_TV = (F.softmax(model(ids_1T)[0, len(prompt) - 1 : -1].float(), dim=-1) for model in (draft, target))
        agreed_T = p_TV.argmax(-1) == q_TV.argmax(-1)
        sums += zip(torch.minimum(p_TV, q_TV).sum(-1).tolist(), agreed_T.float().tolist(), strict=True)
    if not sums:
        return {}
    sampled, greedy = np.array(sums).T
    low, high = _mean_interval(sampled)
    return {
        "draft_acceptance_device_cloud": round(float(sampled.mean()), 4),
        "draft_acceptance_device_cloud_min": low,
        "draft_acceptance_device_cloud_max": high,
        "draft_acceptance_greedy_device_cloud": round(float(greedy.mean()), 4),
        "draft_acceptance_tokens": len(sums),
    }


def _mean_interval(values: NDArray[np.float64]) -> tuple[float, float]:
    """95 % interval of a mean, normal."""
    half = Z_95 * float(values.std(ddof=1)) / np.sqrt(len(values)) if len(values) > 1 else 0.0
    return round(float(values.mean() - half), 4), round(float(values.mean() + half), 4)


def scaling_figures(folders: Mapping[str, Path]) -> Figures:
    """Held-out loss against non-embedding parameters, its power law, and how much each loss still moved at the end.

    Nothing unless every model's `training.json` says how its training ended.
    """
    trained = {tier: json.loads((folder / "training.json").read_text(encoding="utf-8")) for tier, folder in folders.items()}
    if not all(facts.get("validation_loss") for facts in trained.values()):
        return {}
    figures: Figures = {}
    for tier, facts in trained.items():
        figures[f"non_embedding_parameters_{tier}"] = facts["non_embedding_parameters"]
        figures[f"validation_loss_{tier}"] = facts["validation_loss"]
        figures[f"loss_moved_in_last_tenth_{tier}"] = facts["loss_moved_in_last_tenth"]
    law = fit_power_law([facts["non_embedding_parameters"] for facts in trained.values()], [facts["validation_loss"] for facts in trained.values()])
    return {**figures, "power_law_exponent": round(law.exponent, 4), "power_law_worst_residual": round(law.worst_residual, 4)}


KEYS: dict[str, Callable[[Task], str]] = {
    "family": lambda task: task.family,
    "depth": lambda task: str(task.grade),
    "language": lambda task: task.language,
    "family_depth": lambda task: f"{task.family}/{task.grade}",
    "context": lambda task: "long" if len(task.question) >= LONG_CHARACTERS else "short",
}


def tables(tasks: Sequence[Task], columns: Mapping[str, Verdicts]) -> dict[str, dict[str, dict[str, dict[str, float]]]]:
    """{grouping: {group: {answerer: {tasks, right, accuracy, low_95, high_95}}}}."""
    found: dict[str, dict[str, dict[str, dict[str, float]]]] = {}
    for grouping, key in KEYS.items():
        for name, right in columns.items():
            for group, group_tally in tally_by(tasks, right, key).items():
                found.setdefault(grouping, {}).setdefault(group, {})[name] = group_tally.summary()
    return found


def draw_pictures(report: Mapping[str, Any], folder: Path) -> list[Path]:
    """`depth.png`, accuracy against latent depth, over all families and in each; and `scaling.png`, if the losses are known.

    Raises:
        MissingExtra: matplotlib is not installed.
    """
    Figure = figure_class(folder)
    by_depth, by_both = report["tables"]["depth"], report["tables"]["family_depth"]
    families = sorted({name.partition("/")[0] for name in by_both})
    figure = Figure(figsize=(13, 9), layout="constrained")
    axes = figure.subplots(4, 5, sharex=True, sharey=True).ravel()
    for axis, family in zip(axes, ["all families", *families], strict=False):
        for tier, colour in zip(TIERS, ("tab:orange", "tab:green", "tab:blue"), strict=True):
            groups = by_depth if family == "all families" else {str(g): by_both.get(f"{family}/{g}") for g in GRADES}
            points = [(int(depth), cell[tier]) for depth, cell in sorted(groups.items()) if cell]
            depths = [depth for depth, _ in points]
            axis.plot(depths, [cell["accuracy"] for _, cell in points], marker=".", color=colour, label=tier)
            axis.fill_between(depths, [cell["low_95"] for _, cell in points], [cell["high_95"] for _, cell in points], color=colour, alpha=0.15)
        axis.set(title=family, ylim=(0, 1.02), xticks=GRADES)
        axis.grid(alpha=0.3)
    for axis in axes[len(families) + 1 :]:
        axis.axis("off")
    axes[0].legend(fontsize="small")
    figure.supxlabel("latent depth")
    figure.supylabel("share right, held-out tasks (bands: 95 %)")
    paths = [folder / "depth.png"]
    figure.savefig(paths[0], dpi=70)
    if "power_law_exponent" in report["figures"]:
        paths.append(folder / "scaling.png")
        _draw_scaling(report["figures"], paths[1])
    return paths


def _draw_scaling(figures: Mapping[str, Any], path: Path) -> None:
    from matplotlib.figure import Figure

    sizes = [figures[f"non_embedding_parameters_{tier}"] for tier in TIERS]
    losses = [figures[f"validation_loss_{tier}"] for tier in TIERS]
    law = fit_power_law(sizes, losses)
    figure = Figure(figsize=(6, 4), layout="constrained")
    axis = figure.subplots()
    grid = np.geomspace(min(sizes) / 1.5, max(sizes) * 1.5, 50)
    axis.plot(grid, law.at(grid), color="grey", label=f"loss = {law.factor:.3g} N^-{law.exponent:.3f}")
    axis.scatter(sizes, losses)
    for tier, size, loss in zip(TIERS, sizes, losses, strict=True):
        axis.annotate(f" {tier}", (size, loss))
    axis.set(xscale="log", yscale="log", xlabel="non-embedding parameters N", ylabel="held-out loss, nats per answer token")
    axis.grid(alpha=0.3, which="both")
    axis.legend()
    figure.savefig(path, dpi=90)
