"""`netgpt corpus`: what the models are trained on and judged by: its figures, examples to read, and task files."""

from __future__ import annotations

import argparse
import json
import os
import sys
from collections.abc import Callable, Iterable, Mapping, Sequence
from itertools import islice
from pathlib import Path
from statistics import mean
from typing import TYPE_CHECKING, Any

from netgpt.cli.table import format_table
from netgpt.core.chance import SeededChance
from netgpt.core.errors import UsageError

if TYPE_CHECKING:
    from netgpt.corpus.task import Family, Task

FORMATS = ("tasks", "chat")
STATS_DRAWS, STATS_TRAINING = 300, 10_000
DEFAULTS: dict[str, dict[str, Any]] = {  # the options of each sub-verb, and what they are if not given
    "stats": {"family": None, "draws": STATS_DRAWS, "training": STATS_TRAINING, "seed": 0, "json": False},
    "sample": {"family": None, "grade": None, "language": None, "long": False, "held_out": False, "count": 3, "seed": 0, "json": False},
    "export": {"output": None, "judged": False, "training": None, "family": None, "format": "tasks", "seed": 0},
}


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.set_defaults(**dict.fromkeys({name for options in DEFAULTS.values() for name in options}))
    parser.add_argument(
        "what", choices=list(DEFAULTS), help="stats: figures of every family; sample: print tasks; export: write a file of JSON lines"
    )
    parser.add_argument("--family", nargs="+", metavar="FAMILY", help="only these, reserved ones too (default: all that are trained)")
    parser.add_argument("--seed", type=int, help="what is drawn follows from it (default: 0); the judged tasks are fixed")
    parser.add_argument("--json", action="store_true", default=None, help="stats, sample: print JSON")
    parser.add_argument("--draws", type=int, metavar="N", help=f"stats: tasks drawn of every family (default: {STATS_DRAWS})")
    parser.add_argument("--grade", type=int, help="sample: only this grade, 1 to 6")
    parser.add_argument("--language", help="sample: only this language, en or zh")
    parser.add_argument("--long", action="store_true", default=None, help="sample: with long contexts")
    parser.add_argument("--held-out", action="store_true", default=None, help="sample: tasks that are never trained on")
    parser.add_argument("--count", type=int, metavar="N", help="sample: how many tasks (default: 3)")
    parser.add_argument("--output", type=Path, metavar="FILE", help="export: the file to write")
    parser.add_argument("--judged", action="store_true", default=None, help="export: the fixed held-out tasks by which models are judged")
    parser.add_argument(
        "--training", type=int, metavar="N", help=f"export: N different training tasks; stats: N to hold against the judged ones ({STATS_TRAINING})"
    )
    parser.add_argument("--format", choices=FORMATS, help="export: tasks, or chat: conversations for fine-tuning elsewhere (default: tasks)")


def run(args: argparse.Namespace) -> int:
    _settle(args)
    return {"stats": _stats, "sample": _sample, "export": _export}[args.what](args)


def _settle(args: argparse.Namespace) -> None:
    """Fill in the sub-verb's defaults; refuse what it does not take and numbers below 1."""
    own = DEFAULTS[args.what]
    for name in sorted({name for options in DEFAULTS.values() for name in options}):
        given = getattr(args, name)
        if given is not None and name not in own:
            raise UsageError(f"netgpt corpus {args.what} takes no --{name.replace('_', '-')}", hint="run: netgpt corpus --help", param=name)
        if given is None:
            setattr(args, name, own.get(name))
        elif name in ("draws", "count", "training") and given < 1:
            raise UsageError(f"--{name} is {given}", hint="give a number of at least 1", param=name)


def _families(args: argparse.Namespace) -> tuple[Family, ...]:
    from netgpt.corpus.choice import families_named
    from netgpt.corpus.families import FAMILIES

    return families_named(args.family) if args.family else FAMILIES


def _one_of(name: str, value: Any, known: Sequence[Any]) -> Sequence[Any]:
    if value is not None and value not in known:
        raise UsageError(f"--{name} is {value!r}", hint=f"known: {', '.join(map(str, known))}", param=name)
    return known if value is None else (value,)


def _sample(args: argparse.Namespace) -> int:
    from netgpt.corpus.choice import Choice, chosen_tasks
    from netgpt.corpus.files import record
    from netgpt.corpus.task import GRADES, LANGUAGES

    grades, languages = _one_of("grade", args.grade, GRADES), _one_of("language", args.language, LANGUAGES)
    choice = Choice(families=_families(args), grades=grades, languages=languages, long=args.long, held_out=args.held_out)
    tasks = chosen_tasks(SeededChance(args.seed).stream("sample"), choice, args.count)
    if args.json:
        json.dump([record(task) for task in tasks], sys.stdout, indent=2, ensure_ascii=False)
        print()
    else:
        print("\n\n".join(map(_readable, tasks)))
    _tell_if_fewer(len(tasks), args.count)
    return 0


def _readable(task: Task) -> str:
    turns = [f"{role}: {content}" for role, content in task.messages]
    return "\n".join([f"# {task.id}, grade {task.grade}, {task.language}", *turns, f"answer: {task.answer}"])


