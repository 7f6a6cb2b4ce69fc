"""Schemas of the replies that a door gives: JSON Schema 2020-12, as OpenAPI 3.1 has it. Pure.

A reply may say more than its schema: fields are added, none is taken away.
"""

from __future__ import annotations

from typing import Any

from netgpt.api.chat_request import MODEL_OF_STRATEGY
from netgpt.core.errors import ERRORS

Schema = dict[str, Any]

TEXT: Schema = {"type": "string"}
WHOLE: Schema = {"type": "integer", "minimum": 0}
NUMBER: Schema = {"type": "number"}
SECONDS_SINCE_1970: Schema = {"type": "integer", "minimum": 0, "description": "Seconds since 1970."}
MS: Schema = {"type": "number", "minimum": 0, "description": "Milliseconds."}
MS_OR_NULL: Schema = {**MS, "type": ["number", "null"]}
FINISH_REASON: Schema = {"type": "string", "enum": ["stop", "length"]}
NOTHING: Schema = {"type": "null"}


def exactly(value: str) -> Schema:
    return {"type": "string", "enum": [value]}


def record(**fields: Schema) -> Schema:
    """An object that has at least these fields."""
    return {"type": "object", "required": list(fields), "properties": fields}


def with_more(fields: Schema, **more: Schema) -> Schema:
    """The same object, which may have these fields too."""
    return {**fields, "properties": fields["properties"] | more}


def many(items: Schema) -> Schema:
    return {"type": "array", "items": items}


def or_null(schema: Schema) -> Schema:
    return {"anyOf": [schema, {"type": "null"}]}


def part(name: str) -> Schema:
    return {"$ref": f"#/components/schemas/{name}"}


def reply_schemas() -> dict[str, Schema]:
    """Every schema that a reply is made of, by name."""
    return {
        "Error": _error(),
        "Usage": record(prompt_tokens=WHOLE, completion_tokens=WHOLE, total_tokens=WHOLE, prompt_tokens_details=record(cached_tokens=WHOLE)),
        "Metrics": _metrics(),
        "Account": _account(),
        "ChatCompletion": _reply("chat.completion", _chat_choice()),
        "Completion": _reply("text_completion", _completion_choice()),
        "Embeddings": _embeddings(),
        "Model": _model(),
        "Models": record(object=exactly("list"), data=many(part("Model"))),
        "Candidate": _candidate(),
        "Plan": _plan(),
        "Health": record(status=exactly("ok"), node=TEXT),
        "Readiness": record(status=exactly("ready"), node=TEXT),
    }


def _error() -> Schema:
    codes = {"type": "string", "enum": sorted({error.code for error in ERRORS}), "description": "Stable; see the reference of errors."}
    inner = record(message=TEXT, type=TEXT, param={"type": ["string", "null"]}, code=codes)
    return record(error=inner, request_id=TEXT, hint={**TEXT, "description": "The next step."})


def _metrics() -> Schema:
    times = record(time_to_first_token_ms=MS, generation_time_ms=MS, queue_time_ms=MS, mean_itl_ms=MS_OR_NULL, tokens_per_second=MS_OR_NULL)
    times["properties"]["tokens_per_second"] = {"type": ["number", "null"], "minimum": 0}
    return {**times, "description": "Under vLLM's names."}


def _account() -> Schema:
    strategies = ", ".join(f"`{name}`" for name in MODEL_OF_STRATEGY)
    fields = record(
        strategy={**TEXT, "description": f"One of {strategies}."},
        why=TEXT,
        entry={**TEXT, "description": "The node whose door was asked."},
        origin=_origin(),
        link_bytes={"type": "object", "additionalProperties": record(sent=WHOLE, received=WHOLE), "description": "Payload bytes by peer."},
        modelled={"type": "boolean", "description": "A hardware profile stretched some of the times."},
        timing={
            **record(mode={"type": "string", "enum": ["real", "declared", "recorded"]}, machines=many(TEXT), overruns=WHOLE),
            "description": "Declared: no result came before these machines would have made it; overruns came later.",
        },
    )
    more: dict[str, Schema] = {
        "switches": {**many(TEXT), "description": "From which node to which it went on, and why."},
        "seed": {"type": "integer", "description": "Asked with it, the answer is the same."},
        "plan": part("Plan"),
        "cache": _cache_use(),
        "compress": _compression(),
        "counted_by": {
            "type": "object",
            "additionalProperties": many(TEXT),
            "description": "Whose tokens `usage` counts, where they are not the door's.",
        },
        "choices": many(record(index=WHOLE, origin=_origin(), switches=many(TEXT), seed={"type": "integer"})),
        "queue_ms": {**MS, "description": "Of embeddings: the longest that a text waited at a node."},
        "duration_ms": {**MS, "description": "Of embeddings."},
    }
    return {**with_more(fields, **more), "description": "How the answer came about."}


def _origin() -> Schema:
    recoded: Schema = {"type": "boolean", "description": "The node has another tokenizer than the door, and was given text."}
    kept: Schema = {"type": "boolean", "description": "The node had kept the answer."}
    return many(with_more(record(node=TEXT, tokens=WHOLE), recoded=recoded, kept=kept))


