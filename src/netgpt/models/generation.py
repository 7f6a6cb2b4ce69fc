"""What is asked of a running model, and what it gives back: values without behaviour.

The engine computes them, the wire carries them, strategies read them. Token ids belong to the model's
tokenizer; positions count from the first token of the session.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import field, replace
from typing import ClassVar

from netgpt.core.errors import InvalidRequest
from netgpt.core.value import value
from netgpt.models.grammar import Grammar


@value
class Sampling:
    """How the next token is chosen. Chance is keyed by (seed, position): see `engine.sampling`."""

    temperature: float = 0.0  # 0 is greedy
    top_p: float = 1.0
    top_k: int = 0  # 0 keeps all
    seed: int = 0


GREEDY = Sampling()


@value
class Penalties:
    """What is added to the model's logits before a token is drawn, as OpenAI's API has it.

    A token that the answer has c times loses `frequency` * c, and `presence` if c > 0; then token
    `bias_ids[n]` gains `biases[n]`. Log-probabilities are reported without all this. `Verify` draws from
    what the model says alone: a strategy that drafts cannot honour them.
    """

    presence: float = 0.0
    frequency: float = 0.0
    bias_ids: tuple[int, ...] = ()  # none twice
    biases: tuple[float, ...] = ()


@value
class Turn:
    """One message of a conversation."""

    role: str
    content: str


@value
class Text:
    """A session as text, for a node whose tokenizer is not the caller's: the node encodes it anew."""

    messages: tuple[Turn, ...]
    answer: bytes = b""  # so far; may end within a character
    logprobs: bool = False  # report each token's bytes and log-probability
    fit: bool = False  # `max_tokens` is an upper bound: take what the context has left


@value
class Generate:
    """Continue a session by up to `max_tokens` tokens.

    `keep` is how many leading tokens of the session the caller believes the engine holds; `ids` are the
    tokens that follow them. An engine that holds more rolls back to `keep`; one that holds less raises
    `SessionNotFound`, and the caller sends all with `keep=0`.

    With a `grammar`, the tokens from `answer_from` on are the answer: those that the session has already
    are followed through the grammar, and what is drawn goes on from there. Whoever continues a session
    needs no more than this.
    """

    session: str
    epoch: int = 0
    keep: int = 0
    ids: tuple[int, ...]
    max_tokens: int
    sampling: Sampling = GREEDY
    stop_ids: tuple[int, ...] = ()
    top_logprobs: int = 0  # alternatives reported per token
    hold: bool = False  # keep the session's KV after the last token
    grammar: Grammar | None = None  # what the answer must look like
    answer_from: int = 0  # position of the answer's first token; read with `grammar` and `penalties` only
    text: Text | None = None  # stands for `ids`, which are empty then; the replies carry `data`
    penalties: Penalties | None = None  # counted over the answer, from `answer_from` on
    variant: str = ""  # of the model: a precision that the node offers; empty: as it runs there


def with_top(request: Generate, top_logprobs: int) -> Generate:
    """`request`, with at least so many alternatives reported for each token."""
    if request.top_logprobs >= top_logprobs:
        return request
    text = request.text and replace(request.text, logprobs=True)
    return replace(request, top_logprobs=top_logprobs, text=text)


@value
class TopLogprobs:
    """The most likely tokens at one position, most likely first (before temperature, nats)."""

    ids: tuple[int, ...]
    logprobs: tuple[float, ...]
    tokens: tuple[bytes, ...] = ()  # in place of `ids` where the caller has another tokenizer


@value
class Timings:
    """Durations measured by one node on one clock, seconds."""

    queue_s: float = 0.0
    prefill_s: float = 0.0
    decode_s: float = 0.0
    modelled: bool = False  # a hardware profile stretched them
    declared: str = ""  # what it took them for: model, precision and machine
    overruns: int = 0  # results that took the real engine longer than modelled


def declared_machines(timings: Iterable[Timings]) -> tuple[str, ...]:
    """What hardware profiles took the nodes for, each once."""
    return tuple(dict.fromkeys(timing.declared for timing in timings if timing.declared))


@value
class Tokens:
    """One or more new tokens of a session. The last one of a call carries `finish` and `timings`.

    The answer to a `Text` has no ids: `data` are the new bytes, and `made` says how many tokens of the
    node's own model they are.
    """

    epoch: int = 0
    position: int  # of ids[0] in the session
    ids: tuple[int, ...] = ()
    logprobs: tuple[float, ...] = ()  # of ids, before grammar and temperature, nats
    top: tuple[TopLogprobs, ...] = ()
    finish: str = ""  # "", "stop" (a stop id, included in ids) or "length"
    timings: Timings | None = None
    cached: int = 0  # prompt tokens that were not computed again
    data: bytes = b""
    made: int = 0
    tokens: tuple[bytes, ...] = ()  # bytes of each token that has a log-probability
    prompt_tokens: int = 0  # of the whole prompt, as the node's model counts; with the last one


@value
class Verify:
    """Ask the target which of `drafts` it would have produced itself after the session's tokens.

    Coupled verification (arXiv 2408.07978): the target draws its own token at each position with the
    noise of (seed, position) and accepts a draft iff it is that token. Lossless for greedy and sampled
    decoding alike, and only ids travel.
    """

    session: str
    epoch: int = 0
    keep: int = 0
    ids: tuple[int, ...]
    drafts: tuple[int, ...]
    sampling: Sampling = GREEDY


