"""What a client asks of a door and what the door answers: values, checked where they enter."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import field
from operator import attrgetter
from typing import Any, NamedTuple

from netgpt.core.errors import InvalidRequest
from netgpt.core.spelling import did_you_mean
from netgpt.core.transport import STANDARD
from netgpt.core.value import value
from netgpt.inference.objective import INTERACTIVE, objective_of
from netgpt.models.generation import Penalties, TopLogprobs
from netgpt.models.grammar import Grammar, check_grammar
from netgpt.models.tokenizer import ROLES
from netgpt.node.session import PRIVACY_LEVELS

MAX_STOP_STRINGS = 4
MAX_TOP_LOGPROBS = 20
MAX_TEMPERATURE = 2
LEAST_TOP_P = 1e-6
MAX_TOP_K = 1 << 20
MAX_PENALTY = 2
MAX_BIAS, MAX_BIASES = 100, 300
DEFAULT_PRIVACY = "cloud-allowed"
MIN_DEADLINE_S, MAX_DEADLINE_S = 0.001, 86_400
CACHE_MATCHES = ("exact", "semantic")
MAX_CACHE_AGE_S = 86_400
MAX_PLACE_CHARS = 128
COMPRESS_ALWAYS, COMPRESS_AUTO = COMPRESS_WHEN = ("always", "auto")
USUAL_RATE, LEAST_RATE = 0.5, 0.1
BY_MODEL, BY_WORDS = "self-information", "words"
MOST_BUDGET = 1e12

_RANGES = {
    "temperature": (0, MAX_TEMPERATURE),
    "top_p": (LEAST_TOP_P, 1),
    "top_k": (0, MAX_TOP_K),
    "top_logprobs": (0, MAX_TOP_LOGPROBS),
    "presence_penalty": (-MAX_PENALTY, MAX_PENALTY),
    "frequency_penalty": (-MAX_PENALTY, MAX_PENALTY),
}
_ranged = attrgetter(*_RANGES)
_USUAL = (1.0, 1.0, 0, 0, 0.0, 0.0)  # what most requests say of these: nothing


@value
class CacheWish:
    """A client's leave to answer from what is kept, and to keep the answer. Raises InvalidRequest, naming the parameter."""

    match: str = "exact"  # "exact": the very same request; "semantic": also a question that means the same
    shared: bool = False  # with all keys; else with requests of the same key alone
    max_age_s: float | None = None  # of what is given; None: as the question permits; 0: nothing, the answer is made anew and kept
    keep: bool = True  # the answer, if it is made
    place: str = ""  # where it is asked: answers from elsewhere are others
    tools: bool = False  # the answer may be a call

    def __post_init__(self) -> None:
        if self.match not in CACHE_MATCHES:
            raise InvalidRequest(f"unknown match {self.match!r}", hint=did_you_mean(self.match, CACHE_MATCHES), param="cache.match")
        if self.max_age_s is not None and not 0 <= self.max_age_s <= MAX_CACHE_AGE_S:
            raise InvalidRequest(f"max_age_s is {self.max_age_s}", hint=f"give seconds from 0 to {MAX_CACHE_AGE_S}", param="cache.max_age_s")
        if len(self.place) > MAX_PLACE_CHARS:
            hint = f"give a name of at most {MAX_PLACE_CHARS} characters, a cell's or a site's"
            raise InvalidRequest(f"place has {len(self.place)} characters", hint=hint, param="cache.place")


@value
class CompressWish:
    """A client's leave to leave out of its prompt what tells least. Raises InvalidRequest, naming the parameter."""

    when: str = COMPRESS_AUTO  # "always", or "auto": where `auto` expects that it is worth it
    rate: float = USUAL_RATE  # the share of the prompt's tokens that stays at least

    def __post_init__(self) -> None:
        if self.when not in COMPRESS_WHEN:
            raise InvalidRequest(f"unknown value {self.when!r} of compress", hint=did_you_mean(self.when, COMPRESS_WHEN), param="compress")
        if not LEAST_RATE <= self.rate <= 1:
            raise InvalidRequest(f"rate is {self.rate}", hint=f"give the share that stays, from {LEAST_RATE} to 1", param="compress.rate")


