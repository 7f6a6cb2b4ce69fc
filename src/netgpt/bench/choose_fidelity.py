"""What it costs to ask with less: the share of tasks answered rightly with prompts compressed, and with weights in other precisions.

Two sets of held-out tasks: the corpus's own long contexts, nearly all of which bear on the question, and tasks among passages of other tasks,
which is what compressing is for. Each is asked whole, and compressed to several rates: by the device model's self-information as a door does it
(`inference.compress`), by words, and, the control, by leaving out parts at random. Replies are greedy. The factor that `auto` reckons with is
the lower one of the two sets: a door does not know which of them a prompt is like. Weights are rounded as `network.roofline.PRECISIONS` says:
one scale for each group, symmetric; arithmetic stays at 32 bits.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from netgpt.bench.conditions import tell
from netgpt.bench.measures import resampled, rounded, share_figures
from netgpt.core.chance import SeededChance
from netgpt.corpus.draw import held_out_tasks, judged_tasks
from netgpt.corpus.families import FAMILIES
from netgpt.corpus.task import GRADES, Task
from netgpt.engine.decode import FusedDecoder, Segment
from netgpt.inference.compress import cut, lexical_information, owners_of, parts_of, self_information, tokens_of
from netgpt.learn.evaluate import grade, reply_text, reply_to_tasks
from netgpt.models.checkpoint import load_model
from netgpt.models.decoder import Decoder
from netgpt.models.store import find_model, search_path
from netgpt.models.tokenizer import BpeTokenizer, render_chat

TIERS = ("device", "edge", "cloud")
SETS = LONG, PADDED = ("long", "padded")
METHODS = ("information", "words", "random")
WAYS = (("information", 0.75), ("information", 0.5), ("words", 0.5), ("random", 0.75), ("random", 0.5))  # with the share that stays
ONE_IN = {"device": 1, "edge": 4, "cloud": 4}  # tasks that each is asked: larger ones take longer
SEED = 61
LONG_TASKS, PADDED_TASKS = 120, 500
PADDED_TOKENS = 320  # that the passages beside a task have, at least
QUICK_ONE_IN = 12
PRECISION_ONE_IN = 5  # of the judged tasks
SCORE_ROWS = 512  # of one step: a prompt's logits are wide
GROUPS = {"int8": (128, 8), "int4": (32, 4)}  # weights that share a scale, and their bits

Verdicts = NDArray[np.bool_]


@dataclass(frozen=True, kw_only=True)
class Shortened:
    """Tasks with less in their prompts, and how much of their tokens stayed."""

    tasks: tuple[Task, ...]
    stayed: float


def fidelity_figures(quick: bool) -> tuple[dict[str, Any], dict[str, Any]]:
    """Some 15 minutes on one core.

    Returns:
        Flat figures: shares right with 95 % intervals (Wilson), factors on the whole prompt's share with theirs (bootstrap over tasks);
        and the table of all.

    Raises:
        ModelNotFound: a tier's model is not installed.
    """
    rows, precise, figures = list[dict[str, Any]](), list[dict[str, Any]](), dict[str, Any]()
    for tier in TIERS:
        step = ONE_IN[tier] * (QUICK_ONE_IN if quick else 1)
        made = compressed_rows(tier, step)
        figures |= {f"tasks_{name}_{tier}": next(row["tasks"] for row in made if row["set"] == name) for name in SETS}
        rows += made
        precise += precision_rows(tier, judged_tasks()[:: PRECISION_ONE_IN * step])
    return figures | figures_of(rows, precise), {"compressed": rows, "precision": precise}


def compressed_rows(tier: str, step: int = 1) -> list[dict[str, Any]]:
    """How the tier's model answers every `step`th task of both sets, whole and shortened in all ways."""
    tokenizer = BpeTokenizer.load(find_model("netgpt-device", search_path(None)))
    reader, model = (load_model(find_model(f"netgpt-{name}", search_path(None)), "float32") for name in ("device", tier))
    bare = judged_sample()[::step]
    rows: list[dict[str, Any]] = []
    for name, tasks in zip(SETS, (long_tasks()[::step], padded(bare, tokenizer)), strict=True):
        asked = {("whole", 1.0): Shortened(tasks=tuple(tasks), stayed=1.0)}
        asked |= {way: shortened(tasks, *way, reader, tokenizer) for way in WAYS}
        if name == PADDED:
            asked["bare", 1.0] = Shortened(tasks=tuple(bare), stayed=_tokens(bare, tokenizer) / _tokens(tasks, tokenizer))
        rows += _judged(name, tier, model, bare if name == PADDED else tasks, asked, tokenizer)
    return rows


