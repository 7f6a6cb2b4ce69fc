"""What is asked of an OpenAI-compatible upstream, and what is known of it: values, and the bodies made from them. Pure."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from netgpt.core.compact import to_json
from netgpt.models.generation import Capabilities, Generate, Penalties, Turn

SEED_BITS = 31  # what every server takes

# How an upstream is told to go on from a last message of the assistant.
CONTINUATIONS: Mapping[str, tuple[Mapping[str, Any], Mapping[str, Any]]] = {  # name -> fields of (that message, the body)
    "last-message": ({}, {}),  # llama.cpp, Ollama
    "continue-final-message": ({}, {"continue_final_message": True, "add_generation_prompt": False}),  # vLLM, SGLang
    "prefix": ({"prefix": True}, {}),  # DeepSeek, Mistral
}


@dataclass(frozen=True, kw_only=True)
class Upstream:
    """An upstream as a scenario describes it. The key is not among this."""

    url: str
    model: str
    connect_s: float = 5.0
    first_token_s: float = 60.0  # from the request to the first token
    next_token_s: float = 30.0  # between two tokens
    retries: int = 2  # before the first token


@dataclass(frozen=True, kw_only=True)
class Probed:
    """What an upstream was seen to do."""

    model: str
    listed: bool = False  # among the server's models; some serve one that they do not list
    limit_key: str = "max_tokens"  # what it calls the most tokens of an answer
    context_tokens: int = 0  # 0: it does not say
    parameters: int = 0
    tokenizer: str = ""
    top_logprobs: int | None = None  # the most alternatives; None: no log-probabilities
    usage: bool = False
    continuation: str = ""  # a name in CONTINUATIONS; empty: it cannot
    prompt_ids: bool = False
    scores: bool = False

    def capabilities(self) -> Capabilities:
        return Capabilities(
            logprobs=self.top_logprobs is not None,
            text=True,
            top_logprobs=self.top_logprobs or 0,
            continues=bool(self.continuation),
            usage=self.usage,
            prompt_ids=self.prompt_ids,
            scores=self.scores,
            tokenizer=self.tokenizer,
            penalties=True,  # OpenAI's own parameters: handed on as they are
        )


def penalty_fields(penalties: Penalties) -> dict[str, Any]:
    biases = {str(i): bias for i, bias in zip(penalties.bias_ids, penalties.biases, strict=True)}
    fields = {"presence_penalty": penalties.presence, "frequency_penalty": penalties.frequency, "logit_bias": biases}
    return {name: value for name, value in fields.items() if value}


def generate_body(probed: Probed, request: Generate, answer: str) -> bytes:
    """The body of a streamed chat completion that goes on from `answer`."""
    assert request.text is not None
    fields: dict[str, Any] = {"temperature": request.sampling.temperature, "top_p": request.sampling.top_p}
    if request.sampling.top_k:
        fields["top_k"] = request.sampling.top_k
    if request.penalties is not None:
        fields |= penalty_fields(request.penalties)
    if request.sampling.temperature > 0:
        fields["seed"] = request.sampling.seed % (1 << SEED_BITS)
    if not request.text.fit:
        fields[probed.limit_key] = request.max_tokens
    if request.text.logprobs:
        fields |= {"logprobs": True} | ({"top_logprobs": request.top_logprobs} if request.top_logprobs else {})
    return chat_body(probed, request.text.messages, answer, {**fields, "stream": True} | usage_fields(probed.usage))


def usage_fields(usage: bool) -> dict[str, Any]:
    return {"stream_options": {"include_usage": True}} if usage else {}


def chat_body(probed: Probed, messages: Sequence[Turn], answer: str, fields: Mapping[str, Any]) -> bytes:
    """The body of a chat completion; with an answer so far, in the upstream's own way of going on."""
    turns: list[dict[str, Any]] = [{"role": turn.role, "content": turn.content} for turn in messages]
    body: dict[str, Any] = {"model": probed.model, **fields}
    if answer:
        of_message, of_body = CONTINUATIONS[probed.continuation]
        turns.append({"role": "assistant", "content": answer, **of_message})
        body |= of_body
    body["messages"] = turns
    return to_json(body)


def split_text(data: bytes) -> tuple[str, bytes]:
    """Whole characters, and the bytes of one that is not complete."""
    for size in range(min(3, len(data)) + 1):
        try:
            return data[: len(data) - size].decode(), data[len(data) - size :]
        except UnicodeDecodeError:
            continue
    return data.decode("utf-8", "replace"), b""
