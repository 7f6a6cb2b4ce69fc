"""What every kind of reply says beside its text: usage, metrics, and how the answer came about. Pure.

`metrics` are under vLLM's names, which clients already read; `netgpt` says who answered, why, and what
it cost on the links. A reply with several choices adds them up and tells each one's origin.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from netgpt.api.chat_request import ReplyForm
from netgpt.core.compact import to_json
from netgpt.core.errors import NetgptError
from netgpt.core.value import value
from netgpt.inference.request import CacheUse, Compression, Delta, Finish, Span, Vectors

LEAST_LOGPROB = -9999.0  # OpenAI's stand-in for minus infinity, which JSON cannot hold
DONE = b"data: [DONE]\n\n"


@value
class ReplyHead:
    """What is the same in every part of one reply."""

    id: str
    model: str
    created: int  # seconds since the epoch
    entry: str  # the node whose door was asked

    def fields(self, kind: str) -> dict[str, Any]:
        return {"id": self.id, "object": kind, "created": self.created, "model": self.model, "system_fingerprint": None}


@value
class Told:
    """One whole choice."""

    deltas: tuple[Delta, ...]
    finish: Finish

    @property
    def text(self) -> str:
        return "".join(delta.text for delta in self.deltas)


def summary(head: ReplyHead, form: ReplyForm, finishes: Sequence[Finish]) -> dict[str, Any]:
    """`usage`, `metrics` and `netgpt` of a reply with these choices, in order."""
    return {"usage": usage(finishes, form.choices), "metrics": metrics(finishes), "netgpt": account(head, finishes)}


def usage(finishes: Sequence[Finish], choices: int) -> dict[str, Any]:
    """Tokens of the whole reply; a prompt counts once, however many `choices` it was given."""
    prompts = finishes[::choices]
    prompt_tokens = sum(finish.prompt_tokens for finish in prompts)
    completion_tokens = sum(finish.completion_tokens for finish in finishes)
    return {
        "prompt_tokens": prompt_tokens,
        "completion_tokens": completion_tokens,
        "total_tokens": prompt_tokens + completion_tokens,
        "prompt_tokens_details": {"cached_tokens": sum(finish.cached_tokens for finish in prompts)},
    }


def metrics(finishes: Sequence[Finish]) -> dict[str, float | None]:
    """vLLM's per-request metrics (its docs/features/per_request_metrics.md), seen from the door.

    The first token counts from scheduling, hence without the queue; generation runs from the first
    token to the last; tokens per second from scheduling to the last token. Choices run side by side:
    the first token is the first of any, the last the last of any, and a gap is that within a choice.
    """
    first_s, queue_s, duration_s = finishes[0].time_to_first_token_s, finishes[0].queue_s, finishes[0].duration_s
    tokens = gaps = 0
    gaps_s = 0.0
    for finish in finishes:
        first_s, queue_s, duration_s = min(first_s, finish.time_to_first_token_s), min(queue_s, finish.queue_s), max(duration_s, finish.duration_s)
        tokens += finish.completion_tokens
        if finish.completion_tokens > 1:
            gaps += finish.completion_tokens - 1
            gaps_s += finish.duration_s - finish.time_to_first_token_s
    working_s = duration_s - queue_s
    return {
        "time_to_first_token_ms": _ms(max(first_s - queue_s, 0.0)),
        "generation_time_ms": _ms(duration_s - first_s),
        "queue_time_ms": _ms(queue_s),
        "mean_itl_ms": _ms(gaps_s / gaps) if gaps else None,
        "tokens_per_second": round(tokens / working_s, 3) if working_s > 0 else None,
    }


def _ms(duration_s: float) -> float:
    return round(duration_s * 1e3, 3)


def account(head: ReplyHead, finishes: Sequence[Finish]) -> dict[str, Any]:
    """How the answer came about: the root object `netgpt`. Of several choices each has its line in `choices`."""
    first = finishes[0]
    told: dict[str, Any] = {
        "strategy": first.strategy,
        "why": first.why,
        "entry": head.entry,
        "origin": [span for finish in finishes for span in origin(finish.origin)],
        "switches": [switch for finish in finishes for switch in finish.switches],
        "link_bytes": first.link_bytes if len(finishes) == 1 else _sum_link_bytes([finish.link_bytes for finish in finishes]),
        "modelled": any(finish.modelled for finish in finishes),
        "timing": timing(finishes),
        "seed": first.seed,
    }
    if first.plan:
        told["plan"] = dict(first.plan)
    if any(finish.counted_by for finish in finishes):
        told["counted_by"] = _counted_by(finishes)
    if uses := [finish.cache for finish in finishes if finish.cache]:
        told["cache"] = cache_use(uses[0])
    if (compression := first.compression) is not None:
        told["compress"] = compression_told(compression)
    if len(finishes) > 1:
        told["choices"] = [
            {"index": index, "origin": origin(finish.origin), "switches": list(finish.switches), "seed": finish.seed}
            for index, finish in enumerate(finishes)
        ]  # fmt: skip
    return told


def cache_use(use: CacheUse) -> dict[str, Any]:
    """What became of the request's `cache`."""
    told: dict[str, Any] = {"result": use.result, "node": use.node or None}
    if use.why:
        told["why"] = use.why
    if use.result == "hit":
        told |= {"match": use.match, "age_s": round(use.age_s, 3)} | ({"similarity": round(use.similarity, 4)} if use.match == "semantic" else {})
    return told


