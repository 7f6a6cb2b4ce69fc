"""Sessions between tokenizers: text to a node's own ids before its engine, and its ids to bytes after it.

Every byte of the answer so far is kept, also those of a character that is not complete; which ids stand for
them is the model's own affair. Knows no engine's inside.
"""

from __future__ import annotations

from collections.abc import AsyncGenerator, Sequence
from contextlib import aclosing
from dataclasses import replace

from netgpt.core.errors import ContextLengthExceeded
from netgpt.engine.contract import Engine
from netgpt.models.generation import Generate, Text, Tokens, TopLogprobs
from netgpt.models.tokenizer import Tokenizer, encode_bytes


async def generate_text(engine: Engine, tokenizer: Tokenizer, request: Generate, text: Text) -> AsyncGenerator[Tokens, None]:
    """Answer a session that came as text, on an engine that takes ids.

    Raises:
        ContextLengthExceeded: the context has no room for the answer.
    """
    prompt_ids = tokenizer.render([(turn.role, turn.content) for turn in text.messages])
    own = encoded(request, text, prompt_ids, tokenizer, engine.card.context_tokens)
    async with aclosing(engine.generate(own)) as replies:
        async for tokens in replies:
            yield _as_bytes(tokens, tokenizer, logprobs=text.logprobs, prompt_tokens=len(prompt_ids))


def encoded(request: Generate, text: Text, prompt_ids: Sequence[int], tokenizer: Tokenizer, context_tokens: int) -> Generate:
    """The same request in the ids of `tokenizer`; raises ContextLengthExceeded."""
    ids = (*prompt_ids, *encode_bytes(tokenizer, text.answer))
    room, wanted = context_tokens - len(ids), 1 if text.fit else request.max_tokens
    if room < wanted:
        raise ContextLengthExceeded(
            f"the prompt has {len(ids)} tokens here and {wanted} are to follow, but the context holds {context_tokens}",
            hint="shorten the messages, or lower max_tokens",
            param="messages",
        )
    return replace(
        request,
        text=None,
        keep=0,
        ids=ids,
        max_tokens=min(request.max_tokens, room),
        stop_ids=tokenizer.stop_ids,
        answer_from=len(prompt_ids) if request.grammar or request.penalties else 0,
    )


def _as_bytes(tokens: Tokens, tokenizer: Tokenizer, *, logprobs: bool, prompt_tokens: int) -> Tokens:
    def each(ids: tuple[int, ...]) -> tuple[bytes, ...]:
        return tuple(tokenizer.decode((i,)) for i in ids)

    return replace(
        tokens,
        ids=(),
        data=tokenizer.decode(tokens.ids),
        made=len(tokens.ids),
        tokens=each(tokens.ids) if logprobs else (),
        logprobs=tokens.logprobs if logprobs else (),
        top=tuple(TopLogprobs(ids=(), logprobs=top.logprobs, tokens=each(top.ids)) for top in tokens.top),
        prompt_tokens=prompt_tokens if tokens.finish else 0,
    )