def figures_of(rows: Sequence[Mapping[str, Any]], precise: Sequence[Mapping[str, Any]]) -> dict[str, float]:
    """The rows' shares and intervals under flat names, and the factors that `auto` reckons with: of the two sets the lower one."""
    figures: dict[str, float] = {}
    for row in rows:
        name = f"{row['set']}_{row['method']}_{row['rate']:g}_{row['tier']}"
        figures |= {name: row["right"], f"{name}_low": row["right_low"], f"{name}_high": row["right_high"]}
    for tier, rate in dict.fromkeys((row["tier"], row["rate"]) for row in rows if row["method"] == METHODS[0]):
        found = [row for row in rows if (row["tier"], row["rate"], row["method"]) == (tier, rate, METHODS[0])]
        worst = min(found, key=lambda row: row["factor"])
        name = f"factor_{tier}_{rate:g}"
        figures |= {name: worst["factor"], f"{name}_low": worst["factor_low"], f"{name}_high": worst["factor_high"]}
    for row in precise:
        name = f"precision_{row['precision']}_{row['tier']}"
        figures |= {name: row["factor"], f"{name}_low": row["factor_low"], f"{name}_high": row["factor_high"]}
    return figures


def _tokens(tasks: Sequence[Task], tokenizer: BpeTokenizer) -> int:
    return sum(len(render_chat(tokenizer, task.messages)) for task in tasks)


def _judged(
    name: str, tier: str, model: Decoder, tasks: Sequence[Task], asked: Mapping[tuple[str, float], Shortened], tokenizer: BpeTokenizer
) -> list[dict[str, Any]]:
    rows: list[dict[str, Any]] = []
    whole = np.zeros(0, dtype=np.bool_)
    for (method, rate), made in asked.items():
        verdicts = right_of(model, tokenizer, made.tasks, tasks)
        whole = whole if len(whole) else verdicts
        row = {"set": name, "tier": tier, "method": method, "rate": rate, "stayed": rounded(made.stayed), "tasks": len(tasks)}
        rows.append(row | share_figures("right", verdicts) | factor_of(verdicts, whole, f"{name} {tier} {method} {rate}"))
        tell(f"fidelity: {name}, {tier}, {method} {rate:g}: {verdicts.mean():.1%} of {len(tasks)} right")
    return rows


def factor_of(verdicts: Verdicts, whole: Verdicts, name: str) -> dict[str, float]:
    """What of the share right stays, with its interval over the same tasks."""

    def share(places: NDArray[np.int64]) -> float:
        return float(verdicts[places].mean() / whole[places].mean()) if whole[places].any() else float("nan")

    low, high = resampled(len(whole), share, name=name)
    return {"factor": rounded(share(np.arange(len(whole)))), "factor_low": rounded(low), "factor_high": rounded(high)}