def compression_told(compression: Compression) -> dict[str, Any]:
    """What became of the request's `compress`."""
    told: dict[str, Any] = {
        "fidelity": compression.fidelity,
        "prompt_tokens": compression.prompt_tokens,
        "left_out_tokens": compression.left_out_tokens,
    }
    if compression.why:
        return told | {"why": compression.why}
    return told | {
        "left_out_parts": compression.left_out_parts,
        "rate": compression.rate,
        "by": compression.by,
        "took_s": round(compression.took_s, 6),
    }


def timing(finishes: Sequence[Finish | Vectors]) -> dict[str, Any]:
    """Whether times are as measured, or those of declared machines; and how many results came later than these would have made them."""
    machines = list(dict.fromkeys(machine for finish in finishes for machine in finish.declared))
    mode = "declared" if machines else "recorded" if any(finish.modelled for finish in finishes) else "real"
    return {"mode": mode, "machines": machines, "overruns": sum(finish.overruns for finish in finishes)}


def origin(spans: Sequence[Span]) -> list[dict[str, Any]]:
    """Which node made, or read, how many tokens."""
    told: list[dict[str, Any]] = [{"node": span.node, "tokens": span.tokens} for span in spans]
    for one, span in zip(told, spans, strict=True):
        if span.recoded:
            one["recoded"] = True
        elif span.kept:
            one["kept"] = True
    return told


def _counted_by(finishes: Sequence[Finish]) -> dict[str, Sequence[str]]:
    """Whose tokens each field of `usage` counts, over all choices."""
    if len(finishes) == 1:
        return dict(finishes[0].counted_by)
    told: dict[str, Sequence[str]] = {}
    for finish in finishes:
        for name, nodes in finish.counted_by.items():
            told[name] = list(dict.fromkeys([*told.get(name, []), *nodes]))
    return told


def _sum_link_bytes(counts: Sequence[Mapping[str, Mapping[str, int]]]) -> dict[str, dict[str, int]]:
    """Payload bytes by peer and direction, over all choices."""
    total: dict[str, dict[str, int]] = {}
    for by_node in counts:
        for node, ways in by_node.items():
            into = total.setdefault(node, dict.fromkeys(ways, 0))
            for way, payload_bytes in ways.items():
                into[way] += payload_bytes
    return total


def chunk_fields(head: ReplyHead, kind: str, form: ReplyForm) -> dict[str, Any]:
    """What every chunk of a stream begins with; `usage` is null until the last one, if it was asked for."""
    return head.fields(kind) | ({"usage": None} if form.include_usage else {})


def last_frames(head: ReplyHead, kind: str, form: ReplyForm, finishes: Sequence[Finish]) -> bytes:
    """The end of a stream after its last choice: the chunk with usage, if it was asked for, and the end mark."""
    if not form.include_usage:
        return DONE
    return frame({**head.fields(kind), "choices": [], **summary(head, form, finishes)}) + DONE


def error_frame(error: NetgptError, request_id: str) -> bytes:
    """The last frame of a stream that fails."""
    return frame(error.body(request_id))


def frame(value: object) -> bytes:
    """One server-sent event."""
    return b"data: " + to_json(value) + b"\n\n"
