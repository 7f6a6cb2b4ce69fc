"""Whether an answer may be kept, which requests are the same, and for how long: pure.

Only what would be answered the same way again is kept: greedy answers, and sampled ones whose seed the client named. What is asked of
now or of here is kept only as far as the client says how old, and for which place. The door decides all that before anything leaves;
the node that keeps answers (`inference.cache`) compares questions by `likeness` and knows neither keys nor clients.
"""

from __future__ import annotations

import hashlib
import hmac
import json
import unicodedata
from collections.abc import Mapping, Sequence
from dataclasses import asdict

from netgpt.core.value import value
from netgpt.inference.choice import AUTO, TIER_OF_MODEL
from netgpt.inference.meaning import MOST_CHARS, Meaning, difference, read_meaning
from netgpt.inference.prompt import prompt_length
from netgpt.inference.request import CacheWish, ChatRequest, Finish

LONGEST_LIFE_S = 86_400.0  # of any answer
USUAL_LIFE_S = 60.0  # how old an answer may be of which the client does not say it: no list has all words by which a question depends on time
STATE_LIFE_S = 30.0  # of one about the state of something
NOW_LIFE_S = 60.0  # of one about now, at most, if the client permits any age at all
THRESHOLD = 0.4  # cosine from which questions that pass the gate are taken for one: `netgpt.bench.choose_cache` says what it costs and brings
MOST_ASKED_CHARS = MOST_ANSWER_CHARS = 65_536
SHARED = "shared"  # the scope of what everybody may have


@value
class Identity:
    """What makes two requests the same. Digests tell nothing to whoever does not know the content."""

    group: bytes  # everything but the last question; what differs in it is never the same
    exact: bytes  # everything
    question: str  # the last one, where questions may be compared by what they mean; else empty


NOBODY = Identity(group=b"", exact=b"", question="")


@value
class Plan:
    """What is done about a request that may be answered from what is kept."""

    refused: str = ""  # why neither looking up nor keeping would be right; then nothing else counts
    identity: Identity = NOBODY
    max_age_s: float = 0.0  # of a kept answer; 0: it is made anew
    life_s: float = 0.0  # of the answer, if it is kept


def plan_of(request: ChatRequest, wish: CacheWish, *, models: Sequence[str]) -> Plan:
    """Args:
    models: `answering_models`: answers of others are not theirs.
    """
    if refused := refusal(request, wish):
        return Plan(refused=refused)
    meaning = meaning_of(request)
    if meaning is not None and (refused := _refused_by_meaning(wish, meaning)):
        return Plan(refused=refused)
    limit_s = _age_limit_s(meaning)
    asked_s = min(limit_s, USUAL_LIFE_S if wish.max_age_s is None else wish.max_age_s)
    return Plan(identity=identity_of(request, wish, meaning, models=models), max_age_s=asked_s, life_s=limit_s if wish.keep else 0.0)


def answering_models(name: str, models: Sequence[str]) -> tuple[str, ...]:
    """Whose answer a request for the model `name` would get now: of a tier that of one model; a strategy chooses among all that it may ask.

    Args:
        models: ids, of the nodes that may answer, best first.
    """
    return tuple(models[:1]) if name in TIER_OF_MODEL else tuple(sorted(set(models)))


def refusal(request: ChatRequest, wish: CacheWish) -> str:
    """Why the answer to a request is not kept, whatever is asked; empty: it may be."""
    if request.privacy == "device-only":
        return "device-only content stays on its device"
    if request.temperature > 0 and request.seed is None:
        return "a sampled answer without a seed is another one each time"
    if prompt_length(request) > MOST_ASKED_CHARS:
        return f"a conversation of more than {MOST_ASKED_CHARS} characters is not kept"
    if request.logprobs:
        return "log-probabilities are not kept"
    return "the answer may be a call of a tool" if wish.tools else ""


def _refused_by_meaning(wish: CacheWish, meaning: Meaning) -> str:
    if meaning.now and wish.max_age_s is None:
        return "the answer depends on when it is asked: say how old it may be with cache.max_age_s"
    if meaning.here and not wish.place:
        return "the answer depends on where it is asked: say where with cache.place"
    if meaning.own and wish.shared:
        return "the answer is about whoever asks, and cannot be shared"
    return ""


def meaning_of(request: ChatRequest) -> Meaning | None:
    """What the request's text asks for; None of token ids. Of a document that is its beginning and its end, where a question stands."""
    if isinstance(request.prompt, tuple):
        return None
    text = last_question(request)
    return read_meaning(text if len(text) <= MOST_CHARS else f"{text[: MOST_CHARS // 2]}\n{text[-MOST_CHARS // 2 :]}")


def last_question(request: ChatRequest) -> str:
    """The user's last message, or the raw text."""
    if request.prompt is not None:
        return request.prompt if isinstance(request.prompt, str) else ""
    return next((content for role, content in reversed(request.messages) if role == "user"), "")