@value
class Verdict:
    """How many leading drafts hold, and the target's own token after them.

    The engine then holds the session up to the last accepted draft; `next_id` is not yet in its KV.
    """

    epoch: int = 0
    accepted: int
    next_id: int
    logprobs: tuple[float, ...] = ()  # of the accepted drafts and next_id, nats
    timings: Timings | None = None


@value
class Prefill:
    """Bring a session's tokens into KV without drawing a token."""

    session: str
    epoch: int = 0
    keep: int = 0
    ids: tuple[int, ...]


@value
class Held:
    """How many tokens of a session an engine holds in KV."""

    session: str
    tokens: int
    timings: Timings | None = None


@value
class Embed:
    """Turn tokens into one vector: the mean of their hidden states after the last norm, scaled to length 1.

    `session` names this call alone: it is made in one go, and nothing of it is held afterwards.

    With `parts`, the lengths of consecutive parts of `ids` that make up all of them, the vector is made of two for each part: the mean
    over it, and its last token's state, each scaled to length 1.
    """

    epoch: ClassVar[int] = 0
    keep: ClassVar[int] = 0
    session: str
    ids: tuple[int, ...]
    parts: tuple[int, ...] = ()


def check_parts(request: Embed) -> None:
    """Raises InvalidRequest where the parts of an `Embed` are not all of its tokens."""
    if request.parts and (min(request.parts) < 1 or sum(request.parts) != len(request.ids)):
        raise InvalidRequest(f"parts of {list(request.parts)} tokens are not the {len(request.ids)} given", hint="cut all of them", param="parts")


@value
class Embedding:
    """The vector of some tokens. Vectors of different models have nothing to do with each other."""

    values: tuple[float, ...]
    timings: Timings | None = None


@value
class Score:
    """How likely is each token of a prompt, given those before it? `session` names this call alone: nothing of it is held afterwards."""

    epoch: ClassVar[int] = 0
    keep: ClassVar[int] = 0
    session: str
    ids: tuple[int, ...]


@value
class Scores:
    """What a model expected of a prompt."""

    logprobs: tuple[float, ...]  # of each token but the first, before temperature, nats
    timings: Timings | None = None


@value
class Recall:
    """Is there a kept answer to this? A node that has none keeps in mind for a while what was asked, so that `Remember` need not say it again.

    `scope` names whose answers may be given, and nobody else can guess it. Digests name what was asked: `exact` all of it, `group` all
    but the last question.
    """

    scope: str
    group: bytes
    exact: bytes
    question: str = ""  # the last one, if a question that means the same will do
    max_age_s: float = 0.0


@value
class Recalled:
    """A kept answer, or that there is none."""

    found: bool = False
    match: str = ""  # "exact" or "semantic"
    text: str = ""
    reason: str = ""  # how the answer ended
    completion_tokens: int = 0
    made_by: str = ""  # nodes
    age_s: float = 0.0
    similarity: float = 0.0  # cosine of the questions' vectors; 0 of an exact match
    gate: str = ""  # of no answer: in what the likeliest kept question differs from this one


@value
class Remember:
    """Keep the answer to what was asked by `Recall` under the same scope and digest."""

    scope: str
    exact: bytes
    text: str
    reason: str
    completion_tokens: int = 0
    made_by: str = ""
    life_s: float = 0.0  # from now


@value
class Remembered:
    """Whether it is kept."""

    kept: bool = False


@value
class Rollback:
    """Forget a session's tokens past `length`; 0 frees its KV."""

    session: str
    length: int = 0


@value
class Capabilities:
    """What an engine states it can do; asking for more raises `NotSupported`."""

    logprobs: bool = False
    verify: bool = False
    hold: bool = False  # sessions keep KV between calls
    grammar: bool = False  # answers can be held to a `Grammar`
    embed: bool = False  # it turns text into vectors
    text: bool = False  # takes a `Text` in place of ids
    top_logprobs: int = 20  # the most alternatives that it reports
    continues: bool = True  # goes on from words that another model said
    usage: bool = True  # counts tokens as its model does
    prompt_ids: bool = False  # an upstream's `/v1/completions` takes token ids
    scores: bool = False  # an upstream gives log-probabilities of a prompt
    tokenizer: str = ""  # identity of an upstream's tokenizer, where it states one
    penalties: bool = False  # draws can be steered by `Penalties`
    keeps: bool = False  # its node keeps answers: `Recall`, `Remember`
    reads: bool = False  # it says how likely a prompt's tokens are: `Score`


@value
class Load:
    """An engine's load at one instant."""

    running: int = 0
    waiting: int = 0
    slots: int = 0
    held_tokens: int = 0  # in KV, of running and held sessions
    capacity_tokens: int = 0
    sessions: tuple[str, ...] = field(default=())
    releases: int = 0  # results given out at modelled times, and how many of them were late
    overruns: int = 0
    kept_answers: int = 0  # for doors that ask, and the memory that they take
    kept_bytes: int = 0
    free_s: tuple[
        float, ...
    ] = ()  # when each slot could begin with another prompt, from now, rising: as far as the engine can tell; empty: it cannot
    step_s: float = 0.0  # between two tokens of an answer, lately; 0: not known
    prompt_token_s: float = 0.0  # for each token of a prompt, lately
    prompt_tokens: float = 0.0  # of these prompts, on average; 0: an older release, which does not say
