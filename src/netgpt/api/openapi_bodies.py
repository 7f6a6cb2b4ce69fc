"""Schemas of the bodies that a door takes: JSON Schema 2020-12, as OpenAPI 3.1 has it. Pure.

Every limit is read from where it is enforced. A body that a schema admits is refused only for what no
schema can say: a prompt that fills the model's context, a privacy level that the model's tier may not
see, a node that is not up, a budget or deadline that no node keeps.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from netgpt.api import completion_request, unsupported
from netgpt.api.chat_request import MAX_CHOICES, MODEL_OF_STRATEGY
from netgpt.api.completion_request import MAX_LOGPROBS, MAX_PROMPTS
from netgpt.api.embedding import ENCODINGS, MAX_TEXTS
from netgpt.api.fields import SEED_RANGE
from netgpt.api.openapi_tools import CHOICE_NEEDS_TOOLS, call_messages, callable_tools, response_format
from netgpt.inference.choice import AUTO
from netgpt.inference.objective import INTERACTIVE, SERVICES
from netgpt.inference.request import (
    CACHE_MATCHES,
    COMPRESS_AUTO,
    COMPRESS_WHEN,
    LEAST_RATE,
    LEAST_TOP_P,
    MAX_BIAS,
    MAX_BIASES,
    MAX_CACHE_AGE_S,
    MAX_DEADLINE_S,
    MAX_PENALTY,
    MAX_PLACE_CHARS,
    MAX_STOP_STRINGS,
    MAX_TEMPERATURE,
    MAX_TOP_K,
    MAX_TOP_LOGPROBS,
    MIN_DEADLINE_S,
    MOST_BUDGET,
    USUAL_RATE,
)
from netgpt.models.tokenizer import ROLES
from netgpt.node.session import PRIVACY_LEVELS

Schema = dict[str, Any]


@dataclass(frozen=True, kw_only=True)
class Served:
    """What one door's document depends on."""

    models: tuple[str, ...]  # names that the door answers to
    context_tokens: int  # of the largest context; 0 while none is known
    vocabulary: int  # of the door's tokenizer


def optional(schema: Mapping[str, Any]) -> Schema:
    """Null, too: a field that is null counts as one that is not given."""
    if "enum" in schema:
        return {**schema, "enum": [*schema["enum"], None]}
    if "anyOf" in schema:
        return {**schema, "anyOf": [*schema["anyOf"], {"type": "null"}]}
    return {**schema, "type": [schema["type"], "null"]}


_STRATEGY = "Who answers: a tier, `cascade`, `route`, or `auto`, which leaves it to the model's name. Besides a tier's model, that tier alone."


def whole(low: int, high: int | None, about: str, **more: Any) -> Schema:
    limits = {"minimum": low} if high is None else {"minimum": low, "maximum": high}
    return optional({"type": "integer", **limits, "description": about, **more})


def number(low: float, high: float, about: str, **more: Any) -> Schema:
    return optional({"type": "number", "minimum": low, "maximum": high, "description": about, **more})


def flag(about: str) -> Schema:
    return optional({"type": "boolean", "default": False, "description": about})


def some_text(**more: Any) -> Schema:
    return {"type": "string", "minLength": 1, **more}


def inert(table: Mapping[str, tuple[object, ...]]) -> dict[str, Schema]:
    """Parameters that are refused unless they change nothing."""
    return {name: {"enum": [*harmless, None], "description": "Not supported: only values that change nothing."} for name, harmless in table.items()}


def extras() -> dict[str, Schema]:
    """NetGPT's own parameters, of every body."""
    return {
        "privacy": optional({"type": "string", "enum": list(PRIVACY_LEVELS), "description": "Which tiers may see the content."}),
        "deadline_s": number(MIN_DEADLINE_S, MAX_DEADLINE_S, "Seconds from arrival after which the answer is of no use."),
    }


