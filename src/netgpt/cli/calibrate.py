"""`netgpt calibrate`: fits when answers are good enough, on recorded or own outcomes, for the doors of this home."""

from __future__ import annotations

import argparse
import json
import os
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

from netgpt.core.errors import UsageError

if TYPE_CHECKING:
    from netgpt.bench.outcomes import Outcomes
    from netgpt.inference.escalation import Outlook


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--recording", type=Path, metavar="FILE", help="outcomes of any models (default: ask the installed ones, some 20 minutes)")
    parser.add_argument("--models", nargs="+", metavar="ID", help="with --recording: its models, the smallest first")
    parser.add_argument("--costs", nargs="+", type=float, metavar="C", help="with --recording: of a call of each, the largest 1 (default: all 1)")
    parser.add_argument(
        "--router", choices=("boosted", "knn"), default="boosted", help="how `route` decides: boosted trees, or the nearest known prompts"
    )
    aim = parser.add_mutually_exclusive_group()
    aim.add_argument("--keep-accuracy", type=float, metavar="SHARE", help="the cheapest that keeps this share of the largest model's (default: 0.97)")
    aim.add_argument("--large-share", type=float, metavar="SHARE", help="the most accurate that asks the largest model at most so often")
    aim.add_argument("--error-budget", type=float, metavar="SHARE", help="the cheapest that is wrong at most so often")
    aim.add_argument("--price", type=float, help="accuracy that a call of the largest model must gain, as it is")
    parser.add_argument("--output", type=Path, metavar="FILE", help="where to write (default: the home, whose doors read it when they start)")
    parser.add_argument("--json", action="store_true", help="print what is expected as JSON")


def run(args: argparse.Namespace) -> int:
    os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")
    _check(args)
    from netgpt.bench.choose_cascade import calibrations_of, cross_fitted_outlooks
    from netgpt.bench.choose_route import fitted_route_price, router_of
    from netgpt.inference.calibration_file import HOME_FILE, write_calibrations

    outcomes, costs = _outcomes(args)
    outlooks = cross_fitted_outlooks(outcomes, costs)
    largest_accuracy = float(outcomes.right[outcomes.models[-1]].mean())
    chosen = _aim(args, outlooks, largest_accuracy)
    routed = fitted_route_price(outcomes, costs, lambda found: _aim(args, found, largest_accuracy), kind=args.router)
    path = args.output or args.home / HOME_FILE
    path.parent.mkdir(parents=True, exist_ok=True)
    calibrations = replace(
        calibrations_of(outcomes, chosen.price), routers={outcomes.models[0]: router_of(outcomes, kind=args.router, price=routed.price)}
    )
    write_calibrations(calibrations, path)
    told = {
        "file": str(path),
        "tasks": len(outcomes),
        "price": chosen.price,
        "accuracy": round(chosen.accuracy, 4),
        "large_share": round(chosen.large_share, 4),
        "cost": round(chosen.cost, 4),
        "route": {
            "price": routed.price,
            "accuracy": round(routed.accuracy, 4),
            "large_share": round(routed.large_share, 4),
            "cost": round(routed.cost, 4),
        },
        "accuracies": {model: round(float(outcomes.right[model].mean()), 4) for model in outcomes.models},
    }
    if args.json:
        print(json.dumps(told, indent=2))
    else:
        print(f"{path}: on {len(outcomes)} tasks, each judged by a fit to others,")
        largest = outcomes.models[-1]
        for name, one in (("cascade", chosen), ("route", routed)):
            print(f"  {name}: right {one.accuracy:.1%}, {one.large_share:.1%} of requests at {largest}, {one.cost:.2f} of its calls paid")
        print("  alone: " + ", ".join(f"{model} {share:.1%}" for model, share in told["accuracies"].items()))
    return 0


def _check(args: argparse.Namespace) -> None:
    for name in ("keep_accuracy", "large_share", "error_budget", "price"):
        value = getattr(args, name)
        if value is not None and not 0 <= value <= 1:
            raise UsageError(f"--{name.replace('_', '-')} is {value}", hint="give a share from 0 to 1", param=name)
    if args.recording is None and (args.models or args.costs):
        raise UsageError("--models and --costs are of a recording", hint="name it: --recording FILE", param="recording")
    if args.recording is not None and not args.models:
        raise UsageError("a recording does not say which of its models is larger", hint="name them, the smallest first: --models SMALL LARGE")
    if args.costs and len(args.costs) != len(args.models):
        raise UsageError(f"{len(args.costs)} costs for {len(args.models)} models", hint="give one each", param="costs")


def _outcomes(args: argparse.Namespace) -> tuple[Outcomes, dict[str, float]]:
    from netgpt.bench.outcomes import calibration_tasks, installed_costs, installed_outcomes, recorded_outcomes
    from netgpt.models.recording import read_recording

    if args.recording is None:
        return installed_outcomes(calibration_tasks(), say=lambda text: print(text, flush=True) if not args.json else None), installed_costs()
    outcomes = recorded_outcomes(read_recording(args.recording), args.models)
    return outcomes, dict(zip(args.models, args.costs or [1.0] * len(args.models), strict=True))


def _aim(args: argparse.Namespace, outlooks: list[Outlook], largest_accuracy: float) -> Outlook:
    from netgpt.bench.choose_cascade import TARGET_SHARE
    from netgpt.inference.escalation import price_for_accuracy, price_for_share

    if args.price is not None:
        return min(outlooks, key=lambda one: abs(one.price - args.price))
    if args.large_share is not None:
        return price_for_share(outlooks, args.large_share)
    if args.error_budget is not None:
        return price_for_accuracy(outlooks, 1 - args.error_budget)
    return price_for_accuracy(outlooks, largest_accuracy * (TARGET_SHARE if args.keep_accuracy is None else args.keep_accuracy))
