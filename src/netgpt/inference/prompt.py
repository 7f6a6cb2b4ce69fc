"""The token ids of what a client sent. It checks what only a tokenizer can know."""

from __future__ import annotations

from collections.abc import Sequence

from netgpt.core.errors import InvalidRequest
from netgpt.inference.fit import check_length
from netgpt.inference.request import ChatRequest
from netgpt.models.tokenizer import Tokenizer
from netgpt.network.member import Member


def render_prompt(tokenizer: Tokenizer, request: ChatRequest) -> tuple[int, ...]:
    """The ids that the answer continues: a conversation in the model's chat format, or the raw prompt.

    Raises:
        InvalidRequest: the prompt holds an id that the tokenizer does not have.
    """
    if request.prompt is None:
        return tuple(tokenizer.render(request.messages))
    return ids_of(tokenizer, request.prompt, "prompt")


def check_prompt(request: ChatRequest, nodes: Sequence[Member], tokenizer: Tokenizer) -> None:
    """Refuse a prompt that is surely too long for every node, before all of it is rendered. Raises ContextLengthExceeded."""
    texts = [content for _, content in request.messages] if request.prompt is None else [request.prompt]
    rate = request.compress.rate if request.compress else 1.0
    check_length(texts, nodes, tokenizer, model=request.model, param=prompt_param(request), rate=rate)


def prompt_param(request: ChatRequest) -> str:
    """What the client calls its prompt: refusals name it."""
    return "messages" if request.prompt is None else "prompt"


def prompt_length(request: ChatRequest) -> int:
    """Characters of what is to be rendered; of ids, their number. A bound on the work, known before it is done."""
    return sum(len(content) for _, content in request.messages) if request.prompt is None else len(request.prompt)


def ids_of(tokenizer: Tokenizer, text: str | tuple[int, ...], param: str) -> tuple[int, ...]:
    """The ids of plain text, in which special tokens are not recognised, or the ids themselves.

    Raises:
        InvalidRequest: an id outside the vocabulary; `param` names where.
    """
    if isinstance(text, str):
        return tuple(tokenizer.encode(text))
    if (largest := max(text)) >= tokenizer.vocabulary:
        raise InvalidRequest(
            f"{param} holds the id {largest}, but the vocabulary has {tokenizer.vocabulary}", hint="use the model's own tokenizer", param=param
        )
    return text