def _age_limit_s(meaning: Meaning | None) -> float:
    """How old the answer to a question of that kind may ever be."""
    if meaning is None:
        return LONGEST_LIFE_S
    return NOW_LIFE_S if meaning.now else STATE_LIFE_S if meaning.state else LONGEST_LIFE_S


def identity_of(request: ChatRequest, wish: CacheWish, meaning: Meaning | None, *, models: Sequence[str]) -> Identity:
    """What makes the request the same as another; see `plan_of`."""
    messages = [[role, _plain(content)] for role, content in request.messages]
    ends_with_question = bool(messages) and messages[-1][0] == "user"
    group = _digest({
        "v": 1,
        "name": request.model,
        "models": list(models),
        "limits": _limits(request) if request.model == AUTO else [],
        "place": wish.place,
        "messages": messages[:-1] if ends_with_question else messages,
        "prompt": _prompt(request),
        **_draws(request),
    })  # fmt: skip
    question = last_question(request) if ends_with_question else ""
    exact = _digest({"group": group.hex(), "question": _plain(question)})
    return Identity(group=group, exact=exact, question=question if _by_meaning(wish, meaning, question) else "")


def _by_meaning(wish: CacheWish, meaning: Meaning | None, question: str) -> bool:
    """Whether another question may stand for this one. What depends on now or here is compared letter by letter alone."""
    if wish.match != "semantic" or meaning is None or meaning.now or meaning.here:
        return False
    return 0 < len(question) <= MOST_CHARS and bool(meaning.words)


def _plain(text: str) -> str:
    return unicodedata.normalize("NFC", text).strip()


def _prompt(request: ChatRequest) -> object:
    return list(request.prompt) if isinstance(request.prompt, tuple) else request.prompt


def _limits(request: ChatRequest) -> list[object]:
    """By what `auto` chooses who answers, as far as the client says it."""
    return [request.service, request.deadline_s, request.max_cost, request.max_energy_j]


def _draws(request: ChatRequest) -> dict[str, object]:
    """What else the answer follows from. A greedy answer follows from no seed, and from no share of the probability."""
    draws = [] if request.temperature == 0 else [request.temperature, request.top_p, request.top_k, request.seed]
    return {
        "draws": draws,
        "penalties": [request.presence_penalty, request.frequency_penalty, sorted(request.logit_bias)],
        "max_tokens": request.max_tokens,
        "stop": list(request.stop),
        "grammar": asdict(request.grammar) if request.grammar else None,
        **({"compress": asdict(request.compress)} if request.compress else {}),
    }


def _digest(facts: object) -> bytes:
    return hashlib.sha256(json.dumps(facts, sort_keys=True, ensure_ascii=True).encode()).digest()


def flight_of(request: ChatRequest, wish: CacheWish) -> bytes | None:
    """Names requests of one door that get the same answer at the same time; None: nobody else's answer will do.

    Those of two keys are two, as are those with different deadlines, privacy levels or classes: how they fare may differ.
    """
    if (request.temperature > 0 and request.seed is None) or wish.tools or prompt_length(request) > MOST_ASKED_CHARS:
        return None
    messages = [list(message) for message in request.messages]
    bounds = [request.key, request.model, request.privacy, request.qos, *_limits(request), request.logprobs, request.top_logprobs]
    return _digest({"bounds": bounds, "wish": asdict(wish), "messages": messages, "prompt": _prompt(request), **_draws(request)})


def scope_of(secret: bytes, *, key: str, node: str, shared: bool) -> str:
    """Whose answers these are, for a node that must not know keys: told by whoever holds `secret`, and by nobody else.

    Args:
        secret: of the home whose keys these are: a key's id means nothing elsewhere.
        node: the entry node; requests without a key share what its door keeps, and nothing with other doors.
    """
    if shared:
        return SHARED
    whose = f"key\0{key}" if key else f"node\0{node}"
    return hmac.new(secret, whose.encode(), hashlib.sha256).hexdigest()[:32]


def keepable(finish: Finish, text: str, *, bounded: bool, model_of: Mapping[str, str], models: Sequence[str]) -> bool:
    """Whether an answer that was made may be kept: made by `models` alone, without a failure, and as long as it would be again.

    A cascade's answer that went up because a smaller model was not sure is as it would be again; one that stands in doubt because a
    larger model could not be reached is not.

    Args:
        bounded: the client said itself where it is to be cut.
        models: that the request was looked up with.
    """
    if len(finish.switches) > finish.escalations or not text or len(text) > MOST_ANSWER_CHARS or not (finish.reason == "stop" or bounded):
        return False
    return bool(finish.origin) and all(model_of.get(span.node) in models for span in finish.origin)


def gate(asked: Meaning, kept: Meaning) -> str:
    """Why a kept answer does not answer what is asked, however alike the two look; empty: it does."""
    if asked.now or asked.here or kept.now or kept.here:
        return "time or place"
    return difference(asked, kept)