def long_tasks() -> list[Task]:
    """Held-out tasks over the corpus's own long contexts, all grades."""
    families = [family for family in FAMILIES if family.draw_long]
    return [task for family in families for task in held_out_tasks(family, LONG_TASKS // len(families), SEED, grades=GRADES, long=True)]


def judged_sample() -> list[Task]:
    """Some of the judged tasks, of all families."""
    tasks = judged_tasks()
    return list(tasks[:: max(len(tasks) // PADDED_TASKS, 1)])[:PADDED_TASKS]


def padded(tasks: Sequence[Task], tokenizer: BpeTokenizer) -> list[Task]:
    """Each task among passages of other tasks: before it, or, for half of those whose own data stand before the question, between the two.

    A passage is another family's task without its question, or the whole of it where it is one line, with its answer.
    """
    chance = SeededChance(SEED).stream("padding")
    pool = judged_tasks()
    return [_padded(task, chance, pool, tokenizer) for task in tasks]


def _padded(task: Task, chance: np.random.Generator, pool: Sequence[Task], tokenizer: BpeTokenizer) -> Task:
    passages: list[str] = []
    tokens = 0
    while tokens < PADDED_TOKENS:
        other = pool[int(chance.integers(len(pool)))]
        if other.family == task.family:
            continue
        data, _, _ = other.question.rpartition("\n")
        passages.append(data or f"{other.question} {other.answer}")
        tokens += len(tokenizer.encode(passages[-1]))
    own, _, question = task.question.rpartition("\n")
    cut_at = int(chance.integers(len(passages) + 1)) if own and chance.integers(2) else len(passages)
    said = "\n".join([*passages[:cut_at], *([own] if own else []), *passages[cut_at:], question])
    return replace(task, messages=(*task.messages[:-1], ("user", said)))


def shortened(tasks: Sequence[Task], method: str, rate: float, reader: Decoder, tokenizer: BpeTokenizer) -> Shortened:
    """The tasks with their prompts compressed as a door would, or, `random`, without regard to what they tell."""
    fused, chance = FusedDecoder(reader), SeededChance(SEED).stream(f"random {rate}")
    kept = total = 0
    made: list[Task] = []
    for task in tasks:
        ids = render_chat(tokenizer, task.messages)
        parts = parts_of(task.messages)
        owners = owners_of(parts, task.messages, ids, tokenizer.decode)
        if method == "random":
            weights = chance.random(len(parts)).tolist()
        elif method == "words":
            weights = lexical_information(parts, task.messages)
        else:
            weights = self_information(parts, task.messages, owners, prompt_logprobs(fused, ids))
        found = cut(task.messages, parts, tokens_of(parts, owners), weights, rate)
        made.append(replace(task, messages=found.messages))
        kept, total = kept + found.tokens - found.left_tokens, total + found.tokens
    return Shortened(tasks=tuple(made), stayed=kept / total)


@torch.inference_mode()
def prompt_logprobs(model: FusedDecoder, ids: Sequence[int]) -> list[float]:
    """What `Score` gives, in this process; of the first token 0."""
    kv = model.new_kv()
    kv.reserve(len(ids))
    found = [0.0]
    for start in range(0, len(ids), SCORE_ROWS):
        hidden_TD = model.step([Segment(kv, ids[start : start + SCORE_ROWS])])
        said = ids[start + 1 : start + 1 + len(hidden_TD)]
        logprobs_TV = model.logits(hidden_TD[: len(said)]).log_softmax(dim=-1)
        found += logprobs_TV.gather(1, torch.tensor(said, dtype=torch.int64)[:, None]).squeeze(1).tolist()
    return found


def right_of(model: Decoder, tokenizer: BpeTokenizer, asked: Sequence[Task], tasks: Sequence[Task]) -> Verdicts:
    """How `tasks` are answered when they are asked so."""
    return grade(tasks, [reply_text(tokenizer, reply) for reply in reply_to_tasks(model, tokenizer, asked)])


def precision_rows(tier: str, tasks: Sequence[Task]) -> list[dict[str, Any]]:
    """The share right with the tier's weights in each precision, beside 32-bit ones."""
    tokenizer, folder = BpeTokenizer.load(find_model("netgpt-device", search_path(None))), find_model(f"netgpt-{tier}", search_path(None))
    whole = right_of(load_model(folder, "float32"), tokenizer, tasks, tasks)
    rows: list[dict[str, Any]] = []
    for name in ("bf16", *GROUPS):
        model = load_model(folder, "bfloat16") if name == "bf16" else quantised(tier, name)
        verdicts = right_of(model, tokenizer, tasks, tasks)
        row = {"tier": tier, "precision": name, "tasks": len(tasks), "right_fp32": rounded(whole.mean())}
        rows.append(row | share_figures("right", verdicts) | factor_of(verdicts, whole, f"{tier} {name}"))
        tell(f"fidelity: {tier} in {name}: {verdicts.mean():.1%} of {len(tasks)} right, {whole.mean():.1%} in fp32")
    return rows


@torch.no_grad()
def quantised(tier: str, precision: str) -> Decoder:
    """The tier's model with the layers' matrices rounded to that precision; of `int4` the embedding to 8 bits."""
    model = load_model(find_model(f"netgpt-{tier}", search_path(None)), "float32")
    size, bits = GROUPS[precision]
    for name, weight in model.named_parameters():
        if weight.dim() == 2 and "layers" in name:
            weight.copy_(rounded_weights(weight, size, bits))
        elif weight.dim() == 2 and precision == "int4":
            weight.copy_(rounded_weights(weight, size, 8))
    return model


def rounded_weights(weight_OI: torch.Tensor, size: int, bits: int) -> torch.Tensor:
    """Each run of `size` weights of a row to `2^bits - 1` levels about 0."""
    most = 2 ** (bits - 1) - 1
    parts: list[torch.Tensor] = []
    for group_OG in weight_OI.split(size, dim=1):
        scale_O1 = group_OG.abs().amax(dim=1, keepdim=True).clamp_min(1e-12) / most
        parts.append((group_OG / scale_O1).round().clamp(-most, most) * scale_O1)
    return torch.cat(parts, dim=1)