def answer(served: Served) -> dict[str, Schema]:
    """What every request for text may say."""
    text = some_text()
    stop = {"anyOf": [text, {"type": "array", "items": text, "maxItems": MAX_STOP_STRINGS}], "description": "The answer ends before any of these."}
    return {
        "model": model(served),
        "strategy": optional({"type": "string", "enum": list(MODEL_OF_STRATEGY), "default": AUTO, "description": _STRATEGY}),
        "n": whole(1, MAX_CHOICES, "Answers to each prompt; each is a session of its own.", default=1),
        "temperature": number(0, MAX_TEMPERATURE, "0 always takes the likeliest token.", default=1),
        "top_p": number(LEAST_TOP_P, 1, "Draws among the fewest tokens that have this much of the probability.", default=1),
        "top_k": whole(0, MAX_TOP_K, "Draws among so many of the likeliest tokens; 0: all.", default=0),
        "presence_penalty": number(-MAX_PENALTY, MAX_PENALTY, "What a token's logit loses once the answer has it.", default=0),
        "frequency_penalty": number(-MAX_PENALTY, MAX_PENALTY, "What a token's logit loses for each time that the answer has it.", default=0),
        "logit_bias": optional({
            "type": "object",
            "propertyNames": {"pattern": "^(0|[1-9][0-9]{0,8})$"},
            "additionalProperties": {"type": "number", "minimum": -MAX_BIAS, "maximum": MAX_BIAS},
            "maxProperties": MAX_BIASES,
            "description": "What logits gain, by token id of the answering model's tokenizer.",
        }),
        "seed": whole(SEED_RANGE.start, SEED_RANGE.stop - 1, "Equal seeds give equal answers; without one the reply names the seed drawn."),
        "stop": optional(stop),
        "stream": flag("Server-sent events, one chunk for each new text, then `[DONE]`."),
        "stream_options": optional({
            "type": "object",
            "properties": {"include_usage": flag("Ends with a chunk that has usage.")},
            "description": "With `stream` alone.",
        }),
        **extras(),
        "cache": cache(),
        "service": optional({
            "type": "string",
            "enum": list(SERVICES),
            "default": INTERACTIVE,
            "description": "By which `auto` weighs time, energy, bytes and quality.",
        }),
        "max_cost": number(0, MOST_BUDGET, "What the answer may cost, in the unit of the nodes' prices."),
        "max_energy_j": number(0, MOST_BUDGET, "What the answer may take of the entry node's energy, in joules."),
    }  # fmt: skip


def cache() -> Schema:
    """Leave to answer from what is kept."""
    about_match = "`semantic`: also a question that means the same."
    return optional({
        "type": "object",
        "additionalProperties": False,
        "properties": {
            "match": optional({"type": "string", "enum": list(CACHE_MATCHES), "default": "exact", "description": about_match}),
            "shared": flag("With all keys; else with this one alone."),
            "max_age_s": number(0, MAX_CACHE_AGE_S, "How old a kept answer may be; 0: it is made anew. Needed for questions about now."),
            "keep": optional({"type": "boolean", "default": True, "description": "The answer, if it is made."}),
            "place": optional({"type": "string", "maxLength": MAX_PLACE_CHARS, "description": "Where it is asked. Needed for questions about here."}),
        },
        "description": "Leave to answer from what an edge node keeps, and to keep the answer there. Without it, neither.",
    })  # fmt: skip


def compress() -> Schema:
    """Leave to shorten the prompt."""
    when = {"type": "string", "enum": list(COMPRESS_WHEN), "description": "`auto`: where `auto` expects that it is worth it."}
    more = {"type": "object", "additionalProperties": False}
    rate = number(LEAST_RATE, 1, "The share of the prompt's tokens that stays at least.", default=USUAL_RATE)
    more |= {"properties": {"when": optional({**when, "default": COMPRESS_AUTO}), "rate": rate}}
    about = "Leave to leave out of the prompt what tells least; `true` is `always`. Without it, the prompt stays whole."
    return optional({"anyOf": [{"type": "boolean"}, when, more], "description": about})


def model(served: Served) -> Schema:
    return {"type": "string", "enum": list(served.models), "description": "A tier's model, or `auto`: as the planner chooses."}