def _tell_if_fewer(count: int, wanted: int) -> None:
    if count < wanted:
        print(f"there are no more: {count} of {wanted}", file=sys.stderr)


def _export(args: argparse.Namespace) -> int:
    from netgpt.corpus.files import chat_record, record, write_lines

    if args.output is None:
        raise UsageError("no file to write", hint="give one: --output FILE", param="output")
    if args.judged == (args.training is not None):
        raise UsageError("export wants one of --judged and --training N", hint="run: netgpt corpus export --output tasks.jsonl --training 10000")
    families, to_record = _families(args), record if args.format == "tasks" else chat_record
    count = write_lines(args.output, map(to_record, _tasks_to_export(args, families)))
    print(f"{count} tasks written to {args.output}", file=sys.stderr)
    _tell_if_fewer(count, args.training or 0)
    return 0


def _tasks_to_export(args: argparse.Namespace, families: Sequence[Family]) -> Iterable[Task]:
    from netgpt.corpus.choice import different
    from netgpt.corpus.draw import judged_tasks, training_tasks

    if args.judged:
        names = {family.name for family in families}
        return (task for task in judged_tasks() if task.family in names)
    return different(training_tasks(SeededChance(args.seed).stream("export"), families), args.training)


def _stats(args: argparse.Namespace) -> int:
    from netgpt.corpus.draw import judged_tasks, read_mix, training_tasks
    from netgpt.corpus.overlap import overlap

    families, mix = _families(args), read_mix()
    unit, count_tokens = _token_counter(args.home)
    total = sum(mix.share.values())
    rows = [_figures(family, args, count_tokens, mix.share.get(family.name, 0) / total) for family in families]
    names = {family.name for family in families}
    held_out = [task for task in judged_tasks() if task.family in names]
    common = overlap(held_out, islice(training_tasks(SeededChance(args.seed).stream("overlap")), args.training))
    report = {
        "lengths_in": unit,
        "draws": args.draws,
        "judged_digest": mix.digest,
        "families": rows,
        "overlap_with_training_tasks": args.training,
        "overlap": [{field: getattr(each, field) for field in type(each).__dataclass_fields__} for each in common],
    }
    if args.json:
        json.dump(report, sys.stdout, indent=2)
        print()
    else:
        _print_stats(report)
    return 0


def _print_stats(report: Mapping[str, Any]) -> None:
    columns = (
        "family",
        "grade_counts",
        "templates",
        "languages",
        "prompt_mean",
        "prompt_max",
        "answer_mean",
        "answer_max",
        "keys",
        "held_out",
        "share",
    )
    print(format_table([column.upper() for column in columns], [[row[column] for column in columns] for row in report["families"]]))
    print(f"\nlengths in {report['lengths_in']}; keys: different ones in {report['draws']} draws; share: of the training mix")
    print(f"\njudged tasks that have something in common with one of {report['overlap_with_training_tasks']} training tasks:")
    fields = list(report["overlap"][0]) if report["overlap"] else []
    print(format_table([field.upper() for field in fields], [list(row.values()) for row in report["overlap"]]))


def _figures(family: Family, args: argparse.Namespace, count_tokens: Callable[[Sequence[tuple[str, str]]], int], share: float) -> dict[str, Any]:
    """A family's figures from tasks drawn in all grades and languages in turn."""
    from netgpt.corpus.task import GRADES, LANGUAGES, is_held_out

    chance = SeededChance(args.seed).stream(f"stats/{family.name}")
    turns = [(grade, language) for language in LANGUAGES for grade in GRADES]
    tasks = [family.draw(chance, *turns[i % len(turns)]) for i in range(args.draws)]
    prompts = [count_tokens(task.messages) for task in tasks]
    answers = [count_tokens([("assistant", task.answer)]) for task in tasks]
    return {
        "family": family.name,
        "grade_counts": family.depth,
        "templates": len({task.template for task in tasks}),
        "languages": " ".join(sorted({task.language for task in tasks})),
        "prompt_mean": round(mean(prompts), 1),
        "prompt_max": max(prompts),
        "answer_mean": round(mean(answers), 1),
        "answer_max": max(answers),
        "keys": len({task.key for task in tasks}),
        "held_out": round(mean(map(is_held_out, tasks)), 3),
        "share": round(share, 3),
    }


def _token_counter(home: Path) -> tuple[str, Callable[[Sequence[tuple[str, str]]], int]]:
    """What lengths are counted in, tokens of the first model of ours at hand or characters, and how."""
    from netgpt.core.settings import resolve_settings
    from netgpt.models.store import find_model, list_models, search_path
    from netgpt.models.tokenizer import BpeTokenizer

    search = search_path(home, resolve_settings(environment=os.environ, flags={})["models"].value)
    ours = next((card.id for card in list_models(search) if card.id.startswith("netgpt-")), None)
    if ours is None:
        return "characters", lambda messages: sum(len(content) for _, content in messages)
    tokenizer = BpeTokenizer.load(find_model(ours, search))
    return f"tokens of {ours}", lambda messages: sum(len(tokenizer.encode(content)) for _, content in messages)