def _cache_use() -> Schema:
    result = {"type": "string", "enum": ["hit", "miss", "merged", "refused"]}
    use = with_more(record(result=result, node={"type": ["string", "null"]}), why=TEXT, match=TEXT, age_s=NUMBER, similarity=NUMBER)
    return {**use, "description": "What became of the request's `cache`."}


def _compression() -> Schema:
    least = record(fidelity={"type": "string", "enum": ["whole", "compressed"]}, prompt_tokens=WHOLE, left_out_tokens=WHOLE)
    told = with_more(least, why=TEXT, left_out_parts=WHOLE, rate=NUMBER, by=TEXT, took_s=NUMBER)
    return {**told, "description": "What became of the request's `compress`."}


def _candidate() -> Schema:
    seconds = {"type": "number", "minimum": 0, "description": "Seconds."}
    fields = record(
        strategy=TEXT,
        nodes=many(TEXT),
        variants=many({**TEXT, "description": "In which precision each node's model is asked; empty: as it runs there."}),
        fidelity={"type": "string", "enum": ["whole", "compressed"], "description": "Of the prompt."},
        cost_s={"type": "number", "description": "J: what is weighed, in seconds."},
        ttft_s=seconds,
        ttft_p95_s={**seconds, "description": "So late the first token comes one time in twenty."},
        held_s={**seconds, "description": "Of it: held back at the door."},
        wait_s={**seconds, "description": "Of it: behind others at the node."},
        read_s={**seconds, "description": "Of it: the entry node reads the prompt, to tell who is to answer."},
        token_s=seconds,
        total_s=seconds,
        prompt_tokens={**WHOLE, "description": "As it is asked; expected."},
        answer_tokens={**NUMBER, "description": "Expected."},
        up_bytes=WHOLE,
        down_bytes=WHOLE,
        token_bytes={**NUMBER, "description": "Of an answer's token, on its way down."},
        energy_j={**NUMBER, "description": "Of the entry node."},
        cost=NUMBER,
        quality={"type": "number", "minimum": 0, "maximum": 1},
        sources={"type": "object", "additionalProperties": TEXT, "description": "Where figures come from."},
    )
    fields["properties"]["excluded"] = {**TEXT, "description": "Which limit it breaks."}
    return fields


def _plan() -> Schema:
    fields = record(
        service=TEXT,
        why=TEXT,
        chosen=part("Candidate"),
        runner_up=or_null(part("Candidate")),
        explores={"type": "boolean", "description": "It was chosen to learn of it."},
    )
    right = {"type": "object", "additionalProperties": NUMBER, "description": "Chance that a model's answer is right, by model."}
    read = record(node=TEXT, took_s=NUMBER, right=right)
    read["properties"] |= {"why": {**TEXT, "description": "The prompt was not read."}}
    fields["properties"] |= {"read": {**read, "description": "What reading the prompt told, before it was chosen who answers."}}
    fields["properties"] |= {"candidates": many(part("Candidate")), "weights": {"type": "object", "additionalProperties": NUMBER}}
    return fields


def _reply(kind: str, choice: Schema) -> Schema:
    return record(
        id=TEXT,
        object=exactly(kind),
        created=SECONDS_SINCE_1970,
        model=TEXT,
        system_fingerprint=NOTHING,
        choices=many(choice),
        usage=part("Usage"),
        metrics=part("Metrics"),
        netgpt=part("Account"),
    )


def _chat_choice() -> Schema:
    token = record(token=TEXT, bytes=many(WHOLE), logprob=NUMBER)
    entry = {**token, "properties": {**token["properties"], "top_logprobs": many(token)}}
    arguments = {**TEXT, "contentMediaType": "application/json"}
    call = record(id=TEXT, type=exactly("function"), function=record(name=TEXT, arguments=arguments))
    message = with_more(record(role=exactly("assistant"), content={"type": ["string", "null"]}, refusal=NOTHING), tool_calls=many(call))
    logprobs = or_null(record(content=many(entry), refusal=NOTHING))
    finish_reason = {**FINISH_REASON, "enum": [*FINISH_REASON["enum"], "tool_calls"]}
    return record(index=WHOLE, message=message, logprobs=logprobs, finish_reason=finish_reason)


def _completion_choice() -> Schema:
    scores = record(
        tokens=many(TEXT),
        token_logprobs=many(NUMBER),
        top_logprobs=or_null(many({"type": "object", "additionalProperties": NUMBER})),
        text_offset=many(WHOLE),
    )
    return record(index=WHOLE, text=TEXT, logprobs=or_null(scores), finish_reason=FINISH_REASON)


def _embeddings() -> Schema:
    vector = {"anyOf": [many(NUMBER), {**TEXT, "description": "base64 of little-endian binary32"}]}
    return record(
        object=exactly("list"),
        data=many(record(object=exactly("embedding"), index=WHOLE, embedding=vector)),
        model=TEXT,
        usage=record(prompt_tokens=WHOLE, total_tokens=WHOLE),
        netgpt=part("Account"),
    )


def _model() -> Schema:
    tokenizer = {**TEXT, "description": "SHA-256 of its definition, of the node that is asked first."}
    state = record(ready={"type": "boolean"}, nodes=many(TEXT), parameters=WHOLE, tokenizer=tokenizer)
    return record(id=TEXT, object=exactly("model"), created=SECONDS_SINCE_1970, owned_by=TEXT, max_model_len=WHOLE, netgpt=state)