@value
class ChatRequest:
    """One answer that is wanted: to a conversation, or the continuation of a raw prompt.

    Raises InvalidRequest, naming the parameter, when a value is out of range.
    """

    request_id: str
    model: str
    messages: tuple[tuple[str, str], ...] = ()  # (role, content)
    prompt: str | tuple[int, ...] | None = None  # in place of messages: text or token ids, without a chat template
    max_tokens: int | None = None  # None: as many as the context holds
    temperature: float = 1.0
    top_p: float = 1.0
    top_k: int = 0
    presence_penalty: float = 0.0
    frequency_penalty: float = 0.0
    logit_bias: tuple[tuple[int, float], ...] = ()  # (token id of the answering model's tokenizer, what its logit gains)
    seed: int | None = None  # None: drawn by the door
    stop: tuple[str, ...] = ()
    logprobs: bool = False
    top_logprobs: int = 0
    grammar: Grammar | None = None  # what the answer is held to
    privacy: str = DEFAULT_PRIVACY
    deadline_s: float | None = None  # from arrival; None: the door's default
    key: str = ""  # id of the API key that asks; empty where none is needed
    qos: str = STANDARD  # the class of the user, where links and cells tell classes apart
    cache: CacheWish | None = None  # None: it is neither looked up nor kept, nor shares another's answer
    service: str = INTERACTIVE  # by which `auto` weighs time, energy, bytes and quality: `inference.objective`
    max_cost: float | None = None  # that the answer may cost, in the unit of the nodes' prices
    max_energy_j: float | None = None  # that the answer may take of the entry node's
    compress: CompressWish | None = None  # None: the prompt stays whole

    def __post_init__(self) -> None:
        self._check_messages()
        if self.grammar is not None:
            self._check_grammar(self.grammar)
        if (values := _ranged(self)) != _USUAL:
            _check_ranges(values)
        if self.max_tokens is not None and self.max_tokens < 1:
            raise InvalidRequest(f"max_tokens is {self.max_tokens}", hint="give 1 or more", param="max_tokens")
        if len(self.stop) > MAX_STOP_STRINGS or not all(self.stop):
            raise InvalidRequest(f"{len(self.stop)} stop strings, or an empty one", hint=f"give at most {MAX_STOP_STRINGS}, none empty", param="stop")
        if self.logit_bias:
            self._check_bias()
        objective_of(self.service)
        _check_budget("max_cost", self.max_cost)
        _check_budget("max_energy_j", self.max_energy_j)
        _check_bounds(self.privacy, self.deadline_s)

    @property
    def penalties(self) -> Penalties | None:
        """What is to be added to logits; None: nothing."""
        if not (self.presence_penalty or self.frequency_penalty or self.logit_bias):
            return None
        ids, biases = tuple(i for i, _ in self.logit_bias), tuple(float(bias) for _, bias in self.logit_bias)
        return Penalties(presence=float(self.presence_penalty), frequency=float(self.frequency_penalty), bias_ids=ids, biases=biases)

    def _check_bias(self) -> None:
        if len(self.logit_bias) > MAX_BIASES:
            raise InvalidRequest(f"logit_bias has {len(self.logit_bias)} entries", hint=f"give at most {MAX_BIASES}", param="logit_bias")
        if strange := [bias for _, bias in self.logit_bias if not -MAX_BIAS <= bias <= MAX_BIAS]:
            hint = f"give numbers from {-MAX_BIAS} to {MAX_BIAS}"
            raise InvalidRequest(f"logit_bias holds {strange[0]}", hint=hint, param="logit_bias")

    def _check_grammar(self, grammar: Grammar) -> None:
        check_grammar(grammar)
        if self.stop:
            raise InvalidRequest(f"stop would cut what {grammar.param} asks for", hint="leave one of them out", param="stop")

    def _check_messages(self) -> None:
        if bool(self.messages) == (self.prompt is not None):
            raise InvalidRequest("a request has messages or a prompt", hint="send at least one message, or a prompt", param="messages")
        for role, _ in self.messages:
            if role not in ROLES:
                raise InvalidRequest(f"unknown role {role!r}", hint=did_you_mean(role, ROLES), param="messages")


@value
class EmbedRequest:
    """Some texts, or token ids, whose vectors are wanted. Raises InvalidRequest, naming the parameter."""

    request_id: str
    model: str
    texts: tuple[str | tuple[int, ...], ...]  # none empty
    key: str = ""  # id of the API key; empty where none is needed
    privacy: str = DEFAULT_PRIVACY
    deadline_s: float | None = None  # from arrival; None: the door's default

    def __post_init__(self) -> None:
        _check_bounds(self.privacy, self.deadline_s)


def _check_ranges(values: Iterable[float]) -> None:
    """Refuse a value out of its range; they come in the order of `_RANGES`."""
    for (name, (low, high)), given in zip(_RANGES.items(), values, strict=True):
        if not low <= given <= high:
            raise InvalidRequest(f"{name} is {given}", hint=f"give a number from {low:g} to {high:g}", param=name)


def _check_budget(name: str, most: float | None) -> None:
    if most is not None and not 0 <= most <= MOST_BUDGET:
        raise InvalidRequest(f"{name} is {most}", hint=f"give a number from 0 to {MOST_BUDGET:g}", param=name)


