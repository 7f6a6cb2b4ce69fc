"""From the JSON of a text completion to `ChatRequest`s with raw prompts: pure, strict, explicit about limits.

One request for each prompt; a prompt is text or token ids, and no chat template is put around it. What
both routes for text may say is read by `api.chat_request`.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from netgpt.api.answer import Asked
from netgpt.api.cache_wish import read_cache
from netgpt.api.chat_request import MAX_CHOICES, MOST_TOKENS, answer_fields, parse_form
from netgpt.api.fields import as_object, count, prompts, refuse_unsupported, whole
from netgpt.api.unsupported import COMPLETION
from netgpt.core.errors import InvalidRequest, NotSupported
from netgpt.inference.request import ChatRequest

DEFAULT_MAX_TOKENS = 16  # OpenAI's
MAX_LOGPROBS = 5
MAX_PROMPTS = MAX_CHOICES  # one choice of each


def parse_completion(body: object, request_id: str, key: str = "") -> Asked:
    """What `body` (parsed JSON) asks for.

    Args:
        key: id of the API key that asks.

    Raises:
        InvalidRequest: a value of a wrong type or out of range; `param` names it.
        NotSupported: a parameter that is not implemented.
    """
    fields = as_object(body)
    refuse_unsupported(fields, COMPLETION)
    form = parse_form(body)
    _check_best_of(fields, form.choices)
    texts = prompts(fields.get("prompt"), "prompt", most=MAX_PROMPTS)
    if len(texts) * form.choices > MAX_CHOICES:
        wanted = f"{len(texts)} prompts with n {form.choices} make {len(texts) * form.choices} answers"
        raise InvalidRequest(wanted, hint=f"ask for at most {MAX_CHOICES} at once", param="n")
    logprobs = count(fields, "logprobs", most=MAX_LOGPROBS)
    max_tokens = count(fields, "max_tokens", least=1, most=MOST_TOKENS)
    common = answer_fields(fields) | {
        "max_tokens": DEFAULT_MAX_TOKENS if max_tokens is None else max_tokens,
        "logprobs": logprobs is not None,
        "top_logprobs": logprobs or 0,
        "cache": read_cache(fields),
    }
    return Asked(requests=tuple(ChatRequest(request_id=request_id, key=key, prompt=prompt, **common) for prompt in texts), form=form)


def _check_best_of(fields: Mapping[str, Any], choices: int) -> None:
    best_of = whole(fields, "best_of")
    if best_of not in (None, choices):
        raise NotSupported("best_of is not supported", hint="leave best_of out, or give what n is", param="best_of")