def most_tokens(served: Served, about: str, **more: Any) -> Schema:
    return whole(1, served.context_tokens or None, about, **more)


OPTIONS_NEED_STREAM: Schema = {
    "if": {"properties": {"stream_options": {"type": "object"}}, "required": ["stream_options"]},
    "then": {"properties": {"stream": {"const": True}}, "required": ["stream"]},
}
TOP_NEEDS_LOGPROBS: Schema = {
    "if": {"properties": {"top_logprobs": {"type": "integer", "minimum": 1}}, "required": ["top_logprobs"]},
    "then": {"properties": {"logprobs": {"const": True}}, "required": ["logprobs"]},
}
ONE_LIMIT: Schema = {"not": {"required": ["max_tokens", "max_completion_tokens"]}}


def chat_body(served: Served) -> Schema:
    part = {
        "type": "object",
        "required": ["type", "text"],
        "properties": {"type": {"type": "string", "enum": ["text"]}, "text": {"type": "string"}},
    }
    content = {"anyOf": [{"type": "string"}, {"type": "array", "items": part}]}
    said = {
        "type": "object",
        "required": ["role", "content"],
        "properties": {"role": {"type": "string", "enum": [*ROLES, "developer"], "description": "`developer` is `system`."}, "content": content},
    }
    return {
        "type": "object",
        "required": ["model", "messages"],
        "properties": {
            "messages": {
                "type": "array",
                "items": {"anyOf": [said, *call_messages(content)]},
                "minItems": 1,
                "description": "Each has `role` and `content`: a text, or text parts.",
            },
            **answer(served),
            "max_tokens": most_tokens(served, "The longest answer, in tokens; without it, what the context leaves."),
            "max_completion_tokens": most_tokens(served, "The newer name of `max_tokens`."),
            "logprobs": flag("Log-probabilities of the answer's tokens."),
            "top_logprobs": whole(0, MAX_TOP_LOGPROBS, "Likeliest alternatives at each token; needs `logprobs`.", default=0),
            **callable_tools(),
            "response_format": response_format(),
            "compress": compress(),
            **inert(unsupported.CHAT),
        },
        "allOf": [OPTIONS_NEED_STREAM, TOP_NEEDS_LOGPROBS, CHOICE_NEEDS_TOOLS, ONE_LIMIT],
    }


def texts(served: Served, most: int, about: str) -> Schema:
    """A prompt or several, each a text or token ids."""
    ids = {"type": "array", "items": {"type": "integer", "minimum": 0, "maximum": served.vocabulary - 1}, "minItems": 1}
    several = [{"type": "array", "items": one, "minItems": 1, "maxItems": most} for one in (some_text(), ids)]
    return {"anyOf": [some_text(), ids, *several], "description": about}


def completion_body(served: Served) -> Schema:
    about = f"Continued as it is, without a chat template. Prompts times `n`: at most {MAX_CHOICES}."
    return {
        "type": "object",
        "required": ["model", "prompt"],
        "properties": {
            "prompt": texts(served, MAX_PROMPTS, about),
            **answer(served),
            "max_tokens": most_tokens(served, "The longest answer, in tokens.", default=completion_request.DEFAULT_MAX_TOKENS),
            "logprobs": whole(0, MAX_LOGPROBS, "Log-probabilities of the answer's tokens, and of so many alternatives."),
            "best_of": {"type": "null", "description": "Not supported, unless it equals `n`."},
            **inert(unsupported.COMPLETION),
        },
        "allOf": [OPTIONS_NEED_STREAM],
    }


def embedding_body(served: Served) -> Schema:
    return {
        "type": "object",
        "required": ["model", "input"],
        "properties": {
            "input": texts(served, MAX_TEXTS, "Each text, or list of token ids, gives one vector."),
            "model": model(served),
            "encoding_format": optional(
                {"type": "string", "enum": list(ENCODINGS), "default": "float", "description": "base64: little-endian binary32."}
            ),
            **extras(),
            **inert(unsupported.EMBEDDING),
        },
    }