def _check_bounds(privacy: str, deadline_s: float | None) -> None:
    """Where content may go, and until when it is of use."""
    if privacy not in PRIVACY_LEVELS:
        raise InvalidRequest(f"unknown privacy level {privacy!r}", hint=did_you_mean(privacy, PRIVACY_LEVELS), param="privacy")
    if deadline_s is not None and not MIN_DEADLINE_S <= deadline_s <= MAX_DEADLINE_S:
        raise InvalidRequest(f"deadline_s is {deadline_s}", hint=f"give seconds from {MIN_DEADLINE_S} to {MAX_DEADLINE_S}", param="deadline_s")


class Delta(NamedTuple):
    """New text of the answer, final. Text may lag behind ids while a character or stop string is incomplete."""

    text: str
    origin: str
    tokens: tuple[bytes, ...] = ()  # bytes of each token, if log-probabilities were asked for
    logprobs: tuple[float, ...] = ()
    top: tuple[TopLogprobs, ...] = ()
    top_tokens: tuple[tuple[bytes, ...], ...] = ()  # bytes of the alternatives in `top`


@value
class Span:
    """How many consecutive answer tokens a node made."""

    node: str
    tokens: int  # as that node's model counts
    recoded: bool = False  # its tokenizer is not the door's: it was given text
    kept: bool = False  # it did not make them now: it had kept them


@value
class CacheUse:
    """What became of a request's `CacheWish`."""

    result: str  # "hit", "miss", "merged" with the same request in flight, or "refused"
    why: str = ""  # of a miss or a refusal
    node: str = ""  # that keeps the answers
    match: str = ""  # of a hit
    age_s: float = 0.0  # of a hit
    similarity: float = 0.0  # of a hit by meaning: cosine of the two questions


@value
class Compression:
    """What became of a request's `CompressWish`."""

    fidelity: str  # "compressed", or "whole"
    why: str = ""  # it stayed whole
    by: str = ""  # what said how much each part tells: "self-information", of the entry node's model; "words"
    rate: float = 0.0  # the share that was to stay
    prompt_tokens: int = 0  # of the whole prompt
    left_out_tokens: int = 0
    left_out_parts: int = 0
    took_s: float = 0.0
    link_bytes: Mapping[str, tuple[int, int]] = field(default_factory=dict)  # of the reading: node -> payload bytes (sent, received)


@value
class Finish:
    """The end of an answer, and what is known about how it came about."""

    reason: str  # "stop" or "length"
    prompt_tokens: int
    completion_tokens: int
    cached_tokens: int
    strategy: str  # "device", "edge", "cloud": that tier answers alone; "auto": as the planner chose
    why: str
    origin: tuple[Span, ...]
    switches: tuple[str, ...]
    escalations: int = 0  # of the switches, those to a larger model because what was said was not sure enough
    link_bytes: Mapping[str, Mapping[str, int]] = field(default_factory=dict)  # peer node -> {"sent", "received"}, payload bytes
    queue_s: float = 0.0  # in the door's queue, and in those of engines
    time_to_first_token_s: float = 0.0  # from arrival at the door
    duration_s: float = 0.0
    modelled: bool = False  # a hardware profile stretched some of these times
    declared: tuple[str, ...] = ()  # what it took the nodes for
    overruns: int = 0  # results that came later than modelled
    seed: int = 0
    counted_by: Mapping[str, tuple[str, ...]] = field(default_factory=dict)  # usage field -> nodes, where not all counts are the door's
    cache: CacheUse | None = None  # None: the request has no such wish
    compression: Compression | None = None  # None: it has no such wish
    plan: Mapping[str, Any] = field(default_factory=dict)  # what `auto` predicted and chose: `showing.told`; empty where it had no say


@value
class Vectors:
    """The vectors of a request's texts, in order, and how they came about."""

    vectors: tuple[tuple[float, ...], ...]  # each of length 1
    prompt_tokens: int
    strategy: str
    why: str
    origin: tuple[Span, ...]
    link_bytes: Mapping[str, Mapping[str, int]] = field(default_factory=dict)  # peer node -> {"sent", "received"}, payload bytes
    queue_s: float = 0.0  # the longest that a text waited at a node
    duration_s: float = 0.0
    modelled: bool = False  # a hardware profile stretched these times
    declared: tuple[str, ...] = ()  # what it took the nodes for
    overruns: int = 0  # results that came later than modelled


@value
class ServedModel:
    """One model name that this door answers to, now."""

    name: str
    ready: bool
    nodes: tuple[str, ...]
    context_tokens: int
    parameters: int
    tokenizer: str = ""  # hash, of the node that is asked first


Answer = Delta | Finish
