"""`netgpt pretrain`: make the tokenizer and the models of the three tiers, and measure them.

A run lives in its own folder and can be stopped with Ctrl-C at any time; `--resume` goes on exactly
where it stopped. A finished tier is published as a model folder that NetGPT and `transformers` load.
"""

from __future__ import annotations

import argparse
import json
import signal
import sys
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

from netgpt.core.errors import UsageError

if TYPE_CHECKING:
    from netgpt.learn.curve import Point
    from netgpt.learn.recipe import Recipe
    from netgpt.models.tokenizer import BpeTokenizer

INTERRUPTED = 130  # the shell's number for Ctrl-C


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--tier", choices=("device", "edge", "cloud", "all"), default="all", help="which model to train (default: all, smallest first)"
    )
    parser.add_argument("--output", type=Path, default=Path("weights"), help="folder that gets one model folder a tier (default: weights)")
    parser.add_argument("--runs", type=Path, default=Path("runs"), help="folder for checkpoints and curves (default: runs)")
    parser.add_argument("--steps", type=int, help="number of steps of each tier instead of the recipe's; may change on --resume")
    parser.add_argument("--device", default="cpu", help="torch device, for example cpu or cuda (default: cpu)")
    parser.add_argument("--threads", type=int, help="CPU threads (default: torch's choice); one is best on a busy machine")
    parser.add_argument(
        "--compile", action="store_true", help="compile the layers first: a minute more, then steps a quarter shorter; needs a C++ compiler"
    )
    parser.add_argument("--resume", action="store_true", help="go on from the newest checkpoint")
    parser.add_argument("--evaluate-only", action="store_true", help="measure the models in --output, train nothing")
    parser.add_argument("--one-in", type=int, default=1, metavar="N", help="measure on every N-th of the judged tasks (default: 1, all)")
    parser.add_argument("--json", action="store_true", help="print results as JSON on standard output")


def run(args: argparse.Namespace) -> int:
    import torch

    from netgpt.learn.recipe import RECIPES, recipe_named

    if args.one_in < 1:
        raise UsageError(f"--one-in is {args.one_in}", hint="give a number of at least 1", param="one_in")
    if args.threads:
        torch.set_num_threads(args.threads)
    recipes = [_sized(recipe, args) for recipe in (RECIPES if args.tier == "all" else [recipe_named(args.tier)])]
    stop = _stop_on_signals()
    scores: dict[str, object] = {}
    for recipe in recipes:
        folder = args.output / recipe.name
        if not args.evaluate_only and not _train(recipe, folder, args, stop):
            print(f"{recipe.name}: stopped; go on with: netgpt pretrain --tier {args.tier} --resume", file=sys.stderr)
            return INTERRUPTED
        scores[recipe.name] = _measure(recipe, folder, args)
    if args.json:
        print(json.dumps(scores, indent=2))
    return 0


def _sized(recipe: Recipe, args: argparse.Namespace) -> Recipe:
    return replace(recipe, steps=args.steps or recipe.steps)


class _Stop:
    """Set by the first signal; a second one ends the process at once."""

    asked = False

    def __call__(self) -> bool:
        return self.asked

    def ask(self, number: int, frame: object) -> None:
        self.asked = True
        signal.signal(number, signal.SIG_DFL)
        print("stopping after this step", file=sys.stderr)


def _stop_on_signals() -> _Stop:
    stop = _Stop()
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, stop.ask)
    return stop


def _train(recipe: Recipe, folder: Path, args: argparse.Namespace, stop: _Stop) -> bool:
    """Train and publish; False if it was stopped."""
    from netgpt.core.clock import WallClock
    from netgpt.learn.train import train

    run_folder = args.runs / recipe.name
    tokenizer, definition = _tokenizer(args.runs)

    def report(point: Point) -> None:
        print(progress_line(recipe, point), file=sys.stderr, flush=True)

    outcome = train(
        recipe, tokenizer, run_folder, clock=WallClock(), device=args.device, resume=args.resume, compiled=args.compile, stop=stop, report=report
    )
    if not outcome.finished:
        return False
    from netgpt.learn.curve import read_curve
    from netgpt.learn.publish import publish

    publish(folder, outcome.model, recipe, definition, trained_tokens=outcome.tokens, curve=read_curve(run_folder / "curve.csv"))
    print(f"{recipe.name}: {folder} written after {outcome.elapsed_s / 60:.0f} min", file=sys.stderr, flush=True)
    return True


def _tokenizer(runs: Path) -> tuple[BpeTokenizer, str]:
    """The tokenizer of all tiers: made once, then kept in the runs folder."""
    from netgpt.learn.vocabulary import train_vocabulary
    from netgpt.models.tokenizer import BpeTokenizer

    path = runs / "tokenizer.json"
    if not path.exists():
        runs.mkdir(parents=True, exist_ok=True)
        path.write_text(train_vocabulary(), encoding="utf-8")
    definition = path.read_text(encoding="utf-8")
    return BpeTokenizer(definition), definition


def progress_line(recipe: Recipe, point: Point) -> str:
    """One line for people: where the run is, how well, how fast, how long still."""
    left_s = (recipe.steps - point.step) * point.tokens / point.step / point.tokens_per_s
    return (
        f"{recipe.name}  step {point.step}/{recipe.steps}  loss {point.loss:.3f}  held-out {point.validation_loss:.3f}  "
        f"{point.tokens_per_s:,.0f} tokens/s  ends in {left_s / 60:.0f} min"
    )


def _measure(recipe: Recipe, folder: Path, args: argparse.Namespace) -> object:
    """Evaluate a model folder on the judged tasks, write its README, print the table."""
    from netgpt.corpus.controls import control_replies
    from netgpt.corpus.draw import judged_tasks
    from netgpt.corpus.families import BY_NAME
    from netgpt.learn.evaluate import answer_tasks, grade, score_table, tally_by
    from netgpt.learn.publish import write_readme
    from netgpt.models.checkpoint import load_model
    from netgpt.models.tokenizer import BpeTokenizer

    tasks = judged_tasks()[:: args.one_in]
    right = grade(tasks, answer_tasks(load_model(folder, "float32"), BpeTokenizer.load(folder), tasks))
    said = control_replies(tasks)
    controls = {name: grade(tasks, said[name]) for name in ("majority", "nearest")}
    controls["solver"] = grade(tasks, [BY_NAME[task.family].solve(task) for task in tasks])
    write_readme(folder, recipe, tasks, right, controls)
    print(f"{recipe.name}\n{score_table(tasks, {recipe.tier: right, **controls})}", file=sys.stderr if args.json else sys.stdout, flush=True)
    return {family: found.summary() for family, found in tally_by(tasks, right, lambda task: task.family).items()}
